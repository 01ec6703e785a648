"""What pixels see along their motion and the filters of that on a CPU, by :mod:`vdeblur.native.code.taps`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.cores import side_by_side
from vdeblur.native.compiling import Kernel
from vdeblur.native.processor import LANES, memory

#: Pixels each way of a cell.
CELL = 8
PIXELS = CELL * CELL
#: Vectors of a cell's pixels, and cells that are worked on before the weights are read again.
VECTORS, ROUND = PIXELS // LANES, 2
#: Outputs of a layer that are worked on at a time.
BLOCK = 4
#: Pixels of a strip, which one core works on.
STRIP_PIXELS = 32_768
#: Numbers of a row of the copy of a cell's surroundings.
PATCH_ROW = 16

_rows = Kernel("taps", "rows")


def taps(
    frames: Sequence[Tensor | None],
    motion: Tensor,
    places: Tensor,
    trusts: Tensor,
    form: Any,
    *,
    contrast: float,
    cell: int,
) -> Tensor:
    """What :meth:`vdeblur.model.celltaps.CellTaps.forward` makes of pixels: (B, 1, H, W), float32.

    Args:
        frames: luma of the frame, the one before and the one after (B, 1, H, W), float32; None where there is none.
        motion: (B, 2, H/8, W/8) in pixels, x before y.
        places: the displacement to each neighbour (B, 4, H/8, W/8) in pixels; ``trusts`` (B, 2, H/8, W/8).
        form: the CellTaps whose points and filters are meant.
    """
    assert cell == CELL, cell
    weights = weights_of(form.filters, form.mix, form.correction)
    own, before, after = (None if frame is None else memory(frame) for frame in (*frames, None, None)[:3])
    motion, places, trusts, offsets, around = (
        memory(each) for each in (motion, places, trusts, form.offsets, form.neighbour_offsets)
    )
    assert own is not None
    batch, _, height, width = own.shape
    result = torch.empty_like(own)
    size = (weights.seen * VECTORS * ROUND + 2 * weights.hidden) * LANES + (CELL + 1) * PATCH_ROW

    def work(number: int, top: int, bottom: int) -> None:
        scratch = torch.zeros(size)  # what is not seen counts as nothing
        _rows(
            *(_address(frame, number) for frame in (result, own, before, after)),
            _address(motion, number), _address(places, number), _address(trusts, number),
            _address(offsets), len(offsets), _address(around), len(around),
            _address(weights.layers), _address(weights.biases), _address(weights.last), np.float32(weights.last_bias),
            weights.seen, weights.hidden, weights.depth, np.float32(contrast), height, width, top, bottom,
            _address(scratch),
        )  # fmt: skip

    rows = height // CELL
    step = max(1, STRIP_PIXELS // (CELL * width))
    strips = [
        partial(work, number, top, min(rows, top + step)) for number in range(batch) for top in range(0, rows, step)
    ]
    side_by_side(strips, own.device)
    return result


def _address(tensor: Tensor | None, number: int | None = None) -> int:
    """Of a tensor's first number, or of that of one of a batch; 0 for None."""
    if tensor is None:
        return 0
    return tensor.data_ptr() if number is None else tensor[number].data_ptr()


class Weights(NamedTuple):
    """Filters in the order in which they are read: all layers, their biases, and the last one, float32."""

    layers: Tensor
    biases: Tensor
    last: Tensor
    last_bias: float
    seen: int
    hidden: int
    depth: int


def weights_of(filters: nn.Conv2d, mix: Sequence[nn.Conv2d], correction: nn.Conv2d) -> Weights:
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
    return Weights(torch.cat(parts), biases, last, float(_bias(correction)), filters.weight.shape[1], hidden, len(mix))


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.float()
