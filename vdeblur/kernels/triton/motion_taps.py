"""Luma sampled along each pixel's own motion, and what filters make of it: the twin of ``SteeredTaps``."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vdeblur.kernels.dispatch import stacked
from vdeblur.kernels.inputs import PixelInputs
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

#: Pixels of a row that a program takes, what it looks at in one go, and warps it is given. Four warps would make
#: Triton use Hopper's own matrix instructions, and its versions 3.6 and 3.7 then let products that follow each other
#: write over each other's numbers.
ROW, TOGETHER, WARPS = 32, 16, 2


@triton.jit
def _raised(plane, x0, x1, row0, row1, part_x, part_y):  # type: ignore[no-untyped-def]
    """Between four squares."""
    upper = (1 - part_x) * tl.load(plane + row0 + x0) + part_x * tl.load(plane + row0 + x1)
    lower = (1 - part_x) * tl.load(plane + row1 + x0) + part_x * tl.load(plane + row1 + x1)
    return (1 - part_y) * upper + part_y * lower


@triton.jit
def _steered(  # type: ignore[no-untyped-def]
    correction, texture, details, frames, maps, roles, sources, offsets, asides,
    filters, guides, filters_bias, mixes, mixes_bias, last, last_bias,
    height, width, contrast, top, left, tall, wide,
    SEEN: tl.constexpr, TOLD: tl.constexpr, MAPS: tl.constexpr, HIDDEN: tl.constexpr, DEPTH: tl.constexpr,
    LAST: tl.constexpr, FEATURES: tl.constexpr, DETAILS: tl.constexpr, TOGETHER: tl.constexpr, ROW: tl.constexpr,
):  # fmt: skip
    """A piece of a row: see :func:`steered_taps`."""
    batch, line = tl.program_id(2), tl.program_id(1)
    at = tl.program_id(0) * ROW + tl.arange(0, ROW)
    inside = at < wide
    x, y = left + tl.minimum(at, wide - 1), top + line
    frames += batch * 3 * height * width
    rows, columns = height // 8, width // 8
    squares = rows * columns
    # What is known of squares: motion (0, 1), its length (2), places in two neighbours (3 to 6), trust in them (7, 8),
    # guides (from 9).
    maps += batch * MAPS * squares

    square_y = tl.maximum((y + 0.5) / 8 - 0.5, 0.0)
    square_x = tl.maximum((x + 0.5) / 8 - 0.5, 0.0)
    up, before = square_y.to(tl.int32), square_x.to(tl.int32)
    part_y, part_x = square_y - up, square_x - before
    row0, row1 = up * columns, tl.minimum(up + 1, rows - 1) * columns
    after = tl.minimum(before + 1, columns - 1)
    move_x = _raised(maps, before, after, row0, row1, part_x, part_y)
    move_y = _raised(maps + squares, before, after, row0, row1, part_x, part_y)
    length = _raised(maps + 2 * squares, before, after, row0, row1, part_x, part_y)
    own = tl.load(frames + y * width + x)
    norm = tl.sqrt(move_x * move_x + move_y * move_y) + 1e-3
    across_x, across_y = -move_y / norm, move_x / norm

    h = tl.arange(0, HIDDEN)
    dtype = filters.dtype.element_ty
    g = tl.arange(0, TOLD)
    told = _raised(
        maps + (9 + tl.minimum(g, MAPS - 10)[:, None]) * squares, before[None, :], after[None, :], row0, row1,
        part_x[None, :], part_y,
    )  # fmt: skip
    told = tl.where((g < MAPS - 9)[:, None], told, 0.0)
    weight = tl.load(guides + h[:, None] * TOLD + g[None, :])
    hidden = tl.dot(weight, told.to(dtype), input_precision="ieee") + tl.load(filters_bias + h)[:, None]
    for first in tl.static_range(0, SEEN, TOGETHER):
        k = first + tl.arange(0, TOGETHER)
        role, source, offset = tl.load(roles + k)[:, None], tl.load(sources + k)[:, None], tl.load(offsets + k)[:, None]
        aside = tl.load(asides + k)[:, None]
        shift_x = offset * move_x[None, :] + aside * across_x[None, :]
        shift_y = offset * move_y[None, :] + aside * across_y[None, :]
        trust = tl.full((TOGETHER, ROW), 1.0, tl.float32)
        for side in tl.static_range(2):
            place = maps + (3 + 2 * side) * squares
            there = source == side + 1
            place_x = _raised(place, before, after, row0, row1, part_x, part_y)
            place_y = _raised(place + squares, before, after, row0, row1, part_x, part_y)
            trusted = _raised(maps + (7 + side) * squares, before, after, row0, row1, part_x, part_y)
            shift_x += tl.where(there, place_x[None, :], 0.0)
            shift_y += tl.where(there, place_y[None, :], 0.0)
            trust = tl.where(there, trusted[None, :], trust)
        at_x = tl.minimum(tl.maximum(x[None, :] + shift_x, 0.0), (width - 1) * 1.0)
        at_y = tl.minimum(tl.maximum(y + shift_y, 0.0), (height - 1) * 1.0)
        x0, y0 = at_x.to(tl.int32), at_y.to(tl.int32)
        x1, y1 = tl.minimum(x0 + 1, width - 1), tl.minimum(y0 + 1, height - 1)
        sampled = role == 1
        picture = frames + source * (height * width)
        seen = between(picture + y0 * width, picture + y1 * width, x0, x1, at_x - x0, at_y - y0, sampled)
        seen = tl.where(sampled, (seen - own[None, :]) * (contrast * trust), 0.0)
        seen = tl.where(role == 2, (tl.log(1 + length) / 4)[None, :], seen)
        seen = tl.where(role == 3, (own - 0.5)[None, :], seen)
        seen = tl.where(role == 4, trust, seen)
        weight = tl.load(filters + h[:, None] * SEEN + k[None, :])
        hidden += tl.dot(weight, seen.to(dtype), input_precision="ieee")

    hidden = leaky(hidden)
    for layer in tl.static_range(DEPTH):
        weight = tl.load(mixes + layer * HIDDEN * HIDDEN + h[:, None] * HIDDEN + h[None, :])
        bias = tl.load(mixes_bias + layer * HIDDEN + h)[:, None]
        hidden = leaky(tl.dot(weight, hidden.to(dtype), input_precision="ieee") + bias)
    gate = length * length
    hidden *= (gate / (1 + gate))[None, :]
    o = tl.arange(0, LAST)
    weight = tl.load(last + o[:, None] * HIDDEN + h[None, :])
    found = tl.dot(weight, hidden.to(dtype), input_precision="ieee") + tl.load(last_bias + o)[:, None]

    o, at, inside = o[:, None], at[None, :], inside[None, :]
    pixel = line * wide + at
    tl.store(correction + batch * tall * wide + o * 0 + pixel, found / contrast, inside & (o == 0))
    # Features of 4 × 4 pixels lie together, as pixel_unshuffle orders them, channels last.
    quarter = ((batch * (tall // 4) + line // 4) * (wide // 4) + at // 4) * (16 * FEATURES)
    place = quarter + (o - 1) * 16 + line % 4 * 4 + at % 4
    tl.store(texture + place, found.to(dtype), inside & (o > 0) & (o <= FEATURES))
    if DETAILS > 0:
        place = (batch * DETAILS + o - 1 - FEATURES) * tall * wide + pixel
        tl.store(details + place, found.to(dtype), inside & (o > FEATURES) & (o <= FEATURES + DETAILS))


def steered_taps(looks: PixelInputs, form: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What :class:`vdeblur.model.motion_taps.MotionTaps` ``form``, at full resolution, makes of an area.

    Returns:
        Its correction, texture and details, as :class:`vdeblur.model.motion_taps.Deconvolution` has them.
    """
    frames = stacked([*looks.frames, None, None][:3])
    batch, _, height, width = frames.shape
    tall, wide, dtype = looks.bottom - looks.top, looks.right - looks.left, form.filters.weight.dtype
    columns, weights = _columns(form, looks.frames[1:]), _weights(form)
    features, details = len(form.texture.weight), 0 if form.details is None else len(form.details.weight)
    correction = frames.new_empty(batch, 1, tall, wide)
    texture = torch.empty(
        batch, 16 * features, tall // 4, wide // 4,
        dtype=dtype, device=frames.device, memory_format=torch.channels_last,
    )  # fmt: skip
    detail = torch.empty(batch, details, tall, wide, dtype=dtype, device=frames.device)
    _steered[(triton.cdiv(wide, ROW), tall, batch)](
        correction, texture, detail, frames.contiguous(), looks.maps.contiguous(), *columns, *weights,
        height, width, looks.contrast, looks.top, looks.left, tall, wide,
        SEEN=len(columns[0]), TOLD=weights[1].shape[1], MAPS=looks.maps.shape[1], HIDDEN=weights[0].shape[0],
        DEPTH=len(form.mix), LAST=weights[-2].shape[0], FEATURES=features, DETAILS=details,
        TOGETHER=TOGETHER, ROW=ROW, num_warps=WARPS,
    )  # fmt: skip
    return correction, texture, detail


def _columns(form: Any, neighbours: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    """What the rows of what pixels see are, kept with ``form``: roles, pictures, exposure lengths, pixels aside."""
    present = tuple(frame is not None for frame in neighbours)
    key = form.offsets.device, form.offsets.dtype, present
    if key not in form.kept:
        rows: list[tuple[int, int, float, float]] = [(SAMPLE, 0, along, 0) for along in form.offsets.tolist()]
        rows += [(LENGTH, 0, 0, 0), (OWN, 0, 0, 0)]
        for number, there in enumerate(present, 1):
            kind = (SAMPLE, TRUST) if there else (NOTHING, NOTHING)
            rows += [(kind[0], number, along, 0) for along in form.neighbour_offsets.tolist()]
            rows.append((kind[1], number, 0, 0))
        rows += [(SAMPLE, 0, along, aside) for aside in (-1, 1) for along in form.beside_offsets.tolist()]
        rows += [(NOTHING, 0, 0, 0)] * (-len(rows) % TOGETHER)
        kinds = torch.int32, torch.int32, torch.float32, torch.float32
        device = form.offsets.device
        form.kept[key] = tuple(
            torch.tensor(values, dtype=kind, device=device)
            for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)
        )
    found: tuple[Tensor, ...] = form.kept[key]
    return found


def _weights(form: Any) -> tuple[Tensor, ...]:
    """The weights of ``form`` as :func:`_steered` reads them, sizes filled up with zeros; biases float32."""
    hidden = padded(form.filters.weight.shape[0])
    filters, told = form.filters.weight.flatten(1).split((form.filters.weight.shape[1] - form.guides, form.guides), 1)
    seen = filters.shape[1] + -filters.shape[1] % TOGETHER
    ends = [layer for layer in (form.correction, form.texture, form.details) if layer is not None]
    last = torch.cat([layer.weight.flatten(1) for layer in ends])
    return (
        padded_matrix(filters, hidden, seen), padded_matrix(told, hidden, padded(form.guides)),
        padded_vector(form.filters.bias, hidden),
        *padded_mixes(form.mix, hidden, filters),
        padded_matrix(last, padded(len(last)), hidden),
        padded_vector(torch.cat([layer.bias for layer in ends]), padded(len(last))),
    )  # fmt: skip
