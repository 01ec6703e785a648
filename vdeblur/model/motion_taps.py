"""Motion taps: luma sampled along each pixel's motion during the exposure, and deconvolved there by a small MLP.

In units of the exposure length every motion blur is the same box filter, so one set of learned filters inverts all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_kernels
from vdeblur.kernels.inputs import PixelInputs
from vdeblur.model.layers import activate, normalize_displacement, sampling_grid, upsample, zero_init
from vdeblur.model.regions import Region, full_region, upsample_region
from vdeblur.runtime.cpu_pool import run_parallel

#: Luma weights of R', G', B' (ITU-R BT.601): any fixed weights would do, the network only needs one sharpness channel.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
#: Factor that brings luma differences along the motion to the order of 1.
DIFFERENCE_GAIN = 8.0


def luma(frame: Tensor) -> Tensor:
    """Luma (B, 1, H, W), float32, of R'G'B' (B, 3, H, W); one channel is returned as it is."""
    if frame.shape[1] == 1:
        return frame.float()
    red, green, blue = frame.float().chunk(3, dim=1)
    return red * LUMA_WEIGHTS[0] + green * LUMA_WEIGHTS[1] + blue * LUMA_WEIGHTS[2]


#: Pixels of a strip, whose intermediate tensors fit into the cache; a whole frame's would cross main memory ten times.
STRIP_PIXELS = 80_000
#: Photometric mismatch at which the match confidence of a neighbour reaches 0.
MISMATCH_LIMIT = 0.2


class Neighbour(NamedTuple):
    """Neighbour frame and the flow to it.

    ``frame``: (B, 3, H, W) in [0, 1] or its luma (B, 1, H, W), None if missing. ``displacement`` (B, 2, H/8, W/8): flow
    to it in pixels, x before y. ``mismatch`` (B, 1, H/8, W/8): photometric mismatch after warping, 1 where missing.
    """

    frame: Tensor | None
    displacement: Tensor
    mismatch: Tensor


class PreparedNeighbour(NamedTuple):
    """Neighbour prepared for sampling.

    ``luma`` (B, 1, h, w) at the resolution of the taps; at 1/8 of the frame ``step`` (B, 2, H/8, W/8), the flow to it
    in units of ``grid_sample``, and the match ``confidence`` (B, 1, H/8, W/8).
    """

    luma: Tensor
    step: Tensor
    confidence: Tensor


class PreparedFrame(NamedTuple):
    """Frame prepared for sampling, like :class:`PreparedNeighbour`.

    ``step`` is the motion during the exposure in units of ``grid_sample``, ``length`` (B, 1, H/8, W/8) its length in
    pixels.
    """

    luma: Tensor
    step: Tensor
    length: Tensor
    neighbours: tuple[PreparedNeighbour | None, ...]


class SamplingPath(NamedTuple):
    """Sampling grid and motion of a region's pixels.

    ``grid`` (1, h, w, 2) and ``step`` (B, h, w, 2), the motion during the exposure, in units of ``grid_sample``;
    ``length`` (B, 1, h, w) of the motion in pixels of the frame.
    """

    region: Region
    grid: Tensor
    step: Tensor
    length: Tensor


class Deconvolution(NamedTuple):
    """Output of motion taps for a region.

    ``correction`` (B, 1, h, w): luma correction, float32. ``texture`` (B, features · (4/scale)², H/4, W/4): features at
    1/4 of the frame. ``details`` (B, details, h, w): features for :class:`vdeblur.model.image_refiner.ImageRefiner`.
    """

    correction: Tensor
    texture: Tensor
    details: Tensor


class MotionTaps(nn.Module):
    """Deconvolution along the motion: samples luma at ``taps`` points along each pixel's motion, and filters them.

    The filters are an MLP of 1×1 convolutions shared by all pixels; its output is weighted by the length of the motion,
    so that no motion means no correction. Samples enter as differences to the pixel itself.

    Args:
        taps: points from −reach to +reach exposure lengths around the pixel.
        reach: half length of the sampled path, in exposure lengths.
        scale: resolution of the taps: 1 full, 2 half, 4 a quarter.
        hidden, depth: hidden units, and hidden layers after the first one.
        features: texture channels for the decoder.
        guides: channels of the guide.
        neighbours, neighbour_points: neighbour frames, and points in each, from −1 to +1 exposure lengths.
        lateral_points: points on each of two lines parallel to the motion, one sample to its left and right.
        details: channels for the image refiner; 0 leaves them out.
    """

    def __init__(
        self,
        *,
        taps: int,
        reach: float,
        scale: int,
        hidden: int,
        depth: int = 1,
        features: int,
        guides: int,
        neighbours: int = 0,
        neighbour_points: int = 0,
        lateral_points: int = 0,
        details: int = 0,
    ) -> None:
        super().__init__()
        self.scale = scale
        offsets = torch.linspace(-reach, reach, taps)
        self.register_buffer("offsets", offsets[offsets.abs() > 1e-6], persistent=False)
        self.offsets: Tensor
        centred = torch.linspace(-1, 1, neighbour_points) if neighbour_points > 1 else torch.zeros(neighbour_points)
        self.register_buffer("neighbour_offsets", centred, persistent=False)
        self.neighbour_offsets: Tensor
        self.register_buffer("lateral_offsets", torch.linspace(-reach, reach, lateral_points), persistent=False)
        self.lateral_offsets: Tensor
        inputs = len(self.offsets) + 2 + guides + 2 * lateral_points
        inputs += neighbours * (neighbour_points + 1) if neighbour_points else 0
        self.guides = guides
        #: Pixels of a strip, None for STRIP_PIXELS.
        self.strip_pixels: int | None = None
        #: Packed weights and tables that kernels cache with this module.
        self.kernel_cache: dict[Any, Any] = {}
        self.filters = nn.Conv2d(inputs, hidden, 1)
        self.mix = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(depth))
        self.correction = zero_init(nn.Conv2d(hidden, 1, 1))
        self.texture = nn.Conv2d(hidden, features, 1)
        self.details = nn.Conv2d(hidden, details, 1) if details else None

    def forward(
        self,
        frame: Tensor,
        motion: Tensor,
        guide: Tensor,
        neighbours: Sequence[Neighbour] = (),
        region: Region | None = None,
    ) -> Deconvolution:
        """Deconvolve a frame along its motion.

        Args:
            frame: (B, 3, H, W) in [0, 1], or its luma (B, 1, H, W).
            motion: displacement during the exposure (B, 2, H/8, W/8) in pixels of the frame.
            guide: features that condition the filters (B, G, H/8, W/8), noise for one.
            neighbours: as many as the taps were made for.
            region: restricts the output; edges are multiples of 4. At edges inside of the frame, the outermost
                ``scale`` pixels of the correction differ from those of the whole frame.
        """
        region = full_region(frame) if region is None else region
        fused = self._forward_fused(frame, motion, guide, neighbours, region)
        if fused is not None:
            return fused
        prepared = self.prepare(frame, motion, neighbours)
        region = region.downscaled(self.scale)
        strips = _split_strips(prepared.luma, region, 4 // self.scale, self.strip_pixels or STRIP_PIXELS)
        parts = run_parallel([partial(self._deconvolve, prepared, guide, strip) for strip in strips], frame.device)
        correction, texture, details = (torch.cat(columns, dim=2) for columns in zip(*parts, strict=True))
        if self.scale > 1:
            correction = upsample(correction, self.scale)
            details = upsample(details, self.scale) if self.details is not None else correction[:, :0]
        return Deconvolution(correction, texture, details)

    def _forward_fused(
        self, frame: Tensor, motion: Tensor, guide: Tensor, neighbours: Sequence[Neighbour], region: Region
    ) -> Deconvolution | None:
        """:meth:`forward` by a fused kernel; None if none is available."""
        half = self.filters.weight.dtype == torch.float16 and frame.device.type == "cpu"
        if self.scale != 1 or len(neighbours) not in (0, 2) or half:
            return None

        def work(kernels: Any) -> Deconvolution:
            exposure_motion = motion.float()
            length = exposure_motion.square().sum(dim=1, keepdim=True).sqrt()
            frames, displacements, confidences = stack_neighbour_inputs(frame, exposure_motion, neighbours)
            maps = torch.cat((exposure_motion, length, displacements, confidences, guide.float()), 1)
            return Deconvolution(*kernels.apply_motion_taps(PixelInputs(frames, maps, DIFFERENCE_GAIN, *region), self))

        return try_kernels(frame, work)

    def prepare(self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]) -> PreparedFrame:
        """Compute the tensors that all regions of a frame share."""
        motion = motion.float()
        length = motion.square().sum(dim=1, keepdim=True).sqrt()
        prepared = tuple(self._prepare_neighbour(neighbour) for neighbour in neighbours)
        return PreparedFrame(self._scaled_luma(frame), normalize_motion(motion), length, prepared)

    def sampling_path(self, prepared: PreparedFrame, region: Region | None = None) -> SamplingPath:
        """Sampling path of a region's pixels; of the whole frame by default."""
        region = full_region(prepared.luma) if region is None else region
        step, length = self._upsample_step(prepared.step, region), self._upsample(prepared.length, region)
        return SamplingPath(region, _region_grid(prepared.luma, region), step, length)

    def _scaled_luma(self, frame: Tensor) -> Tensor:
        """Luma at the resolution of the taps: (B, 3, H, W) → (B, 1, h, w)."""
        return F.avg_pool2d(luma(frame), self.scale) if self.scale > 1 else luma(frame)

    def _upsample(self, x: Tensor, region: Region) -> Tensor:
        """Upsample a region of (B, C, H/8, W/8) to the resolution of the taps."""
        return upsample_region(x, 8 // self.scale, region)

    def _upsample_step(self, step: Tensor, region: Region) -> Tensor:
        """Upsample a region of steps: (B, 2, H/8, W/8) → (B, h, w, 2)."""
        return self._upsample(step, region).permute(0, 2, 3, 1).contiguous()

    def _prepare_neighbour(self, neighbour: Neighbour) -> PreparedNeighbour | None:
        """Prepare a neighbour for sampling; None if it is missing."""
        if neighbour.frame is None:
            return None
        step = normalize_motion(neighbour.displacement.float())
        return PreparedNeighbour(self._scaled_luma(neighbour.frame), step, match_confidence(neighbour))

    def _deconvolve(self, prepared: PreparedFrame, guide: Tensor, region: Region) -> Deconvolution:
        """Deconvolve a region at the resolution of the taps."""
        dtype = self.filters.weight.dtype
        path = self.sampling_path(prepared, region)
        sampled, guides = self.gather_features(prepared, path).to(dtype), self._upsample(guide, region).to(dtype)
        features = torch.cat((sampled, guides), 1)
        x = self.hidden_features(features.contiguous(memory_format=torch.channels_last), path.length)
        correction = self.correction(x).float() / DIFFERENCE_GAIN
        details = (
            correction[:, :0] if self.details is None else self.details(x)
        )  # a slice of x would keep its storage alive
        return Deconvolution(correction, F.pixel_unshuffle(self.texture(x), 4 // self.scale), details)

    def hidden_features(self, features: Tensor, length: Tensor) -> Tensor:
        """Hidden layers: features, guides last (B, K, h, w), and motion length (B, 1, h, w) → (B, hidden, h, w)."""
        x = activate(self.filters(features))
        for layer in self.mix:
            x = activate(layer(x))
        return x * (length * length / (1 + length * length)).to(x.dtype)

    def correct_pixels(self, features: Tensor, length: Tensor) -> Tensor:
        """Luma correction (N,) of single pixels, for training.

        Args:
            features: as :meth:`gather_features` returns them, (N, K).
            length: of the motion in pixels (N,).
        """
        guides = features.new_zeros(len(features), self.guides)
        inputs = torch.cat((features, guides), 1).T[None, :, :, None]
        hidden = self.hidden_features(inputs, length[None, None, :, None])
        correction: Tensor = self.correction(hidden)[0, 0, :, 0] / DIFFERENCE_GAIN
        return correction

    def gather_features(self, prepared: PreparedFrame, path: SamplingPath) -> Tensor:
        """Input features of a region's pixels, (B, K, h, w) float32, of the order of 1.

        Differences to the pixel along its motion, the motion's log length, the pixel's luma; for each neighbour the
        differences there, weighted by the match confidence, and that confidence; then the lateral differences.
        """
        centre = path.region.crop(prepared.luma)
        along = _sample_luma(prepared.luma, path.grid, path.step, self.offsets)
        parts = [(along - centre) * DIFFERENCE_GAIN, torch.log1p(path.length) / 4, centre - 0.5]
        parts += [self._sample_neighbour(neighbour, centre, path) for neighbour in prepared.neighbours]
        if len(self.lateral_offsets):
            parts += [(line - centre) * DIFFERENCE_GAIN for line in self._sample_lateral(prepared.luma, path)]
        return torch.cat(parts, 1)

    def _sample_lateral(self, image: Tensor, path: SamplingPath) -> list[Tensor]:
        """Sample luma on two lines parallel to the motion: (B, K, h, w) each."""
        height, width = image.shape[-2:]
        x, y = path.step[..., 0] * (width / 2), path.step[..., 1] * (height / 2)
        length = (x * x + y * y).sqrt() + 1e-3
        across = torch.stack((-y / length * (2 / width), x / length * (2 / height)), -1)
        return [_sample_luma(image, path.grid + side * across, path.step, self.lateral_offsets) for side in (-1.0, 1.0)]

    def _sample_neighbour(self, neighbour: PreparedNeighbour | None, centre: Tensor, path: SamplingPath) -> Tensor:
        """Sample a neighbour: differences to ``centre``, and the match confidence, (B, K + 1, h, w).

        The differences are weighted by the confidence, so that a missing neighbour and a wrong match are zeros.
        """
        if neighbour is None:
            return centre.new_zeros(centre.shape[0], len(self.neighbour_offsets) + 1, *centre.shape[2:])
        grid = path.grid + self._upsample_step(neighbour.step, path.region)
        samples = _sample_luma(neighbour.luma, grid, path.step, self.neighbour_offsets)
        confidence = self._upsample(neighbour.confidence, path.region)
        return torch.cat(((samples - centre) * (DIFFERENCE_GAIN * confidence), confidence), 1)


def match_confidence(neighbour: Neighbour) -> Tensor:
    """Match confidence of a neighbour in [0, 1], (B, 1, H/8, W/8): 1 − mismatch / MISMATCH_LIMIT, clamped."""
    return (1 - neighbour.mismatch.float() / MISMATCH_LIMIT).clamp(min=0)


def stack_neighbour_inputs(
    frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]
) -> tuple[tuple[Tensor | None, ...], Tensor, Tensor]:
    """Stack the kernel inputs of a frame and its two neighbours, or none.

    Returns:
        Luma of each frame (B, 1, H, W), displacements (B, 4, H/8, W/8) in pixels and match confidences
        (B, 2, H/8, W/8), float32; the latter two are placeholders without neighbours.
    """
    frames = [None if one.frame is None else luma(one.frame) for one in neighbours]
    displacements = [one.displacement.float() for one in neighbours] or [motion, motion]
    confidences = [match_confidence(one) for one in neighbours] or [motion]
    return (luma(frame), *frames), torch.cat(displacements, 1), torch.cat(confidences, 1)


def normalize_motion(displacement: Tensor) -> Tensor:
    """Convert motion (B, 2, H/8, W/8) from pixels of the frame to units of ``grid_sample``."""
    height, width = displacement.shape[-2:]
    return normalize_displacement(displacement, 8 * height, 8 * width).permute(0, 3, 1, 2)


def _region_grid(image: Tensor, region: Region) -> Tensor:
    """Sampling grid (1, h, w, 2) of a region of an image (B, C, H, W)."""
    height, width = image.shape[-2:]
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    return sampling_grid(height, width, image.device, rows=rows, columns=columns)


def _sample_luma(image: Tensor, grid: Tensor, step: Tensor, offsets: Tensor) -> Tensor:
    """:func:`sample_along` of luma (B, 1, H, W): (B, K, h, w)."""
    return sample_along(image, grid, step, offsets)[:, 0]


def sample_along(image: Tensor, grid: Tensor, step: Tensor, offsets: Tensor) -> Tensor:
    """Bilinear samples of an image along the motion, border replicated: (B, C, H, W) → (B, C, K, h, w).

    Positions are ``grid`` + offset · ``step`` for each of K offsets, (B, h, w, 2) in units of ``grid_sample``.
    """
    points = torch.addcmul(grid[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    samples = F.grid_sample(image, points.flatten(1, 2), "bilinear", "border", align_corners=False)
    return samples.view(*image.shape[:2], len(offsets), *step.shape[1:3])


def _split_strips(image: Tensor, region: Region, multiple: int, pixels: int) -> list[Region]:
    """Split a region into strips whose intermediate tensors fit into a CPU's cache; elsewhere it stays whole."""
    if image.device.type != "cpu" or torch.compiler.is_exporting():
        return [region]
    rows = max(8, pixels // (image.shape[0] * region.width) // multiple * multiple)
    tops = range(region.top, region.bottom, rows)
    return [region._replace(top=top, bottom=min(region.bottom, top + rows)) for top in tops]
