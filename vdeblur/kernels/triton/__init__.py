"""GPU kernels: fused operators in Triton, which ships with PyTorch's CUDA builds.

Each one is the twin of a plain PyTorch function, named in its docstring, and equals it up to the rounding of sums.
"""

from vdeblur.kernels.triton.block_taps import apply_mixture_taps, apply_shared_taps
from vdeblur.kernels.triton.flow import median_filter, refine_level
from vdeblur.kernels.triton.motion_taps import apply_motion_taps

__all__ = ["apply_mixture_taps", "apply_motion_taps", "apply_shared_taps", "median_filter", "refine_level"]
