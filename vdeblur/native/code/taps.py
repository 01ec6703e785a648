"""What pixels see along their motion and the filters of that, cell by cell: the twin of ``CellTaps``' plain operators.

All that a few cells need stays in the first cache: their samples, the hidden units of their pixels, the weights.
"""

from __future__ import annotations

import numpy as np

from vdeblur.native.code.vectors import (
    fill,
    fill_eight,
    fill_from,
    fma,
    larger,
    load,
    load_eight,
    mul,
    number,
    part,
    put,
    store,
    sub,
)  # fmt: skip
from vdeblur.native.processor import LANES
from vdeblur.native.taps import BLOCK, CELL, PATCH_ROW, ROUND, VECTORS

#: Lines of a cell in a vector.
LINES = LANES // CELL
HALF, QUARTER, ONE, SLOPE = np.float32(0.5), np.float32(0.25), np.float32(1), np.float32(0.1)


@part
def _copy_patch(picture, height, width, top, left, patch):  # type: ignore[no-untyped-def]
    """Copy 9 × 9 pixels whose first one may lie outside of the picture; the border is repeated."""
    for j in range(CELL + 1):
        row = min(max(top + j, 0), height - 1) * width
        for i in range(CELL + 1):
            put(patch, j * PATCH_ROW + i, number(picture, row + min(max(left + i, 0), width - 1)))


@part
def _at(line, stride):  # type: ignore[no-untyped-def]
    """Where a line of a cell lies in its vectors, which are ``stride`` numbers apart."""
    pixel = line * CELL
    return pixel // LANES * stride + pixel % LANES


@part
def _sample(picture, first, width, part_x, part_y, own, own_width, weight, seen, stride):  # type: ignore[no-untyped-def]
    """The pixels of a cell between those of a picture from ``first`` on, less their own, weighted."""
    x, y, factor = fill_eight(part_x), fill_eight(part_y), fill_eight(weight)
    here = load_eight(picture, first)
    above = fma(x, sub(load_eight(picture, first + 1), here), here)
    for line in range(CELL):
        first += width
        here = load_eight(picture, first)
        below = fma(x, sub(load_eight(picture, first + 1), here), here)
        value = fma(y, sub(below, above), above)
        store(seen, _at(line, stride), mul(sub(value, load_eight(own, line * own_width)), factor))
        above = below


@part
def _look(  # type: ignore[no-untyped-def]
    picture, height, width, x, y, step_x, step_y, offsets, count, own, weight, patch, seen, stride
):  # fmt: skip
    """What a cell sees of a picture at its place + each offset · step."""
    far_x, far_y, outside = np.float32(width), np.float32(height), np.float32(-CELL)
    for k in range(count):
        offset = number(offsets, k)
        at_x, at_y = x + offset * step_x, y + offset * step_y
        # A cell may leave the picture by a cell and no more. What is no number must not become an address.
        at_x = min(at_x, far_x) if at_x > outside else outside
        at_y = min(at_y, far_y) if at_y > outside else outside
        floor_x, floor_y = np.floor(at_x), np.floor(at_y)
        left, top = int(floor_x), int(floor_y)
        part_x, part_y = at_x - floor_x, at_y - floor_y
        if left >= 0 and top >= 0 and left < width - CELL and top < height - CELL:
            _sample(picture, top * width + left, width, part_x, part_y, own, width, weight, seen, stride)
        else:
            _copy_patch(picture, height, width, top, left, patch)
            _sample(patch, 0, PATCH_ROW, part_x, part_y, own, width, weight, seen, stride)
        seen += 4 * LANES


@part
def _constant(seen, stride, value):  # type: ignore[no-untyped-def]
    """The same for all pixels of a cell."""
    for line in range(CELL):
        store(seen, _at(line, stride), fill_eight(value))


@part
def _layer(x, weights, biases, inputs, outputs, y):  # type: ignore[no-untyped-def]
    """A layer with its activation: (inputs) vectors from ``x`` on → (outputs) vectors from ``y`` on."""
    slope, at = fill(SLOPE), 0
    for n in range(0, outputs, BLOCK):
        a, b = fill_from(biases, n), fill_from(biases, n + 1)
        c, d = fill_from(biases, n + 2), fill_from(biases, n + 3)
        for k in range(inputs):
            v = load(x, k * LANES)
            a, b = fma(fill_from(weights, at), v, a), fma(fill_from(weights, at + 1), v, b)
            c, d = fma(fill_from(weights, at + 2), v, c), fma(fill_from(weights, at + 3), v, d)
            at += BLOCK
        store(y, n * LANES, larger(a, mul(a, slope)))
        store(y, (n + 1) * LANES, larger(b, mul(b, slope)))
        store(y, (n + 2) * LANES, larger(c, mul(c, slope)))
        store(y, (n + 3) * LANES, larger(d, mul(d, slope)))


@part
def _sum(x, weights, bias, inputs):  # type: ignore[no-untyped-def]
    total = fill(bias)
    for k in range(inputs):
        total = fma(fill_from(weights, k), load(x, k * LANES), total)
    return total


def rows(  # type: ignore[no-untyped-def]
    result, own, before, after, moves, places, trusts, offsets, count, around, points,
    weights, biases, last, last_bias, seen_count, hidden, depth, contrast, height, width, top, bottom, scratch,
):  # fmt: skip
    """The correction of some rows of cells of a picture. All tensors are addresses; 0 for a missing neighbour."""
    columns = width // CELL
    cells = height // CELL * columns
    stride = seen_count * LANES
    one = scratch + 4 * stride * VECTORS * ROUND
    other = one + 4 * hidden * LANES
    patch = other + 4 * hidden * LANES
    for row in range(top, bottom):
        for column in range(0, columns, ROUND):
            together = min(ROUND, columns - column)
            for x in range(column, column + together):
                cell = row * columns + x
                first_x, first_y = np.float32(x * CELL), np.float32(row * CELL)
                mine = own + 4 * (row * CELL * width + x * CELL)
                move_x, move_y = number(moves, cell), number(moves, cells + cell)
                seen = scratch + 4 * (x - column) * VECTORS * stride
                _look(
                    own, height, width, first_x, first_y, move_x, move_y, offsets, count,
                    mine, contrast, patch, seen, stride,
                )  # fmt: skip
                seen += 4 * count * LANES
                _constant(seen, stride, np.log1p(np.sqrt(move_x * move_x + move_y * move_y)) * QUARTER)
                seen += 4 * LANES
                for line in range(CELL):
                    store(seen, _at(line, stride), sub(load_eight(mine, line * width), fill_eight(HALF)))
                seen += 4 * LANES
                for side in range(2):
                    picture = after if side else before
                    if points and picture:
                        trust = number(trusts, side * cells + cell)
                        there_x = first_x + number(places, 2 * side * cells + cell)
                        there_y = first_y + number(places, (2 * side + 1) * cells + cell)
                        _look(
                            picture, height, width, there_x, there_y, move_x, move_y, around, points,
                            mine, contrast * trust, patch, seen, stride,
                        )  # fmt: skip
                        _constant(seen + 4 * points * LANES, stride, trust)
                    seen += 4 * (points + 1) * LANES
            for vector in range(together * VECTORS):
                _layer(scratch + 4 * vector * stride, weights, biases, seen_count, hidden, one)
                matrix, shift = weights + 4 * seen_count * hidden, biases + 4 * hidden
                for _ in range(depth):
                    _layer(one, matrix, shift, hidden, hidden, other)
                    one, other = other, one
                    matrix, shift = matrix + 4 * hidden * hidden, shift + 4 * hidden
                store(other, 0, _sum(one, last, last_bias, hidden))
                x = column + vector // VECTORS
                move_x, move_y = number(moves, row * columns + x), number(moves, cells + row * columns + x)
                square = move_x * move_x + move_y * move_y
                gate = fill_eight(square / (ONE + square) / contrast)
                base = (row * width + x) * CELL + vector % VECTORS * LINES * width
                for line in range(LINES):
                    store(result, base + line * width, mul(load_eight(other, line * CELL), gate))
