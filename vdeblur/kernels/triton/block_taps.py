"""Luma sampled along its own motion, cell by cell, and what filters make of it."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vdeblur.kernels.dispatch import stacked
from vdeblur.kernels.inputs import BlockInputs
from vdeblur.kernels.triton.building_blocks import (
    LENGTH,
    NOTHING,
    OWN,
    SAMPLE,
    TRUST,
    between,
    leaky,
    padded,
    padded_matrix,
    padded_mixes,
    padded_vector,
)

#: Pixels of a row that a program of :func:`_taps` takes, and warps it is given: two, see :mod:`.steered`.
ROW, ROW_WARPS = 64, 2
#: Warps of a cell: with one, two, four and eight a frame of 2160p takes an H200 2.3, 2.8, 3.2 and 4.0 ms.
WARPS = 1


@triton.jit
def _taps(  # type: ignore[no-untyped-def]
    result, frames, motion, places, trusts, roles, sources, offsets,
    filters, filters_bias, mixes, mixes_bias, last, last_bias,
    height, width, contrast,
    SEEN: tl.constexpr, HIDDEN: tl.constexpr, DEPTH: tl.constexpr, CELL: tl.constexpr, ROW: tl.constexpr,
):  # fmt: skip
    """Correction of a piece of a row: see :func:`taps`."""
    batch, y = tl.program_id(2), tl.program_id(1)
    x = tl.program_id(0) * ROW + tl.arange(0, ROW)
    inside = x < width
    x = tl.minimum(x, width - 1)
    cells = (height // CELL) * (width // CELL)
    cell = (y // CELL) * (width // CELL) + x // CELL
    motion += batch * 2 * cells
    places += batch * 4 * cells
    trusts += batch * 2 * cells
    frames += batch * 3 * height * width
    move_x, move_y = tl.load(motion + cell), tl.load(motion + cells + cell)
    length = tl.sqrt(move_x * move_x + move_y * move_y)
    own = tl.load(frames + y * width + x)

    k = tl.arange(0, SEEN)
    role, source, offset = tl.load(roles + k)[:, None], tl.load(sources + k)[:, None], tl.load(offsets + k)[:, None]
    shift_x, shift_y = offset * move_x[None, :], offset * move_y[None, :]
    trust = tl.full((SEEN, ROW), 1.0, tl.float32)
    for side in tl.static_range(2):
        there = source == side + 1
        shift_x += tl.where(there, tl.load(places + 2 * side * cells + cell)[None, :], 0.0)
        shift_y += tl.where(there, tl.load(places + (2 * side + 1) * cells + cell)[None, :], 0.0)
        trust = tl.where(there, tl.load(trusts + side * cells + cell)[None, :], trust)

    # A cell's place may leave the picture by a cell and no more, whatever its pixels do.
    first_x = (x // CELL * CELL)[None, :]
    first_y = y // CELL * CELL
    at_x = tl.minimum(tl.maximum(first_x + CELL + shift_x, 0.0), (width + CELL) * 1.0) - CELL
    at_y = tl.minimum(tl.maximum(first_y + CELL + shift_y, 0.0), (height + CELL) * 1.0) - CELL
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    part_x, part_y = at_x - floor_x, at_y - floor_y
    left = floor_x.to(tl.int32) + (x % CELL)[None, :]
    top = floor_y.to(tl.int32) + y % CELL
    x0, x1 = tl.minimum(tl.maximum(left, 0), width - 1), tl.minimum(tl.maximum(left + 1, 0), width - 1)
    y0, y1 = tl.minimum(tl.maximum(top, 0), height - 1), tl.minimum(tl.maximum(top + 1, 0), height - 1)
    sampled = role == 1
    picture = frames + source * (height * width)
    there = between(picture + y0 * width, picture + y1 * width, x0, x1, part_x, part_y, sampled)
    difference = (there - own[None, :]) * (contrast * trust)

    seen = tl.where(sampled, difference, 0.0)
    seen = tl.where(role == 2, (tl.log(1 + length) / 4)[None, :], seen)
    seen = tl.where(role == 3, (own - 0.5)[None, :], seen)
    seen = tl.where(role == 4, trust, seen)

    h = tl.arange(0, HIDDEN)
    dtype = filters.dtype.element_ty
    weight = tl.load(filters + h[:, None] * SEEN + k[None, :])
    hidden = leaky(tl.dot(weight, seen.to(dtype), input_precision="ieee") + tl.load(filters_bias + h)[:, None])
    for layer in tl.static_range(DEPTH):
        weight = tl.load(mixes + layer * HIDDEN * HIDDEN + h[:, None] * HIDDEN + h[None, :])
        bias = tl.load(mixes_bias + layer * HIDDEN + h)[:, None]
        hidden = leaky(tl.dot(weight, hidden.to(dtype), input_precision="ieee") + bias)
    change = tl.sum(hidden * tl.load(last + h)[:, None], 0) + tl.load(last_bias)
    gate = length * length
    change *= gate / (1 + gate) / contrast
    tl.store(result + (batch * height + y) * width + x, change, inside)


def taps(looks: BlockInputs, form: Any) -> Tensor:
    """What :class:`vdeblur.model.block_taps.SharedTaps` ``form`` makes of a frame: (B, 1, H, W), float32."""
    seen, (batch, height, width) = _seen_by(form, looks)
    weights = weights_of(form.filters, form.mix, form.correction)
    result = torch.empty(batch, 1, height, width, device=seen[0].device)
    depth, hidden, _ = weights["mixes"].shape
    grid = (triton.cdiv(width, ROW), height, batch)
    _taps[grid](
        result, *seen,
        weights["filters"], weights["filters_bias"], weights["mixes"], weights["mixes_bias"],
        weights["last"], weights["last_bias"],
        height, width, looks.contrast,
        SEEN=weights["filters"].shape[1], HIDDEN=hidden, DEPTH=depth, CELL=looks.cell, ROW=ROW, num_warps=ROW_WARPS,
    )  # fmt: skip
    return result


def _seen_by(form: Any, looks: BlockInputs) -> tuple[tuple[Tensor, ...], tuple[int, int, int]]:
    """Pictures one behind the other, their cells, and what the points of ``form`` are; batch, height and width."""
    neighbours = looks.frames[1:] if len(form.neighbour_offsets) else ()
    pictures = stacked([*looks.frames, None, None][:3])
    key = pictures.device, form.offsets.dtype, tuple(frame is not None for frame in neighbours)
    if key not in form.kept:
        form.kept[key] = columns_of(form.offsets, form.neighbour_offsets, key[2])
    columns = form.kept[key]
    parts = (pictures, looks.motion, looks.places, looks.trusts)
    batch, _, height, width = pictures.shape
    return (
        *(part.contiguous() for part in parts), columns["roles"], columns["sources"], columns["offsets"],
    ), (batch, height, width)  # fmt: skip


@triton.jit
def _linear(x, matrix, bias, rows, columns, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """A linear layer of one vector: (columns) → (rows)."""
    return tl.sum(tl.load(matrix + rows[:, None] * COLUMNS + columns[None, :]) * x[None, :], 1) + tl.load(bias + rows)


@triton.jit
def _mixed(  # type: ignore[no-untyped-def]
    result, frames, motion, places, trusts, roles, sources, offsets,
    first, first_bias, second, second_bias, head, head_bias, experts,
    height, width, contrast,
    SEEN: tl.constexpr, CODE: tl.constexpr, SHARES: tl.constexpr, HIDDEN: tl.constexpr, EXPERTS: tl.constexpr,
    CELL: tl.constexpr,
):  # fmt: skip
    """Correction of a cell: see :func:`mixed_taps`."""
    batch, cell = tl.program_id(1), tl.program_id(0)
    columns, cells = width // CELL, (height // CELL) * (width // CELL)
    pixel = tl.arange(0, CELL * CELL)
    first_x, first_y = cell % columns * CELL, cell // columns * CELL
    x, y = pixel % CELL, pixel // CELL
    motion += batch * 2 * cells
    places += batch * 4 * cells
    trusts += batch * 2 * cells
    frames += batch * 3 * height * width
    move_x, move_y = tl.load(motion + cell), tl.load(motion + cells + cell)
    square = move_x * move_x + move_y * move_y
    own = tl.load(frames + (first_y + y) * width + first_x + x)

    k = tl.arange(0, SEEN)
    role, source, offset = tl.load(roles + k), tl.load(sources + k), tl.load(offsets + k)
    shift_x, shift_y = offset * move_x, offset * move_y
    trust = tl.full((SEEN,), 1.0, tl.float32)
    for side in tl.static_range(2):
        there = source == side + 1
        shift_x += tl.where(there, tl.load(places + 2 * side * cells + cell), 0.0)
        shift_y += tl.where(there, tl.load(places + (2 * side + 1) * cells + cell), 0.0)
        trust = tl.where(there, tl.load(trusts + side * cells + cell), trust)
    # A cell's place may leave the picture by a cell and no more, whatever its pixels do.
    at_x = tl.minimum(tl.maximum(first_x + CELL + shift_x, 0.0), (width + CELL) * 1.0) - CELL
    at_y = tl.minimum(tl.maximum(first_y + CELL + shift_y, 0.0), (height + CELL) * 1.0) - CELL
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    part_x, part_y = (at_x - floor_x)[:, None], (at_y - floor_y)[:, None]
    left = floor_x.to(tl.int32)[:, None] + x[None, :]
    top = floor_y.to(tl.int32)[:, None] + y[None, :]
    x0, x1 = tl.minimum(tl.maximum(left, 0), width - 1), tl.minimum(tl.maximum(left + 1, 0), width - 1)
    y0, y1 = tl.minimum(tl.maximum(top, 0), height - 1), tl.minimum(tl.maximum(top + 1, 0), height - 1)
    sampled = (role == 1)[:, None]
    picture = (frames + source * (height * width))[:, None]
    there = between(picture + y0 * width, picture + y1 * width, x0, x1, part_x, part_y, sampled)
    difference = (there - own[None, :]) * (contrast * trust)[:, None]
    difference = tl.where(sampled, difference, 0.0)
    seen = tl.where((role == 3)[:, None], (own - 0.5)[None, :], difference)

    # What is the same for all pixels: the mean size of each difference, the motion's length, the trusts.
    known = tl.sqrt(tl.sqrt(tl.sum(tl.abs(difference), 1) / (CELL * CELL)))
    known = tl.where(role == 2, tl.log(1 + tl.sqrt(square)) / 4, known)
    known = tl.where(role == 4, trust, known)
    c, m = tl.arange(0, CODE), tl.arange(0, SHARES)
    code = leaky(_linear(known, first, first_bias, c, k, SEEN))
    code = leaky(_linear(code, second, second_bias, c, c, CODE))
    h = tl.arange(0, HIDDEN)
    # The head's rows: shares, shift, bias, output's weights, weights straight to the output.
    shares = _linear(code, head, head_bias, m, c, CODE)
    head += SHARES * CODE
    head_bias += SHARES
    shift = tl.sum(tl.load(head + c) * code, 0) + tl.load(head_bias)
    head += CODE
    head_bias += 1
    own_bias = _linear(code, head, head_bias, h, c, CODE)
    head += HIDDEN * CODE
    head_bias += HIDDEN
    last = _linear(code, head, head_bias, h, c, CODE)
    head += HIDDEN * CODE
    head_bias += HIDDEN
    straight = _linear(code, head, head_bias, k, c, CODE)

    at = h[:, None] * SEEN + k[None, :]
    weight = tl.load(experts + at).to(tl.float32)
    for expert in tl.static_range(EXPERTS):
        share = tl.sum(tl.where(m == expert, shares, 0.0), 0)
        weight += share * tl.load(experts + (expert + 1) * HIDDEN * SEEN + at).to(tl.float32)
    dtype = experts.dtype.element_ty
    hidden = leaky(tl.dot(weight.to(dtype), seen.to(dtype), input_precision="ieee") + own_bias[:, None])
    change = tl.sum(hidden * last[:, None], 0) + tl.sum(difference * straight[:, None], 0) + shift
    change *= square / (1 + square) / contrast
    tl.store(result + (batch * height + first_y + y) * width + first_x + x, change)


def mixed_taps(looks: BlockInputs, form: Any) -> Tensor:
    """What :class:`vdeblur.model.mixture_taps.MixtureTaps` ``form`` makes of a frame: (B, 1, H, W), float32."""
    seen, (batch, height, width) = _seen_by(form, looks)
    result = torch.empty(batch, 1, height, width, device=seen[0].device)
    rows = len(seen[-1])
    weights = _mixed_weights(form, rows)
    _mixed[(height // looks.cell * (width // looks.cell), batch)](
        result, *seen, *weights, height, width, looks.contrast,
        SEEN=rows, CODE=weights[0].shape[0], SHARES=padded(len(form.weight) - 1), HIDDEN=weights[-1].shape[1],
        EXPERTS=len(form.weight) - 1, CELL=looks.cell, num_warps=WARPS,
    )  # fmt: skip
    return result


def _mixed_weights(form: Any, seen: int) -> list[Tensor]:
    """The weights of a MixedTaps as :func:`_mixed` reads them, sizes filled up with zeros; all but filters float32."""
    code, hidden = padded(form.code[0].out_features), padded(form.weight.shape[1])
    shares, bias, last, shift, straight = form.head.weight.float().split(form.sizes)
    own = form.head.bias.float().split(form.sizes)
    sizes = padded(form.sizes[0]), 1, hidden, hidden
    rows = [padded_matrix(each, size, code) for each, size in zip((shares, shift, bias, last), sizes, strict=True)]
    biases = (own[0], own[3], own[1] + form.bias.float(), own[2] + form.last.float())
    rows.append(_spread(padded_matrix(straight, len(straight), code).t(), form.differences, seen).t())
    vectors = [padded_vector(each, size) for each, size in zip(biases, sizes, strict=True)]
    vectors.append(_spread(own[4][None], form.differences, seen)[0])
    first, second = form.code
    known = _spread(first.weight.float(), torch.cat((form.differences, form.constants)), seen)
    filters = _spread(form.weight, form.inputs, seen)
    missing = hidden - form.weight.shape[1]
    return [
        padded_matrix(known, code, seen), padded_vector(first.bias, code),
        padded_matrix(second.weight.float(), code, code), padded_vector(second.bias, code),
        torch.cat(rows).contiguous(), torch.cat(vectors),
        torch.nn.functional.pad(filters, (0, 0, 0, missing)).contiguous(),
    ]  # fmt: skip


def _spread(matrix: Tensor, places: Tensor, size: int) -> Tensor:
    """The columns (…, n) at so many places (n,) of (…, size), zeros between them."""
    return matrix.new_zeros(*matrix.shape[:-1], size).index_copy(-1, places, matrix)


def columns_of(offsets: Tensor, around: Tensor, present: tuple[bool, ...]) -> dict[str, Tensor]:
    """What pixels see, entry by entry in the order of :meth:`CellTaps.look`: role, picture, and exposure lengths."""
    rows: list[tuple[int, int, float]] = [(SAMPLE, 0, float(offset)) for offset in offsets.tolist()]
    rows += [(LENGTH, 0, 0.0), (OWN, 0, 0.0)]
    for number, there in enumerate(present):
        rows += [(SAMPLE if there else NOTHING, number + 1, float(offset)) for offset in around.tolist()]
        rows.append((TRUST if there else NOTHING, number + 1, 0.0))
    rows += [(NOTHING, 0, 0.0)] * (padded(len(rows)) - len(rows))
    roles, sources, lengths = zip(*rows, strict=True)
    device = offsets.device
    return {
        "roles": torch.tensor(roles, dtype=torch.int32, device=device),
        "sources": torch.tensor(sources, dtype=torch.int32, device=device),
        "offsets": torch.tensor(lengths, dtype=torch.float32, device=device),
    }


def weights_of(filters: Any, mix: Any, correction: Any) -> dict[str, Tensor]:
    """The weights of 1×1 convolutions, padded with zeros to sizes that :func:`taps` can multiply; biases float32."""
    hidden = padded(filters.weight.shape[0])
    mixes, mixes_bias = padded_mixes(mix, hidden, filters.weight)
    return {
        "filters": padded_matrix(filters.weight.flatten(1), hidden, padded(filters.weight.shape[1])),
        "filters_bias": padded_vector(filters.bias, hidden),
        "mixes": mixes,
        "mixes_bias": mixes_bias,
        "last": padded_vector(correction.weight.flatten(), hidden),
        "last_bias": correction.bias.float().contiguous(),
    }
