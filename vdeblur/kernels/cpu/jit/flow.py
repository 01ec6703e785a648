"""A level of the optical flow: a sampling and all its sweeps in one pass over the rows.

Row by row the equations of cells are set up, and each sweep follows the one before it one row behind: what a sweep
reads was written a moment ago and is still in the nearest cache.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.flow import FACTORS, NOTES
from vdeblur.kernels.cpu.jit.registers import (
    between,
    fill_row,
    floor,
    from_zero_to,
    limited,
    load,
    load_like,
    nothing,
    store_place,
    total,
    whole,
)  # fmt: skip
from vdeblur.kernels.cpu.jit.vectors import larger, number, part, put, size, smaller, store
from vdeblur.kernels.cpu.simd import STEP

ZERO, HALF, ONE, TWO, FOUR, TWELVE = (np.float32(number) for number in (0, 0.5, 1, 2, 4, 12))
#: Of a number in memory.
BYTES = 4
#: A sampling changes a vector by no more than this, in pixels of the level.
FARTHEST = np.float32(2)

#: What is noted of the cells of a row: their places, whether they are seen, sums over their pixels.
PART_X, PART_Y, CORNER, KNOWN, TOTAL, MIXED_X, MIXED_Y, XX, XY, YY, NUMBERS = range(NOTES)
#: What the sweeps multiply, of the cells of a row.
FIXED_X, FIXED_Y, INVERSE_X, INVERSE_Y, ACROSS = range(FACTORS)


@part
def _copy(source, at, target, to, count, factor):  # type: ignore[no-untyped-def]
    """Write so many numbers times a factor elsewhere."""
    for n in range(count):
        put(target, to + n, number(source, at + n) * factor)


@part
def _widen(picture, wide, margin, height, width):  # type: ignore[no-untyped-def]
    """Repeat the border of a picture ``margin`` pixels outwards, and one more to the right and below."""
    for y in range(-margin, height + margin + 1):
        to = (y + margin) * (width + 2 * margin + 1)
        at = 0 if y < 0 else (y if y < height else height - 1) * width
        # more than there is to repeat: what is too much is written over by what comes next
        store(wide, to, fill_row(number(picture, at)))
        _copy(picture, at, wide, to + margin, width, ONE)
        store(wide, to + margin + width, fill_row(number(picture, at + width - 1)))


@part
def _places(start, at, down, work, notes, row, columns, span, cell, width, height):  # type: ignore[no-untyped-def]
    """Where a row of cells is seen in the other frame, as :func:`vdeblur.model.block_sampling.sampled` does it."""
    margin = np.float32(cell if cell > 1 else 0)
    edge, reach = (HALF * margin, margin + ONE) if cell > 1 else (-HALF, ZERO)
    right, bottom = np.float32(width) + reach, np.float32(height) + reach
    first_x = load(work, notes + NUMBERS * span) * np.float32(cell) + margin
    first_y = np.float32(row * cell) + margin
    for c in range(0, columns, STEP):
        x = load(start, at + c) + (first_x + np.float32(c * cell))
        y = load(start, at + down + c) + first_y
        known = between(x, edge, right - edge - ONE) * between(y, edge, bottom - edge - ONE)
        x, y = from_zero_to(x, right - ONE), from_zero_to(y, bottom - ONE)
        whole_x, whole_y = floor(x), floor(y)
        store(work, notes + KNOWN * span + c, known)
        store(work, notes + PART_X * span + c, x - whole_x)
        store(work, notes + PART_Y * span + c, y - whole_y)
        store_place(work, notes + CORNER * span + c, whole_x, whole_y, width + 2 * (cell if cell > 1 else 0) + 1)


@part
def _sample(own, slope, other, work, notes, row, columns, span, width, count, cell):  # type: ignore[no-untyped-def]
    """Sums over the pixels of a row's cells: what differs in size, that times the slope, and the slope's squares."""
    side, across = len(cell), width + (2 * len(cell) if len(cell) > 1 else 0) + 1
    for c in range(columns):
        x, y = number(work, notes + PART_X * span + c), number(work, notes + PART_Y * span + c)
        at, pixel = whole(work, notes + CORNER * span + c), row * side * width + c * side
        left = load_like(other, at, cell)
        upper = left + (load_like(other, at + 1, cell) - left) * x
        sums = nothing(cell), nothing(cell), nothing(cell), nothing(cell), nothing(cell), nothing(cell)
        for _ in range(side):
            at += across
            left = load_like(other, at, cell)
            lower = left + (load_like(other, at + 1, cell) - left) * x
            change = upper + (lower - upper) * y - load_like(own, pixel, cell)
            one, other_ = load_like(slope, pixel, cell), load_like(slope, pixel + count, cell)
            sums = (
                sums[0] + size(change), sums[1] + one * change, sums[2] + other_ * change,
                sums[3] + one * one, sums[4] + one * other_, sums[5] + other_ * other_,
            )  # fmt: skip
            upper = lower
            pixel += width
        to = notes + TOTAL * span + c
        for each in sums:
            put(work, to, total(each))
            to += span


@part
def _equations(start, at, down, work, notes, to, mismatch, columns, span, cell, robust, smoothness):  # type: ignore[no-untyped-def]
    """A row's equations, solved for each cell alone: see :func:`vdeblur.model.optical_flow._smooth_solution`."""
    share = ONE / np.float32(cell * cell)
    for c in range(0, columns, STEP):
        note, factor = notes + c, to + c
        size, known = load(work, note + TOTAL * span) * share, load(work, note + KNOWN * span)
        store(work, mismatch + c, (size - ONE) * known + ONE)
        weight = known * (robust * share) / (size + robust)
        x_x, x_y = load(work, note + XX * span) * weight, load(work, note + XY * span) * weight
        y_y = load(work, note + YY * span) * weight
        x, y = load(start, at + c), load(start, at + down + c)
        target_x = x_x * x + x_y * y - load(work, note + MIXED_X * span) * weight
        target_y = x_y * x + y_y * y - load(work, note + MIXED_Y * span) * weight
        a, d = x_x + smoothness, y_y + smoothness
        inverse = ONE / (a * d - x_y * x_y)
        store(work, factor + FIXED_X * span, (d * target_x - x_y * target_y) * inverse)
        store(work, factor + FIXED_Y * span, (a * target_y - x_y * target_x) * inverse)
        inverse = inverse * (smoothness / TWELVE)
        store(work, factor + INVERSE_X * span, d * inverse)
        store(work, factor + INVERSE_Y * span, a * inverse)
        store(work, factor + ACROSS * span, x_y * inverse)


@part
def _repeat_ends(row, columns):  # type: ignore[no-untyped-def]
    """Repeat the border of a row of which the address is given."""
    put(row, 0, number(row, 1))
    put(row, columns + 1, number(row, columns))


@part
def _sweep(now, first, before, old, work, to, down, above, here, below, at, sides, columns, span, relaxation):  # type: ignore[no-untyped-def]
    """One relaxed Jacobi sweep of a row."""
    for axis in range(2):
        for c in range(0, columns + 2, STEP):
            cell = first + axis * down + c
            both = load(now, cell + above) + load(now, cell + below)
            store(work, sides + axis * span + c, both + load(now, cell + here) * TWO)
    for c in range(0, columns, STEP):
        cell, side, factor = here + c + 1, sides + c, at + c
        x = load(work, side) + load(work, side + 2) + load(work, side + 1) * TWO - load(now, first + cell) * FOUR
        side += span
        y = load(work, side) + load(work, side + 2) + load(work, side + 1) * TWO - load(now, first + down + cell) * FOUR
        across = load(work, factor + ACROSS * span)
        better_x = load(work, factor + FIXED_X * span) + load(work, factor + INVERSE_X * span) * x - across * y
        better_y = load(work, factor + FIXED_Y * span) + load(work, factor + INVERSE_Y * span) * y - across * x
        old_x, old_y = load(before, old + cell), load(before, old + down + cell)
        store(work, to + cell, old_x + (better_x - old_x) * relaxation)
        store(work, to + down + cell, old_y + (better_y - old_y) * relaxation)
    _repeat_ends(work + (to + here) * BYTES, columns)
    _repeat_ends(work + (to + down + here) * BYTES, columns)


@part
def _limit(start, work, better, at, down, columns):  # type: ignore[no-untyped-def]
    """A row of the start of the next sampling: what was found, not far from the start of this one."""
    for first in (at, at + down):
        for c in range(first + 1, first + 1 + columns, STEP):
            old = load(start, c)
            store(start, c, old + limited(load(work, better + c) - old, -FARTHEST, FARTHEST))
        _repeat_ends(start + first * BYTES, columns)


@part
def _middle(a, b, c):  # type: ignore[no-untyped-def]
    return larger(smaller(a, b), smaller(larger(a, b), c))


@part
def _medians(start, work, lines, rows, columns, span):  # type: ignore[no-untyped-def]
    """Medians of 3 × 3 cells take the place of both components: of sorted columns, three side by side."""
    for row in range(2 * rows):
        y, here = row % rows, row * span
        above, below = here - span if y else here, here + span if y + 1 < rows else here
        for c in range(0, columns + 2, STEP):
            a, b, d = load(start, above + c), load(start, here + c), load(start, below + c)
            low, high = smaller(a, b), larger(a, b)
            store(work, lines + c, smaller(low, d))
            store(work, lines + span + c, larger(low, smaller(high, d)))
            store(work, lines + 2 * span + c, larger(high, d))
        for c in range(lines, lines + columns, STEP):
            low = larger(larger(load(work, c), load(work, c + 1)), load(work, c + 2))
            middle, at = _middle(load(work, c + span), load(work, c + span + 1), load(work, c + span + 2)), c + 2 * span
            high = smaller(smaller(load(work, at), load(work, at + 1)), load(work, at + 2))
            store(work, here + 1 + c - lines, _middle(low, middle, high))
    for row in range(2 * rows):
        for c in range(row * span + 1, row * span + 1 + columns, STEP):
            store(start, c, load(work, c))
        _repeat_ends(start + row * span * BYTES, columns)


def improve(  # type: ignore[no-untyped-def]
    own, slope, other, found, result, wide, work,
    height, width, rows, columns, span, cell, sweeps, samplings, scale, robust, smoothness, relaxation,
):  # fmt: skip
    """All samplings of one picture: see :func:`vdeblur.kernels.cpu.flow.improve_level`."""
    down, ring, count = rows * span, sweeps + 2, height * width
    # parts of ``work``: what sweeps find in turn, where a sampling starts, mismatches, notes of a row of cells, sums of
    # a sweep, factors of some rows
    start, mismatch = work + 4 * down * BYTES, 6 * down
    notes = mismatch + down
    sides = notes + NOTES * span
    factors = sides + 2 * span
    for lane in range(STEP):
        put(work, notes + NUMBERS * span + lane, np.float32(lane))
    _widen(other, wide, cell if cell > 1 else 0, height, width)
    for row in range(2 * rows):
        _copy(found, row * columns, start, row * span + 1, columns, ONE / scale)
        _repeat_ends(start + row * span * BYTES, columns)
    for turn in range(samplings * (rows + sweeps)):
        y = turn % (rows + sweeps)
        if y < rows:
            _places(start, y * span + 1, down, work, notes, y, columns, span, cell, width, height)
            if cell == 1:
                _sample(own, slope, wide, work, notes, y, columns, span, width, count, (0,))
            elif cell == 2:
                _sample(own, slope, wide, work, notes, y, columns, span, width, count, (0, 0))
            else:
                _sample(own, slope, wide, work, notes, y, columns, span, width, count, (0, 0, 0, 0))
            to = factors + y % ring * FACTORS * span
            _equations(
                start,
                y * span + 1,
                down,
                work,
                notes,
                to,
                mismatch + y * span + 1,
                columns,
                span,
                cell,
                robust,
                smoothness,
            )
        for sweep in range(y - rows if y > rows else 0, sweeps if y > sweeps else y):
            row = y - 1 - sweep
            above, below = (row - 1 if row else 0) * span, (row + 1 if row + 1 < rows else row) * span
            _sweep(
                work if sweep else start, (sweep - 1) % 2 * 2 * down if sweep else 0,
                work if sweep > 1 else start, sweep % 2 * 2 * down if sweep > 1 else 0,
                work, sweep % 2 * 2 * down, down, above, row * span, below, factors + row % ring * FACTORS * span,
                sides, columns, span, relaxation if sweep else ONE,
            )  # fmt: skip
        if y >= sweeps:
            _limit(start, work, (sweeps - 1) % 2 * 2 * down, (y - sweeps) * span, down, columns)
        if y == rows + sweeps - 1:
            _medians(start, work, notes, rows, columns, span)
    for row in range(3 * rows):
        _copy(start, row * span + 1, result, row * columns, columns, scale if row < 2 * rows else ONE)
