"""Native: kernels compiled for the processor at hand, by Numba, where PyTorch would take hundreds of small operations.

Each is the twin of a few lines elsewhere, named in its docstring, and gives the same but for the rounding of sums. What
is compiled is kept on disk, so only a machine's first run waits for it.
"""

from vdeblur.native.compiling import folder
from vdeblur.native.finish import finish_sight
from vdeblur.native.flow import improve_level
from vdeblur.native.mixed import mixed_taps
from vdeblur.native.pixels import corrected, luma
from vdeblur.native.profile import correlated
from vdeblur.native.pyramid import halved, level, pooled
from vdeblur.native.squares import corrected_quarters, quarters
from vdeblur.native.steered import steered_taps
from vdeblur.native.taps import taps

__all__ = [
    "corrected", "corrected_quarters", "correlated", "finish_sight", "folder", "halved", "improve_level", "level",
    "luma", "mixed_taps", "pooled", "quarters", "steered_taps", "taps",
]  # fmt: skip
