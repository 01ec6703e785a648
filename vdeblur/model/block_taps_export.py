"""Export form of block taps: the same correction for a whole frame in a dozen operations of any size.

:mod:`vdeblur.model.block_taps` works in strips that fit into a core's cache; traced, that would unroll into thousands
of operations of one fixed size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.model.block_sampling import sample_blocks
from vdeblur.model.motion_taps import DIFFERENCE_GAIN

if TYPE_CHECKING:
    from vdeblur.model.block_taps import FrameBlocks, SharedTaps


def correction_for_export(taps: SharedTaps, blocks: FrameBlocks, block_px: int) -> Tensor:
    """Correction of a whole frame by shared taps: (B, block², h, w), float32."""
    pixels, length = blocks.pixels[:, :, None], blocks.length[:, :, None]
    along = _sample_differences(blocks.views, blocks.grid, blocks.step, taps.offsets, pixels, block_px)
    parts = [along * DIFFERENCE_GAIN, (torch.log1p(length) / 4).expand_as(pixels), pixels - 0.5]
    for neighbour in blocks.neighbours:
        if neighbour is None:
            parts.append(torch.zeros_like(pixels).expand(-1, -1, len(taps.neighbour_offsets) + 1, -1, -1))
        else:
            confidence = neighbour.confidence[:, :, None]
            differences = _sample_differences(
                neighbour.views, neighbour.grid, blocks.step, taps.neighbour_offsets, pixels, block_px
            )
            parts += [differences * (DIFFERENCE_GAIN * confidence), confidence.expand_as(pixels)]
    features = torch.cat(parts, 2).to(taps.filters.weight.dtype)  # (B, block², features, h, w)
    x = features.flatten(3)
    for layer in (taps.filters, *taps.mix):
        assert isinstance(layer, nn.Conv2d)
        x = F.leaky_relu(_linear(layer, x), 0.1)
    square = blocks.length.square()
    return _linear(taps.correction, x).float().view_as(blocks.pixels) * (square / (1 + square) / DIFFERENCE_GAIN)


def _sample_differences(
    views: Tensor, grid: Tensor, step: Tensor, offsets: Tensor, pixels: Tensor, block_px: int
) -> Tensor:
    """Differences of samples at ``grid`` + offset · ``step`` to ``pixels``: (B, block², K, h, w)."""
    points = grid[:, None] + offsets.view(1, -1, 1, 1, 1) * step[:, None]  # (B, K, h, w, 2)
    samples = sample_blocks(views, points.flatten(1, 2), block_px)
    return samples.view(*pixels.shape[:2], len(offsets), *pixels.shape[3:]) - pixels


def _linear(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """1×1 convolution of (…, C, N)."""
    assert layer.bias is not None
    return layer.weight.flatten(1) @ x + layer.bias[:, None]
