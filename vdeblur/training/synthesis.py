"""Blur synthesis: blurred clips with their sharp truth and true motion, made from sharp stills.

A camera path moves a still, and a second one cut out by a soft mask moves on a path of its own. Each frame is the mean
of many sub-frames in linear light over its exposure; the truth is the middle of the exposure (Nah et al. 2017, REDS).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import remap
from torch import Tensor

from vdeblur.training.paths import Path, apply, displacement, random_path


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """What a synthetic clip looks like; ranges are (lowest, highest)."""

    #: Side of the square frames, pixels; a multiple of 16.
    size_px: int = 144
    #: Frames a clip.
    frames: int = 8
    #: Speed at the edge, pixels a frame interval; drawn from a log-uniform range.
    speed_px: tuple[float, float] = (0.4, 28.0)
    #: Share of clips whose camera stands still.
    static_share: float = 0.08
    #: Exposure in frame intervals (shutter angle / 360°).
    exposure: tuple[float, float] = (0.12, 1.0)
    #: Share of clips filmed with a fast shutter, however fast things move, and their exposure.
    sharp_share: float = 0.25
    sharp_exposure: tuple[float, float] = (0.01, 0.12)
    #: Longest step between two sub-frames, pixels.
    step_px: float = 1.2
    #: Most sub-frames a frame.
    subframes: int = 33
    #: Share of clips with a layer that moves on its own.
    layer_share: float = 0.6
    #: Display gamma that stands for the camera's response.
    gamma: tuple[float, float] = (1.9, 2.5)
    #: Gain in linear light before clipping: above 1 highlights saturate.
    gain: tuple[float, float] = (0.6, 1.5)
    #: Read noise, standard deviation in linear light at full scale 1, log-uniform.
    read_noise: tuple[float, float] = (0.0001, 0.004)
    #: Shot noise: variance per unit of linear light, log-uniform.
    shot_noise: tuple[float, float] = (0.00001, 0.0012)
    #: Share of clips compressed as JPEG does, and the qualities.
    compressed_share: float = 0.5
    quality: tuple[float, float] = (55.0, 95.0)


class Clip(NamedTuple):
    """A synthetic clip.

    ``blurry``, ``sharp``: (T, 3, H, W) R'G'B' in [0, 1]; ``velocity``: (T, 2, H, W) pixels a frame interval;
    ``motion``: (T, 2, H, W) pixels during the exposure; x before y.
    """

    blurry: Tensor
    sharp: Tensor
    velocity: Tensor
    motion: Tensor


@dataclass(frozen=True)
class Layer:
    """A picture (C, h, w) in linear light that moves along a path; its centre is the screen's centre at time 0."""

    picture: Tensor
    path: Path

    def at(self, times: Tensor, size: int) -> Tensor:
        """The layer as seen on the screen at each time: (N, C, size, size)."""
        centre = torch.tensor([size / 2, size / 2])
        inverse = torch.linalg.inv(self.path.matrices(times, centre))
        where = apply(inverse, screen_points(size))  # (N, 2, size²)
        height, width = self.picture.shape[-2:]
        map_x = where[:, 0].reshape(1, -1, size) + (width - size) / 2 - 0.5
        map_y = where[:, 1].reshape(1, -1, size) + (height - size) / 2 - 0.5
        seen: Tensor = remap(self.picture[None], map_x, map_y, padding_mode="reflection", align_corners=True)
        return seen[0].view(-1, len(times), size, size).transpose(0, 1)


def screen_points(size: int) -> Tensor:
    """Centres of the screen's pixels, (2, size²), x before y."""
    axis = torch.arange(size, dtype=torch.float32) + 0.5
    return torch.stack((axis.repeat(size), axis.repeat_interleave(size)))


def synthesise(stills: tuple[Tensor, Tensor], config: SynthesisConfig, generator: torch.Generator) -> Clip:
    """One clip from two sharp stills (3, h, w) in [0, 1], larger than a frame; the second one becomes the layer."""
    size, draw = config.size_px, Draw(generator)
    exposure = draw.between(*(config.sharp_exposure if draw.chance(config.sharp_share) else config.exposure))
    gamma, gain = draw.between(*config.gamma), draw.between(*config.gain)
    speed = 0.0 if draw.chance(config.static_share) else draw.log_between(*config.speed_px)
    camera = random_path(speed, size, generator)
    background = Layer((stills[0].clamp(0, 1) ** gamma) * gain, camera)
    layer = mask = None
    if draw.chance(config.layer_share):
        own = random_path(draw.log_between(*config.speed_px), size, generator)
        mask = random_mask(stills[1].shape[-2:], size, generator)
        layer = Layer(torch.cat(((stills[1].clamp(0, 1) ** gamma) * gain, mask)), own)
    frames = [_expose(background, layer, t, exposure, config) for t in range(config.frames)]
    blurry, sharp, velocity, motion = (torch.stack(parts) for parts in zip(*frames, strict=True))
    blurry = add_noise(blurry, draw.log_between(*config.read_noise), draw.log_between(*config.shot_noise), generator)
    blurry, sharp = (picture.clamp(0, 1) ** (1 / gamma) for picture in (blurry, sharp))
    if draw.chance(config.compressed_share):
        quality = torch.full((len(blurry),), draw.between(*config.quality))
        blurry = jpeg_codec_differentiable(blurry, quality).clamp(0, 1)
    return Clip(blurry, sharp, velocity, motion)


def _expose(
    background: Layer, layer: Layer | None, time: int, exposure: float, config: SynthesisConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blurred frame, sharp frame, velocity and motion at one time, in linear light, not yet clipped."""
    size = config.size_px
    centre, points = torch.tensor([size / 2, size / 2]), screen_points(size)

    def moved(path: Path, half: float) -> Tensor:
        return displacement(path, centre, points, time, time - half, time + half).view(2, size, size)

    velocity, motion = moved(background.path, 1) / 2, moved(background.path, exposure / 2)
    longest = motion.norm(dim=0).max()
    if layer is not None:
        layer_motion = moved(layer.path, exposure / 2)
        longest = torch.maximum(longest, layer_motion.norm(dim=0).max())
    half_count = min(config.subframes // 2, max(1, math.ceil(float(longest) / config.step_px / 2)))
    times = time + exposure * torch.linspace(-0.5, 0.5, 2 * half_count + 1)
    subframes = background.at(times, size)
    if layer is not None:
        seen = layer.at(times, size)
        opacity = seen[:, 3:]
        subframes = subframes + opacity * (seen[:, :3] - subframes)
        solid = opacity[half_count] > 0.5
        velocity = torch.where(solid, moved(layer.path, 1) / 2, velocity)
        motion = torch.where(solid, layer_motion, motion)
    return subframes.mean(0), subframes[half_count], velocity, motion


def random_mask(shape: torch.Size, size: int, generator: torch.Generator) -> Tensor:
    """Soft mask (1, h, w) of a few blobs near the screen's centre, about a fifth to a half of a frame."""
    height, width = shape
    noise = torch.rand(1, 1, 6, 6, generator=generator)
    field = F.interpolate(noise, (size, size), mode="bicubic", align_corners=False)
    y = torch.linspace(-1, 1, size)
    field = field - 0.45 * (y[:, None] ** 2 + y**2)
    share = 0.5 + 0.3 * float(torch.rand(1, generator=generator))
    solid = (field > torch.quantile(field.flatten(), share)).float()
    soft = gaussian_blur2d(solid, (5, 5), (1.0, 1.0))
    top, left = (height - size) // 2, (width - size) // 2
    mask: Tensor = F.pad(soft, (left, width - size - left, top, height - size - top))[0]
    return mask


def add_noise(linear: Tensor, read: float, shot: float, generator: torch.Generator) -> Tensor:
    """Clip to the sensor's range and add read noise and signal-dependent shot noise, in linear light."""
    clipped = linear.clamp(0, 1)
    deviation = (clipped * shot + read * read).sqrt()
    return clipped + deviation * torch.randn(clipped.shape, generator=generator)


class Draw:
    """Random numbers from one generator, in the shapes that configs speak of."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.generator))

    def log_between(self, low: float, high: float) -> float:
        return math.exp(self.between(math.log(low), math.log(high)))

    def chance(self, probability: float) -> bool:
        return float(torch.rand(1, generator=self.generator)) < probability

    def integer(self, below: int) -> int:
        return int(torch.randint(max(1, below), (1,), generator=self.generator))
