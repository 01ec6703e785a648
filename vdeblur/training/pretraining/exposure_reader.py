"""Exposure-reader pre-training: the distribution of the exposure fraction, learned from motion profiles of large clips.

A profile sums over all blocks, so at use it is far clearer than on a training crop; and it needs no gradient. Some
thousand large clips therefore teach it in minutes what whole steps on crops cannot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.exposure import (
    CLASS_SIZE,
    CLASSES,
    LAGS,
    PROFILE_SIZE,
    STEP,
    STEPS,
    ExposureReader,
    exposure_quantile,
    motion_profile,
)
from vdeblur.model.network import RestorationNetwork
from vdeblur.training.pretraining.pace import Pace
from vdeblur.training.pretraining.regression import fit
from vdeblur.training.pretraining.taps import LOOKAHEAD, drawing_state, recalled_parts, true_exposure
from vdeblur.training.synthesis.blur import Clip

logger = logging.getLogger(__name__)

#: Spread of the noise that is added to the correlations while learning.
_NOISE = 0.01
#: Speeds outside of these count as much as these, pixels a frame interval.
_SPEEDS = (1.0, 20.0)
#: Share of the samples from which random classes of speed and direction are taken away, and at most so much of them:
#: most scenes show few.
_THINNED_SHARE, _THINNED = 0.3, 0.5
#: Clips whose profiles are kept together: some 40 MB of six frames.
_BLOCK_ROWS = 1024
#: A sample stands for up to this many times as many blocks, as a natural logarithm: real shots are larger and longer.
_ENLARGED = 2.5


class ProfileSamples(NamedTuple):
    """Motion profiles of clips, frame by frame (N, T, PROFILE_SIZE), true exposure fractions and speeds (N, T).

    Speeds are in pixels a frame interval.
    """

    profiles: Tensor
    fraction: Tensor
    speed: Tensor


@torch.no_grad()
def draw_profiles(
    net: RestorationNetwork, clips: Iterable[Clip], *, seed: int, pace: Pace | None = None
) -> ProfileSamples:
    """Motion profiles of batches of clips (B, T, …).

    Raises:
        Paused: the pace was asked to stop.
    """
    generator, pace, blocks = torch.Generator().manual_seed(seed), pace or Pace("exposure fraction"), _Blocks()
    parts = [(fraction, speed) for *_, fraction, speed in recalled_parts(pace, generator)]
    if "drawing" in pace.kept:
        blocks.add(pace.kept["drawing"]["parts"][0][0])
    for clip in clips:
        assert clip.velocity is not None, "the clip's motion is unknown"
        shape = clip.blurry.shape[:2]
        lookahead = int(torch.rand(1, generator=generator) < LOOKAHEAD)
        motion = net.clip_motion(clip.blurry, lookahead=lookahead)
        profiles = motion_profile(clip.blurry.flatten(0, 1), motion.velocity).view(*shape, PROFILE_SIZE)
        speed = clip.velocity.norm(dim=2).mean((2, 3))
        parts.append((true_exposure(clip).view(shape), speed))
        blocks.add(profiles)
        pace.pause_if_asked(lambda: drawing_state(pace, generator, [(blocks.joined(), *_joined(parts))]))
    return ProfileSamples(blocks.joined(), *_joined(parts))


def _joined(parts: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    return (torch.cat(tensors) for tensors in zip(*parts, strict=True))


class _Blocks:
    """Rows of many small tensors, in blocks that the C library takes from the system.

    What is kept by itself lies between the large tensors that a clip needs for a moment; their holes then serve nobody,
    and thousands of clips took gigabytes.
    """

    def __init__(self) -> None:
        self._blocks: list[Tensor] = []
        self._filled = 0

    def add(self, rows: Tensor) -> None:
        """Copy the rows of a tensor (N, …)."""
        if not self._blocks or self._filled + len(rows) > len(self._blocks[-1]):
            self._close()
            self._blocks.append(rows.new_empty(max(_BLOCK_ROWS, len(rows)), *rows.shape[1:]))
            self._filled = 0
        self._blocks[-1][self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def joined(self) -> Tensor:
        self._close()
        return torch.cat(self._blocks)

    def _close(self) -> None:
        if self._blocks:
            self._blocks[-1] = self._blocks[-1][: self._filled]


def learn_fraction(
    reader: ExposureReader,
    samples: ProfileSamples,
    *,
    steps: int,
    batch: int = 512,
    learning_rate: float = 2e-3,
    seed: int = 0,
    pace: Pace | None = None,
) -> float:
    """Teach ``reader`` the true fractions; errors count by the root of the speed, as the blur they make does.

    The loss is the continuous ranked probability score (Matheson and Winkler 1976): least for the true distribution,
    so that the reader learns its doubt as well.

    Returns:
        The mean error of the median over the last tenth of the steps.
    """
    generator = torch.Generator().manual_seed(seed)
    device = samples.profiles.device

    def losses() -> tuple[Tensor, Tensor]:
        profiles, fraction, speed = _drawn(samples, batch, generator)
        logits = reader(profiles.to(device))
        weight = speed.clamp(*_SPEEDS).sqrt()
        error = (exposure_quantile(logits, 0.5) - fraction).abs()
        return (ranked_probability_score(logits, fraction) * weight).sum() / weight.sum(), error.mean()

    mean = fit(
        reader.parameters(), losses, steps=steps, generator=generator, pace=pace or Pace("exposure fraction"),
        learning_rate=learning_rate, weight_decay=1e-3, warmup_steps=100,
    )  # fmt: skip
    logger.info("exposure fraction: read to %.3f on average", mean)
    return mean


def ranked_probability_score(logits: Tensor, fraction: Tensor) -> Tensor:
    """Continuous ranked probability score, in steps, of distributions (N, STEPS) for true fractions (N,): (N,)."""
    ends = (torch.arange(STEPS, device=logits.device) + 1) * STEP
    true = ((ends - fraction[:, None]) / STEP).clamp(0, 1)  # a step that ends within the fraction's own is in part true
    return (logits.softmax(-1).cumsum(-1) - true).square().mean(-1)


def _drawn(samples: ProfileSamples, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Profiles (batch, PROFILE_SIZE) of random runs of frames, as scenes unlike these would show them; their means."""
    clips, length = samples.fraction.shape

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(samples.profiles.device)

    chosen = torch.randint(clips, (batch,), generator=generator).to(samples.profiles.device)
    first, count = (random(batch, 1) * length).long(), (random(batch, 1) * length).long() + 1
    frame = torch.arange(length, device=chosen.device)
    run = ((frame >= first) & (frame < first + count)).float()
    profiles = (samples.profiles[chosen] * run[:, :, None]).sum(1)
    fraction, speed = ((part[chosen] * run).sum(1) / run.sum(1) for part in (samples.fraction, samples.speed))
    classes = profiles[:, :-1].view(batch, CLASSES, CLASS_SIZE)
    kept = (random(batch, CLASSES) > random(batch, 1) * _THINNED) | (random(batch, 1) >= _THINNED_SHARE)
    classes = classes * kept[..., None] * torch.exp(random(batch, 1, 1) * _ENLARGED)
    noise = torch.randn(batch, CLASSES, 2 * LAGS, generator=generator).to(classes.device)
    energy = classes[..., 2 * LAGS : 2 * LAGS + 2].sum(-1, keepdim=True)
    classes = torch.cat((classes[..., : 2 * LAGS] + noise * energy * _NOISE / 2, classes[..., 2 * LAGS :]), -1)
    return torch.cat((classes.flatten(1), profiles[:, -1:]), 1), fraction, speed
