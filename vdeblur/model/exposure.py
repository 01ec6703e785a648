"""Exposure fraction: the share of the frame interval that the shutter was open, read from the blur itself.

The derivative of a signal under a box blur of length ℓ is a sharp derivative minus itself shifted by ℓ, so its
autocorrelation has a dip at lag ℓ (Cannon 1976 finds the same in the cepstrum). In units of the motion per frame
interval the dip lies at the exposure fraction, everywhere in the image and in every frame, so that sums over all pixels
and over many frames make it stand out.

A soft lens, sharpening, a denoiser and a codec change that autocorrelation, too, but across the motion as well as along
it, where blur changes it along the motion alone. And texture that runs one way, as stripes do, looks like blur from one
direction of motion only. So both autocorrelations are kept, for several speeds and directions of the motion, and a
reader learns what they say together: not a number but a distribution, which is wide where the scene tells little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.model.layers import activate, normalize_displacement, sampling_grid, upsample
from vdeblur.model.motion import Motion
from vdeblur.model.motion_taps import luma

#: Sampling points along and across the motion, their reach to each side in frame intervals of motion, and the lags of
#: the autocorrelations.
POINTS = 41
REACH = 0.8
LAGS = 34
#: Least speeds of the classes, pixels per frame interval. Below the first one the blur is smaller than a pixel.
SPEEDS_PX = (1.5, 3.0, 5.0, 8.0, 13.0, 22.0)
#: Classes of direction: along rows, one diagonal, columns, the other diagonal, each 45° wide.
DIRECTIONS = 4
CLASSES = len(SPEEDS_PX) * DIRECTIONS
#: Sums of a class: both autocorrelations at each lag, along and across the motion; both energies; log speed; blocks.
CLASS_SIZE = 2 * LAGS + 4
#: Entries of a profile: the classes' sums, by speed and then direction, and the number of blocks looked at.
PROFILE_SIZE = CLASSES * CLASS_SIZE + 1
#: With fewer 8×8 blocks than this, four points per block are used instead of one; with many more, every n-th block.
MIN_BLOCKS = 4096
#: Decay per frame of the exponentially weighted profile.
DECAY = 0.9
#: Weight of a first frame, whose motion is estimated from one side only and so less accurate.
FIRST_FRAME_WEIGHT = 0.25
#: Energy per point (luma in [0, 1], squared) below which a block counts less: the noise of 8-bit levels.
NOISE_FLOOR = 2e-5
#: The reader's distribution: so many steps of so many frame intervals, from 0 on. It ends beyond 1, where no shutter
#: is open, so that a reading of 1 has doubt to both sides.
STEPS = 23
STEP = 0.05
#: Reading too long is worse than reading too short, by this factor: too much correction overshoots at every edge, too
#: little leaves blur that was there before. The best decision is then a quantile of the distribution, not its median.
#: On the exposure ladder's rung of 0.27, 0.18 too much costs 4.5 times what 0.17 too little costs.
HARM = 4.0
TAKEN_QUANTILE = 1 / (1 + HARM)


@torch.no_grad()
def motion_profile(frame: Tensor, velocity: Tensor) -> Tensor:
    """Autocorrelations of luma's derivative along and across the motion, summed over the blocks of each class.

    Args:
        frame: (B, 3, H, W) in [0, 1].
        velocity: (B, 2, H/8, W/8) in pixels per frame interval.

    Returns:
        (B, PROFILE_SIZE), float32. Blocks are weighted by the inverse root of their energy, so that no single edge
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
    """Profile from the blocks in ``rows`` and ``columns`` of the velocity field."""
    height, width = velocity.shape[-2:]
    offsets = torch.linspace(-REACH, REACH, POINTS, device=grey.device)
    fused: Tensor | None = try_cpu_kernels(
        grey,
        lambda kernels: kernels.motion_autocorrelation(
            grey, velocity,
            offsets=offsets, lags=LAGS, speeds=SPEEDS_PX, noise=NOISE_FLOOR,
            row_step=rows.step or 1, column_step=columns.step or 1,
        ),
    )  # fmt: skip
    if fused is not None:
        return fused
    blocks = sampling_grid(height, width, grey.device, rows=rows, columns=columns)
    velocity = velocity[..., rows, columns]
    across = torch.stack((-velocity[:, 1], velocity[:, 0]), 1)
    paths = [_differences(grey, blocks, direction, offsets) for direction in (velocity, across)]
    speed = velocity.square().sum(1).sqrt().flatten(1)
    used = torch.stack([inside for _, inside in paths]).all(0) & (speed >= SPEEDS_PX[0])
    energies = [differences.square().mean(1) for differences, _ in paths]
    weight = used.float() * (energies[0] + energies[1] + NOISE_FLOOR).rsqrt()
    member = _memberships(velocity, speed, used)  # (B, C, N)
    sums = [_autocorrelation(differences, member * weight[:, None]) for differences, _ in paths]
    log_speed = torch.where(used | speed.isnan(), speed, 1.0).log()
    rest = torch.stack((energies[0] * weight, energies[1] * weight, log_speed, torch.ones_like(speed)), -1)
    whole = torch.cat((*sums, member @ rest), -1).flatten(1)
    return torch.cat((whole, torch.full_like(whole[:, :1], speed.shape[-1])), 1)


def _differences(grey: Tensor, blocks: Tensor, step: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Luma's differences (B, K − 1, N) along ``step`` through each block, and which paths lie inside the frame."""
    rows, columns = step.shape[-2:]
    step = normalize_displacement(step, grey.shape[-2], grey.shape[-1])
    grid = torch.addcmul(blocks[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    samples = F.grid_sample(grey, grid.flatten(1, 2), "bilinear", "border", align_corners=False)
    samples = samples.view(-1, len(offsets), rows * columns)
    inside = (grid[:, 0].abs().amax(-1) < 1) & (grid[:, -1].abs().amax(-1) < 1)
    return samples[:, 1:] - samples[:, :-1], inside.flatten(1)


def _memberships(velocity: Tensor, speed: Tensor, used: Tensor) -> Tensor:
    """Which class each block is of: (B, CLASSES, N), 1 or 0; an unused block is of none, one of nan of the first."""
    x, y = velocity[:, 0].flatten(1), velocity[:, 1].flatten(1)
    flat, steep = y.abs() <= _NARROW * x.abs(), x.abs() <= _NARROW * y.abs()
    diagonal = torch.where(x * y > 0, 1, 3)
    direction = torch.where(flat, 0, torch.where(steep, 2, diagonal))
    # One comparison each: a list of numbers would have to be sent to the device.
    faster = torch.stack([speed >= least for least in SPEEDS_PX[1:]]).sum(0)
    number = faster * DIRECTIONS + direction
    number = torch.where(used, number, torch.where(speed.isnan(), 0, CLASSES))
    return (number[:, None] == torch.arange(CLASSES, device=speed.device)[:, None]).float()


#: Tangent of half a class of direction.
_NARROW = math.tan(math.pi / 8)


def _subsampling(blocks: int) -> tuple[slice, slice]:
    """Strides over the rows and columns of so many blocks that about MIN_BLOCKS of them remain."""
    ratio = blocks // MIN_BLOCKS
    row_step = max(1, round(ratio**0.5))
    return slice(None, None, row_step), slice(None, None, max(1, ratio // row_step))


def _autocorrelation(differences: Tensor, weights: Tensor) -> Tensor:
    """Autocorrelation at lags 1 … LAGS, summed over N blocks with C weights: (B, K, N), (B, C, N) → (B, C, LAGS).

    The products of all pairs of points, summed over the blocks, are one matrix product; a lag is a diagonal of it, and
    a column once the rows are sheared.
    """
    samples = differences.shape[1]
    weighted = (differences[:, None] * weights[:, :, None]).flatten(1, 2)  # (B, C · K, N)
    products = (weighted @ differences.transpose(1, 2)).view(weights.shape[0], -1, samples, samples)  # (B, C, K, K)
    longer = F.pad(F.pad(products, (0, samples)).flatten(2), (0, samples))
    # Each row one further to the left than the one before.
    sheared = longer.view(*longer.shape[:2], samples, 2 * samples + 1)
    pairs = samples - torch.arange(1, LAGS + 1, device=products.device)
    sums: Tensor = sheared.sum(2)[..., 1 : LAGS + 1] / pairs
    return sums


class MatchedFrame(NamedTuple):
    """What is known of a frame once it is matched with its neighbours: motion field and profile (B, PROFILE_SIZE)."""

    motion: Motion
    profile: Tensor


def profile_ahead(profiles: Sequence[Tensor]) -> Tensor:
    """Exponentially weighted sum of the profiles (B, PROFILE_SIZE) of the frames after one, the next frame's first."""
    stacked = torch.stack(tuple(profiles), -1)
    return stacked @ torch.pow(DECAY, torch.arange(1, 1 + len(profiles), device=stacked.device))


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


class Reading(NamedTuple):
    """What the blur says of the exposure fraction; each (B, 1, 1, 1), float32.

    ``taken``: the fraction to restore with, which doubt makes smaller (:data:`HARM`); ``middle``: the median;
    ``low``, ``high``: the true one lies between them in two cases of three.
    """

    taken: Tensor
    middle: Tensor
    low: Tensor
    high: Tensor

    def packed(self) -> Tensor:
        """All four numbers (B, 4), as recurrent states keep them."""
        return torch.cat(self, 1).flatten(1)


#: Numbers of a packed reading.
READING_SIZE = len(Reading._fields)


#: Units of the reader's hidden layers, and numbers that a class of the profile says.
HIDDEN, SAID = 48, 32
#: Its weights without biases.
READER_WEIGHTS = (2 * LAGS + 5 + 2 * HIDDEN + 2 * SAID + 1 + 4 + STEPS) * HIDDEN


class ExposureReader(nn.Module):
    """Network that reads the exposure fraction from a motion profile, as a distribution.

    Every class of speed and direction is looked at alike; what they say is added up, each by its own evidence.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2 * LAGS + 5, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.said = nn.Linear(HIDDEN, SAID)
        self.evidence = nn.Linear(HIDDEN, 1)
        self.joined = nn.Linear(SAID + 4, HIDDEN)
        self.third = nn.Linear(HIDDEN, HIDDEN)
        self.logits = nn.Linear(HIDDEN, STEPS)

    def forward(self, profile: Tensor) -> Tensor:
        """Logits of the steps of the exposure fraction: (B, PROFILE_SIZE) → (B, STEPS), float32."""
        classes = profile[:, :-1].float().reshape(-1, CLASSES, CLASS_SIZE)
        correlations, rest = classes[..., : 2 * LAGS], classes[..., 2 * LAGS :]
        along, across, log_speed, used = rest.unbind(-1)
        whole = used.sum(-1, keepdim=True) + 1e-3
        energy = along + across + 1e-6
        speed = log_speed / (used + 1e-3)
        share = (used / whole).sqrt()
        ratio = ((along + 1e-6) / (across + 1e-6)).log().clamp(-3, 3)
        scalars = (along / energy, ratio, speed - 2, used.log1p() / 8 - 0.5, share)
        features = torch.cat((correlations / energy[..., None] * 2, torch.stack(scalars, -1)), -1)
        x = activate(_exact(self.second, activate(_exact(self.first, features))))
        evidence = _exact(self.evidence, x)[..., 0].clamp(-8, 8).exp() * (used / (used + 20)) * share
        said = (_exact(self.said, x) * evidence[..., None]).sum(-2) / (evidence.sum(-1, keepdim=True) + 1e-4)
        totals = (
            whole[:, 0].log1p() / 8 - 0.5, evidence.sum(-1).log1p(),
            log_speed.sum(-1) / whole[:, 0] - 2, (used > 50).float().sum(-1) / 8,
        )  # fmt: skip
        x = torch.cat((said, torch.stack(totals, -1)), -1)
        return _exact(self.logits, activate(_exact(self.third, activate(_exact(self.joined, x)))))


def _exact(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer in float32, whatever the network's precision: a reading is a few thousand multiply-adds."""
    return F.linear(x, layer.weight.float(), layer.bias.float())


def read_exposure(logits: Tensor) -> Reading:
    """The reading that a distribution stands for, from its logits (B, STEPS)."""
    taken, middle, low, high = (
        exposure_quantile(logits, share).clamp(max=1.0)[:, None, None, None]
        for share in (TAKEN_QUANTILE, 0.5, 1 / 6, 5 / 6)
    )
    return Reading(taken, middle, low, high)


def exposure_quantile(logits: Tensor, share: float) -> Tensor:
    """Exposure fraction (…) below which ``share`` of a distribution with these logits (…, STEPS) lies."""
    probability = logits.softmax(-1)
    below = probability.cumsum(-1) - probability
    return ((share - below) / probability.clamp_min(1e-6)).clamp(0, 1).sum(-1) * STEP


def known_or_read(known: Tensor | None, read: Tensor) -> Tensor:
    """Exposure fractions (B, 1, 1, 1): those that are known, and where that is NaN (all, for None) those ``read``."""
    return read if known is None else torch.where(known.isnan(), read, known)
