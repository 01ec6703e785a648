"""Shared taps on the CPU: per-block sampling and one MLP for all pixels, :mod:`vdeblur.kernels.cpu.jit.shared_taps`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.cpu.block_operands import (
    BLOCK_VECTORS,
    OUTPUT_TILE,
    PATCH_SIZE,
    cached_weights,
    pack_operands,
    run_in_strips,
)
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import LANES, address
from vdeblur.kernels.inputs import BlockInputs

#: Blocks processed per read of the weights.
BLOCKS_PER_PASS = 2

_rows = Kernel("shared_taps", "rows")


def apply_shared_taps(inputs: BlockInputs, module: Any) -> Tensor:
    """Luma correction (B, 1, H, W), float32, of a :class:`vdeblur.model.block_taps.SharedTaps` ``module``."""
    operands = pack_operands(module, inputs)
    weights = cached_weights(module, lambda: pack_weights(module.filters, module.mix, module.correction))
    arguments = (
        address(weights.layers), address(weights.biases), address(weights.output), float(weights.output_bias),
        weights.inputs, weights.hidden, weights.depth,
    )  # fmt: skip
    scratch_size = (weights.inputs * BLOCK_VECTORS * BLOCKS_PER_PASS + 2 * weights.hidden) * LANES + PATCH_SIZE
    return run_in_strips(operands, scratch_size, _rows, arguments, float(inputs.gain))


class SharedTapWeights(NamedTuple):
    """Packed weights in reading order, float32: hidden layers, their biases, the output layer; and their sizes."""

    layers: Tensor
    biases: Tensor
    output: Tensor
    output_bias: float
    inputs: int
    hidden: int
    depth: int


def pack_weights(filters: nn.Conv2d, mix: Sequence[nn.Conv2d], correction: nn.Conv2d) -> SharedTapWeights:
    """Pack 1×1 convolutions, hidden units padded with zeros to a multiple of :data:`OUTPUT_TILE`."""
    layers = [filters, *mix]
    padding = -len(filters.weight) % OUTPUT_TILE
    hidden = len(filters.weight) + padding
    parts = []
    for layer in layers:
        matrix = F.pad(layer.weight.float().flatten(1), (0, 0 if layer is filters else padding, 0, padding))
        parts.append(matrix.view(hidden // OUTPUT_TILE, OUTPUT_TILE, -1).transpose(1, 2).flatten())
    biases = torch.cat([F.pad(_bias(layer), (0, padding)) for layer in layers])
    output = F.pad(correction.weight.float().flatten(), (0, padding))
    return SharedTapWeights(
        torch.cat(parts), biases, output, float(_bias(correction)), filters.weight.shape[1], hidden, len(mix)
    )


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
