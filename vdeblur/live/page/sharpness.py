"""Sharpness: one number for how much fine detail a picture shows, cheap enough to be taken while it is shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from vdeblur.frames import Frame

#: The middle of the picture is enough, and costs the same whatever the size.
_MOST_ROWS, _MOST_COLUMNS = 480, 640
_EIGHT_BITS = 8


def sharpness_of(frame: Frame) -> float:
    """Variance of the Laplacian of luma (of green where there is none), in 8-bit levels squared.

    More is sharper, for one scene; numbers of different scenes do not compare. Noise counts as detail too.
    (Pech-Pacheco et al. 2000.)
    """
    luma = _middle(np.asarray(frame.planes[0]))
    if frame.format.is_float:
        samples = luma.astype(np.float32) * 255
    elif frame.format.bits > _EIGHT_BITS:
        samples = luma.astype(np.float32) / (1 << (frame.format.bits - _EIGHT_BITS))
    else:
        samples = luma.astype(np.int16)
    if min(samples.shape) < 3:
        return 0.0
    laplacian = 4 * samples[1:-1, 1:-1]
    for neighbour in (samples[:-2, 1:-1], samples[2:, 1:-1], samples[1:-1, :-2], samples[1:-1, 2:]):
        laplacian -= neighbour
    return float(laplacian.var(dtype=np.float64))


def _middle(plane: Any) -> Any:
    rows, columns = plane.shape
    top, left = max(0, rows - _MOST_ROWS) // 2, max(0, columns - _MOST_COLUMNS) // 2
    return plane[top : top + _MOST_ROWS, left : left + _MOST_COLUMNS]
