"""Kernel sources in Numba's subset of Python; imported only to be compiled."""
