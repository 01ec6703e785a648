"""Kernels: what a GPU does best in one go, written in Triton, which comes with PyTorch's builds for CUDA.

Each is the twin of a few lines elsewhere, named in its docstring, and gives the same but for the rounding of sums.
"""

from vdeblur.kernels.triton.block_taps import mixed_taps, taps
from vdeblur.kernels.triton.flow import improve_level, medians
from vdeblur.kernels.triton.motion_taps import steered_taps

__all__ = ["improve_level", "medians", "mixed_taps", "steered_taps", "taps"]
