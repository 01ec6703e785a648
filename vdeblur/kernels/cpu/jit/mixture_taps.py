"""What pixels see along their motion, and a filter of their own for each cell: the twin of ``MixedTaps``' operators.

Some cells are worked on together, so that what makes their filters is read from memory once for all of them.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.block_operands import CELL, PIXELS, VECTORS
from vdeblur.kernels.cpu.jit.block_sampling import layer, leaky, look_along, look_aside, own_luma, weighted_sum, write
from vdeblur.kernels.cpu.jit.registers import total
from vdeblur.kernels.cpu.jit.vectors import fill_from, fma, load, number, part, put, size, store
from vdeblur.kernels.cpu.mixture_taps import TOGETHER
from vdeblur.kernels.cpu.simd import LANES

NONE, SHARE = np.float32(0), np.float32(1 / PIXELS)


@part
def _see(  # type: ignore[no-untyped-def]
    own, before, after, height, width, x, row, moves, places, trusts, lengths, offsets, count, around, points,
    contrast, patch, seen, stride, features,
):  # fmt: skip
    """What a cell's pixels see, and what its filter is made of."""
    mine = own + 4 * (row * CELL * width + x * CELL)
    look_along(own, height, width, x, row, moves, offsets, count, mine, contrast, patch, seen, stride)
    line, differences = seen + 4 * count * LANES, count + 2 * points
    put(features, differences, number(lengths, row * (width // CELL) + x))
    for side in range(2):
        picture, trust = (after if side else before), NONE
        if points and picture:
            trust = look_aside(
                picture, side, height, width, x, row, moves, places, trusts, around, points,
                mine, contrast, patch, line, stride,
            )  # fmt: skip
        if points:
            put(features, differences + 1 + side, trust)
        line += 4 * points * LANES
    own_luma(mine, width, line, stride)
    for k in range(differences):
        sizes = size(load(seen, k * LANES))
        for vector in range(1, VECTORS):
            sizes = sizes + size(load(seen, vector * stride + k * LANES))
        put(features, k, np.sqrt(np.sqrt(total(sizes) * SHARE)))


@part
def _dense(x, step, weights, biases, inputs, outputs, activated, y, jump):  # type: ignore[no-untyped-def]
    """A layer (inputs, outputs) of all cells that are worked on together; ``step`` and ``jump`` lead to the next."""
    for n in range(0, outputs, LANES):
        a = b = c = d = load(biases, n)
        for k in range(inputs):
            w = load(weights, k * outputs + n)
            a, b = fma(fill_from(x, k), w, a), fma(fill_from(x, step + k), w, b)
            c, d = fma(fill_from(x, 2 * step + k), w, c), fma(fill_from(x, 3 * step + k), w, d)
        if activated:
            a, b, c, d = leaky(a), leaky(b), leaky(c), leaky(d)
        store(y, n, a)
        store(y, jump + n, b)
        store(y, 2 * jump + n, c)
        store(y, 3 * jump + n, d)


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
                    change = weighted_sum(units, last, shift, hidden) + weighted_sum(seen, straight, NONE, differences)
                    write(change, units, result, width, column + n, row, vector, gate)
