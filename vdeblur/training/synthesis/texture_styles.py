"""Texture styles: pictures whose detail runs one way, as blinds, fences, planks, grass and water do.

Photographs are about as detailed one way as the other. Where a scene is not, what motion blur takes from it is easily
mistaken: a reader that has never seen stripes takes them for blur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.rng import Draw

#: Width of a stripe's edge, pixels.
_EDGE_PX = 1.0


@dataclass(frozen=True)
class Stripes:
    """Parallel stripes over a picture.

    ``period`` in pixels, ``angle`` of their normal in radians, ``share`` of a period that is light, ``contrast`` from
    0 (none) to 1 (nothing but stripes).
    """

    period: float
    angle: float
    share: float
    contrast: float


@dataclass(frozen=True)
class TextureStyle:
    """What is done to a layer's picture before it moves; ``stretch`` of (rows, columns) is 1 or more."""

    stretch: tuple[float, float] = (1.0, 1.0)
    stripes: Stripes | None = None


PLAIN_STYLE = TextureStyle()


def draw_style(config: SynthesisConfig, draw: Draw) -> TextureStyle:
    """A style by the config's shares."""
    stretch = (1.0, 1.0)
    if draw.chance(config.stretched_share):
        factor = draw.log_between(*config.stretch)
        stretch = (factor, 1.0) if draw.chance(0.5) else (1.0, factor)
    stripes = None
    if draw.chance(config.striped_share):
        stripes = Stripes(
            period=draw.log_between(*config.stripe_px),
            angle=draw.between(0, math.pi),
            share=draw.between(0.2, 0.8),
            contrast=draw.between(0.2, 0.9),
        )
    return TextureStyle(stretch, stripes)


def styled(levels: Tensor, style: TextureStyle) -> Tensor:
    """A picture (3, H, W) uint8 in a style: its middle enlarged along one axis, stripes laid over it."""
    if style.stretch != (1.0, 1.0):
        height, width = levels.shape[-2:]
        rows, columns = (
            max(2, round(size / factor)) for size, factor in zip((height, width), style.stretch, strict=True)
        )
        top, left = (height - rows) // 2, (width - columns) // 2
        part = levels[None, :, top : top + rows, left : left + columns].float()
        enlarged = F.interpolate(part, (height, width), mode="bicubic", align_corners=False)[0]
        levels = enlarged.round_().clamp_(0, 255).to(torch.uint8)
    if style.stripes is not None:
        levels = _striped(levels, style.stripes)
    return levels


def _striped(levels: Tensor, stripes: Stripes) -> Tensor:
    height, width = levels.shape[-2:]
    x = torch.arange(width, device=levels.device, dtype=torch.float32)
    y = torch.arange(height, device=levels.device, dtype=torch.float32)[:, None]
    phase = (x * math.cos(stripes.angle) + y * math.sin(stripes.angle)).remainder(stripes.period)
    inside = torch.minimum(phase, stripes.share * stripes.period - phase)  # distance from the nearer edge, px
    light = (inside / _EDGE_PX + 0.5).clamp_(0, 1) * 255
    mixed = levels.float().lerp_(light.expand(levels.shape), stripes.contrast)
    return mixed.round_().to(torch.uint8)
