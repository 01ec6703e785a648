"""What cell taps do, for a whole frame at once and as few operations: the form that is exported.

:mod:`vdeblur.model.block_taps` writes what strips of a frame see into one matrix, for a core's cache. A program of
another runtime would be thousands of operations of one size long; this one has a dozen, of any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.model.block_sampling import sampled
from vdeblur.model.motion_taps import CONTRAST

if TYPE_CHECKING:
    from vdeblur.model.block_taps import FrameBlocks, SharedTaps


def whole_correction(taps: SharedTaps, sight: FrameBlocks, cell: int) -> Tensor:
    """Correction of all pixels of a frame of ``cell``² pixels a cell: (B, cell², h, w), float32."""
    own, length = sight.own[:, :, None], sight.length[:, :, None]
    parts = [_differences(sight.shifts, sight.place, sight.step, taps.offsets, own, cell) * CONTRAST]
    parts += [(torch.log1p(length) / 4).expand_as(own), own - 0.5]
    for view in sight.views:
        if view is None:
            parts.append(torch.zeros_like(own).expand(-1, -1, len(taps.neighbour_offsets) + 1, -1, -1))
        else:
            trust = view.trust[:, :, None]
            there = _differences(view.shifts, view.place, sight.step, taps.neighbour_offsets, own, cell)
            parts += [there * (CONTRAST * trust), trust.expand_as(own)]
    seen = torch.cat(parts, 2).to(taps.filters.weight.dtype)  # (B, cell², seen, h, w)
    x = seen.flatten(3)
    for layer in (taps.filters, *taps.mix):
        assert isinstance(layer, nn.Conv2d)
        x = F.leaky_relu(_mixed(layer, x), 0.1)
    square = sight.length.square()
    return _mixed(taps.correction, x).float().view_as(sight.own) * (square / (1 + square) / CONTRAST)


def _differences(views: Tensor, place: Tensor, step: Tensor, offsets: Tensor, own: Tensor, cell: int) -> Tensor:
    """Samples at ``place`` + each offset · ``step``, less the pixel's own: (B, cell², K, h, w)."""
    grid = place[:, None] + offsets.view(1, -1, 1, 1, 1) * step[:, None]  # (B, K, h, w, 2)
    seen = sampled(views, grid.flatten(1, 2), cell)
    return seen.view(*own.shape[:2], len(offsets), *own.shape[3:]) - own


def _mixed(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1×1 convolution of (…, C, N)."""
    assert layer.bias is not None
    return layer.weight.flatten(1) @ x + layer.bias[:, None]
