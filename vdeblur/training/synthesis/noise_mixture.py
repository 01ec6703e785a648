"""Noise mixture: what a guide learns from, beside the noise that camera and codec of the synthesis leave.

White noise, shot and read noise in linear light, and noise that neighbours share, added to the truth anew at each use;
some clips are clean. Each clip comes with what a guide would be told: the codec's quantiser, sometimes the noise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.guide.guide_net import Told, rgb_from_ycc, ycc_from_rgb
from vdeblur.training.synthesis.augmentation import stack
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.camera import jpeg_levels, quantiser_of_jpeg, through_gaussian
from vdeblur.training.synthesis.noise_config import KINDS, NoiseConfig
from vdeblur.training.synthesis.rng import Draw

#: Standard deviation of luma where that of R', G' and B' is 1 and they do not know each other.
LUMA_OF_WHITE = math.hypot(0.299, 0.587, 0.114)
#: Kinds and strengths of validation clips, which take turns; None: as the synthesis made it.
_VALIDATED: tuple[tuple[str | None, float], ...] = (
    (None, 0), ("white", 5), (None, 0), ("clean", 0), (None, 0), ("white", 10), (None, 0), ("clean", 0),
    (None, 0), ("white", 20),
)  # fmt: skip


class _Shot(NamedTuple):
    """Noisy frames and truth (T, 3, H, W), and what is known: quantiser and noise, NaN where nothing is."""

    noisy: Tensor
    clean: Tensor
    quantiser: float
    noise: float


def mixed(batch: Clip, config: NoiseConfig, *words: object) -> Clip:
    """A batch (B, T, 3, H, W) with the config's noise, on its device; words and numbers say which.

    The values of the noise are drawn there, so devices agree on kinds and strengths only.
    """
    return stack([_mixed_clip(clip, config, Draw.of(*words, number)) for number, clip in enumerate(_singles(batch))])


def validation_mixture(clips: Sequence[Clip], config: NoiseConfig) -> list[Clip]:
    """Clips (T, 3, H, W) in turns as they were made, with white noise of 5, 10 and 20 levels, and without noise."""
    made = []
    for number, (clip, (kind, levels)) in enumerate(zip(clips, itertools.cycle(_VALIDATED), strict=False)):
        draw = Draw.of("noise of validation", number)
        quantiser = _quantiser(clip)
        shot = _Shot(clip.blurry, clip.sharp, quantiser, math.nan)
        if kind == "white":
            shot = _white(clip.sharp, levels, _generator(clip, draw))
        elif kind == "clean":
            shot = _Shot(clip.sharp, clip.sharp, math.nan, math.nan)
        made.append(_told_clip(shot, halved=not math.isnan(shot.quantiser) or draw.chance(config.half_chroma_share)))
    return made


def _singles(batch: Clip) -> list[Clip]:
    told = [None] * len(batch.blurry) if batch.told is None else map(Told, batch.told.quantiser, batch.told.noise)
    return [
        Clip(blurry, sharp, None, None, known)
        for blurry, sharp, known in zip(batch.blurry, batch.sharp, told, strict=True)
    ]


def _quantiser(clip: Clip) -> float:
    return math.nan if clip.told is None else float(clip.told.quantiser)


def _mixed_clip(clip: Clip, config: NoiseConfig, draw: Draw) -> Clip:
    place = draw.between(0, 1)
    upto = itertools.accumulate(config.shares)
    kind = next((kind for kind, limit in zip(KINDS, upto, strict=True) if place < limit), None)
    generator = _generator(clip, draw)
    clean = clip.sharp
    if kind == "white":
        levels = draw.log_between(*config.white)
        shot = _white(clean, levels, generator)
        if draw.chance(config.told_share):
            shot = shot._replace(noise=levels / 255 * LUMA_OF_WHITE)
    elif kind == "poisson":
        shot = _poisson(clean, draw.log_between(*config.shot), draw.log_between(*config.read), generator)
    elif kind == "correlated":
        shot = _correlated(clean, config, draw, generator)
    elif kind == "clean":
        shot = _Shot(clean, clean, math.nan, math.nan)
    else:
        shot = _Shot(clip.blurry, clean, _quantiser(clip), math.nan)
    coded = not math.isnan(shot.quantiser)
    halved = coded or draw.chance(config.half_chroma_share)
    if coded:
        error = float(torch.randn((), generator=draw.generator)) * config.quantiser_error
        known = min(51.0, max(1.0, shot.quantiser + error))
        shot = shot._replace(quantiser=math.nan if draw.chance(config.withheld_share) else known)
    return _told_clip(shot, halved=halved)


def _generator(clip: Clip, draw: Draw) -> torch.Generator:
    return torch.Generator(clip.sharp.device).manual_seed(draw.integer(2**31))


def _white(clean: Tensor, levels: float, generator: torch.Generator) -> _Shot:
    return _Shot(_on_levels(clean + levels / 255 * _normal(clean, generator)), clean, math.nan, math.nan)


def _poisson(clean: Tensor, shot: float, read: float, generator: torch.Generator) -> _Shot:
    """Shot noise as a normal distribution of its variance, and read noise, before a gamma of 2.2."""
    linear = clean**2.2
    noisy = linear + (shot * linear + read).sqrt() * _normal(clean, generator)
    return _Shot(_on_levels(noisy.clamp_min(0) ** (1 / 2.2)), clean, math.nan, math.nan)


def _correlated(clean: Tensor, config: NoiseConfig, draw: Draw, generator: torch.Generator) -> _Shot:
    """Noise as a demosaicker and a camera's denoiser leave it: grain in luma, blotches in chroma, by brightness.

    Some become JPEG, which hides that from the reading of the noise.
    """
    levels = draw.log_between(*config.correlated) / 255
    grain = _spread(_normal(clean[:, :1], generator), draw.between(*config.grain_px))
    blotches = _spread(_normal(clean[:, :2], generator), draw.between(*config.blotch_px))
    light = clean.mean(1, keepdim=True)
    strength = (draw.between(0.1, 1) + draw.between(0, 1.5) * light) / (1 + draw.between(0, 2) * light.square())
    strength = levels * strength / strength.mean().clamp_min(1e-6)
    noise = torch.cat((grain, blotches * draw.between(*config.chroma_ratio)), 1) * strength
    noisy = _on_levels(clean + rgb_from_ycc(noise))
    if not draw.chance(config.jpeg_share):
        return _Shot(noisy, clean, math.nan, math.nan)
    quality = round(draw.between(*config.jpeg_quality))
    levels_of_8_bits = (noisy * 255).round().to(torch.uint8)
    coded = jpeg_levels(levels_of_8_bits, torch.full((len(noisy),), quality, device=noisy.device)).float() / 255
    return _Shot(coded, clean, quantiser_of_jpeg(quality), math.nan)


def _spread(noise: Tensor, deviation: float) -> Tensor:
    """Noise (T, C, H, W) through a Gaussian, of deviation 1 as before."""
    smooth = through_gaussian(noise, deviation)
    return smooth / smooth.std().clamp_min(1e-6)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device)


def _on_levels(frames: Tensor) -> Tensor:
    return frames.clamp(0, 1).mul_(255).round_().div_(255)


def _told_clip(shot: _Shot, *, halved: bool) -> Clip:
    told = Told(*(torch.tensor(value, device=shot.clean.device) for value in (shot.quantiser, shot.noise)))
    noisy, clean = (with_half_chroma(part) if halved else part for part in (shot.noisy, shot.clean))
    return Clip(noisy, clean, None, None, told)


def with_half_chroma(frames: Tensor) -> Tensor:
    """R'G'B' frames (N, 3, H, W), H and W even, each 2×2 block of which has one chroma, as 4:2:0 has."""
    ycc = ycc_from_rgb(frames)
    chroma = F.avg_pool2d(ycc[:, 1:], 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    return rgb_from_ycc(torch.cat((ycc[:, :1], chroma), 1))
