"""Kernels: what a GPU does best in one go, written in Triton, which comes with PyTorch's builds for CUDA.

Each is the twin of a few lines elsewhere, named in its docstring, and gives the same but for the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vdeblur.fused import stacked
from vdeblur.looks import Looks

#: Pixels of a row that a program of :func:`_taps` takes, and warps it is given.
ROW, WARPS = 128, 4
#: What a row of the matrix of all that pixels see holds.
NOTHING, SAMPLE, LENGTH, OWN, TRUST = range(5)


#: Cells that a program of the flow's kernels takes.
CELLS = 128


@triton.jit
def _leaky(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, x, 0.1 * x)


@triton.jit
def _between(row0, row1, x0, x1, part_x, part_y, wanted):  # type: ignore[no-untyped-def]
    """A picture between four pixels; 0 where it is not wanted."""
    upper = (1 - part_x) * tl.load(row0 + x0, wanted, 0.0) + part_x * tl.load(row0 + x1, wanted, 0.0)
    lower = (1 - part_x) * tl.load(row1 + x0, wanted, 0.0) + part_x * tl.load(row1 + x1, wanted, 0.0)
    return (1 - part_y) * upper + part_y * lower


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
    there = _between(picture + y0 * width, picture + y1 * width, x0, x1, part_x, part_y, sampled)
    difference = (there - own[None, :]) * (contrast * trust)

    seen = tl.where(sampled, difference, 0.0)
    seen = tl.where(role == 2, (tl.log(1 + length) / 4)[None, :], seen)
    seen = tl.where(role == 3, (own - 0.5)[None, :], seen)
    seen = tl.where(role == 4, trust, seen)

    h = tl.arange(0, HIDDEN)
    dtype = filters.dtype.element_ty
    weight = tl.load(filters + h[:, None] * SEEN + k[None, :])
    hidden = _leaky(tl.dot(weight, seen.to(dtype), input_precision="ieee") + tl.load(filters_bias + h)[:, None])
    for layer in tl.static_range(DEPTH):
        weight = tl.load(mixes + layer * HIDDEN * HIDDEN + h[:, None] * HIDDEN + h[None, :])
        bias = tl.load(mixes_bias + layer * HIDDEN + h)[:, None]
        hidden = _leaky(tl.dot(weight, hidden.to(dtype), input_precision="ieee") + bias)
    change = tl.sum(hidden * tl.load(last + h)[:, None], 0) + tl.load(last_bias)
    gate = length * length
    change *= gate / (1 + gate) / contrast
    tl.store(result + (batch * height + y) * width + x, change, inside)


def taps(looks: Looks, form: Any) -> Tensor:
    """What :class:`vdeblur.model.celltaps.CellTaps` ``form`` makes of a frame: (B, 1, H, W), float32."""
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
        SEEN=weights["filters"].shape[1], HIDDEN=hidden, DEPTH=depth, CELL=looks.cell, ROW=ROW, num_warps=WARPS,
    )  # fmt: skip
    return result


def _seen_by(form: Any, looks: Looks) -> tuple[tuple[Tensor, ...], tuple[int, int, int]]:
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
    there = _between(picture + y0 * width, picture + y1 * width, x0, x1, part_x, part_y, sampled)
    difference = (there - own[None, :]) * (contrast * trust)[:, None]
    difference = tl.where(sampled, difference, 0.0)
    seen = tl.where((role == 3)[:, None], (own - 0.5)[None, :], difference)

    # What is the same for all pixels: the mean size of each difference, the motion's length, the trusts.
    known = tl.sqrt(tl.sqrt(tl.sum(tl.abs(difference), 1) / (CELL * CELL)))
    known = tl.where(role == 2, tl.log(1 + tl.sqrt(square)) / 4, known)
    known = tl.where(role == 4, trust, known)
    c, m = tl.arange(0, CODE), tl.arange(0, SHARES)
    code = _leaky(_linear(known, first, first_bias, c, k, SEEN))
    code = _leaky(_linear(code, second, second_bias, c, c, CODE))
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
    hidden = _leaky(tl.dot(weight.to(dtype), seen.to(dtype), input_precision="ieee") + own_bias[:, None])
    change = tl.sum(hidden * last[:, None], 0) + tl.sum(difference * straight[:, None], 0) + shift
    change *= square / (1 + square) / contrast
    tl.store(result + (batch * height + first_y + y) * width + first_x + x, change)


def mixed_taps(looks: Looks, form: Any) -> Tensor:
    """What :class:`vdeblur.model.mixedtaps.MixedTaps` ``form`` makes of a frame: (B, 1, H, W), float32."""
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
    rows = [_padded_matrix(each, size, code) for each, size in zip((shares, shift, bias, last), sizes, strict=True)]
    biases = (own[0], own[3], own[1] + form.bias.float(), own[2] + form.last.float())
    rows.append(_spread(_padded_matrix(straight, len(straight), code).t(), form.differences, seen).t())
    vectors = [_padded_vector(each, size) for each, size in zip(biases, sizes, strict=True)]
    vectors.append(_spread(own[4][None], form.differences, seen)[0])
    first, second = form.code
    known = _spread(first.weight.float(), [*form.differences, *form.constants], seen)
    filters = _spread(form.weight, [*form.differences, form.own], seen)
    missing = hidden - form.weight.shape[1]
    return [
        _padded_matrix(known, code, seen), _padded_vector(first.bias, code),
        _padded_matrix(second.weight.float(), code, code), _padded_vector(second.bias, code),
        torch.cat(rows).contiguous(), torch.cat(vectors),
        torch.nn.functional.pad(filters, (0, 0, 0, missing)).contiguous(),
    ]  # fmt: skip


def _spread(matrix: Tensor, places: list[int], size: int) -> Tensor:
    """The columns (…, n) at so many places of (…, size), zeros between them."""
    result = matrix.new_zeros(*matrix.shape[:-1], size)
    result[..., places] = matrix
    return result


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
    mixes = [_padded_matrix(layer.weight.flatten(1), hidden, hidden) for layer in mix]
    empty = filters.weight.new_zeros(0, hidden, hidden)
    return {
        "filters": _padded_matrix(filters.weight.flatten(1), hidden, padded(filters.weight.shape[1])),
        "filters_bias": _padded_vector(filters.bias, hidden),
        "mixes": torch.stack(mixes) if mixes else empty,
        "mixes_bias": torch.stack([_padded_vector(layer.bias, hidden) for layer in mix]) if mixes else empty.float(),
        "last": _padded_vector(correction.weight.flatten(), hidden),
        "last_bias": correction.bias.float().contiguous(),
    }


def padded(size: int) -> int:
    """The next power of two, 16 at least."""
    return max(16, int(triton.next_power_of_2(size)))


def _padded_matrix(matrix: Tensor, rows: int, columns: int) -> Tensor:
    result = matrix.new_zeros(rows, columns)
    result[: matrix.shape[0], : matrix.shape[1]] = matrix
    return result


def _padded_vector(vector: Tensor, size: int) -> Tensor:
    result = torch.zeros(size, dtype=torch.float32, device=vector.device)
    result[: len(vector)] = vector
    return result


@triton.jit
def _equations(  # type: ignore[no-untyped-def]
    found, mismatch, fixed, factors, here, slope, there,
    height, width, batch, scale, robust, smoothness,
    CELL: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """The equations of some cells: see :func:`improve`."""
    n = tl.program_id(1)
    cells_x, count = width // CELL, (height // CELL) * (width // CELL)
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < count
    cell = tl.minimum(cell, count - 1)
    start_x = tl.load(found + 2 * n * count + cell) / scale
    start_y = tl.load(found + (2 * n + 1) * count + cell) / scale
    first_x, first_y = cell % cells_x * CELL, cell // cells_x * CELL
    margin = CELL if CELL > 1 else 0
    reach = CELL + 1 if CELL > 1 else 0
    at_x, at_y = first_x + margin + start_x, first_y + margin + start_y
    known = (2 * at_x + 1 > reach) & (2 * at_x + 1 < 2 * (width + reach) - reach)
    known = known & (2 * at_y + 1 > reach) & (2 * at_y + 1 < 2 * (height + reach) - reach)
    trust = tl.where(known, 1.0, 0.0)
    at_x = tl.minimum(tl.maximum(at_x, 0.0), (width + reach - 1) * 1.0) - margin
    at_y = tl.minimum(tl.maximum(at_y, 0.0), (height + reach - 1) * 1.0) - margin
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    part_x, part_y = at_x - floor_x, at_y - floor_y
    left, top = floor_x.to(tl.int32), floor_y.to(tl.int32)
    own = here + (n % batch) * height * width
    across = slope + (n % batch) * 2 * height * width
    down = across + height * width
    other = there + n * height * width
    xx = tl.zeros((CELLS,), tl.float32)
    xy, yy, x_mixed, y_mixed, total = xx, xx, xx, xx, xx
    for j in tl.static_range(CELL):
        y0, y1 = tl.minimum(tl.maximum(top + j, 0), height - 1), tl.minimum(tl.maximum(top + j + 1, 0), height - 1)
        for i in tl.static_range(CELL):
            x0, x1 = tl.minimum(tl.maximum(left + i, 0), width - 1), tl.minimum(tl.maximum(left + i + 1, 0), width - 1)
            upper = (1 - part_x) * tl.load(other + y0 * width + x0) + part_x * tl.load(other + y0 * width + x1)
            lower = (1 - part_x) * tl.load(other + y1 * width + x0) + part_x * tl.load(other + y1 * width + x1)
            pixel = (first_y + j) * width + first_x + i
            change = (1 - part_y) * upper + part_y * lower - tl.load(own + pixel)
            total += tl.abs(change)
            dx, dy = tl.load(across + pixel), tl.load(down + pixel)
            xx += dx * dx
            xy += dx * dy
            yy += dy * dy
            x_mixed += dx * change
            y_mixed += dy * change
    share = 1.0 / (CELL * CELL)
    tl.store(mismatch + n * count + cell, (total * share - 1) * trust + 1, inside)
    weight = robust / (total * share + robust) * trust * share
    xx, xy, yy, x_mixed, y_mixed = xx * weight, xy * weight, yy * weight, x_mixed * weight, y_mixed * weight
    a, d = xx + smoothness, yy + smoothness
    inverse = 1 / (a * d - xy * xy)
    target_x = xx * start_x + xy * start_y - x_mixed
    target_y = xy * start_x + yy * start_y - y_mixed
    tl.store(fixed + 2 * n * count + cell, (d * target_x - xy * target_y) * inverse, inside)
    tl.store(fixed + (2 * n + 1) * count + cell, (a * target_y - xy * target_x) * inverse, inside)
    inverse *= smoothness / 12
    tl.store(factors + 3 * n * count + cell, d * inverse, inside)
    tl.store(factors + (3 * n + 1) * count + cell, a * inverse, inside)
    tl.store(factors + (3 * n + 2) * count + cell, xy * inverse, inside)


@triton.jit
def _around(plane, cell, above, below, left, right):  # type: ignore[no-untyped-def]
    """Twelve times the weighted mean of the eight neighbours."""
    sides = tl.load(plane + cell + above) + tl.load(plane + cell + below)
    sides += tl.load(plane + cell + left) + tl.load(plane + cell + right)
    corners = tl.load(plane + cell + above + left) + tl.load(plane + cell + above + right)
    corners += tl.load(plane + cell + below + left) + tl.load(plane + cell + below + right)
    return 2 * sides + corners


@triton.jit
def _sweep(  # type: ignore[no-untyped-def]
    result, now, before, found, fixed, factors, rows, columns, scale, now_scale, before_scale, relaxation,
    LAST: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """One relaxed Jacobi sweep of some cells; what is given in pixels of the frame has its ``…_scale``."""
    n, count = tl.program_id(1), rows * columns
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < count
    cell = tl.minimum(cell, count - 1)
    x, y = cell % columns, cell // columns
    above, below = tl.where(y > 0, -columns, 0), tl.where(y < rows - 1, columns, 0)
    left, right = tl.where(x > 0, -1, 0), tl.where(x < columns - 1, 1, 0)
    here_x, here_y = 2 * n * count + cell, (2 * n + 1) * count + cell
    # At an edge the border is repeated: a neighbour is then the cell itself.
    total_x = _around(now + 2 * n * count, cell, above, below, left, right) / now_scale
    total_y = _around(now + (2 * n + 1) * count, cell, above, below, left, right) / now_scale
    mixed = tl.load(factors + (3 * n + 2) * count + cell)
    better_x = tl.load(fixed + here_x) + tl.load(factors + 3 * n * count + cell) * total_x - mixed * total_y
    better_y = tl.load(fixed + here_y) + tl.load(factors + (3 * n + 1) * count + cell) * total_y - mixed * total_x
    before_x, before_y = tl.load(before + here_x) / before_scale, tl.load(before + here_y) / before_scale
    better_x = before_x + relaxation * (better_x - before_x)
    better_y = before_y + relaxation * (better_y - before_y)
    if LAST:
        start_x, start_y = tl.load(found + here_x) / scale, tl.load(found + here_y) / scale
        better_x = (start_x + tl.minimum(tl.maximum(better_x - start_x, -2.0), 2.0)) * scale
        better_y = (start_y + tl.minimum(tl.maximum(better_y - start_y, -2.0), 2.0)) * scale
    tl.store(result + here_x, better_x, inside)
    tl.store(result + here_y, better_y, inside)


@triton.jit
def _median3(a, b, c):  # type: ignore[no-untyped-def]
    return tl.maximum(tl.minimum(a, b), tl.minimum(tl.maximum(a, b), c))


@triton.jit
def _medians(result, found, rows, columns, CELLS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Medians of 3 × 3 cells of a plane, the border repeated: :func:`vdeblur.model.cells.medians`."""
    count = rows * columns
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < count
    cell = tl.minimum(cell, count - 1)
    x, y = cell % columns, cell // columns
    found += tl.program_id(1) * count
    above = tl.maximum(y - 1, 0) * columns
    here = y * columns
    below = tl.minimum(y + 1, rows - 1) * columns
    lows = tl.full((CELLS,), float("-inf"), tl.float32)
    highs = tl.full((CELLS,), float("inf"), tl.float32)
    first, second, third = lows, lows, lows
    for side in tl.static_range(3):
        column = tl.minimum(tl.maximum(x + side - 1, 0), columns - 1)
        a, b, c = tl.load(found + above + column), tl.load(found + here + column), tl.load(found + below + column)
        lows = tl.maximum(lows, tl.minimum(tl.minimum(a, b), c))
        highs = tl.minimum(highs, tl.maximum(tl.maximum(a, b), c))
        first, second, third = second, third, _median3(a, b, c)
    middle = _median3(first, second, third)
    tl.store(result + tl.program_id(1) * count + cell, _median3(lows, middle, highs), inside)


def medians(x: Tensor) -> Tensor:
    """What :func:`vdeblur.model.cells.medians` gives of (B, C, h, w), float32."""
    x, result = x.contiguous(), torch.empty_like(x)
    rows, columns = x.shape[-2:]
    grid = (triton.cdiv(rows * columns, CELLS), x.numel() // (rows * columns))
    _medians[grid](result, x, rows, columns, CELLS=CELLS, num_warps=4)
    return result


def improve(
    here: Tensor, slope: Tensor, there: Tensor, found: Tensor,
    *, scale: int, cell: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One sampling of the other frames, and better flows: what :func:`vdeblur.model.flow._improve` does.

    Args:
        here: luma of a level (B, 1, H, W), and ``slope`` (B, 2, H, W).
        there: luma of the others (N, 1, H, W), N a multiple of B.
        found: the flows (N, 2, H/cell, W/cell) so far, in pixels of the frame.

    Returns:
        Flows and mismatches (N, 1, H/cell, W/cell).
    """
    found, here, slope, there = (part.contiguous() for part in (found, here, slope, there))
    many, _, rows, columns = found.shape
    height, width = here.shape[-2:]
    mismatch, factors = found.new_empty(many, 1, rows, columns), found.new_empty(many, 3, rows, columns)
    fixed = torch.empty_like(found)
    grid = (triton.cdiv(rows * columns, CELLS), many)
    _equations[grid](
        found, mismatch, fixed, factors, here, slope, there,
        height, width, len(here), float(scale), robust, smoothness, CELL=cell, CELLS=CELLS, num_warps=4,
    )  # fmt: skip
    spare = [torch.empty_like(found) for _ in range(3)]
    before, now, before_scale, now_scale = found, found, float(scale), float(scale)
    for number in range(sweeps):
        result = spare[number % 3]
        factor = relaxation if number else 1.0
        _sweep[grid](
            result, now, before, found, fixed, factors, rows, columns, float(scale), now_scale, before_scale, factor,
            LAST=number == sweeps - 1, CELLS=CELLS, num_warps=4,
        )  # fmt: skip
        before, now, before_scale, now_scale = now, result, now_scale, 1.0
    return now, mismatch


def improve_level(
    here: Tensor, slope: Tensor, others: Sequence[Tensor], found: Tensor,
    *, samplings: int, scale: int, cell: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """So often :func:`improve` and medians, of ``others`` (B, 1, H, W) each and flows (N, B, 2, H/cell, W/cell)."""
    there, flows = torch.cat(list(others)), found.flatten(0, 1)
    for _ in range(samplings):
        flows, mismatch = improve(
            here, slope, there, flows,
            scale=scale, cell=cell, robust=robust, smoothness=smoothness, sweeps=sweeps, relaxation=relaxation,
        )  # fmt: skip
        flows = medians(flows)
    return flows.view_as(found), mismatch.view_as(found[:, :, :1])
