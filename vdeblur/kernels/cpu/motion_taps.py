"""Motion taps on the CPU: samples along each pixel's motion, and an MLP, :mod:`vdeblur.kernels.cpu.jit.motion_taps`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.cpu.block_operands import cached_weights
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.scanlines import PAIR_ROWS, POSITION_ROWS, check_maps, line_length, run_in_strips
from vdeblur.kernels.cpu.simd import ACCUMULATORS, BF16_DOT, LANES, address, contiguous_float32
from vdeblur.kernels.inputs import PixelInputs

#: Lines of a row: luma, x positions, then the upsampled maps.
LUMA, POSITIONS, MAPS = range(3)
#: First map of each kind: motion, its length, displacements to both neighbours, their confidences; then guides.
X, Y, LENGTH, DISPLACEMENT, CONFIDENCE, GUIDES = 0, 1, 2, 3, 7, 9

_rows, _rows_bf16 = Kernel("motion_taps", "rows"), Kernel("motion_taps", "rows_bf16")


def apply_motion_taps(inputs: PixelInputs, module: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Fields of a ``Deconvolution`` of a region, by a :class:`vdeblur.model.motion_taps.MotionTaps` ``module``.

    Correction (B, 1, h, w), texture (B, 16 · features, h/4, w/4) in channels_last, details (B, details, h, w).
    """
    use_bf16 = BF16_DOT and module.filters.weight.dtype == torch.bfloat16
    weights = cached_weights(module, lambda: pack_weights(module, inputs.gain, use_bf16))
    frames = [None if frame is None else contiguous_float32(frame) for frame in (*inputs.frames, None, None)[:3]]
    assert frames[0] is not None
    batch, _, height, width = frames[0].shape
    check_maps(frames[0], inputs.maps)
    region_height, region_width = inputs.bottom - inputs.top, inputs.right - inputs.left
    correction = torch.empty(batch, 1, region_height, region_width)
    texture = torch.empty(
        (batch, 16 * weights.features, region_height // 4, region_width // 4),
        dtype=torch.bfloat16 if use_bf16 else torch.float32,
        memory_format=torch.channels_last,
    )
    details = torch.empty(batch, weights.details, region_height, region_width)
    maps = contiguous_float32(inputs.maps)
    offsets = [contiguous_float32(each) for each in (module.offsets, module.neighbour_offsets, module.lateral_offsets)]
    stride, largest = line_length(region_width), max(len(each) for each in offsets)
    layer_size = max(weights.hidden, weights.outputs, weights.inputs + 1) * LANES

    def work(index: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_rows_bf16 if use_bf16 else _rows)(
            *(address(each, index) for each in (correction, texture, details, *frames, maps)),
            *(part for each in offsets for part in (address(each), len(each))),
            *(address(each) for each in weights[:3]), *weights[3:], maps.shape[1] - GUIDES, float(inputs.gain),
            height, width, inputs.top, inputs.bottom, inputs.left, inputs.right, top, bottom, stride, *scratch,
        )  # fmt: skip

    lines, samples = (MAPS + maps.shape[1]) * stride, (POSITION_ROWS + 1 + PAIR_ROWS) * largest * LANES
    scratch_sizes = lines, LANES, samples, layer_size, layer_size, layer_size
    run_in_strips(batch, inputs.top, inputs.bottom, region_width, scratch_sizes, work)
    return correction, texture.to(module.filters.weight.dtype), details


class MotionTapWeights(NamedTuple):
    """Packed layers in reading order and their sizes, units padded to multiples of ``ACCUMULATORS``.

    The output bias is separate, since it is added after weighting by the motion.
    """

    layers: Tensor
    biases: Tensor
    output_bias: Tensor
    inputs: int
    hidden: int
    depth: int
    outputs: int
    features: int
    details: int


def pack_weights(module: Any, gain: float, use_bf16: bool) -> MotionTapWeights:
    """Pack a MotionTaps, as bfloat16 pairs or float32; the correction head is scaled by 1/``gain``."""
    layers = [module.filters, *module.mix]
    heads = [module.correction, module.texture, *([] if module.details is None else [module.details])]
    scales = [1 / gain, 1.0, 1.0]
    output_bias = torch.cat([_bias(layer) * scale for layer, scale in zip(heads, scales, strict=False)])
    matrices = [layer.weight.float().flatten(1) for layer in layers]
    parts = [layer.weight.float().flatten(1) * scale for layer, scale in zip(heads, scales, strict=False)]
    matrices.append(torch.cat(parts))
    biases = [*(_bias(layer) for layer in layers), torch.zeros_like(output_bias)]
    features, hidden = matrices[0].shape[1], _round_up(len(biases[0]))
    inputs = (features, *(hidden for _ in layers))
    tiles = [
        _interleave(F.pad(matrix, (0, count - matrix.shape[1])), use_bf16)
        for matrix, count in zip(matrices, inputs, strict=True)
    ]
    padded = [F.pad(bias, (0, _round_up(len(bias)) - len(bias))) for bias in biases]
    texture, outputs = len(module.texture.weight), len(output_bias)
    sizes = features, hidden, len(module.mix), _round_up(outputs), texture, outputs - 1 - texture
    return MotionTapWeights(torch.cat(tiles), torch.cat(padded), output_bias, *sizes)


def _round_up(count: int) -> int:
    return -(-count // ACCUMULATORS) * ACCUMULATORS


def _interleave(matrix: Tensor, use_bf16: bool) -> Tensor:
    """(outputs, inputs) → reading order: the weights of ``ACCUMULATORS`` outputs for each input, or pair of inputs."""
    pair = 2 if use_bf16 else 1
    outputs, inputs = matrix.shape
    matrix = F.pad(matrix, (0, -inputs % pair, 0, _round_up(outputs) - outputs))
    tiles = matrix.view(-1, ACCUMULATORS, matrix.shape[1] // pair, pair).transpose(1, 2)
    return (tiles.bfloat16() if use_bf16 else tiles).flatten()


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
