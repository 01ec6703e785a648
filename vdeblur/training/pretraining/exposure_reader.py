"""Exposure-reader pre-training: regression of the exposure fraction on motion profiles of large clips.

The profile sums over all pixels, so at use it is far clearer than on a training crop; and it needs no gradient. A few
hundred large clips therefore teach it in seconds what whole steps on crops cannot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.exposure import LAGS, PROFILE_SIZE, ExposureFraction, accumulate_profile, motion_profile
from vdeblur.model.network import RestorationNetwork
from vdeblur.training.pretraining.regression import fit
from vdeblur.training.pretraining.taps import LOOKAHEAD, true_exposure
from vdeblur.training.synthesis.blur import Clip

logger = logging.getLogger(__name__)

#: Spread of the noise that is added to the correlations while learning.
_NOISE = 0.01
#: Speeds outside of these count as much as these, pixels a frame interval.
_SPEEDS = (1.0, 20.0)


class ProfileSamples(NamedTuple):
    """Motion profiles summed over time (N, PROFILE), true exposure fractions (N,), speeds in pixels a frame (N,)."""

    sums: Tensor
    fraction: Tensor
    speed: Tensor


@torch.no_grad()
def draw_profiles(net: RestorationNetwork, clips: Iterable[Clip], *, seed: int) -> ProfileSamples:
    """Motion profiles of batches (B, T, …) after each frame, of whole frames and of their middle quarter."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for clip in clips:
        assert clip.velocity is not None, "the clip's motion is unknown"
        frames, length = clip.blurry.flatten(0, 1), clip.blurry.shape[1]
        lookahead = int(torch.rand(1, generator=generator) < LOOKAHEAD)
        motion = net.clip_motion(clip.blurry, lookahead=lookahead)
        truth, speed = true_exposure(clip).flatten(), clip.velocity.flatten(0, 1).norm(dim=1).mean((1, 2))
        for picture, velocity in ((frames, motion.velocity), (_middle(frames, 8), _middle(motion.velocity, 1))):
            sums = _summed(motion_profile(picture, velocity).view(-1, length, PROFILE_SIZE)).flatten(0, 1)
            parts.append(ProfileSamples(sums, truth, speed))
    return ProfileSamples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _summed(profiles: Tensor) -> Tensor:
    """Motion profiles (B, T, P) summed over time as the network's state does."""
    sums: list[Tensor] = []
    for profile in profiles.unbind(1):
        sums.append(accumulate_profile(profile, sums[-1] if sums else None))
    return torch.stack(sums, 1)


def _middle(picture: Tensor, cell: int) -> Tensor:
    """The middle half of each side, whole cells."""
    height, width = (side // cell // 4 for side in picture.shape[-2:])
    return picture[..., height * cell : 3 * height * cell, width * cell : 3 * width * cell].contiguous()


def learn_fraction(
    reader: ExposureFraction,
    profiles: ProfileSamples,
    *,
    steps: int,
    batch: int = 512,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> float:
    """Teach ``reader`` the true fractions; errors count by the root of the speed, as the blur they make does.

    Returns:
        The mean error of the fraction over the last tenth of the steps.
    """
    generator = torch.Generator().manual_seed(seed)
    device, weights = profiles.sums.device, profiles.speed.clamp(*_SPEEDS).sqrt()

    def losses() -> tuple[Tensor, Tensor]:
        at = torch.randint(len(weights), (batch,), generator=generator).to(device)
        sums = profiles.sums[at]
        noise = _NOISE * torch.randn(batch, LAGS, generator=generator).to(device)
        sums = torch.cat((sums[:, :LAGS] + noise * sums[:, LAGS : LAGS + 1], sums[:, LAGS:]), 1)
        error = (torch.sigmoid(reader(sums)).flatten() - profiles.fraction[at]).abs()
        return (error * weights[at]).sum() / weights[at].sum(), error.mean()

    mean = fit(reader.parameters(), losses, steps=steps, learning_rate=learning_rate, weight_decay=1e-3)
    logger.info("exposure fraction: read to %.3f on average", mean)
    return mean
