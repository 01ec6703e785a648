"""What the pixels of a cell see along its motion, and layers of what they see.

All that a few cells need stays in the first cache: their samples, the hidden units of their pixels, the weights.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.block_operands import BLOCK, CELL, PATCH_ROW
from vdeblur.kernels.cpu.jit.vectors import fill, fill_from, fma, larger, load, load_eight, number, part, put, store
from vdeblur.kernels.cpu.simd import LANES

#: Lines of a cell in a vector.
LINES = LANES // CELL
HALF, SLOPE = np.float32(0.5), np.float32(0.1)


@part
def _copy_patch(picture, height, width, top, left, patch):  # type: ignore[no-untyped-def]
    """Copy 9 × 9 pixels whose first one may lie outside of the picture; the border is repeated."""
    for j in range(CELL + 1):
        row = min(max(top + j, 0), height - 1) * width
        for i in range(CELL + 1):
            put(patch, j * PATCH_ROW + i, number(picture, row + min(max(left + i, 0), width - 1)))


@part
def at_line(line, stride):  # type: ignore[no-untyped-def]
    """Where a line of a cell lies in its vectors, which are ``stride`` numbers apart."""
    pixel = line * CELL
    return pixel // LANES * stride + pixel % LANES


@part
def _sample(picture, first, width, part_x, part_y, own, own_width, weight, seen, stride):  # type: ignore[no-untyped-def]
    """The pixels of a cell between those of a picture from ``first`` on, less their own, weighted."""
    here = load_eight(picture, first)
    above = here + (load_eight(picture, first + 1) - here) * part_x
    for line in range(CELL):
        first += width
        here = load_eight(picture, first)
        below = here + (load_eight(picture, first + 1) - here) * part_x
        value = above + (below - above) * part_y
        store(seen, at_line(line, stride), (value - load_eight(own, line * own_width)) * weight)
        above = below


@part
def look(  # type: ignore[no-untyped-def]
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
def look_aside(  # type: ignore[no-untyped-def]
    picture, side, height, width, x, row, moves, places, trusts, offsets, count, own, contrast, patch, seen, stride
):  # fmt: skip
    """What a cell sees of the frame before or after (side 0 or 1), weighted by the trust in it, which it returns."""
    columns = width // CELL
    cells, cell = height // CELL * columns, row * columns + x
    trust = number(trusts, side * cells + cell)
    look(
        picture, height, width,
        np.float32(x * CELL) + number(places, 2 * side * cells + cell),
        np.float32(row * CELL) + number(places, (2 * side + 1) * cells + cell),
        number(moves, cell), number(moves, cells + cell), offsets, count, own, contrast * trust, patch, seen, stride,
    )  # fmt: skip
    return trust


@part
def look_along(  # type: ignore[no-untyped-def]
    picture, height, width, x, row, moves, offsets, count, own, contrast, patch, seen, stride
):  # fmt: skip
    """What a cell sees of its own picture along its motion."""
    columns = width // CELL
    cells, cell = height // CELL * columns, row * columns + x
    look(
        picture, height, width, np.float32(x * CELL), np.float32(row * CELL), number(moves, cell),
        number(moves, cells + cell), offsets, count, own, contrast, patch, seen, stride,
    )  # fmt: skip


@part
def own_luma(own, width, seen, stride):  # type: ignore[no-untyped-def]
    """The luma of a cell's pixels, around 0."""
    for line in range(CELL):
        store(seen, at_line(line, stride), load_eight(own, line * width) - HALF)


@part
def leaky(x):  # type: ignore[no-untyped-def]
    """The activation."""
    return larger(x, x * SLOPE)


@part
def layer(x, weights, biases, inputs, outputs, y):  # type: ignore[no-untyped-def]
    """A layer with its activation: (inputs) vectors from ``x`` on → (outputs) vectors from ``y`` on."""
    at = 0
    for n in range(0, outputs, BLOCK):
        a, b = fill_from(biases, n), fill_from(biases, n + 1)
        c, d = fill_from(biases, n + 2), fill_from(biases, n + 3)
        for k in range(inputs):
            v = load(x, k * LANES)
            a, b = fma(fill_from(weights, at), v, a), fma(fill_from(weights, at + 1), v, b)
            c, d = fma(fill_from(weights, at + 2), v, c), fma(fill_from(weights, at + 3), v, d)
            at += BLOCK
        store(y, n * LANES, leaky(a))
        store(y, (n + 1) * LANES, leaky(b))
        store(y, (n + 2) * LANES, leaky(c))
        store(y, (n + 3) * LANES, leaky(d))


@part
def weighted_sum(x, weights, bias, inputs):  # type: ignore[no-untyped-def]
    total = fill(bias)
    for k in range(inputs):
        total = fma(fill_from(weights, k), load(x, k * LANES), total)
    return total


@part
def write(change, spare, result, width, x, row, vector, gate):  # type: ignore[no-untyped-def]
    """The correction of one of the vectors of a cell, weighted by its motion, to where its lines lie."""
    store(spare, 0, change * gate)
    first = (row * width + x) * CELL + vector * LINES * width
    for line in range(LINES):
        store(result, first + line * width, load_eight(spare, line * CELL))
