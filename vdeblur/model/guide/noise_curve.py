"""Noise reading: the standard deviation of a picture's noise by brightness, from its flattest blocks.

A second difference along both axes cancels flat content and slopes and keeps white noise (Immerkær 1996, "Fast noise
variance estimation"). Its mean absolute value over small blocks is counted in a histogram for each brightness; the
lower end of a histogram is the noise, the rest is texture. Histograms add up over the frames of a shot.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

#: Brightness levels between which the curve is linear, luma in [0, 1].
LEVELS = (0.06, 0.18, 0.32, 0.48, 0.66, 0.86)
#: Bins of a histogram, evenly spaced in the logarithm of the standard deviation between these.
BINS, LEAST, MOST = 40, 0.05 / 255, 60 / 255
#: Elements of a reading that is kept from frame to frame.
HISTOGRAM_SIZE = len(LEVELS) * BINS
#: Share of the blocks that are flat enough to tell the noise from texture.
FLAT_SHARE = 0.2
#: Side of a block, pixels, and most blocks that are looked at.
BLOCK_PX, MOST_BLOCKS = 8, 4096
#: What remains of the earlier frames' histograms at each frame.
KEPT = 0.8
#: Luma beyond these is clipped, and so is its noise.
_DARKEST, _BRIGHTEST = 0.012, 0.988
#: Mean absolute value of the second difference of unit noise, and how much lower the flat share of its block means is.
_MEAN_OF_UNIT = math.sqrt(2 / math.pi) * 6
_LOW_END = 0.735
#: Weight of all brightnesses' histogram beside that of one: few blocks there tell little.
_SHARED = 0.05


@torch.no_grad()
def noise_histogram(luma: Tensor) -> Tensor:
    """Histograms (B, HISTOGRAM_SIZE) of the noise of luma (B, 1, H, W) in [0, 1]; shares of the blocks seen."""
    blocks = _blocks(luma.float())  # (B, N, 8, 8)
    inside = blocks[..., 1:-1, :] * -2 + blocks[..., :-2, :] + blocks[..., 2:, :]
    inside = inside[..., 1:-1] * -2 + inside[..., :-2] + inside[..., 2:]
    deviation = inside.abs().mean((-1, -2)) / (_MEAN_OF_UNIT * _LOW_END)  # (B, N)
    level = blocks.mean((-1, -2))
    seen = (blocks.amin((-1, -2)) > _DARKEST) & (blocks.amax((-1, -2)) < _BRIGHTEST)
    place = (deviation.clamp(LEAST, MOST) / LEAST).log() * ((BINS - 1) / math.log(MOST / LEAST))
    bins = (1 - (place[..., None] - torch.arange(BINS, device=luma.device)).abs()).clamp_min(0)  # (B, N, BINS)
    weights = _weights(level) * seen[..., None]  # (B, N, LEVELS)
    counts = weights.transpose(1, 2) @ bins
    return (counts / max(1, blocks.shape[1])).flatten(1)


@torch.no_grad()
def noise_curve(histogram: Tensor) -> Tensor:
    """Standard deviation (B, len(LEVELS)) at each brightness from histograms (B, HISTOGRAM_SIZE); 0: none was seen."""
    counts = histogram.view(-1, len(LEVELS), BINS)
    counts = counts + _SHARED * counts.sum(1, keepdim=True)
    share = counts.cumsum(-1) / counts.sum(-1, keepdim=True).clamp_min(1e-9)
    below = (share < FLAT_SHARE).sum(-1, keepdim=True).clamp_max(BINS - 1)
    before = torch.where(below > 0, share.gather(-1, (below - 1).clamp_min(0)), 0.0)
    part = (FLAT_SHARE - before) / (share.gather(-1, below) - before).clamp_min(1e-9)
    place = (below - 1 + part.clamp(0, 1)).clamp_min(0).squeeze(-1)
    curve = LEAST * (place * (math.log(MOST / LEAST) / (BINS - 1))).exp()
    seen = histogram.sum(-1, keepdim=True) > 1e-6
    return torch.where(seen & (place > 0), curve, 0.0)


def accumulate_histogram(histogram: Tensor, before: Tensor | None) -> Tensor:
    """The reading of all frames so far; ``before`` is None at the start of a shot."""
    return histogram if before is None else before * KEPT + histogram


def noise_at(curve: Tensor, luma: Tensor) -> Tensor:
    """Standard deviation (B, 1, h, w) of the noise at each sample of luma (B, 1, h, w), from curves (B, LEVELS)."""
    result = curve[:, :1, None, None].expand_as(luma).clone()
    for number in range(1, len(LEVELS)):
        low, high = LEVELS[number - 1], LEVELS[number]
        rise = (curve[:, number] - curve[:, number - 1])[:, None, None, None]
        result += rise * ((luma - low) * (1 / (high - low))).clamp(0, 1)
    return result


def _blocks(luma: Tensor) -> Tensor:
    """Blocks (B, N, 8, 8) spread evenly over the picture."""
    rows, columns = (side // BLOCK_PX for side in luma.shape[-2:])
    step = max(1, math.ceil(math.sqrt(rows * columns / MOST_BLOCKS)))
    whole = luma[:, 0, : rows * BLOCK_PX, : columns * BLOCK_PX]
    parts = whole.reshape(-1, rows, BLOCK_PX, columns, BLOCK_PX)[:, ::step, :, ::step].permute(0, 1, 3, 2, 4)
    return parts.reshape(len(luma), -1, BLOCK_PX, BLOCK_PX)


def _weights(level: Tensor) -> Tensor:
    """Shares (B, N, LEVELS) of the brightness levels beside each block's own (B, N)."""
    level = level.clamp(LEVELS[0], LEVELS[-1])
    # Numbers, and no tensor of them: on a GPU, its upload would be waited for.
    steps = [((level - low) * (1 / (high - low))).clamp(0, 1) for low, high in pairwise(LEVELS)]
    rise = torch.stack(steps, -1)  # 1 for all intervals below
    one = torch.ones_like(rise[..., :1])
    return torch.cat((one, rise), -1) - torch.cat((rise, torch.zeros_like(one)), -1)
