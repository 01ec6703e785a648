"""Mixture taps on the CPU: launches :mod:`vdeblur.kernels.cpu.jit.mixture_taps` for :class:`MixtureTaps`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.kernels.cpu.block_operands import BLOCK, PATCH, VECTORS, in_strips, kept_weights, seen_by
from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import LANES, address, memory
from vdeblur.kernels.inputs import BlockInputs

#: Cells that are worked on together.
TOGETHER = 4

_rows = Kernel("mixture_taps", "rows")


def mixed_taps(looks: BlockInputs, form: Any) -> Tensor:
    """What :class:`vdeblur.model.mixture_taps.MixtureTaps` ``form`` makes of a frame: (B, 1, H, W), float32."""
    weights, seen = kept_weights(form, lambda: weights_of(form)), seen_by(form, looks)
    differences = len(seen.offsets) + 2 * len(seen.around)
    sizes = weights.hidden, weights.code, weights.made, weights.mixed
    numbers = (differences + 1) * LANES * VECTORS + differences + 3 + 2 * weights.code + weights.made + weights.mixed
    given = [*(address(each) for each in weights.tensors), weights.shares, *sizes]
    return in_strips(seen, TOGETHER * numbers + weights.hidden * LANES + PATCH, _rows, given, float(looks.contrast))


class MixtureWeights(NamedTuple):
    """What makes filters, in the order in which it is read, float32.

    ``tensors``: the first and the second layer and the head, each (inputs, outputs) and a bias, and the filter that all
    cells have with the experts. Outputs fill whole vectors, with some that are nothing.
    """

    tensors: tuple[Tensor, ...]
    shares: int
    hidden: int
    code: int
    made: int
    mixed: int


def weights_of(form: Any) -> MixtureWeights:
    """The weights of a MixedTaps; hidden units that are nothing fill up a multiple of BLOCK."""
    experts, hidden, inputs = form.weight.shape
    missing = -hidden % BLOCK
    hidden += missing
    # The head's numbers get what all cells have in common, and room for the hidden units that are nothing.
    shares, bias, last, shift, straight = form.head.weight.float().split(form.sizes)
    own = form.head.bias.float().split(form.sizes)
    weight = torch.cat((shares, F.pad(bias, (0, 0, 0, missing)), F.pad(last, (0, 0, 0, missing)), shift, straight))
    common = (own[0], F.pad(own[1] + form.bias, (0, missing)), F.pad(own[2] + form.last, (0, missing)), *own[3:])
    filters = F.pad(form.weight.float(), (0, 0, 0, missing)).view(experts, hidden // BLOCK, BLOCK, inputs)
    filters = _full(filters.transpose(2, 3).flatten(1))
    first, second = form.code
    code = first.out_features + -first.out_features % LANES
    matrices = (
        _full(first.weight.float().t()), _full(first.bias.float()),
        _full(F.pad(second.weight.float(), (0, code - first.out_features)).t()), _full(second.bias.float()),
        _full(F.pad(weight, (0, code - first.out_features)).t()), _full(torch.cat(common)),
    )  # fmt: skip
    tensors = tuple(memory(each) for each in (*matrices, filters))
    return MixtureWeights(tensors, experts - 1, hidden, code, tensors[5].shape[0], filters.shape[1])


def _full(x: Tensor) -> Tensor:
    """With zeros at the end of its last dimension, up to whole vectors."""
    return F.pad(x, (0, -x.shape[-1] % LANES))
