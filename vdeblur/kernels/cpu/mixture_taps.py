"""Mixture taps on the CPU: a predicted filter per block (CondConv), :mod:`vdeblur.kernels.cpu.jit.mixture_taps`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.kernels.cpu.block_operands import (
    BLOCK_VECTORS,
    OUTPUT_TILE,
    PATCH_SIZE,
    cached_weights,
    pack_operands,
    run_in_strips,
)
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import LANES, address, contiguous_float32
from vdeblur.kernels.inputs import BlockInputs

#: Blocks processed together, so that the predictor's weights are read once for all of them.
BLOCKS_PER_PASS = 4

_rows = Kernel("mixture_taps", "rows")


def apply_mixture_taps(inputs: BlockInputs, module: Any) -> Tensor:
    """Luma correction (B, 1, H, W), float32, of a :class:`vdeblur.model.mixture_taps.MixtureTaps` ``module``."""
    weights, operands = cached_weights(module, lambda: pack_weights(module)), pack_operands(module, inputs)
    differences = len(operands.offsets) + 2 * len(operands.neighbour_offsets)
    sizes = weights.hidden, weights.code, weights.head_outputs, weights.filter_size
    features, statistics = (differences + 1) * LANES * BLOCK_VECTORS, differences + 3
    per_block = features + statistics + 2 * weights.code + weights.head_outputs + weights.filter_size
    scratch_size = BLOCKS_PER_PASS * per_block + weights.hidden * LANES + PATCH_SIZE
    arguments = [*(address(each) for each in weights.tensors), weights.experts, *sizes]
    return run_in_strips(operands, scratch_size, _rows, arguments, float(inputs.gain))


class MixtureWeights(NamedTuple):
    """Packed weights of the filter predictor, in reading order, float32.

    ``tensors``: the two layers and the head, each (inputs, outputs) and its bias, then the shared filter and the
    experts. Outputs are padded with zeros to whole vectors.
    """

    tensors: tuple[Tensor, ...]
    experts: int
    hidden: int
    code: int
    head_outputs: int
    filter_size: int


def pack_weights(module: Any) -> MixtureWeights:
    """Pack a MixtureTaps, hidden units padded with zeros to a multiple of :data:`OUTPUT_TILE`."""
    experts, hidden, inputs = module.weight.shape
    padding = -hidden % OUTPUT_TILE
    hidden += padding
    # The parameters shared by all blocks are folded into the head's bias; padded hidden units get zeros.
    mixing, bias, output, output_bias, skip = module.head.weight.float().split(module.head_sizes)
    head_bias = module.head.bias.float().split(module.head_sizes)
    weight = torch.cat((mixing, F.pad(bias, (0, 0, 0, padding)), F.pad(output, (0, 0, 0, padding)), output_bias, skip))
    shared_bias, shared_output = head_bias[1] + module.bias, head_bias[2] + module.last
    biases = (head_bias[0], F.pad(shared_bias, (0, padding)), F.pad(shared_output, (0, padding)), *head_bias[3:])
    filters = F.pad(module.weight.float(), (0, 0, 0, padding)).view(experts, hidden // OUTPUT_TILE, OUTPUT_TILE, inputs)
    filters = _pad_to_vectors(filters.transpose(2, 3).flatten(1))
    first, second = module.code
    code = first.out_features + -first.out_features % LANES
    code_padding = (0, code - first.out_features)
    matrices = (
        first.weight.float().t(), first.bias.float(),
        F.pad(second.weight.float(), code_padding).t(), second.bias.float(),
        F.pad(weight, code_padding).t(), torch.cat(biases),
    )  # fmt: skip
    tensors = tuple(contiguous_float32(each) for each in (*map(_pad_to_vectors, matrices), filters))
    return MixtureWeights(tensors, experts - 1, hidden, code, tensors[5].shape[0], filters.shape[1])


def _pad_to_vectors(x: Tensor) -> Tensor:
    """Zero-pad the last dimension to whole vectors."""
    return F.pad(x, (0, -x.shape[-1] % LANES))
