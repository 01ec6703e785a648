"""Camera model: response curve, noise, demosaicking, sharpening and compression between lens and file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

from vdeblur.training.synthesis.clip_plan import CameraModel
from vdeblur.training.synthesis.config import Truth
from vdeblur.video.encode.codec_roundtrip import recompress

#: Light above this share of full scale counts as a highlight that may really be a lamp.
_HIGHLIGHT_KNEE = 0.7
#: Points at which a response is tabulated before it is inverted.
_TABLE = 4096
#: JPEG quality that stands for a constant rate factor on devices without a video encoder: 18 → 82, 30 → 58.
_JPEG_FROM_CRF = (118.0, -2.0)


def response(linear: Tensor, electronics: Sequence[CameraModel]) -> Tensor:
    """Linear light (G, …) in [0, 1] of G clips as R'G'B' in [0, 1]: a gamma with a linear toe, then an S-curve.

    Three parameters cover what cameras do about as the first components of EMoR (Grossberg and Nayar 2003).
    """
    toe = _each([camera.toe for camera in electronics], linear)
    power = _each([1 / camera.gamma for camera in electronics], linear)
    foot = _each([camera.toe ** (1 / camera.gamma) for camera in electronics], linear)
    top = _each([(1 + camera.toe) ** (1 / camera.gamma) for camera in electronics], linear)
    value = ((linear + toe) ** power - foot) / (top - foot)
    if any(camera.contrast for camera in electronics):
        contrast = _each([camera.contrast / (2 * math.pi) for camera in electronics], linear)
        value = value - contrast * torch.sin(2 * math.pi * value)
    return value


def _each(values: Sequence[float], like: Tensor) -> Tensor:
    """One number for each of G clips, shaped for (G, …); a plain one for one clip."""
    if len(values) == 1:
        return torch.tensor(values[0], dtype=like.dtype)
    return torch.tensor(values, dtype=like.dtype).to(like.device).view(-1, *[1] * (like.dim() - 1))


def light_of_levels(electronics: CameraModel) -> Tensor:
    """Linear light, after gain, of the 256 levels of a picture: (256,) float32; lamps reach beyond 1.

    It is the inverse of :func:`response`, found in a table.
    """
    linear = torch.linspace(0, 1, _TABLE, dtype=torch.float64) ** 2.2
    values = response(linear[None], [electronics])[0]
    levels = torch.arange(256, dtype=torch.float64) / 255
    above = torch.searchsorted(values, levels).clamp(1, _TABLE - 1)
    share = (levels - values[above - 1]) / (values[above] - values[above - 1])
    light = linear[above - 1] + share * (linear[above] - linear[above - 1])
    highlight = ((light - _HIGHLIGHT_KNEE) / (1 - _HIGHLIGHT_KNEE)).clamp(0, 1)
    return (light * electronics.gain * (1 + (electronics.highlight_gain - 1) * highlight**2)).float()


def develop(
    blurry: Tensor,
    sharp: Tensor,
    electronics: Sequence[CameraModel],
    generators: Sequence[torch.Generator],
    truth: Truth = "sharp",
) -> tuple[Tensor, Tensor]:
    """Linear frames (G, T, 3, H, W) of G clips as 8-bit R'G'B' levels; only the blurred ones get noise.

    Args:
        generators: one for each clip's noise, on the frames' device.
        truth: "blurred" gives the blurred frames without noise in place of the sharp ones.
    """
    blurry, sharp = (_through_lens(light, electronics) for light in (blurry, sharp))
    blurry = blurry.clamp(0, 1)
    if truth == "blurred":
        sharp = blurry
    blurry = (blurry + _noise(blurry, electronics, generators)).clamp_(0, 1)
    return _shown(blurry, electronics, denoise=True), _shown(sharp.clamp(0, 1), electronics)


def _through_lens(light: Tensor, electronics: Sequence[CameraModel]) -> Tensor:
    """Frames (G, …, H, W) blurred by each clip's lens, a Gaussian."""
    if not any(camera.lens_px for camera in electronics):
        return light
    return torch.stack([through_gaussian(own, camera.lens_px) for own, camera in zip(light, electronics, strict=True)])


def through_gaussian(x: Tensor, deviation: float) -> Tensor:
    """(…, H, W) through a Gaussian of a standard deviation in pixels; 0 leaves it as it is."""
    if not deviation:
        return x
    reach = min(math.ceil(3 * deviation), min(x.shape[-2:]) - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / deviation) ** 2)
    weights /= weights.sum()
    planes = F.pad(x.reshape(-1, 1, *x.shape[-2:]), (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(planes, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1)).view(x.shape)


def _shown(linear: Tensor, electronics: Sequence[CameraModel], *, denoise: bool = False) -> Tensor:
    value = response(linear, electronics)
    if denoise and any(camera.coring for camera in electronics):
        base = _smoothed(_smoothed(value, 0.25), 0.25)
        energy, least = (value - base).square_(), _each([camera.coring**2 for camera in electronics], linear)
        value = base + (value - base) * (energy + 1e-12) / (energy + 1e-12 + least)
    if any(camera.sharpening for camera in electronics):
        amount = _each([camera.sharpening for camera in electronics], linear)
        value = value + amount * (value - _smoothed(value, 0.25))
    return value.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _noise(light: Tensor, electronics: Sequence[CameraModel], generators: Sequence[torch.Generator]) -> Tensor:
    """Read noise and signal-dependent shot noise, in linear light, as a mosaic sensor and a denoiser pass it on."""
    shot = _each([camera.shot_noise for camera in electronics], light)
    read = _each([camera.read_noise**2 for camera in electronics], light)
    noise = torch.stack([torch.randn(light.shape[1:], generator=own, device=light.device) for own in generators])
    noise.mul_((light * shot + read).sqrt_())
    noise = _where([camera.mosaic for camera in electronics], _through_mosaic, noise)
    return _where([camera.denoised for camera in electronics], lambda part: _smoothed(part, 0.2), noise)


def _where(wanted: Sequence[bool], change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(G, …) changed for the clips that want it."""
    if not any(wanted):
        return x
    if all(wanted):
        return change(x)
    return torch.where(_each([float(want) for want in wanted], x) > 0, change(x), x)


def _through_mosaic(noise: Tensor) -> Tensor:
    """Noise (…, 3, H, W) as a Bayer sensor (RGGB) with bilinear demosaicing spreads it."""
    red, green, blue = (torch.zeros_like(noise[..., 0, :, :]) for _ in range(3))
    red[..., 0::2, 0::2] = noise[..., 0, 0::2, 0::2]
    blue[..., 1::2, 1::2] = noise[..., 2, 1::2, 1::2]
    green[..., 0::2, 1::2] = noise[..., 1, 0::2, 1::2]
    green[..., 1::2, 0::2] = noise[..., 1, 1::2, 0::2]
    around = F.pad(green, (1, 1, 1, 1))
    beside = around[..., 1:-1, :-2] + around[..., 1:-1, 2:] + around[..., :-2, 1:-1] + around[..., 2:, 1:-1]
    sparse = _smoothed(torch.stack((red, blue), dim=-3), 0.25) * 4
    return torch.stack((sparse[..., 0, :, :], green + beside / 4, sparse[..., 1, :, :]), dim=-3)


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


def quantiser_of(camera: CameraModel) -> float:
    """Quantiser of a clip's codec on the scale of H.264, 0 to 51; NaN without a codec.

    That of a constant rate factor is the factor itself, and JPEG counts as the factor it stands for.
    """
    if camera.codec is None:
        return math.nan
    return quantiser_of_jpeg(camera.quality) if camera.codec == "jpeg" else camera.quality


def quantiser_of_jpeg(quality: float) -> float:
    """The rate factor of H.264 that a quality of JPEG (1 to 100) stands for."""
    constant, slope = _JPEG_FROM_CRF
    return (quality - constant) / slope


def compress(clips: Sequence[Tensor], electronics: Sequence[CameraModel]) -> list[Tensor]:
    """Clips of one size, each (T, 3, H, W) uint8, after their codecs.

    On the CPU H.264 and HEVC are the real ones. On another device JPEG with 4:2:0 chroma stands for them, and all
    clips are coded in one go, because kornia waits for the device each time.
    """
    after = list(clips)
    qualities: dict[int, float] = {}
    for index, (levels, camera) in enumerate(zip(clips, electronics, strict=True)):
        if camera.codec == "jpeg":
            qualities[index] = camera.quality
        elif camera.codec is not None and levels.device.type == "cpu":
            frames = levels.permute(0, 2, 3, 1).contiguous().numpy()
            coded = recompress(frames, codec=camera.codec, crf=camera.quality)
            after[index] = torch.from_numpy(coded).permute(0, 3, 1, 2)
        elif camera.codec is not None:
            constant, slope = _JPEG_FROM_CRF
            qualities[index] = constant + slope * camera.quality
    if qualities:
        sent = torch.stack([clips[index] for index in qualities])  # (N, T, 3, H, W)
        quality = torch.tensor(list(qualities.values()), device=sent.device).repeat_interleave(sent.shape[1])
        for index, coded_clip in zip(qualities, jpeg_levels(sent.flatten(0, 1), quality).view(sent.shape), strict=True):
            after[index] = coded_clip
    return after


def jpeg_levels(levels: Tensor, quality: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) uint8 as JPEG of a quality (N,) from 1 to 100, with 4:2:0 chroma."""
    height, width = levels.shape[-2:]
    padded = F.pad(levels.float() / 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    coded: Tensor = jpeg_codec_differentiable(padded, quality.clamp(1, 100))
    return coded[..., :height, :width].mul(255).round_().clamp_(0, 255).to(torch.uint8)
