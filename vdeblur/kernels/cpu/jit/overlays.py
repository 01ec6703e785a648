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
def _any_between(sums, top, bottom, left, right, rows, columns):  # type: ignore[no-untyped-def]
    """Whether anything is found in a rectangle of blocks, both ends included; its part outside is moved to the edge.

    ``sums``: how many blocks above and left of each corner of a block have something; one more than blocks each way.
    """
    line = columns + 1
    upper, lower = min(max(top, 0), rows - 1) * line, (min(max(bottom, 0), rows - 1) + 1) * line
    first, last = min(max(left, 0), columns - 1), min(max(right, 0), columns - 1) + 1
    below = load_scalar(sums, lower + last) - load_scalar(sums, lower + first)
    return below > load_scalar(sums, upper + last) - load_scalar(sums, upper + first)


@subroutine
def _write_found(times, confidence, found, sums, lanes, rows, columns, samples):  # type: ignore[no-untyped-def]
    """Write confidence where a sample has given itself away, and the sums of blocks with such samples."""
    width, corners = columns * BLOCK_PX, columns + 1
    line = width + 2 * BLOCK_PX
    for row in range(rows):
        total = ZERO
        for column in range(columns):
            sure = load_scalar(confidence, row * columns + column)
            if sure > ZERO:
                most = broadcast8(ZERO)
                for sample in range(row * samples, (row + 1) * samples):
                    given = above(load8(times, sample * width + column * BLOCK_PX), HALF)
                    store(found, (sample + 1) * line + BLOCK_PX + column * BLOCK_PX, given * sure)
                    most = maximum(most, given)
                store(lanes, 0, most)
                for lane in range(BLOCK_PX):
                    if load_scalar(lanes, lane) > ZERO:
                        total += ONE
                        break
            corner = row * corners + column + 1
            store_scalar(sums, corner + corners, load_scalar(sums, corner) + total)


@subroutine
def _widen(found, wide, sums, rows, columns, samples):  # type: ignore[no-untyped-def]
    """Maximum over two samples to each side and then over a row above and below; both maps have a border of zeros."""
    line = columns * BLOCK_PX + 2 * BLOCK_PX
    for row in range(rows):
        for column in range(columns):
            if _any_between(sums, row, row, column - 1, column + 1, rows, columns):
                for sample in range(row * samples + 1, (row + 1) * samples + 1):
                    at = sample * line + BLOCK_PX + column * BLOCK_PX
                    sides = maximum(maximum(load8(found, at - 2), load8(found, at - 1)), load8(found, at))
                    store(wide, at, maximum(sides, maximum(load8(found, at + 1), load8(found, at + 2))))
    for row in range(rows):
        for column in range(columns):
            if _any_between(sums, row - 1, row + 1, column - 1, column + 1, rows, columns):
                for sample in range(row * samples + 1, (row + 1) * samples + 1):
                    at = sample * line + BLOCK_PX + column * BLOCK_PX
                    sides = maximum(load8(wide, at - line), load8(wide, at))
                    store(found, at, maximum(sides, load8(wide, at + line)))


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
    times, confidence, velocity, plane, shares, share_count, found, wide, sums, lanes, result, rows, columns, step
):  # fmt: skip
    """Maps of ``rows`` × ``columns`` blocks; ``plane``: numbers from x to y in ``velocity``.

    ``found``, ``wide`` and ``sums`` hold zeros, ``result`` ones: blocks that no overlay reaches are left so.
    """
    width, samples = columns * BLOCK_PX, BLOCK_PX // step
    line = width + 2 * BLOCK_PX
    _write_found(times, confidence, found, sums, lanes, rows, columns, samples)
    _widen(found, wide, sums, rows, columns, samples)
    most = ZERO
    for number in range(share_count):
        most = max(most, abs(load_scalar(shares, number)))
    for block in range(rows * columns):
        top, left = block // columns * samples, block % columns * BLOCK_PX
        x, y = load_scalar(velocity, block), load_scalar(velocity, plane + block)
        # as far as a share reaches, with what was widened and rounded
        down, right = int(abs(y) * most / np.float32(step)) + 2, int(abs(x) * most) + 3
        if not _any_between(
            sums, (top - down) // samples, (top + samples - 1 + down) // samples,
            (left - right) // BLOCK_PX, (left + BLOCK_PX - 1 + right) // BLOCK_PX, rows, columns,
        ):  # fmt: skip
            continue
        for row in range(top, top + samples):
            reached = load8(found, (row + 1) * line + BLOCK_PX + left)
            for number in range(share_count):
                share = load_scalar(shares, number)
                down = int(floor(y * (share / np.float32(step)) + HALF))  # noqa: RUF046
                right = int(floor(x * share + HALF))  # noqa: RUF046
                reached = maximum(reached, _reach(found, row + down, left + right, rows * samples, width, lanes))
            store(result, row * width + left, broadcast8(ONE) - reached)
