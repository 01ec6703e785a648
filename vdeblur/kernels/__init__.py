"""Kernels: fused operators for CUDA (Triton) and the CPU (Numba), chosen by :mod:`vdeblur.kernels.dispatch`."""
