"""Block taps on the GPU: luma sampled along each 8×8 block's motion, and filtered by shared or mixture taps."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vdeblur.kernels.dispatch import stack_frames
from vdeblur.kernels.inputs import BlockInputs
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

#: Pixels per program of :func:`_shared_taps` and its warps: two, for the reason given in :mod:`.motion_taps`.
ROW, ROW_WARPS = 64, 2
#: Warps per block: with one, two, four and eight a frame of 2160p takes an H200 2.3, 2.8, 3.2 and 4.0 ms.
WARPS = 1


@triton.jit
def _shared_taps(  # type: ignore[no-untyped-def]
    result, frames, motion, displacements, confidences, roles, sources, offsets,
    filters, filters_bias, layers, layer_biases, output, output_bias,
    height, width, gain,
    INPUTS: tl.constexpr, HIDDEN: tl.constexpr, DEPTH: tl.constexpr, BLOCK_PX: tl.constexpr, ROW: tl.constexpr,
):  # fmt: skip
    """Correction of ``ROW`` pixels of a row; see :func:`apply_shared_taps`."""
    batch, y = tl.program_id(2), tl.program_id(1)
    x = tl.program_id(0) * ROW + tl.arange(0, ROW)
    inside = x < width
    x = tl.minimum(x, width - 1)
    blocks = (height // BLOCK_PX) * (width // BLOCK_PX)
    block = (y // BLOCK_PX) * (width // BLOCK_PX) + x // BLOCK_PX
    motion += batch * 2 * blocks
    displacements += batch * 4 * blocks
    confidences += batch * 2 * blocks
    frames += batch * 3 * height * width
    motion_x, motion_y = tl.load(motion + block), tl.load(motion + blocks + block)
    length = tl.sqrt(motion_x * motion_x + motion_y * motion_y)
    luma = tl.load(frames + y * width + x)

    k = tl.arange(0, INPUTS)
    role, source, offset = tl.load(roles + k)[:, None], tl.load(sources + k)[:, None], tl.load(offsets + k)[:, None]
    shift_x, shift_y = offset * motion_x[None, :], offset * motion_y[None, :]
    confidence = tl.full((INPUTS, ROW), 1.0, tl.float32)
    for side in tl.static_range(2):
        selected = source == side + 1
        shift_x += tl.where(selected, tl.load(displacements + 2 * side * blocks + block)[None, :], 0.0)
        shift_y += tl.where(selected, tl.load(displacements + (2 * side + 1) * blocks + block)[None, :], 0.0)
        confidence = tl.where(selected, tl.load(confidences + side * blocks + block)[None, :], confidence)

    # A block may lie at most one block outside of the frame; positions are clamped per block, not per pixel.
    first_x = (x // BLOCK_PX * BLOCK_PX)[None, :]
    first_y = y // BLOCK_PX * BLOCK_PX
    at_x = tl.minimum(tl.maximum(first_x + BLOCK_PX + shift_x, 0.0), (width + BLOCK_PX) * 1.0) - BLOCK_PX
    at_y = tl.minimum(tl.maximum(first_y + BLOCK_PX + shift_y, 0.0), (height + BLOCK_PX) * 1.0) - BLOCK_PX
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    fraction_x, fraction_y = at_x - floor_x, at_y - floor_y
    left = floor_x.to(tl.int32) + (x % BLOCK_PX)[None, :]
    top = floor_y.to(tl.int32) + y % BLOCK_PX
    x0, x1 = tl.minimum(tl.maximum(left, 0), width - 1), tl.minimum(tl.maximum(left + 1, 0), width - 1)
    y0, y1 = tl.minimum(tl.maximum(top, 0), height - 1), tl.minimum(tl.maximum(top + 1, 0), height - 1)
    sampled = role == 1
    image = frames + source * (height * width)
    sample = bilinear(image + y0 * width, image + y1 * width, x0, x1, fraction_x, fraction_y, sampled)
    difference = (sample - luma[None, :]) * (gain * confidence)

    features = tl.where(sampled, difference, 0.0)
    features = tl.where(role == 2, (tl.log(1 + length) / 4)[None, :], features)
    features = tl.where(role == 3, (luma - 0.5)[None, :], features)
    features = tl.where(role == 4, confidence, features)

    h = tl.arange(0, HIDDEN)
    dtype = filters.dtype.element_ty
    weight = tl.load(filters + h[:, None] * INPUTS + k[None, :])
    hidden = leaky_relu(tl.dot(weight, features.to(dtype), input_precision="ieee") + tl.load(filters_bias + h)[:, None])
    for layer in tl.static_range(DEPTH):
        weight = tl.load(layers + layer * HIDDEN * HIDDEN + h[:, None] * HIDDEN + h[None, :])
        bias = tl.load(layer_biases + layer * HIDDEN + h)[:, None]
        hidden = leaky_relu(tl.dot(weight, hidden.to(dtype), input_precision="ieee") + bias)
    correction = tl.sum(hidden * tl.load(output + h)[:, None], 0) + tl.load(output_bias)
    square = length * length
    correction *= square / (1 + square) / gain
    tl.store(result + (batch * height + y) * width + x, correction, inside)


def apply_shared_taps(inputs: BlockInputs, module: Any) -> Tensor:
    """Luma correction (B, 1, H, W), float32, of a :class:`vdeblur.model.block_taps.SharedTaps` ``module``."""
    operands, (batch, height, width) = _pack_operands(module, inputs)
    weights = pack_weights(module.filters, module.mix, module.correction)
    result = torch.empty(batch, 1, height, width, device=operands[0].device)
    depth, hidden, _ = weights["layers"].shape
    grid = (triton.cdiv(width, ROW), height, batch)
    _shared_taps[grid](
        result, *operands,
        weights["filters"], weights["filters_bias"], weights["layers"], weights["layer_biases"],
        weights["output"], weights["output_bias"],
        height, width, inputs.gain,
        INPUTS=weights["filters"].shape[1], HIDDEN=hidden, DEPTH=depth, BLOCK_PX=inputs.block_px, ROW=ROW,
        num_warps=ROW_WARPS,
    )  # fmt: skip
    return result


def _pack_operands(module: Any, inputs: BlockInputs) -> tuple[tuple[Tensor, ...], tuple[int, int, int]]:
    """Kernel operands, contiguous: stacked frames, block maps, feature table; and (batch, height, width)."""
    neighbours = inputs.frames[1:] if len(module.neighbour_offsets) else ()
    frames = stack_frames([*inputs.frames, None, None][:3])
    key = frames.device, module.offsets.dtype, tuple(frame is not None for frame in neighbours)
    if key not in module.kernel_cache:
        module.kernel_cache[key] = feature_table(module.offsets, module.neighbour_offsets, key[2])
    table = module.kernel_cache[key]
    parts = (frames, inputs.motion, inputs.displacements, inputs.confidences)
    batch, _, height, width = frames.shape
    return (
        *(part.contiguous() for part in parts), table["roles"], table["sources"], table["offsets"],
    ), (batch, height, width)  # fmt: skip


@triton.jit
def _linear(x, matrix, bias, rows, columns, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Linear layer of one vector: (columns) → (rows)."""
    return tl.sum(tl.load(matrix + rows[:, None] * COLUMNS + columns[None, :]) * x[None, :], 1) + tl.load(bias + rows)


@triton.jit
def _mixture_taps(  # type: ignore[no-untyped-def]
    result, frames, motion, displacements, confidences, roles, sources, offsets,
    first, first_bias, second, second_bias, head, head_bias, experts,
    height, width, gain,
    INPUTS: tl.constexpr, CODE: tl.constexpr, MIXING: tl.constexpr, HIDDEN: tl.constexpr, EXPERTS: tl.constexpr,
    BLOCK_PX: tl.constexpr,
):  # fmt: skip
    """Correction of a block; see :func:`apply_mixture_taps`."""
    batch, block = tl.program_id(1), tl.program_id(0)
    columns, blocks = width // BLOCK_PX, (height // BLOCK_PX) * (width // BLOCK_PX)
    pixel = tl.arange(0, BLOCK_PX * BLOCK_PX)
    first_x, first_y = block % columns * BLOCK_PX, block // columns * BLOCK_PX
    x, y = pixel % BLOCK_PX, pixel // BLOCK_PX
    motion += batch * 2 * blocks
    displacements += batch * 4 * blocks
    confidences += batch * 2 * blocks
    frames += batch * 3 * height * width
    motion_x, motion_y = tl.load(motion + block), tl.load(motion + blocks + block)
    square = motion_x * motion_x + motion_y * motion_y
    luma = tl.load(frames + (first_y + y) * width + first_x + x)

    k = tl.arange(0, INPUTS)
    role, source, offset = tl.load(roles + k), tl.load(sources + k), tl.load(offsets + k)
    shift_x, shift_y = offset * motion_x, offset * motion_y
    confidence = tl.full((INPUTS,), 1.0, tl.float32)
    for side in tl.static_range(2):
        selected = source == side + 1
        shift_x += tl.where(selected, tl.load(displacements + 2 * side * blocks + block), 0.0)
        shift_y += tl.where(selected, tl.load(displacements + (2 * side + 1) * blocks + block), 0.0)
        confidence = tl.where(selected, tl.load(confidences + side * blocks + block), confidence)
    # A block may lie at most one block outside of the frame; positions are clamped per block, not per pixel.
    at_x = tl.minimum(tl.maximum(first_x + BLOCK_PX + shift_x, 0.0), (width + BLOCK_PX) * 1.0) - BLOCK_PX
    at_y = tl.minimum(tl.maximum(first_y + BLOCK_PX + shift_y, 0.0), (height + BLOCK_PX) * 1.0) - BLOCK_PX
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    fraction_x, fraction_y = (at_x - floor_x)[:, None], (at_y - floor_y)[:, None]
    left = floor_x.to(tl.int32)[:, None] + x[None, :]
    top = floor_y.to(tl.int32)[:, None] + y[None, :]
    x0, x1 = tl.minimum(tl.maximum(left, 0), width - 1), tl.minimum(tl.maximum(left + 1, 0), width - 1)
    y0, y1 = tl.minimum(tl.maximum(top, 0), height - 1), tl.minimum(tl.maximum(top + 1, 0), height - 1)
    sampled = (role == 1)[:, None]
    image = (frames + source * (height * width))[:, None]
    sample = bilinear(image + y0 * width, image + y1 * width, x0, x1, fraction_x, fraction_y, sampled)
    difference = (sample - luma[None, :]) * (gain * confidence)[:, None]
    difference = tl.where(sampled, difference, 0.0)
    features = tl.where((role == 3)[:, None], (luma - 0.5)[None, :], difference)

    # Block statistics: fourth root of the mean absolute differences, motion length, confidences.
    statistics = tl.sqrt(tl.sqrt(tl.sum(tl.abs(difference), 1) / (BLOCK_PX * BLOCK_PX)))
    statistics = tl.where(role == 2, tl.log(1 + tl.sqrt(square)) / 4, statistics)
    statistics = tl.where(role == 4, confidence, statistics)
    c, m = tl.arange(0, CODE), tl.arange(0, MIXING)
    code = leaky_relu(_linear(statistics, first, first_bias, c, k, INPUTS))
    code = leaky_relu(_linear(code, second, second_bias, c, c, CODE))
    h = tl.arange(0, HIDDEN)
    # The head's rows: mixing weights, output bias, hidden bias, output weights, skip weights.
    mixing = _linear(code, head, head_bias, m, c, CODE)
    head += MIXING * CODE
    head_bias += MIXING
    output_shift = tl.sum(tl.load(head + c) * code, 0) + tl.load(head_bias)
    head += CODE
    head_bias += 1
    hidden_bias = _linear(code, head, head_bias, h, c, CODE)
    head += HIDDEN * CODE
    head_bias += HIDDEN
    output = _linear(code, head, head_bias, h, c, CODE)
    head += HIDDEN * CODE
    head_bias += HIDDEN
    skip = _linear(code, head, head_bias, k, c, CODE)

    at = h[:, None] * INPUTS + k[None, :]
    weight = tl.load(experts + at).to(tl.float32)
    for expert in tl.static_range(EXPERTS):
        share = tl.sum(tl.where(m == expert, mixing, 0.0), 0)
        weight += share * tl.load(experts + (expert + 1) * HIDDEN * INPUTS + at).to(tl.float32)
    dtype = experts.dtype.element_ty
    hidden = leaky_relu(tl.dot(weight.to(dtype), features.to(dtype), input_precision="ieee") + hidden_bias[:, None])
    correction = tl.sum(hidden * output[:, None], 0) + tl.sum(difference * skip[:, None], 0) + output_shift
    correction *= square / (1 + square) / gain
    tl.store(result + (batch * height + first_y + y) * width + first_x + x, correction)


def apply_mixture_taps(inputs: BlockInputs, module: Any) -> Tensor:
    """Luma correction (B, 1, H, W), float32, of a :class:`vdeblur.model.mixture_taps.MixtureTaps` ``module``."""
    operands, (batch, height, width) = _pack_operands(module, inputs)
    result = torch.empty(batch, 1, height, width, device=operands[0].device)
    rows = len(operands[-1])
    weights = _pack_mixture_weights(module, rows)
    _mixture_taps[(height // inputs.block_px * (width // inputs.block_px), batch)](
        result, *operands, *weights, height, width, inputs.gain,
        INPUTS=rows, CODE=weights[0].shape[0], MIXING=padded_size(len(module.weight) - 1), HIDDEN=weights[-1].shape[1],
        EXPERTS=len(module.weight) - 1, BLOCK_PX=inputs.block_px, num_warps=WARPS,
    )  # fmt: skip
    return result


def _pack_mixture_weights(module: Any, features: int) -> list[Tensor]:
    """Pack a MixtureTaps for :func:`_mixture_taps`, zero-padded; all but the filters float32."""
    code, hidden = padded_size(module.code[0].out_features), padded_size(module.weight.shape[1])
    mixing, bias, output, output_bias, skip = module.head.weight.float().split(module.head_sizes)
    head_bias = module.head.bias.float().split(module.head_sizes)
    sizes = padded_size(module.head_sizes[0]), 1, hidden, hidden
    heads = (mixing, output_bias, bias, output)
    rows = [padded_matrix(each, size, code) for each, size in zip(heads, sizes, strict=True)]
    biases = (head_bias[0], head_bias[3], head_bias[1] + module.bias.float(), head_bias[2] + module.last.float())
    rows.append(_scatter_columns(padded_matrix(skip, len(skip), code).t(), module.differences, features).t())
    vectors = [padded_vector(each, size) for each, size in zip(biases, sizes, strict=True)]
    vectors.append(_scatter_columns(head_bias[4][None], module.differences, features)[0])
    first, second = module.code
    statistics = _scatter_columns(first.weight.float(), torch.cat((module.differences, module.constants)), features)
    filters = _scatter_columns(module.weight, module.inputs, features)
    padding = hidden - module.weight.shape[1]
    return [
        padded_matrix(statistics, code, features), padded_vector(first.bias, code),
        padded_matrix(second.weight.float(), code, code), padded_vector(second.bias, code),
        torch.cat(rows).contiguous(), torch.cat(vectors),
        torch.nn.functional.pad(filters, (0, 0, 0, padding)).contiguous(),
    ]  # fmt: skip


def _scatter_columns(matrix: Tensor, columns: Tensor, size: int) -> Tensor:
    """Scatter a matrix (…, n) to ``columns`` (n,) of (…, size), zeros elsewhere."""
    return matrix.new_zeros(*matrix.shape[:-1], size).index_copy(-1, columns, matrix)


def feature_table(offsets: Tensor, neighbour_offsets: Tensor, present: tuple[bool, ...]) -> dict[str, Tensor]:
    """Feature table in the order of ``BlockTaps.sample_features``: kind, source frame and offset of each row."""
    rows: list[tuple[int, int, float]] = [(SAMPLE, 0, float(offset)) for offset in offsets.tolist()]
    rows += [(LENGTH, 0, 0.0), (LUMA, 0, 0.0)]
    for number, there in enumerate(present):
        kind = (SAMPLE, CONFIDENCE) if there else (UNUSED, UNUSED)
        rows += [(kind[0], number + 1, float(offset)) for offset in neighbour_offsets.tolist()]
        rows.append((kind[1], number + 1, 0.0))
    rows += [(UNUSED, 0, 0.0)] * (padded_size(len(rows)) - len(rows))
    roles, sources, positions = zip(*rows, strict=True)
    device = offsets.device
    return {
        "roles": torch.tensor(roles, dtype=torch.int32, device=device),
        "sources": torch.tensor(sources, dtype=torch.int32, device=device),
        "offsets": torch.tensor(positions, dtype=torch.float32, device=device),
    }


def pack_weights(filters: Any, mix: Any, correction: Any) -> dict[str, Tensor]:
    """Pack 1×1 convolutions, zero-padded to tile sizes; biases float32."""
    hidden = padded_size(filters.weight.shape[0])
    layers, layer_biases = stack_layers(mix, hidden, filters.weight)
    return {
        "filters": padded_matrix(filters.weight.flatten(1), hidden, padded_size(filters.weight.shape[1])),
        "filters_bias": padded_vector(filters.bias, hidden),
        "layers": layers,
        "layer_biases": layer_biases,
        "output": padded_vector(correction.weight.flatten(), hidden),
        "output_bias": correction.bias.float().contiguous(),
    }
