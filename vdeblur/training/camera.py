"""Camera: what happens to light between the lens and the file: response, noise, sharpening, compression."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

from vdeblur.training.plan import Electronics
from vdeblur.video.recompress import recompress

#: Light above this share of full scale counts as a highlight that may really be a lamp.
_HIGHLIGHT_KNEE = 0.7
#: Points at which a response is tabulated before it is inverted.
_TABLE = 4096
#: JPEG quality that stands for a constant rate factor on devices without a video encoder: 18 → 82, 30 → 58.
_JPEG_FROM_CRF = (118.0, -2.0)


def response(linear: Tensor, electronics: Electronics) -> Tensor:
    """Linear light in [0, 1] as R'G'B' in [0, 1]: a gamma with a linear toe, then an S-curve.

    Three parameters cover what cameras do about as the first components of EMoR (Grossberg and Nayar 2003).
    """
    toe, power, contrast = electronics.toe, 1 / electronics.gamma, electronics.contrast
    foot, top = toe**power, (1 + toe) ** power
    value: Tensor = ((linear + toe) ** power - foot) / (top - foot)
    if contrast:
        value = value - contrast / (2 * math.pi) * torch.sin(2 * math.pi * value)
    return value


def light_of_levels(electronics: Electronics) -> Tensor:
    """Linear light, after gain, of the 256 levels of a picture: (256,) float32; lamps reach beyond 1.

    It is the inverse of :func:`response`, found in a table.
    """
    linear = torch.linspace(0, 1, _TABLE, dtype=torch.float64) ** 2.2
    values = response(linear, electronics)
    levels = torch.arange(256, dtype=torch.float64) / 255
    above = torch.searchsorted(values, levels).clamp(1, _TABLE - 1)
    share = (levels - values[above - 1]) / (values[above] - values[above - 1])
    light = linear[above - 1] + share * (linear[above] - linear[above - 1])
    highlight = ((light - _HIGHLIGHT_KNEE) / (1 - _HIGHLIGHT_KNEE)).clamp(0, 1)
    return (light * electronics.gain * (1 + (electronics.highlight_gain - 1) * highlight**2)).float()


def develop(
    blurry: Tensor, sharp: Tensor, electronics: Electronics, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Linear frames (T, 3, H, W) as 8-bit R'G'B' levels, before compression; only the blurred ones get noise.

    Args:
        generator: of the noise, on the frames' device.
    """
    blurry = blurry.clamp(0, 1)
    blurry = (blurry + _noise(blurry, electronics, generator)).clamp_(0, 1)
    blurry, sharp = (_shown(picture, electronics) for picture in (blurry, sharp.clamp(0, 1)))
    return blurry, sharp


def _shown(linear: Tensor, electronics: Electronics) -> Tensor:
    value = response(linear, electronics)
    if electronics.sharpening:
        value = value + electronics.sharpening * (value - _smoothed(value, 0.25))
    return value.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _noise(light: Tensor, electronics: Electronics, generator: torch.Generator) -> Tensor:
    """Read noise and signal-dependent shot noise, in linear light, as a mosaic sensor and a denoiser pass it on."""
    variance = light * electronics.shot_noise + electronics.read_noise**2
    noise = torch.randn(light.shape, generator=generator, device=light.device) * variance.sqrt()
    if electronics.mosaic:
        noise = _through_mosaic(noise)
    return _smoothed(noise, 0.2) if electronics.denoised else noise


def _through_mosaic(noise: Tensor) -> Tensor:
    """Noise (T, 3, H, W) as a Bayer sensor (RGGB) with bilinear demosaicing spreads it."""
    red, green, blue = (torch.zeros_like(noise[:, 0]) for _ in range(3))
    red[:, 0::2, 0::2] = noise[:, 0, 0::2, 0::2]
    blue[:, 1::2, 1::2] = noise[:, 2, 1::2, 1::2]
    green[:, 0::2, 1::2], green[:, 1::2, 0::2] = noise[:, 1, 0::2, 1::2], noise[:, 1, 1::2, 0::2]
    around = F.pad(green, (1, 1, 1, 1))
    beside = around[:, 1:-1, :-2] + around[:, 1:-1, 2:] + around[:, :-2, 1:-1] + around[:, 2:, 1:-1]
    sparse = _smoothed(torch.stack((red, blue), dim=1), 0.25) * 4
    return torch.stack((sparse[:, 0], green + beside / 4, sparse[:, 1]), dim=1)


def _smoothed(x: Tensor, side: float) -> Tensor:
    """(…, H, W) filtered with (side, 1 - 2 side, side) along both axes; plain sums beat convolutions on a CPU."""
    for axis in (-1, -2):
        size = x.shape[axis]
        if size < 2:
            continue
        result = x * (1 - 2 * side)
        result.narrow(axis, 1, size - 1).add_(x.narrow(axis, 0, size - 1), alpha=side)
        result.narrow(axis, 0, size - 1).add_(x.narrow(axis, 1, size - 1), alpha=side)
        for edge in (0, size - 1):
            result.narrow(axis, edge, 1).add_(x.narrow(axis, edge, 1), alpha=side)
        x = result
    return x


def compress(levels: Tensor, electronics: Electronics) -> Tensor:
    """Frames (T, 3, H, W) uint8 after the clip's codec.

    On the CPU H.264 and HEVC are the real ones. On another device JPEG with 4:2:0 chroma stands for them.
    """
    codec, quality = electronics.codec, electronics.quality
    if codec is None:
        return levels
    if codec == "jpeg":
        return _jpeg(levels, quality)
    if levels.device.type != "cpu":
        constant, slope = _JPEG_FROM_CRF
        return _jpeg(levels, constant + slope * quality)
    frames = recompress(levels.permute(0, 2, 3, 1).contiguous().numpy(), codec=codec, crf=quality)
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def _jpeg(levels: Tensor, quality: float) -> Tensor:
    height, width = levels.shape[-2:]
    padded = F.pad(levels.float() / 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    coded: Tensor = jpeg_codec_differentiable(padded, torch.full((len(levels),), quality, device=levels.device))
    return coded[..., :height, :width].mul(255).round_().clamp_(0, 255).to(torch.uint8)
