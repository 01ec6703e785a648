"""Live sharpness measure: variance of the Laplacian on the centre of the frame, cheap enough for real time."""

from __future__ import annotations

from typing import Any

import numpy as np

from vdeblur.frames import Frame
from vdeblur.pipeline.sharpness import laplacian

#: The middle of the picture is enough, and costs the same whatever the size.
_MOST_ROWS, _MOST_COLUMNS = 480, 640
#: Detail this fine is mostly noise and what a codec has left of it.
_BLOCK = 2


def sharpness_of(frame: Frame) -> float:
    """Variance of the Laplacian of luma (of green where there is none), in 8-bit levels squared.

    Luma is averaged over 2×2 samples first. More is sharper, for one scene; numbers of different scenes do not
    compare. (Pech-Pacheco et al. 2000.)
    """
    luma = _averaged(_middle(np.asarray(frame.planes[0])))
    if min(luma.shape) < 3:
        return 0.0
    return float(laplacian(luma).var(dtype=np.float64)) * (255 / frame.format.peak) ** 2


def _middle(plane: Any) -> Any:
    rows, columns = plane.shape
    top, left = max(0, rows - _MOST_ROWS) // 2, max(0, columns - _MOST_COLUMNS) // 2
    return plane[top : top + _MOST_ROWS, left : left + _MOST_COLUMNS]


def _averaged(plane: Any) -> Any:
    """Means of blocks, float32; a rest at the edges is left out."""
    rows, columns = (size // _BLOCK * _BLOCK for size in plane.shape)
    total = np.zeros((rows // _BLOCK, columns // _BLOCK), np.float32)
    for row in range(_BLOCK):
        for column in range(_BLOCK):
            total += plane[row:rows:_BLOCK, column:columns:_BLOCK]
    return total / _BLOCK**2
