"""What the tests of training data share: textures made by code, a clean camera, and plans made by hand."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vdeblur.training.synthesis.blur import Clip, synthesise
from vdeblur.training.synthesis.clip_plan import CameraModel, ClipPlan, Layer
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.motion_paths import MotionPath, still_path
from vdeblur.training.synthesis.stills import CropWindow, Textures

SIZE = 64
#: A camera that adds nothing of its own: linear, without noise, tremor, layers and compression.
CLEAN = SynthesisConfig(
    size_px=SIZE,
    frames=3,
    speed_px=(8.0, 8.0),
    static_share=0.0,
    tremor_share=0.0,
    parallax_share=0.0,
    layer_share=0.0,
    exposure=(1.0, 1.0),
    exposure_drift=(0.0, 0.0),
    sharp_share=0.0,
    reduction=(1.0, 1.0),
    least_detail=0.0,
    gamma=(1.0, 1.0),
    toe=(0.0, 0.0),
    contrast=(0.0, 0.0),
    gain=(1.0, 1.0),
    highlight_share=0.0,
    read_noise=(1e-9, 1e-9),
    shot_noise=(1e-9, 1e-9),
    mosaic_share=0.0,
    denoised_share=0.0,
    sharpened_share=0.0,
    compressed_share=0.0,
)
#: Electronics to the same effect.
PLAIN = CameraModel(
    gamma=1.0, toe=0.0, contrast=0.0, gain=1.0, highlight_gain=1.0, read_noise=0.0, shot_noise=0.0, mosaic=False,
    denoised=False, sharpening=0.0, noise_seed=1, codec=None, quality=0.0,
)  # fmt: skip


def smooth(seed: int, side: int = 160) -> Tensor:
    """A smooth random picture (3, side, side) uint8."""
    noise = torch.rand(1, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    return interpolate(noise, (side, side), mode="bicubic").clamp(0, 1)[0].mul(255).to(torch.uint8)


def tiles(seed: int, side: int = 160) -> Tensor:
    """Sharp-edged random tiles of 5 pixels, (3, side, side) uint8."""
    noise = torch.rand(1, 3, side // 5, side // 5, generator=torch.Generator().manual_seed(seed))
    return interpolate(noise, (side, side))[0].mul(255).to(torch.uint8)


def one_clip(config: SynthesisConfig, number: int = 1) -> Clip:
    """Clip ``number`` (T, …) of two smooth pictures."""
    made = synthesise(Textures([smooth(1), smooth(2)]), config, seed=1, numbers=[number])
    return Clip(*(None if part is None else part[0] for part in made))


def straight_plan(picture: Tensor, speed_px: tuple[float, float], *, count: int, frames: int = 1) -> ClipPlan:
    """Frames of a whole picture (3, H, W) that moves straight, the shutter open all the time; ``count`` sub-frames."""
    height, width = picture.shape[-2:]
    none = np.zeros((1, 4))
    camera = MotionPath(0.0, np.array([*speed_px, 0.0, 0.0]), none, none, none)
    layer = Layer(CropWindow(0, 0, 0, height, width, height, width), camera, still_path(0.0))
    return ClipPlan(height, width, (layer,), (1.0,) * frames, (count,) * frames, PLAIN)


def decibels(first: Tensor, second: Tensor) -> float:
    """PSNR of pictures in [0, 1]."""
    return -10 * math.log10(max(1e-12, float((first.double() - second.double()).square().mean())))
