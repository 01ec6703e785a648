"""Synthesis configuration: every parameter with its unit, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from vdeblur.errors import UsageError

Range = tuple[float, float]
Truth = Literal["sharp", "blurred"]

#: Longest exposure that can be asked for, in frame intervals.
LONGEST_EXPOSURE = 1.2

#: Ranges that are drawn log-uniformly and so must lie above 0.
_LOGARITHMIC = (
    "speed_px",
    "tremor_px",
    "parallax",
    "read_noise",
    "shot_noise",
    "highlight_gain",
    "gamma",
    "gain",
    "stretch",
    "stripe_px",
    "coring",
)
#: Numbers that must lie above 0.
_POSITIVE = ("step_px", "averaged_rate", "longest_px", "frame_rate", "tremor_hz", "layer_edge_px", "layer_size")


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """What a synthetic clip looks like; ranges are (lowest, highest), shares are of clips.

    Raises:
        UsageError: a number is out of its range; the message names the knob.
    """

    #: Side of the square frames, pixels; a multiple of 16.
    size_px: int = 128
    #: Frames a clip.
    frames: int = 8
    #: What a clip is compared with: the scene without blur, or the blurred frames before noise and codec, which is what
    #: a guide learns (:class:`vdeblur.model.guide.guide_net.GuideNet`).
    truth: Truth = "sharp"

    #: Speed of the camera, and of each layer that moves on its own, as seen at the picture's edge: pixels a frame
    #: interval, log-uniform.
    speed_px: Range = (1.0, 30.0)
    #: Share of clips whose camera stands on a tripod.
    static_share: float = 0.08
    #: Share of moving cameras that also turn and zoom.
    turn_share: float = 0.4
    #: Share of moving cameras with a hand's tremor, its frequency in Hz and its amplitude in pixels, log-uniform.
    tremor_share: float = 0.5
    tremor_hz: Range = (5.0, 12.0)
    tremor_px: Range = (0.05, 1.5)
    #: Frame rate the tremor is seen at, frames a second.
    frame_rate: Range = (24.0, 60.0)
    #: Share of clips with planes at another depth, and how much faster than the background the camera moves them,
    #: log-uniform.
    parallax_share: float = 0.35
    parallax: Range = (0.4, 2.5)
    #: Share of clips with layers that move on their own, and how many.
    layer_share: float = 0.6
    layers: tuple[int, int] = (1, 3)
    #: Side of a layer or plane, as a share of the frame's shorter side.
    layer_size: Range = (0.3, 0.9)
    #: Width of a layer's soft edge, pixels.
    layer_edge_px: Range = (0.7, 3.0)

    #: Exposure in frame intervals (shutter angle / 360°). No shutter is open for more than 1; a reader of exposures
    #: learns from some up to LONGEST_EXPOSURE, so that what it knows does not end where many cameras are.
    exposure: Range = (0.12, 1.0)
    #: Share of clips filmed with a fast shutter, however fast things move, and their exposure.
    sharp_share: float = 0.25
    sharp_exposure: Range = (0.01, 0.12)
    #: How much the exposure drifts from the first to the last frame, as a share of itself.
    exposure_drift: Range = (0.0, 0.3)
    #: Longest step between two sub-frames, pixels. An exposure that would need more than ``subframes`` is shortened.
    step_px: float = 1.2
    #: Most sub-frames a frame.
    subframes: int = 65

    #: Photographs are reduced so that their longer side is at most this, pixels.
    longest_px: int = 1600
    #: Further reduction of a crop, which sharpens it: a factor.
    reduction: Range = (1.0, 2.0)
    #: Crops with less detail are drawn again a few times: variance of the Laplacian of luma in [0, 1].
    least_detail: float = 0.0008

    #: Share of layers whose picture is stretched along one axis, so that its detail runs one way, and the factor,
    #: log-uniform; share of layers under stripes, and their period in pixels, log-uniform.
    stretched_share: float = 0.0
    stretch: Range = (1.3, 4.0)
    striped_share: float = 0.0
    stripe_px: Range = (4.0, 48.0)

    #: Share of clips through a soft lens or a scaler, and its blur: standard deviation in pixels. The truth is as soft.
    soft_share: float = 0.0
    lens_px: Range = (0.4, 1.5)
    #: The camera's response: display gamma, linear toe (share of full scale), S-curve (-1 to 1; 0 is none).
    gamma: Range = (1.9, 2.5)
    toe: Range = (0.0, 0.02)
    contrast: Range = (-0.2, 0.4)
    #: Gain in linear light before clipping: above 1 highlights saturate.
    gain: Range = (0.6, 1.5)
    #: Share of clips whose highlights are lights, and how many times brighter those are, log-uniform.
    highlight_share: float = 0.3
    highlight_gain: Range = (1.5, 8.0)
    #: Read noise, standard deviation in linear light at full scale 1, log-uniform.
    read_noise: Range = (0.0001, 0.004)
    #: Shot noise: variance per unit of linear light, log-uniform.
    shot_noise: Range = (0.00001, 0.0012)
    #: Share of clips whose noise has passed a colour mosaic, and share whose noise a denoiser has smoothed.
    mosaic_share: float = 0.5
    denoised_share: float = 0.25
    #: Share of clips sharpened in the camera, and the gain of the detail.
    sharpened_share: float = 0.3
    sharpening: Range = (0.1, 0.8)
    #: Share of clips whose faint detail a denoiser in the camera has taken away, and the detail's size that is halved,
    #: of full scale, log-uniform.
    cored_share: float = 0.0
    coring: Range = (0.003, 0.03)

    #: Share of compressed clips; of those, shares of H.264 and HEVC. The rest are JPEG.
    compressed_share: float = 0.7
    h264_share: float = 0.6
    hevc_share: float = 0.2
    #: Quality: constant rate factors of x264 and x265 (0 to 51, smaller is better), JPEG quality (1 to 100).
    h264_crf: Range = (14.0, 30.0)
    hevc_crf: Range = (16.0, 32.0)
    quality: Range = (55.0, 95.0)

    #: Frames of each sharp video that serve as photographs.
    video_frames: int = 8
    #: Share of steps that average frames of sharp videos, where there are any of ``averaged_rate`` frames a second.
    averaged_share: float = 0.2
    averaged_rate: float = 100.0
    #: Frames averaged to one (odd numbers are drawn), and pieces cut from each such video.
    averaged_frames: tuple[int, int] = (3, 13)
    averaged_pieces: int = 6

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                continue
            parts = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(part) for part in parts):
                raise UsageError(f"synthesis: {field.name} cannot be {value}; give finite numbers")
            if isinstance(value, tuple) and value[0] > value[1]:
                raise UsageError(f"synthesis: {field.name} {list(value)} must have the lowest number first")
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise UsageError(f"synthesis: {field.name} cannot be {value}; a share lies between 0 and 1")
            if field.name in (*_LOGARITHMIC, *_POSITIVE) and parts[0] <= 0:
                raise UsageError(f"synthesis: {field.name} cannot be {parts[0]}; it must be above 0")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.size_px < 16 or self.size_px % 16:
            raise UsageError(f"synthesis: size_px cannot be {self.size_px}; it is a multiple of 16")
        for name, value, least in (
            ("frames", self.frames, 1), ("subframes", self.subframes, 1), ("layers", self.layers[0], 1),
            ("video_frames", self.video_frames, 0), ("averaged_pieces", self.averaged_pieces, 1),
            ("averaged_frames", self.averaged_frames[0], 3), ("exposure", self.exposure[0], 0),
            ("sharp_exposure", self.sharp_exposure[0], 0), ("reduction", self.reduction[0], 1),
            ("toe", self.toe[0], 0), ("stretch", self.stretch[0], 1), ("lens_px", self.lens_px[0], 0.1),
            ("exposure_drift", self.exposure_drift[0], 0),
            ("h264_crf", self.h264_crf[0], 0), ("hevc_crf", self.hevc_crf[0], 0), ("quality", self.quality[0], 1),
        ):  # fmt: skip
            if value < least:
                raise UsageError(f"synthesis: {name} cannot be {value}; it is {least} or more")
        for name, value, most in (
            ("exposure", self.exposure[1], LONGEST_EXPOSURE), ("sharp_exposure", self.sharp_exposure[1], 1),
            ("contrast", max(map(abs, self.contrast)), 0.95), ("h264_crf", self.h264_crf[1], 51),
            ("hevc_crf", self.hevc_crf[1], 51), ("quality", self.quality[1], 100),
            ("layer_size", self.layer_size[1], 2), ("h264_share + hevc_share", self.h264_share + self.hevc_share, 1),
        ):  # fmt: skip
            if value > most:
                raise UsageError(f"synthesis: {name} cannot be {value:g}; it is {most:g} or less")
