"""Optical flow between two frames, from coarse to fine, without learned parameters.

The combined local-global method (Bruhn, Weickert, Schnörr 2005): the linearised brightness constancy, robustly weighted
and summed over small cells, joined to neighbouring cells by a smoothness term. Both frames are blurred alike, so what
is the same in both matches well; it needs no training, and its error is a fraction of what a small learned matcher had.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.blocks import normal_grid, upsample
from vdeblur.model.steering import luma

#: Resolution of the resulting flow: one vector for a cell of so many pixels each way.
CELL = 8
#: Coarsest level: 1/32 of the frame.
COARSEST = 32
#: Times the other frame is warped anew, a level.
WARPS = 3
#: Steps of the smoothness solver after each warp, and their relaxation (second-order Richardson, Golub & Varga 1961).
SWEEPS, RELAXATION = 9, 1.6
#: Weight of smoothness against brightness constancy, for luma in [0, 1] and vectors in pixels of the level.
SMOOTHNESS = 1e-3
#: Differences in luma beyond this count less and less.
ROBUST = 0.01


#: A level has at least so many pixels each way.
LEAST_SIDE = 3


class Level(NamedTuple):
    """One resolution of a frame: luma (B, 1, h, w) and its derivatives in x and y (B, 2, h, w), float32."""

    luma: Tensor
    slope: Tensor


class Flow(NamedTuple):
    """Displacement (B, 2, H/8, W/8) in pixels of the frame, x before y, and what is left unexplained (B, 1, H/8, W/8).

    ``mismatch`` is the mean absolute difference in luma after warping, where a pixel leaves the frame 1.
    """

    displacement: Tensor
    mismatch: Tensor


@torch.no_grad()
def pyramid(frame: Tensor, finest: int) -> tuple[Level, ...]:
    """Levels of a frame (B, 3, H, W), the finest (1/``finest``) last; H and W are multiples of 8.

    The first one is at 1/32, or finer where that would be too small.
    """
    grey, scale = F.avg_pool2d(luma(frame), finest), finest
    levels = [_level(grey)]
    while scale < CELL or (scale < COARSEST and min(grey.shape[-2:]) > 2 * (LEAST_SIDE - 1)):
        grey, scale = F.avg_pool2d(grey, 2, ceil_mode=True), scale * 2
        levels.append(_level(grey))
    return tuple(reversed(levels))


def _level(grey: Tensor) -> Level:
    wide = F.pad(grey, (1, 1, 1, 1), "replicate")
    wide = 0.56 * wide[..., 1:-1, :] + 0.22 * (wide[..., :-2, :] + wide[..., 2:, :])
    soft = 0.56 * wide[..., 1:-1] + 0.22 * (wide[..., :-2] + wide[..., 2:])
    wide = F.pad(soft, (1, 1, 1, 1), "replicate")
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    return Level(soft, torch.cat((across, down), 1))


@torch.no_grad()
def flow(here: tuple[Level, ...], there: tuple[Level, ...], finest: int) -> Flow:
    """Where the content of one frame lies in another one, both as :func:`pyramid` gives them."""
    scale = finest * 2 ** (len(here) - 1)
    batch, _, height, width = here[0].luma.shape
    found = here[0].luma.new_zeros(batch, 2, height, width)
    mismatch = found[:, :1]
    for own, other in zip(here, there, strict=True):
        height, width = own.luma.shape[-2:]
        if scale >= CELL and found.shape[-2:] != (height, width):
            found = upsample(found, 2)[..., :height, :width]
        for _ in range(WARPS + (scale == COARSEST)):
            found, mismatch = _improve(own, other, found, scale)
        scale //= 2
    return Flow(found, mismatch)


def _improve(own: Level, other: Level, found: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """One warp, and the flow that explains what differs after it."""
    cell = max(1, CELL // scale)
    start = found / scale
    there, inside = _fetch(other.luma, upsample(start, cell) if cell > 1 else start)
    change = there - own.luma
    weight = inside * ROBUST / (ROBUST + change.abs())
    x, y = own.slope[:, :1], own.slope[:, 1:]
    wx, wy = weight * x, weight * y
    sums = torch.cat((wx * x, wx * y, wy * y, wx * change, wy * change, 1 - inside + inside * change.abs()), 1)
    if cell > 1:
        sums = F.avg_pool2d(sums, cell)
    xx, xy, yy, xt, yt, mismatch = sums.chunk(6, 1)
    better = _smooth_solution(xx, xy, yy, xt, yt, start)
    return (start + (better - start).clamp(-2, 2)) * scale, mismatch


def _smooth_solution(xx: Tensor, xy: Tensor, yy: Tensor, xt: Tensor, yt: Tensor, start: Tensor) -> Tensor:
    """The u that minimises d'Ad + 2b'd + SMOOTHNESS |∇u|², d = u − start, by a few relaxed Jacobi sweeps."""
    a, c, d = xx + SMOOTHNESS, xy, yy + SMOOTHNESS
    scale = 1 / (a * d - c * c)
    a, c, d = a * scale, c * scale, d * scale
    inverse = torch.cat((d, a), 1)
    fixed_x = xx * start[:, :1] + xy * start[:, 1:] - xt
    fixed_y = xy * start[:, :1] + yy * start[:, 1:] - yt
    fixed = torch.cat((d * fixed_x - c * fixed_y, a * fixed_y - c * fixed_x), 1)
    before, now = start, start
    for sweep in range(SWEEPS):
        mean = _neighbours(now) * SMOOTHNESS
        better = fixed + inverse * mean - c * mean.flip(1)
        rate = 1.0 if sweep == 0 else RELAXATION
        before, now = now, before + rate * (better - before)
    return now


def _neighbours(x: Tensor) -> Tensor:
    """Weighted mean of the eight neighbours, the border repeated."""
    wide = F.pad(x, (1, 1, 1, 1), "replicate")
    rows = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    total = rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:] - 4 * x
    return total / 12


def _fetch(picture: Tensor, displacement: Tensor) -> tuple[Tensor, Tensor]:
    """A picture seen from ``displacement`` pixels away, and where that lies inside of it (0 or 1)."""
    height, width = picture.shape[-2:]
    span = picture.new_tensor((2.0 / width, 2.0 / height)).view(1, 2, 1, 1)
    grid = normal_grid(height, width, picture.device) + (displacement * span).permute(0, 2, 3, 1)
    inside = (grid.abs() < 1).all(-1)[:, None].to(picture.dtype)
    return F.grid_sample(picture, grid, "bilinear", "border", align_corners=False), inside
