"""What pixels see along their motion and the filters of that, cell by cell: the twin of ``CellTaps``' plain operators.

All that a few cells need stays in the first cache: their samples, the hidden units of their pixels, the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numba import float32
from torch import Tensor, nn

from vdeblur.model.cores import side_by_side
from vdeblur.model.native.compiling import kernel, part
from vdeblur.model.native.vectors import (
    LANES,
    fill,
    fill_four,
    fill_from,
    fma,
    larger,
    load,
    load_four,
    mul,
    number,
    put,
    store,
    sub,
)  # fmt: skip

#: Pixels each way of a cell.
CELL = 4
PIXELS = CELL * CELL
#: Cells whose pixels are the lanes of a vector, and vectors that are worked on before the weights are read again.
TOGETHER, VECTORS = LANES // PIXELS, 8
ROUND = TOGETHER * VECTORS
#: Outputs of a layer that are worked on at a time.
BLOCK = 4
#: Pixels of a strip, which one core works on.
STRIP_PIXELS = 32_768
#: Numbers of a row of the copy of a cell's surroundings.
PATCH_ROW = 8
HALF, QUARTER, ONE, SLOPE = np.float32(0.5), np.float32(0.25), np.float32(1), np.float32(0.1)


@part
def _copy_patch(picture, height, width, top, left, patch):  # type: ignore[no-untyped-def]
    """Copy 5 × 5 pixels whose first one may lie outside of the picture; the border is repeated."""
    for j in range(CELL + 1):
        row = min(max(top + j, 0), height - 1) * width
        for i in range(CELL + 1):
            put(patch, j * PATCH_ROW + i, number(picture, row + min(max(left + i, 0), width - 1)))


@part
def _sample(picture, first, stride, part_x, part_y, own, weight, seen, at):  # type: ignore[no-untyped-def]
    """The pixels of a cell between those of a picture from ``first`` on, less their own, weighted."""
    x, y, factor = fill_four(part_x), fill_four(part_y), fill_four(weight)
    here = load_four(picture, first)
    above = fma(x, sub(load_four(picture, first + 1), here), here)
    for j in range(CELL):
        first += stride
        here = load_four(picture, first)
        below = fma(x, sub(load_four(picture, first + 1), here), here)
        value = fma(y, sub(below, above), above)
        store(seen, at + j * CELL, mul(sub(value, load_four(own, j * CELL)), factor))
        above = below


@part
def _look(  # type: ignore[no-untyped-def]
    picture, height, width, x, y, step_x, step_y, offsets, count, weight, own, patch, seen, at
):  # fmt: skip
    """What a cell sees of a picture at its place + each offset · step, in rows of vectors from ``seen[at]`` on."""
    far_x, far_y, outside = float32(width), float32(height), float32(-CELL)
    for k in range(count):
        offset = number(offsets, k)
        at_x, at_y = x + offset * step_x, y + offset * step_y
        # A cell may leave the picture by a cell and no more. What is no number must not become an address.
        at_x = min(at_x, far_x) if at_x > outside else outside
        at_y = min(at_y, far_y) if at_y > outside else outside
        floor_x, floor_y = np.floor(at_x), np.floor(at_y)
        left, top = int(floor_x), int(floor_y)
        part_x, part_y = at_x - floor_x, at_y - floor_y
        row = at + k * LANES
        if left >= 0 and top >= 0 and left < width - CELL and top < height - CELL:
            _sample(picture, top * width + left, width, part_x, part_y, own, weight, seen, row)
        else:
            _copy_patch(picture, height, width, top, left, patch)
            _sample(patch, 0, PATCH_ROW, part_x, part_y, own, weight, seen, row)


@part
def _constant(seen, at, value):  # type: ignore[no-untyped-def]
    """The same for all pixels of a cell."""
    for j in range(CELL):
        store(seen, at + j * CELL, fill_four(value))


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


@kernel
def _rows(  # type: ignore[no-untyped-def]
    result, own, before, after, moves, places, trusts, offsets, count, around, points,
    weights, biases, last, last_bias, seen_count, hidden, depth, contrast, height, width, top, bottom, scratch,
):  # fmt: skip
    """The correction of some rows of cells of a picture. All tensors are addresses; 0 for a missing neighbour."""
    rows, columns = height // CELL, width // CELL
    cells = rows * columns
    stride = seen_count * LANES
    one = scratch + 4 * stride * VECTORS
    other = one + 4 * hidden * LANES
    out = other + 4 * hidden * LANES
    mine = out + 4 * LANES
    patch = mine + 4 * PIXELS
    for row in range(top, bottom):
        for column in range(0, columns, ROUND):
            together = min(ROUND, columns - column)
            for lane in range(together):
                x = column + lane
                cell = row * columns + x
                at = lane // TOGETHER * stride + lane % TOGETHER * PIXELS
                first_x, first_y = float32(x * CELL), float32(row * CELL)
                base = row * CELL * width + x * CELL
                for j in range(CELL):
                    value = load_four(own, base + j * width)
                    store(mine, j * CELL, value)
                    store(scratch, at + (count + 1) * LANES + j * CELL, sub(value, fill_four(HALF)))
                move_x, move_y = number(moves, cell), number(moves, cells + cell)
                _look(
                    own, height, width, first_x, first_y, move_x, move_y, offsets, count, contrast,
                    mine, patch, scratch, at,
                )  # fmt: skip
                length = np.sqrt(move_x * move_x + move_y * move_y)
                _constant(scratch, at + count * LANES, np.log1p(length) * QUARTER)
                line = at + (count + 2) * LANES
                for side in range(2):
                    picture = after if side else before
                    if points and picture:
                        trust = number(trusts, side * cells + cell)
                        there_x = first_x + number(places, 2 * side * cells + cell)
                        there_y = first_y + number(places, (2 * side + 1) * cells + cell)
                        _look(
                            picture, height, width, there_x, there_y, move_x, move_y, around, points, contrast * trust,
                            mine, patch, scratch, line,
                        )  # fmt: skip
                        _constant(scratch, line + points * LANES, trust)
                    line += (points + 1) * LANES
            for vector in range((together + TOGETHER - 1) // TOGETHER):
                _layer(scratch + 4 * vector * stride, weights, biases, seen_count, hidden, one)
                matrix, shift = weights + 4 * seen_count * hidden, biases + 4 * hidden
                for _ in range(depth):
                    _layer(one, matrix, shift, hidden, hidden, other)
                    one, other = other, one
                    matrix, shift = matrix + 4 * hidden * hidden, shift + 4 * hidden
                store(out, 0, _sum(one, last, last_bias, hidden))
                for lane in range(min(TOGETHER, together - vector * TOGETHER)):
                    x = column + vector * TOGETHER + lane
                    move_x, move_y = number(moves, row * columns + x), number(moves, cells + row * columns + x)
                    square = move_x * move_x + move_y * move_y
                    gate = fill_four(square / (ONE + square) / contrast)
                    base = row * CELL * width + x * CELL
                    for j in range(CELL):
                        store(result, base + j * width, mul(load_four(out, lane * PIXELS + j * CELL), gate))


def taps(
    frames: Sequence[Tensor | None],
    motion: Tensor,
    places: Tensor,
    trusts: Tensor,
    form: Any,
    *,
    contrast: float,
    cell: int,
) -> Tensor:
    """What :meth:`vdeblur.model.celltaps.CellTaps.forward` makes of pixels: (B, 1, H, W), float32.

    Args:
        frames: luma of the frame, the one before and the one after (B, 1, H, W), float32; None where there is none.
        motion: (B, 2, H/4, W/4) in pixels, x before y.
        places: the displacement to each neighbour (B, 4, H/4, W/4) in pixels; ``trusts`` (B, 2, H/4, W/4).
        form: the CellTaps whose points and filters are meant.
    """
    assert cell == CELL, cell
    weights = weights_of(form.filters, form.mix, form.correction)
    offsets, around = (each.float().contiguous() for each in (form.offsets, form.neighbour_offsets))
    frames = [None if frame is None else frame.float().contiguous() for frame in frames]
    motion, places, trusts = (each.float().contiguous() for each in (motion, places, trusts))
    own = frames[0]
    assert own is not None
    batch, _, height, width = own.shape
    result = torch.empty_like(own)
    size = weights.seen * LANES * VECTORS + 2 * weights.hidden * LANES + LANES + PIXELS + (CELL + 1) * PATCH_ROW

    def work(number: int, top: int, bottom: int) -> None:
        scratch = torch.zeros(size)  # what is not seen counts as nothing
        _rows(
            _address(result, number), *(_address(frame, number) for frame in frames),
            _address(motion, number), _address(places, number), _address(trusts, number),
            _address(offsets), len(offsets), _address(around), len(around),
            _address(weights.layers), _address(weights.biases), _address(weights.last), np.float32(weights.last_bias),
            weights.seen, weights.hidden, weights.depth, np.float32(contrast), height, width, top, bottom,
            _address(scratch),
        )  # fmt: skip

    rows = height // CELL
    step = max(1, STRIP_PIXELS // (CELL * width))
    strips = [
        partial(work, number, top, min(rows, top + step)) for number in range(batch) for top in range(0, rows, step)
    ]
    side_by_side(strips, own.device)
    return result


def _address(tensor: Tensor | None, number: int | None = None) -> int:
    """Of a tensor's first number, or of that of one of a batch; 0 for None."""
    if tensor is None:
        return 0
    return tensor.data_ptr() if number is None else tensor[number].data_ptr()


class Weights(NamedTuple):
    """Filters in the order in which they are read: all layers, their biases, and the last one, float32."""

    layers: Tensor
    biases: Tensor
    last: Tensor
    last_bias: float
    seen: int
    hidden: int
    depth: int


def weights_of(filters: nn.Conv2d, mix: Sequence[nn.Conv2d], correction: nn.Conv2d) -> Weights:
    """The weights of 1×1 convolutions; hidden units that are nothing fill up a multiple of :data:`BLOCK`."""
    layers = [filters, *mix]
    missing = -len(filters.weight) % BLOCK
    hidden = len(filters.weight) + missing
    parts = []
    for layer in layers:
        matrix = F.pad(layer.weight.float().flatten(1), (0, 0 if layer is filters else missing, 0, missing))
        parts.append(matrix.view(hidden // BLOCK, BLOCK, -1).transpose(1, 2).flatten())
    biases = torch.cat([F.pad(_bias(layer), (0, missing)) for layer in layers])
    last = F.pad(correction.weight.float().flatten(), (0, missing))
    return Weights(torch.cat(parts), biases, last, float(_bias(correction)), filters.weight.shape[1], hidden, len(mix))


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
