"""A filter of its own for each cell, of what its pixels see, on a CPU, by :mod:`vdeblur.native.code.mixed`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.cores import side_by_side
from vdeblur.native.compiling import Kernel
from vdeblur.native.processor import LANES, address, memory
from vdeblur.native.taps import BLOCK, CELL, PATCH, STRIP_PIXELS, VECTORS

#: Cells that are worked on together.
TOGETHER = 4

_rows = Kernel("mixed", "rows")


def mixed_taps(
    frames: Sequence[Tensor | None],
    motion: Tensor,
    places: Tensor,
    trusts: Tensor,
    form: Any,
    *,
    contrast: float,
    cell: int,
) -> Tensor:
    """What :meth:`vdeblur.model.mixedtaps.MixedTaps.forward` makes of pixels: (B, 1, H, W), float32.

    The arguments are those of :func:`vdeblur.native.taps.taps`; ``form`` is the MixedTaps.
    """
    assert cell == CELL, cell
    weights = weights_of(form)
    own, before, after = (None if frame is None else memory(frame) for frame in (*frames, None, None)[:3])
    motion, places, trusts, offsets, around = (
        memory(each) for each in (motion, places, trusts, form.offsets, form.neighbour_offsets)
    )
    assert own is not None
    square = motion.square().sum(1)
    lengths, gates = memory(torch.log1p(square.sqrt()) / 4), memory(square / (1 + square) / contrast)
    batch, _, height, width = own.shape
    result = torch.empty_like(own)
    differences = len(offsets) + 2 * len(around)
    hidden, code, made, mixed = weights.hidden, weights.code, weights.made, weights.mixed
    numbers = (differences + 1) * LANES * VECTORS + differences + 3 + 2 * code + made + mixed
    size = TOGETHER * numbers + hidden * LANES + PATCH

    def work(number: int, top: int, bottom: int) -> None:
        scratch = torch.zeros(size)  # what is not seen counts as nothing
        _rows(
            *(address(each, number) for each in (result, own, before, after, motion, places, trusts, lengths, gates)),
            address(offsets), len(offsets), address(around), len(around),
            *(address(each) for each in weights.tensors), weights.shares,
            hidden, code, made, mixed, float(contrast), height, width, top, bottom, address(scratch),
        )  # fmt: skip

    rows = height // CELL
    step = max(1, STRIP_PIXELS // (CELL * width))
    strips = [
        partial(work, number, top, min(rows, top + step)) for number in range(batch) for top in range(0, rows, step)
    ]
    side_by_side(strips, own.device)
    return result


class Weights(NamedTuple):
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


def weights_of(form: Any) -> Weights:
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
    return Weights(tensors, experts - 1, hidden, code, tensors[5].shape[0], filters.shape[1])


def _full(x: Tensor) -> Tensor:
    """With zeros at the end of its last dimension, up to whole vectors."""
    return F.pad(x, (0, -x.shape[-1] % LANES))
