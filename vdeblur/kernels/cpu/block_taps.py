"""Block taps on the CPU: launches :mod:`vdeblur.kernels.cpu.jit.block_taps` for :class:`SharedTaps`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.cpu.block_operands import BLOCK, PATCH, VECTORS, in_strips, kept_weights, seen_by
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import LANES, address
from vdeblur.kernels.inputs import BlockInputs

#: Cells that are worked on before the weights are read again.
ROUND = 2

_rows = Kernel("block_taps", "rows")


def taps(looks: BlockInputs, form: Any) -> Tensor:
    """What :class:`vdeblur.model.block_taps.SharedTaps` ``form`` makes of a frame: (B, 1, H, W), float32."""
    seen = seen_by(form, looks)
    weights = kept_weights(form, lambda: weights_of(form.filters, form.mix, form.correction))
    given = (
        address(weights.layers), address(weights.biases), address(weights.last), float(weights.last_bias),
        weights.seen, weights.hidden, weights.depth,
    )  # fmt: skip
    numbers = (weights.seen * VECTORS * ROUND + 2 * weights.hidden) * LANES + PATCH
    return in_strips(seen, numbers, _rows, given, float(looks.contrast))


class BlockTapWeights(NamedTuple):
    """Filters in the order in which they are read: all layers, their biases, and the last one, float32."""

    layers: Tensor
    biases: Tensor
    last: Tensor
    last_bias: float
    seen: int
    hidden: int
    depth: int


def weights_of(filters: nn.Conv2d, mix: Sequence[nn.Conv2d], correction: nn.Conv2d) -> BlockTapWeights:
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
    return BlockTapWeights(
        torch.cat(parts), biases, last, float(_bias(correction)), filters.weight.shape[1], hidden, len(mix)
    )


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
