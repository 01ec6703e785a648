"""CPU kernels: fused operators JIT-compiled by Numba for the host's SIMD width, where PyTorch needs hundreds of calls.

Each one is the twin of a plain PyTorch function, named in its docstring, and equals it up to the rounding of sums. The
machine code is cached on disk, so only a machine's first run compiles.
"""

from vdeblur.kernels.cpu.compiling import cache_folder
from vdeblur.kernels.cpu.flow import refine_level
from vdeblur.kernels.cpu.guide import apply_change, guide_inputs, hidden_before
from vdeblur.kernels.cpu.image_refiner import gather_refiner_inputs
from vdeblur.kernels.cpu.mixture_taps import apply_mixture_taps
from vdeblur.kernels.cpu.motion_profile import motion_autocorrelation
from vdeblur.kernels.cpu.motion_taps import apply_motion_taps
from vdeblur.kernels.cpu.overlays import count_still, weight_of_correction
from vdeblur.kernels.cpu.pixel_shuffle import shuffle_and_add, unshuffle
from vdeblur.kernels.cpu.pixels import add_residual, luma
from vdeblur.kernels.cpu.pyramid import average_pool, halve, smooth_and_differentiate
from vdeblur.kernels.cpu.shared_taps import apply_shared_taps

__all__ = [
    "add_residual", "apply_change", "apply_mixture_taps", "apply_motion_taps", "apply_shared_taps", "average_pool",
    "cache_folder", "count_still", "gather_refiner_inputs", "guide_inputs", "halve", "hidden_before", "luma",
    "motion_autocorrelation", "refine_level", "shuffle_and_add", "smooth_and_differentiate", "unshuffle",
    "weight_of_correction",
]  # fmt: skip
