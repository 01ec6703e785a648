"""One filter for all pixels of what they see along their motion: the twin of ``CellTaps``' plain operators."""

from __future__ import annotations

from vdeblur.kernels.cpu.block_operands import CELL, VECTORS
from vdeblur.kernels.cpu.block_taps import ROUND
from vdeblur.kernels.cpu.jit.block_sampling import at_line, layer, look_along, look_aside, own_luma, weighted_sum, write
from vdeblur.kernels.cpu.jit.vectors import fill_eight, number, part, store
from vdeblur.kernels.cpu.simd import LANES


@part
def _constant(seen, stride, value):  # type: ignore[no-untyped-def]
    """The same for all pixels of a cell."""
    for line in range(CELL):
        store(seen, at_line(line, stride), fill_eight(value))


def rows(  # type: ignore[no-untyped-def]
    result, own, before, after, moves, places, trusts, lengths, gates, offsets, count, around, points,
    weights, biases, last, last_bias, seen_count, hidden, depth, contrast, height, width, top, bottom, scratch,
):  # fmt: skip
    """The correction of some rows of cells of a picture. All tensors are addresses; 0 for a missing neighbour."""
    columns = width // CELL
    stride = seen_count * LANES
    one = scratch + 4 * stride * VECTORS * ROUND
    other = one + 4 * hidden * LANES
    patch = other + 4 * hidden * LANES
    for row in range(top, bottom):
        for column in range(0, columns, ROUND):
            together = min(ROUND, columns - column)
            for x in range(column, column + together):
                mine = own + 4 * (row * CELL * width + x * CELL)
                seen = scratch + 4 * (x - column) * VECTORS * stride
                look_along(own, height, width, x, row, moves, offsets, count, mine, contrast, patch, seen, stride)
                seen += 4 * count * LANES
                _constant(seen, stride, number(lengths, row * columns + x))
                own_luma(mine, width, seen + 4 * LANES, stride)
                seen += 8 * LANES
                for side in range(2):
                    picture = after if side else before
                    if points and picture:
                        trust = look_aside(
                            picture, side, height, width, x, row, moves, places, trusts, around, points,
                            mine, contrast, patch, seen, stride,
                        )  # fmt: skip
                        _constant(seen + 4 * points * LANES, stride, trust)
                    seen += 4 * (points + 1) * LANES
            for vector in range(together * VECTORS):
                layer(scratch + 4 * vector * stride, weights, biases, seen_count, hidden, one)
                matrix, shift = weights + 4 * seen_count * hidden, biases + 4 * hidden
                for _ in range(depth):
                    layer(one, matrix, shift, hidden, hidden, other)
                    one, other = other, one
                    matrix, shift = matrix + 4 * hidden * hidden, shift + 4 * hidden
                x = column + vector // VECTORS
                change = weighted_sum(one, last, last_bias, hidden)
                write(change, other, result, width, x, row, vector % VECTORS, number(gates, row * columns + x))
