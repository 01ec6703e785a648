"""A frame's pyramid on a CPU, row by row: what is smoothed and what derivatives read is still in the first cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vdeblur.model.native.compiling import kernel
from vdeblur.model.native.rows import STEP, alternate, load, memory
from vdeblur.model.native.vectors import number, put, store

MIDDLE, BESIDE = np.float32(0.56), np.float32(0.22)
HALF, QUARTER = np.float32(0.5), np.float32(0.25)


def pooled(grey: Tensor, factor: int) -> Tensor | None:
    """Means of squares of ``factor`` pixels, a power of two, of luma (B, 1, H, W) whose sides are multiples of it."""
    small: Tensor | None = grey
    while small is not None and factor > 1:
        small, factor = halved(small), factor // 2
    return small


def halved(grey: Tensor) -> Tensor | None:
    """Means of 2 × 2 pixels: (B, 1, H, W) → (B, 1, ⌈H/2⌉, ⌈W/2⌉), an odd row or column by itself.

    None where a picture is narrower than vectors are.
    """
    batch, _, height, width = grey.shape
    if width < 2 * STEP:
        return None
    grey, result = memory(grey), torch.empty(batch, 1, -(-height // 2), -(-width // 2))
    for picture, small in zip(grey, result, strict=True):
        _halve(picture.data_ptr(), small.data_ptr(), height, width)
    return result


def level(grey: Tensor) -> tuple[Tensor, Tensor] | None:
    """What :func:`vdeblur.model.flow._level` makes of luma (B, 1, H, W): it smoothed, and its slope (B, 2, H, W).

    None where a picture is narrower than vectors are.
    """
    batch, _, height, width = grey.shape
    if width < STEP + 2:
        return None
    grey, line = memory(grey), torch.empty(width + 2)
    soft, slope = torch.empty_like(grey), torch.empty(batch, 2, height, width)
    for parts in zip(grey, soft, slope, strict=True):
        _level(*(part.data_ptr() for part in parts), line.data_ptr(), height, width)
    return soft, slope


@kernel
def _halve(grey, small, height, width):  # type: ignore[no-untyped-def]
    pairs, columns = width // 2, (width + 1) // 2
    for row in range((height + 1) // 2):
        above, to = 2 * row * width, row * columns
        below = above + width if 2 * row + 1 < height else above
        for first in range(0, pairs, STEP):
            c = first if first + STEP < pairs else pairs - STEP  # the last ones again, where not all lanes are needed
            left = load(grey, above + 2 * c) + load(grey, below + 2 * c)
            right = load(grey, above + 2 * c + STEP) + load(grey, below + 2 * c + STEP)
            store(small, to + c, (alternate(left, right, 0) + alternate(left, right, 1)) * QUARTER)
        if width % 2:
            put(small, to + pairs, (number(grey, above + width - 1) + number(grey, below + width - 1)) * HALF)


@kernel
def _level(grey, soft, slope, line, height, width):  # type: ignore[no-untyped-def]
    """Smooth a row, then find the derivatives of the one above it."""
    count = height * width
    for at in range(0, count + width, width):
        above, below = at - width if at else at, at + width if at + width < count else at
        if at < count:
            for first in range(0, width, STEP):
                c = first if first + STEP < width else width - STEP
                sides = load(grey, above + c) + load(grey, below + c)
                store(line, c + 1, load(grey, at + c) * MIDDLE + sides * BESIDE)
            put(line, 0, number(line, 1))
            put(line, width + 1, number(line, width))
            for first in range(0, width, STEP):
                c = first if first + STEP < width else width - STEP
                store(soft, at + c, load(line, c + 1) * MIDDLE + (load(line, c) + load(line, c + 2)) * BESIDE)
        if at:
            here, end = at - width, at - 1
            above = here - width if here else here
            below = at if at < count else here
            for first in range(0, width, STEP):
                c = first if first + STEP < width else width - STEP
                store(slope, count + here + c, (load(soft, below + c) - load(soft, above + c)) * HALF)
            for first in range(1, width - 1, STEP):
                c = here + (first if first + STEP < width - 1 else width - 1 - STEP)
                store(slope, c, (load(soft, c + 1) - load(soft, c - 1)) * HALF)
            put(slope, here, (number(soft, here + 1) - number(soft, here)) * HALF)
            put(slope, end, (number(soft, end) - number(soft, end - 1)) * HALF)
