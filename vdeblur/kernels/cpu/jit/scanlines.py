"""Lines of what is known of a row's pixels, copied or made of maps; see :mod:`vdeblur.kernels.cpu.scanlines`."""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.block_operands import CELL
from vdeblur.kernels.cpu.jit.vectors import fill_eight, load_eight, number, part, put, store
from vdeblur.kernels.cpu.scanlines import MARGIN

HALF = np.float32(0.5)


@part
def place_line(line, span, left, ramp):  # type: ignore[no-untyped-def]
    """A line of the pixels' places in a row; ``ramp``: their shares between the middles of two cells."""
    for n in range(CELL):
        put(ramp, n, (np.float32(n) + HALF) / np.float32(CELL))
    for n in range(span):
        put(line, n, np.float32((left // CELL - MARGIN) * CELL + n))


@part
def copy_line(picture, width, row, left, right, line):  # type: ignore[no-untyped-def]
    """A line of a picture's own numbers."""
    first = left // CELL - MARGIN
    for c in range(left // CELL, (right - 1) // CELL + 1):
        store(line, (c - first) * CELL, load_eight(picture, row * width + c * CELL))


@part
def _enlarge(maps, upper, lower, share, columns, first, last, ramp, line):  # type: ignore[no-untyped-def]
    """A row of a map, between its rows from ``upper`` and ``lower`` on: from one cell's middle to that of the next."""
    one = number(maps, upper + max(first, 0))
    before = one + (number(maps, lower + max(first, 0)) - one) * share
    for c in range(max(first, -1), last + 1):
        at = min(c + 1, columns - 1)
        one = number(maps, upper + at)
        after = one + (number(maps, lower + at) - one) * share
        store(line, (c - first) * CELL + CELL // 2, load_eight(ramp, 0) * (after - before) + fill_eight(before))
        before = after


@part
def enlarge_lines(maps, count, height, width, row, left, right, ramp, lines, span):  # type: ignore[no-untyped-def]
    """Lines of so many maps, enlarged as :func:`vdeblur.model.layers.upsample` does it."""
    rows, columns = height // CELL, width // CELL
    above = (row + CELL // 2) // CELL - 1
    share = (np.float32((row + CELL // 2) % CELL) + HALF) / np.float32(CELL)
    upper, lower = max(above, 0) * columns, min(above + 1, rows - 1) * columns
    first, last = left // CELL - MARGIN, (right - 1) // CELL
    for n in range(count):
        _enlarge(maps + 4 * n * rows * columns, upper, lower, share, columns, first, last, ramp, lines + 4 * n * span)
