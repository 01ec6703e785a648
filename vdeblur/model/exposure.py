"""Exposure fraction: the share of the frame interval that the shutter was open, estimated from the blur itself.

The derivative of a signal under a box blur of length ℓ is a sharp derivative minus itself shifted by ℓ, so its
autocorrelation has a dip at lag ℓ (Cannon 1976 finds the same in the cepstrum). In units of the motion per frame
interval the dip lies at the exposure fraction, everywhere in the image and in every frame, so that sums over all pixels
and over past frames make it stand out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.model.layers import activate, normalize_displacement, sampling_grid, upsample
from vdeblur.model.motion_taps import luma

#: Sampling points along the motion, their reach to each side in frame intervals, and the lags of the autocorrelation.
POINTS = 41
REACH = 0.8
LAGS = 34
#: Entries of a profile: sums at each lag, at lag 0, of log speed, of used pixels, and of all pixels.
PROFILE_SIZE = LAGS + 4
#: Least speed in pixels per frame interval; below it the blur is smaller than a pixel and tells nothing.
MIN_SPEED_PX = 2.5
#: With fewer 8×8 blocks than this, four points per block are used instead of one; with many more, every n-th block.
MIN_BLOCKS = 4096
#: Decay per frame of the exponentially weighted profile.
DECAY = 0.85
#: Weight of a first frame, whose motion is estimated from one side only and so less accurate.
FIRST_FRAME_WEIGHT = 0.25


@torch.no_grad()
def motion_profile(frame: Tensor, velocity: Tensor) -> Tensor:
    """Autocorrelation of luma's derivative along the motion, summed over all pixels.

    Args:
        frame: (B, 3, H, W) in [0, 1].
        velocity: (B, 2, H/8, W/8) in pixels per frame interval.

    Returns:
        (B, PROFILE_SIZE), float32. Pixels are weighted by the square root of their energy, so that no single edge
        dominates.
    """
    grey, velocity = luma(frame), velocity.float()
    blocks = velocity.shape[-2] * velocity.shape[-1]
    if isinstance(blocks, torch.SymInt):  # exported for any size: both, without a branch, and every block
        few = torch.full((), blocks, device=grey.device) < MIN_BLOCKS
        return torch.where(few, _profile(grey, upsample(velocity, 2)), _profile(grey, velocity))
    if blocks < MIN_BLOCKS:
        return _profile(grey, upsample(velocity, 2))
    return _profile(grey, velocity, *_subsampling(blocks))


def _profile(grey: Tensor, velocity: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
    """Profile from the blocks in ``rows`` and ``columns`` of the velocity field, scaled to all of them."""
    height, width = velocity.shape[-2:]
    offsets = torch.linspace(-REACH, REACH, POINTS, device=grey.device)
    row_step, column_step = rows.step or 1, columns.step or 1
    sums: Tensor | None = try_cpu_kernels(
        grey,
        lambda kernels: kernels.motion_autocorrelation(
            grey, velocity,
            offsets=offsets, lags=LAGS, min_speed=MIN_SPEED_PX, row_step=row_step, column_step=column_step,
        ),
    )  # fmt: skip
    if sums is not None:
        return sums * (height * width) / sums[:, -1:]
    blocks = sampling_grid(height, width, grey.device, rows=rows, columns=columns)
    velocity = velocity[..., rows, columns]
    share = velocity.shape[-2] * velocity.shape[-1] / (height * width)
    step = normalize_displacement(velocity, grey.shape[-2], grey.shape[-1])
    grid = torch.addcmul(blocks[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    samples = F.grid_sample(grey, grid.flatten(1, 2), "bilinear", "border", align_corners=False)
    samples = samples.view(-1, POINTS, *velocity.shape[-2:])
    differences = samples[:, 1:] - samples[:, :-1]
    energy = differences.square().mean(1)
    speed = velocity.square().sum(1).sqrt_()
    inside = (grid[:, 0].abs().amax(-1) < 1) & (grid[:, -1].abs().amax(-1) < 1)
    used = (inside & (speed > MIN_SPEED_PX)).float()
    weight = used * (energy + 1e-5).rsqrt()
    rest = ((energy * weight), torch.log1p(speed) * used, used, torch.ones_like(used))
    sums = torch.cat((_autocorrelation(differences.flatten(2), weight.flatten(1)), torch.stack(rest, 1).sum((2, 3))), 1)
    return sums / share


def _subsampling(blocks: int) -> tuple[slice, slice]:
    """Strides over the rows and columns of so many blocks that about MIN_BLOCKS of them remain."""
    ratio = blocks // MIN_BLOCKS
    row_step = max(1, round(ratio**0.5))
    return slice(None, None, row_step), slice(None, None, max(1, ratio // row_step))


def _autocorrelation(differences: Tensor, weight: Tensor) -> Tensor:
    """Weighted autocorrelation at lags 1 … LAGS, summed over N pixels: (B, K, N), (B, N) → (B, LAGS).

    The products of all pairs of points, summed over the pixels, are one matrix product; a lag is a diagonal of it, and
    a column once the rows are sheared.
    """
    products = (differences * weight[:, None]) @ differences.transpose(1, 2)  # (B, K, K)
    samples = products.shape[-1]
    longer = F.pad(F.pad(products, (0, samples)).flatten(1), (0, samples))
    sheared = longer.view(-1, samples, 2 * samples + 1)  # each row one further to the left than the one before
    pairs = samples - torch.arange(1, LAGS + 1, device=products.device)
    sums: Tensor = sheared.sum(1)[:, 1 : LAGS + 1] / pairs
    return sums


def accumulate_profile(profile: Tensor, accumulated: Tensor | None) -> Tensor:
    """Add a frame's profile to the exponentially weighted sum of earlier ones: (B, PROFILE_SIZE).

    ``accumulated`` is None or zeros for a first frame.
    """
    if accumulated is None:
        return profile * FIRST_FRAME_WEIGHT
    return torch.where(has_frames(accumulated), profile, profile * FIRST_FRAME_WEIGHT) + DECAY * accumulated


def has_frames(profile: Tensor) -> Tensor:
    """Which accumulated profiles (B, PROFILE_SIZE) contain a frame: (B, 1), boolean."""
    return profile[:, -1:] > 0


class ExposureFraction(nn.Module):
    """MLP that estimates the logit of the exposure fraction: (B, PROFILE_SIZE) → (B, 1, 1, 1), float32."""

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


def known_or_read(known: Tensor | None, read: Tensor) -> Tensor:
    """Exposure fractions (B, 1, 1, 1): those that are known, and where that is NaN (all, for None) those ``read``."""
    return read if known is None else torch.where(known.isnan(), read, known)
