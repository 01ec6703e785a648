"""Image pyramid, row by row: pooling, smoothing and central differences while the rows are in the L1 cache."""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.jit.registers import deinterleave, load
from vdeblur.kernels.cpu.jit.vectors import load_scalar, store, store_scalar
from vdeblur.kernels.cpu.simd import REGISTER

CENTRE, SIDE = np.float32(0.56), np.float32(0.22)
HALF, QUARTER = np.float32(0.5), np.float32(0.25)


def halve(luma, result, height, width):  # type: ignore[no-untyped-def]
    """2×2 average pooling; the last register of a row overlaps the one before it where not all lanes are needed."""
    pairs, columns = width // 2, (width + 1) // 2
    for row in range((height + 1) // 2):
        above, target = 2 * row * width, row * columns
        below = above + width if 2 * row + 1 < height else above
        for first in range(0, pairs, REGISTER):
            c = first if first + REGISTER < pairs else pairs - REGISTER
            left = load(luma, above + 2 * c) + load(luma, below + 2 * c)
            right = load(luma, above + 2 * c + REGISTER) + load(luma, below + 2 * c + REGISTER)
            store(result, target + c, (deinterleave(left, right, 0) + deinterleave(left, right, 1)) * QUARTER)
        if width % 2:
            total = load_scalar(luma, above + width - 1) + load_scalar(luma, below + width - 1)
            store_scalar(result, target + pairs, total * HALF)


def smooth_and_differentiate(luma, smooth, gradient, buffer, height, width):  # type: ignore[no-untyped-def]
    """Smooth a row, then differentiate the one above it by central differences."""
    count = height * width
    for at in range(0, count + width, width):
        above, below = at - width if at else at, at + width if at + width < count else at
        if at < count:
            for first in range(0, width, REGISTER):
                c = first if first + REGISTER < width else width - REGISTER
                sides = load(luma, above + c) + load(luma, below + c)
                store(buffer, c + 1, load(luma, at + c) * CENTRE + sides * SIDE)
            store_scalar(buffer, 0, load_scalar(buffer, 1))
            store_scalar(buffer, width + 1, load_scalar(buffer, width))
            for first in range(0, width, REGISTER):
                c = first if first + REGISTER < width else width - REGISTER
                store(smooth, at + c, load(buffer, c + 1) * CENTRE + (load(buffer, c) + load(buffer, c + 2)) * SIDE)
        if at:
            here, end = at - width, at - 1
            above = here - width if here else here
            below = at if at < count else here
            for first in range(0, width, REGISTER):
                c = first if first + REGISTER < width else width - REGISTER
                store(gradient, count + here + c, (load(smooth, below + c) - load(smooth, above + c)) * HALF)
            for first in range(1, width - 1, REGISTER):
                c = here + (first if first + REGISTER < width - 1 else width - 1 - REGISTER)
                store(gradient, c, (load(smooth, c + 1) - load(smooth, c - 1)) * HALF)
            store_scalar(gradient, here, (load_scalar(smooth, here + 1) - load_scalar(smooth, here)) * HALF)
            store_scalar(gradient, end, (load_scalar(smooth, end) - load_scalar(smooth, end - 1)) * HALF)
