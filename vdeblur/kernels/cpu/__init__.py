"""Native: kernels compiled for the processor at hand, by Numba, where PyTorch would take hundreds of small operations.

Each is the twin of a few lines elsewhere, named in its docstring, and gives the same but for the rounding of sums. What
is compiled is kept on disk, so only a machine's first run waits for it.
"""

from vdeblur.kernels.cpu.block_taps import taps
from vdeblur.kernels.cpu.compiling import folder
from vdeblur.kernels.cpu.flow import improve_level
from vdeblur.kernels.cpu.image_refiner import finish_sight
from vdeblur.kernels.cpu.mixture_taps import mixed_taps
from vdeblur.kernels.cpu.motion_profile import correlated
from vdeblur.kernels.cpu.motion_taps import steered_taps
from vdeblur.kernels.cpu.pixel_shuffle import corrected_quarters, quarters
from vdeblur.kernels.cpu.pixels import corrected, luma
from vdeblur.kernels.cpu.pyramid import halved, level, pooled

__all__ = [
    "corrected", "corrected_quarters", "correlated", "finish_sight", "folder", "halved", "improve_level", "level",
    "luma", "mixed_taps", "pooled", "quarters", "steered_taps", "taps",
]  # fmt: skip
