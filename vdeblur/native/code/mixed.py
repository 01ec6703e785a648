"""What pixels see along their motion, and a filter of their own for each cell: the twin of ``MixedTaps``' operators.

Some cells are worked on together, so that what makes their filters is read from memory once for all of them.
"""

from __future__ import annotations

import numpy as np

from vdeblur.native.code.rows import size, total
from vdeblur.native.code.taps import at_line, layer, look, weighted_sum
from vdeblur.native.code.vectors import (
    add,
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
)
from vdeblur.native.mixed import TOGETHER
from vdeblur.native.processor import LANES
from vdeblur.native.taps import CELL, PIXELS, VECTORS

LINES = LANES // CELL
NONE, HALF, ONE, SLOPE = np.float32(0), np.float32(0.5), np.float32(1), np.float32(0.1)
SHARE = np.float32(1 / PIXELS)


@part
def _see(  # type: ignore[no-untyped-def]
    own, before, after, height, width, x, row, moves, places, trusts, lengths, offsets, count, around, points,
    contrast, patch, seen, stride, features,
):  # fmt: skip
    """What a cell's pixels see, and what its filter is made of."""
    columns = width // CELL
    cells, cell = height // CELL * columns, row * columns + x
    first_x, first_y = np.float32(x * CELL), np.float32(row * CELL)
    mine = own + 4 * (row * CELL * width + x * CELL)
    move_x, move_y = number(moves, cell), number(moves, cells + cell)
    look(own, height, width, first_x, first_y, move_x, move_y, offsets, count, mine, contrast, patch, seen, stride)
    line = seen + 4 * count * LANES
    differences = count + 2 * points
    put(features, differences, number(lengths, cell))
    for side in range(2):
        picture, trust = (after if side else before), NONE
        if points and picture:
            trust = number(trusts, side * cells + cell)
            there_x = first_x + number(places, 2 * side * cells + cell)
            there_y = first_y + number(places, (2 * side + 1) * cells + cell)
            look(
                picture, height, width, there_x, there_y, move_x, move_y, around, points,
                mine, contrast * trust, patch, line, stride,
            )  # fmt: skip
        if points:
            put(features, differences + 1 + side, trust)
        line += 4 * points * LANES
    for number_of in range(CELL):
        store(line, at_line(number_of, stride), sub(load_eight(mine, number_of * width), fill_eight(HALF)))
    for k in range(differences):
        sizes = size(load(seen, k * LANES))
        for vector in range(1, VECTORS):
            sizes = add(sizes, size(load(seen, vector * stride + k * LANES)))
        put(features, k, np.sqrt(np.sqrt(total(sizes) * SHARE)))


@part
def _dense(x, step, weights, biases, inputs, outputs, activated, y, jump):  # type: ignore[no-untyped-def]
    """A layer (inputs, outputs) of all cells that are worked on together; ``step`` and ``jump`` lead to the next."""
    slope = fill(SLOPE if activated else ONE)
    for n in range(0, outputs, LANES):
        a = b = c = d = load(biases, n)
        for k in range(inputs):
            w = load(weights, k * outputs + n)
            a, b = fma(fill_from(x, k), w, a), fma(fill_from(x, step + k), w, b)
            c, d = fma(fill_from(x, 2 * step + k), w, c), fma(fill_from(x, 3 * step + k), w, d)
        store(y, n, larger(a, mul(a, slope)))
        store(y, jump + n, larger(b, mul(b, slope)))
        store(y, 2 * jump + n, larger(c, mul(c, slope)))
        store(y, 3 * jump + n, larger(d, mul(d, slope)))


def rows(  # type: ignore[no-untyped-def]
    result, own, before, after, moves, places, trusts, lengths, gates, offsets, count, around, points,
    first, first_bias, second, second_bias, head, head_bias, experts, shares,
    hidden, code, made, mixed, contrast, height, width, top, bottom, scratch,
):  # fmt: skip
    """The correction of some rows of cells of a picture. All tensors are addresses; 0 for a missing neighbour.

    ``made`` numbers are made of a cell's code: shares of the experts, bias, output's weights, shift, weights straight
    to the output. A filter has ``mixed`` numbers.
    """
    columns = width // CELL
    differences = count + 2 * points
    inputs, known = differences + 1, differences + (3 if points else 1)
    stride = inputs * LANES
    features = scratch + 4 * TOGETHER * VECTORS * stride
    one = features + 4 * TOGETHER * known
    other = one + 4 * TOGETHER * code
    heads = other + 4 * TOGETHER * code
    filters = heads + 4 * TOGETHER * made
    units = filters + 4 * TOGETHER * mixed
    patch = units + 4 * hidden * LANES
    for row in range(top, bottom):
        for column in range(0, columns, TOGETHER):
            together = min(TOGETHER, columns - column)
            for n in range(together):
                _see(
                    own, before, after, height, width, column + n, row, moves, places, trusts, lengths,
                    offsets, count, around, points, contrast, patch,
                    scratch + 4 * n * VECTORS * stride, stride, features + 4 * n * known,
                )  # fmt: skip
            _dense(features, known, first, first_bias, known, code, True, one, code)
            _dense(one, code, second, second_bias, code, code, True, other, code)
            _dense(other, code, head, head_bias, code, made, False, heads, made)
            _dense(heads, made, experts + 4 * mixed, experts, shares, mixed, False, filters, mixed)
            for n in range(together):
                own_head = heads + 4 * n * made
                last, gate = own_head + 4 * (shares + hidden), number(gates, row * columns + column + n)
                shift, straight = number(last, hidden), last + 4 * (hidden + 1)
                for vector in range(VECTORS):
                    seen = scratch + 4 * (n * VECTORS + vector) * stride
                    layer(seen, filters + 4 * n * mixed, own_head + 4 * shares, inputs, hidden, units)
                    change = add(
                        weighted_sum(units, last, shift, hidden), weighted_sum(seen, straight, NONE, differences)
                    )
                    store(units, 0, mul(change, fill(gate)))
                    base = (row * width + column + n) * CELL + vector * LINES * width
                    for line in range(LINES):
                        store(result, base + line * width, load_eight(units, line * CELL))
