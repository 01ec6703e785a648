"""Overlays: samples that stand still while the flow says that they move, and how far the correction reaches them.

The twin of :mod:`vdeblur.engine.overlays`.
"""

from __future__ import annotations

from math import floor

import numpy as np

from vdeblur.kernels.cpu.jit.vectors import (
    absolute,
    broadcast8,
    load8,
    load_scalar,
    maximum,
    minimum,
    store,
    store_scalar,
    subroutine,
)
from vdeblur.kernels.inputs import BLOCK_PX

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
#: Makes any difference of float32 numbers, of those that are luma or small whole numbers, greater than 1.
STEEP = np.float32(1e9)


@subroutine
def above(value, limit):  # type: ignore[no-untyped-def]
    """1 in the lanes above a limit, 0 in those below; what is equal to it may be either."""
    return minimum(maximum((value - limit) * STEEP, broadcast8(ZERO)), broadcast8(ONE))


@subroutine
def elsewhere_differs(here, other, place, width, elsewhere):  # type: ignore[no-untyped-def]
    """1 in the lanes that lie outside of the range of the four pixels at ``place``, by so much at least."""
    one, two = load8(other, place), load8(other, place + 1)
    three, four = load8(other, place + width), load8(other, place + width + 1)
    low, high = minimum(minimum(one, two), minimum(three, four)), maximum(maximum(one, two), maximum(three, four))
    return above(maximum(low - here, here - high), elsewhere)


@subroutine
def one_differs(here, other, place, width, elsewhere):  # type: ignore[no-untyped-def]
    """The same of one sample."""
    one, two = load_scalar(other, place), load_scalar(other, place + 1)
    three, four = load_scalar(other, place + width), load_scalar(other, place + width + 1)
    low, high = min(min(one, two), min(three, four)), max(max(one, two), max(three, four))
    return ONE if low - here >= elsewhere or here - high >= elsewhere else ZERO


def count_still(  # type: ignore[no-untyped-def]
    current, other, flow, times, result, counts, lanes, rows, columns, step, still, elsewhere, slow, most, least
):  # fmt: skip
    """Images of ``rows`` × ``columns`` blocks; the flow has x and then y of each. ``lanes``: scratch of eight."""
    blocks, width, height = rows * columns, columns * BLOCK_PX, rows * BLOCK_PX
    for block in range(blocks):
        top, left = block // columns * BLOCK_PX, block % columns * BLOCK_PX
        x, y = load_scalar(flow, block), load_scalar(flow, blocks + block)
        moves = x * x + y * y >= slow
        to_x, to_y = int(floor(x)), int(floor(y))  # noqa: RUF046 (Numba's floor is a float)
        inside = left + to_x >= 0 and left + to_x + BLOCK_PX < width
        found = broadcast8(ZERO)
        for row in range(top, top + BLOCK_PX, step):
            line, at = row * width + left, row // step * width + left
            target = (row + to_y) * width + left + to_x
            here, before = load8(current, line), load8(times, at)
            more = broadcast8(ZERO)
            if moves and 0 <= row + to_y < height - 1:
                if inside:
                    more = elsewhere_differs(here, other, target, width, elsewhere)
                else:
                    for column in range(BLOCK_PX):
                        there = 0 <= left + column + to_x < width - 1
                        sample = load_scalar(current, line + column)
                        differs = one_differs(sample, other, target + column, width, elsewhere) if there else ZERO
                        store_scalar(lanes, column, differs)
                    more = load8(lanes, 0)
            stays = above(broadcast8(still) - absolute(here - load8(other, line)), ZERO)
            now = stays * minimum(before + more, broadcast8(most))
            store(result, at, now)
            found = found + above(maximum(before, now), least - HALF)
        store(lanes, 0, found)
        total = ZERO
        for column in range(BLOCK_PX):
            total += load_scalar(lanes, column)
        store_scalar(counts, block, total)


@subroutine
def _widen(found, wide, rows, width):  # type: ignore[no-untyped-def]
    """Maximum over two samples to each side and then over a row above and below; both maps have a border of zeros."""
    line = width + 2 * BLOCK_PX
    for row in range(1, rows + 1):
        for at in range(row * line + BLOCK_PX, row * line + BLOCK_PX + width, BLOCK_PX):
            sides = maximum(maximum(load8(found, at - 2), load8(found, at - 1)), load8(found, at))
            store(wide, at, maximum(sides, maximum(load8(found, at + 1), load8(found, at + 2))))
    for row in range(1, rows + 1):
        for at in range(row * line + BLOCK_PX, row * line + BLOCK_PX + width, BLOCK_PX):
            store(found, at, maximum(maximum(load8(wide, at - line), load8(wide, at)), load8(wide, at + line)))


@subroutine
def _reach(found, at_row, at_column, rows, width, lanes):  # type: ignore[no-untyped-def]
    """Eight samples of a map with a border; those outside are taken from its edge."""
    row, line = min(max(at_row, 0), rows - 1) + 1, width + 2 * BLOCK_PX
    if 0 <= at_column <= width - BLOCK_PX:
        return load8(found, row * line + BLOCK_PX + at_column)
    for lane in range(BLOCK_PX):
        column = min(max(at_column + lane, 0), width - 1)
        store_scalar(lanes, lane, load_scalar(found, row * line + BLOCK_PX + column))
    return load8(lanes, 0)


def weight_of_correction(  # type: ignore[no-untyped-def]
    times, confidence, velocity, plane, shares, share_count, found, wide, lanes, result, rows, columns, step
):  # fmt: skip
    """Maps of ``rows`` × ``columns`` blocks; ``plane``: numbers from x to y in ``velocity``."""
    width, samples = columns * BLOCK_PX, BLOCK_PX // step
    line = width + 2 * BLOCK_PX
    for block in range(rows * columns):
        sure = load_scalar(confidence, block)
        top, left = block // columns * samples, block % columns * BLOCK_PX
        for row in range(top, top + samples):
            given = above(load8(times, row * width + left), HALF)
            store(found, (row + 1) * line + BLOCK_PX + left, given * sure)
    _widen(found, wide, rows * samples, width)
    for block in range(rows * columns):
        top, left = block // columns * samples, block % columns * BLOCK_PX
        x, y = load_scalar(velocity, block), load_scalar(velocity, plane + block)
        for row in range(top, top + samples):
            reached = load8(found, (row + 1) * line + BLOCK_PX + left)
            for number in range(share_count):
                share = load_scalar(shares, number)
                down = int(floor(y * (share / np.float32(step)) + HALF))  # noqa: RUF046
                right = int(floor(x * share + HALF))  # noqa: RUF046
                reached = maximum(reached, _reach(found, row + down, left + right, rows * samples, width, lanes))
            store(result, row * width + left, broadcast8(ONE) - reached)
