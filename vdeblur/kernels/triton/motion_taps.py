"""Motion taps on the GPU: samples along each pixel's motion, and an MLP over them; the twin of ``MotionTaps``."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vdeblur.kernels.dispatch import stack_frames
from vdeblur.kernels.inputs import PixelInputs
from vdeblur.kernels.triton.building_blocks import (
    CONFIDENCE,
    LENGTH,
    LUMA,
    SAMPLE,
    UNUSED,
    bilinear,
    leaky_relu,
    padded_matrix,
    padded_size,
    padded_vector,
    stack_layers,
)

#: Pixels per program, features per tile of the first layer, and warps. With four warps Triton uses Hopper's WGMMA
#: instructions, and its versions 3.6 and 3.7 then let chained products overwrite each other's operands.
ROW, INPUT_TILE, WARPS = 32, 16, 2


@triton.jit
def _upsample(plane, x0, x1, row0, row1, fraction_x, fraction_y):  # type: ignore[no-untyped-def]
    """Bilinear interpolation of a map between four blocks."""
    upper = (1 - fraction_x) * tl.load(plane + row0 + x0) + fraction_x * tl.load(plane + row0 + x1)
    lower = (1 - fraction_x) * tl.load(plane + row1 + x0) + fraction_x * tl.load(plane + row1 + x1)
    return (1 - fraction_y) * upper + fraction_y * lower


@triton.jit
def _motion_taps(  # type: ignore[no-untyped-def]
    correction, texture, details, frames, maps, roles, sources, offsets, lateral_offsets,
    filters, guides, filters_bias, layers, layer_biases, output, output_bias,
    height, width, gain, top, left, region_height, region_width,
    INPUTS: tl.constexpr, GUIDES: tl.constexpr, MAPS: tl.constexpr, HIDDEN: tl.constexpr, DEPTH: tl.constexpr,
    OUTPUTS: tl.constexpr, FEATURES: tl.constexpr, DETAILS: tl.constexpr, INPUT_TILE: tl.constexpr, ROW: tl.constexpr,
):  # fmt: skip
    """Outputs of ``ROW`` pixels of a row; see :func:`apply_motion_taps`."""
    batch, row = tl.program_id(2), tl.program_id(1)
    at = tl.program_id(0) * ROW + tl.arange(0, ROW)
    inside = at < region_width
    x, y = left + tl.minimum(at, region_width - 1), top + row
    frames += batch * 3 * height * width
    rows, columns = height // 8, width // 8
    blocks = rows * columns
    # Maps: motion (0, 1), its length (2), displacements to both neighbours (3 to 6), their confidences (7, 8), guides
    # (from 9).
    maps += batch * MAPS * blocks

    square_y = tl.maximum((y + 0.5) / 8 - 0.5, 0.0)
    square_x = tl.maximum((x + 0.5) / 8 - 0.5, 0.0)
    up, before = square_y.to(tl.int32), square_x.to(tl.int32)
    fraction_y, fraction_x = square_y - up, square_x - before
    row0, row1 = up * columns, tl.minimum(up + 1, rows - 1) * columns
    after = tl.minimum(before + 1, columns - 1)
    motion_x = _upsample(maps, before, after, row0, row1, fraction_x, fraction_y)
    motion_y = _upsample(maps + blocks, before, after, row0, row1, fraction_x, fraction_y)
    length = _upsample(maps + 2 * blocks, before, after, row0, row1, fraction_x, fraction_y)
    luma = tl.load(frames + y * width + x)
    norm = tl.sqrt(motion_x * motion_x + motion_y * motion_y) + 1e-3
    across_x, across_y = -motion_y / norm, motion_x / norm

    h = tl.arange(0, HIDDEN)
    dtype = filters.dtype.element_ty
    g = tl.arange(0, GUIDES)
    guide_values = _upsample(
        maps + (9 + tl.minimum(g, MAPS - 10)[:, None]) * blocks, before[None, :], after[None, :], row0, row1,
        fraction_x[None, :], fraction_y,
    )  # fmt: skip
    guide_values = tl.where((g < MAPS - 9)[:, None], guide_values, 0.0)
    weight = tl.load(guides + h[:, None] * GUIDES + g[None, :])
    hidden = tl.dot(weight, guide_values.to(dtype), input_precision="ieee") + tl.load(filters_bias + h)[:, None]
    for first in tl.static_range(0, INPUTS, INPUT_TILE):
        k = first + tl.arange(0, INPUT_TILE)
        role, source, offset = tl.load(roles + k)[:, None], tl.load(sources + k)[:, None], tl.load(offsets + k)[:, None]
        lateral_offset = tl.load(lateral_offsets + k)[:, None]
        shift_x = offset * motion_x[None, :] + lateral_offset * across_x[None, :]
        shift_y = offset * motion_y[None, :] + lateral_offset * across_y[None, :]
        confidence = tl.full((INPUT_TILE, ROW), 1.0, tl.float32)
        for side in tl.static_range(2):
            displacement = maps + (3 + 2 * side) * blocks
            selected = source == side + 1
            displacement_x = _upsample(displacement, before, after, row0, row1, fraction_x, fraction_y)
            displacement_y = _upsample(displacement + blocks, before, after, row0, row1, fraction_x, fraction_y)
            known = maps + (7 + side) * blocks
            neighbour_confidence = _upsample(known, before, after, row0, row1, fraction_x, fraction_y)
            shift_x += tl.where(selected, displacement_x[None, :], 0.0)
            shift_y += tl.where(selected, displacement_y[None, :], 0.0)
            confidence = tl.where(selected, neighbour_confidence[None, :], confidence)
        at_x = tl.minimum(tl.maximum(x[None, :] + shift_x, 0.0), (width - 1) * 1.0)
        at_y = tl.minimum(tl.maximum(y + shift_y, 0.0), (height - 1) * 1.0)
        x0, y0 = at_x.to(tl.int32), at_y.to(tl.int32)
        x1, y1 = tl.minimum(x0 + 1, width - 1), tl.minimum(y0 + 1, height - 1)
        sampled = role == 1
        image = frames + source * (height * width)
        features = bilinear(image + y0 * width, image + y1 * width, x0, x1, at_x - x0, at_y - y0, sampled)
        features = tl.where(sampled, (features - luma[None, :]) * (gain * confidence), 0.0)
        features = tl.where(role == 2, (tl.log(1 + length) / 4)[None, :], features)
        features = tl.where(role == 3, (luma - 0.5)[None, :], features)
        features = tl.where(role == 4, confidence, features)
        weight = tl.load(filters + h[:, None] * INPUTS + k[None, :])
        hidden += tl.dot(weight, features.to(dtype), input_precision="ieee")

    hidden = leaky_relu(hidden)
    for layer in tl.static_range(DEPTH):
        weight = tl.load(layers + layer * HIDDEN * HIDDEN + h[:, None] * HIDDEN + h[None, :])
        bias = tl.load(layer_biases + layer * HIDDEN + h)[:, None]
        hidden = leaky_relu(tl.dot(weight, hidden.to(dtype), input_precision="ieee") + bias)
    square = length * length
    hidden *= (square / (1 + square))[None, :]
    o = tl.arange(0, OUTPUTS)
    weight = tl.load(output + o[:, None] * HIDDEN + h[None, :])
    outputs = tl.dot(weight, hidden.to(dtype), input_precision="ieee") + tl.load(output_bias + o)[:, None]

    o, at, inside = o[:, None], at[None, :], inside[None, :]
    pixel = row * region_width + at
    tl.store(correction + batch * region_height * region_width + o * 0 + pixel, outputs / gain, inside & (o == 0))
    # Texture is stored unshuffled by 4, in channels_last.
    quarter = ((batch * (region_height // 4) + row // 4) * (region_width // 4) + at // 4) * (16 * FEATURES)
    target = quarter + (o - 1) * 16 + row % 4 * 4 + at % 4
    tl.store(texture + target, outputs.to(dtype), inside & (o > 0) & (o <= FEATURES))
    if DETAILS > 0:
        target = (batch * DETAILS + o - 1 - FEATURES) * region_height * region_width + pixel
        tl.store(details + target, outputs.to(dtype), inside & (o > FEATURES) & (o <= FEATURES + DETAILS))


def apply_motion_taps(inputs: PixelInputs, module: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Fields of a ``Deconvolution`` of a region, by a :class:`vdeblur.model.motion_taps.MotionTaps` at full resolution.

    Correction (B, 1, h, w) float32, texture (B, 16 · features, h/4, w/4) in channels_last, details (B, details, h, w).
    """
    frames = stack_frames([*inputs.frames, None, None][:3])
    batch, _, height, width = frames.shape
    region_height, region_width = inputs.bottom - inputs.top, inputs.right - inputs.left
    dtype = module.filters.weight.dtype
    table, weights = _feature_table(module, inputs.frames[1:]), _pack_weights(module)
    features, details = len(module.texture.weight), 0 if module.details is None else len(module.details.weight)
    correction = frames.new_empty(batch, 1, region_height, region_width)
    texture = torch.empty(
        batch, 16 * features, region_height // 4, region_width // 4,
        dtype=dtype, device=frames.device, memory_format=torch.channels_last,
    )  # fmt: skip
    detail = torch.empty(batch, details, region_height, region_width, dtype=dtype, device=frames.device)
    _motion_taps[(triton.cdiv(region_width, ROW), region_height, batch)](
        correction, texture, detail, frames.contiguous(), inputs.maps.contiguous(), *table, *weights,
        height, width, inputs.gain, inputs.top, inputs.left, region_height, region_width,
        INPUTS=len(table[0]), GUIDES=weights[1].shape[1], MAPS=inputs.maps.shape[1], HIDDEN=weights[0].shape[0],
        DEPTH=len(module.mix), OUTPUTS=weights[-2].shape[0], FEATURES=features, DETAILS=details,
        INPUT_TILE=INPUT_TILE, ROW=ROW, num_warps=WARPS,
    )  # fmt: skip
    return correction, texture, detail


def _feature_table(module: Any, neighbours: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    """Feature table, cached with the module: kind, source frame, offset and lateral offset of each row."""
    present = tuple(frame is not None for frame in neighbours)
    key = module.offsets.device, module.offsets.dtype, present
    if key not in module.kernel_cache:
        rows: list[tuple[int, int, float, float]] = [(SAMPLE, 0, along, 0) for along in module.offsets.tolist()]
        rows += [(LENGTH, 0, 0, 0), (LUMA, 0, 0, 0)]
        for number, there in enumerate(present, 1):
            kind = (SAMPLE, CONFIDENCE) if there else (UNUSED, UNUSED)
            rows += [(kind[0], number, along, 0) for along in module.neighbour_offsets.tolist()]
            rows.append((kind[1], number, 0, 0))
        rows += [(SAMPLE, 0, along, lateral) for lateral in (-1, 1) for along in module.lateral_offsets.tolist()]
        rows += [(UNUSED, 0, 0, 0)] * (-len(rows) % INPUT_TILE)
        kinds = torch.int32, torch.int32, torch.float32, torch.float32
        device = module.offsets.device
        module.kernel_cache[key] = tuple(
            torch.tensor(values, dtype=kind, device=device)
            for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)
        )
    table: tuple[Tensor, ...] = module.kernel_cache[key]
    return table


def _pack_weights(module: Any) -> tuple[Tensor, ...]:
    """Pack a MotionTaps for :func:`_motion_taps`, zero-padded to tile sizes; biases float32."""
    hidden = padded_size(module.filters.weight.shape[0])
    inputs = module.filters.weight.shape[1] - module.guides
    filters, guides = module.filters.weight.flatten(1).split((inputs, module.guides), 1)
    features = filters.shape[1] + -filters.shape[1] % INPUT_TILE
    ends = [layer for layer in (module.correction, module.texture, module.details) if layer is not None]
    output = torch.cat([layer.weight.flatten(1) for layer in ends])
    return (
        padded_matrix(filters, hidden, features), padded_matrix(guides, hidden, padded_size(module.guides)),
        padded_vector(module.filters.bias, hidden),
        *stack_layers(module.mix, hidden, filters),
        padded_matrix(output, padded_size(len(output)), hidden),
        padded_vector(torch.cat([layer.bias for layer in ends]), padded_size(len(output))),
    )  # fmt: skip
