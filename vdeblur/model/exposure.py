"""Exposure: which fraction of the frame interval the shutter was open, read from the blur itself.

A box blur of length ℓ leaves its mark in the signal along the motion: the derivative is a sharp derivative minus itself
shifted by ℓ, so its autocorrelation dips at lag ℓ (Cannon 1976 uses the same in the cepstrum). In units of the motion
during a whole frame interval the dip lies at the exposure fraction, everywhere in the picture and in every frame, so
sums over all pixels and over past frames make it clear.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.model.layers import activate, normal_grid, normal_steps, upsample
from vdeblur.model.motion_taps import luma

#: Points along the motion, in frame intervals, and the lags of the autocorrelation that are looked at.
POINTS = 41
REACH = 0.8
LAGS = 34
#: Entries of a profile: the sums at each lag, at lag 0, of the log speed, of the pixels used, and of all pixels.
PROFILE = LAGS + 4
#: Speeds below this many pixels a frame interval say nothing: the blur is smaller than a pixel.
LEAST_SPEED_PX = 2.5
#: With fewer 8×8 cells than this, four points a cell are looked at instead of one; of many more, a part of the cells.
ENOUGH = 4096
#: How much of the sums of earlier frames is kept.
KEPT = 0.85
#: How much the first frame counts: its motion is known from one side only, and so misread.
FIRST = 0.25


@torch.no_grad()
def motion_profile(frame: Tensor, velocity: Tensor) -> Tensor:
    """Sums over all pixels of the autocorrelation of luma's derivative along the motion.

    Args:
        frame: (B, 3, H, W) in [0, 1].
        velocity: (B, 2, H/8, W/8) in pixels a frame interval.

    Returns:
        (B, PROFILE), float32. Pixels count by the square root of their energy, so that no single edge rules.
    """
    grey, velocity = luma(frame), velocity.float()
    cells = velocity.shape[-2] * velocity.shape[-1]
    if isinstance(cells, torch.SymInt):  # a program for frames of any size has both, without a branch, and all cells
        few = torch.full((), cells, device=grey.device) < ENOUGH
        return torch.where(few, _profile(grey, upsample(velocity, 2)), _profile(grey, velocity))
    if cells < ENOUGH:
        return _profile(grey, upsample(velocity, 2))
    return _profile(grey, velocity, *_picked(cells))


def _profile(grey: Tensor, velocity: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
    height, width = velocity.shape[-2:]
    offsets = torch.linspace(-REACH, REACH, POINTS, device=grey.device)
    down, across = rows.step or 1, columns.step or 1
    sums: Tensor | None = try_cpu_kernels(
        grey,
        lambda native: native.motion_autocorrelation(
            grey, velocity, offsets=offsets, lags=LAGS, least_speed=LEAST_SPEED_PX, row_step=down, column_step=across
        ),
    )
    if sums is not None:
        return sums * (height * width) / sums[:, -1:]
    cells = normal_grid(height, width, grey.device, rows=rows, columns=columns)
    velocity = velocity[..., rows, columns]
    share = velocity.shape[-2] * velocity.shape[-1] / (height * width)
    step = normal_steps(velocity, grey.shape[-2], grey.shape[-1])
    grid = torch.addcmul(cells[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    points = F.grid_sample(grey, grid.flatten(1, 2), "bilinear", "border", align_corners=False)
    points = points.view(-1, POINTS, *velocity.shape[-2:])
    change = points[:, 1:] - points[:, :-1]
    energy = change.square().mean(1)
    speed = velocity.square().sum(1).sqrt_()
    inside = (grid[:, 0].abs().amax(-1) < 1) & (grid[:, -1].abs().amax(-1) < 1)
    used = (inside & (speed > LEAST_SPEED_PX)).float()
    weight = used * (energy + 1e-5).rsqrt()
    rest = ((energy * weight), torch.log1p(speed) * used, used, torch.ones_like(used))
    sums = torch.cat((_correlations(change.flatten(2), weight.flatten(1)), torch.stack(rest, 1).sum((2, 3))), 1)
    return sums / share


def _picked(cells: int) -> tuple[slice, slice]:
    """Rows and columns of so many cells to look at, where there are many times as many as are enough."""
    times = cells // ENOUGH
    down = max(1, round(times**0.5))
    return slice(None, None, down), slice(None, None, max(1, times // down))


def _correlations(change: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums over N pixels of the mean product at each lag from 1 to LAGS; (B, K, N), (B, N) → (B, LAGS).

    All products of two points, summed over the pixels, are one matrix product; a lag is a diagonal of it, and a column
    once the rows are sheared.
    """
    products = (change * weight[:, None]) @ change.transpose(1, 2)  # (B, K, K)
    points = products.shape[-1]
    longer = F.pad(F.pad(products, (0, points)).flatten(1), (0, points))
    sheared = longer.view(-1, points, 2 * points + 1)  # each row one further to the left than the one before
    pairs = points - torch.arange(1, LAGS + 1, device=products.device)
    sums: Tensor = sheared.sum(1)[:, 1 : LAGS + 1] / pairs
    return sums


def remembered(profile: Tensor, before: Tensor | None) -> Tensor:
    """A frame's profile joined with the sum of those before it: (B, PROFILE).

    For a first frame that sum is None, or zeros.
    """
    if before is None:
        return profile * FIRST
    return torch.where(begun(before), profile, profile * FIRST) + KEPT * before


def begun(profile: Tensor) -> Tensor:
    """Which sums of profiles (B, PROFILE) have a frame in them, and so its pixels: (B, 1), boolean."""
    return profile[:, -1:] > 0


class ExposureFraction(nn.Module):
    """Reads the logit of the exposure fraction from a motion profile: (B, PROFILE) → (B, 1, 1, 1), float32."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.first = nn.Linear(LAGS + 3, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.logit = nn.Linear(hidden, 1)

    def forward(self, profile: Tensor) -> Tensor:
        used = profile[:, LAGS + 2 : LAGS + 3]
        correlation = profile[:, :LAGS] / (profile[:, LAGS : LAGS + 1] + 1e-6)
        speed = profile[:, LAGS + 1 : LAGS + 2] / (used + 1) / 2
        share, evidence = used / (profile[:, LAGS + 3 :] + 1), torch.log1p(used) / 8
        x = torch.cat((correlation, speed, share, evidence), 1).to(self.logit.weight.dtype)
        x = activate(self.second(activate(self.first(x))))
        logit: Tensor = self.logit(x)
        return logit.float()[:, :, None, None]
