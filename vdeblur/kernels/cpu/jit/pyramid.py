"""A frame's pyramid, row by row: what is smoothed and what derivatives read is still in the first cache."""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.jit.registers import alternate, load
from vdeblur.kernels.cpu.jit.vectors import number, put, store
from vdeblur.kernels.cpu.simd import STEP

MIDDLE, BESIDE = np.float32(0.56), np.float32(0.22)
HALF, QUARTER = np.float32(0.5), np.float32(0.25)


def halve(grey, small, height, width):  # type: ignore[no-untyped-def]
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


def smooth(grey, soft, slope, line, height, width):  # type: ignore[no-untyped-def]
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
