"""Steering: the frame sampled along its own blur, where every motion blur is the same unit box."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_kernels
from vdeblur.kernels.inputs import PixelInputs
from vdeblur.model.layers import activate, normal_grid, normal_steps, upsample, zero_init
from vdeblur.model.regions import Region, upsample_area, whole_of
from vdeblur.runtime.cpu_pool import side_by_side

#: Luma weights of R', G', B' (ITU-R BT.601): any fixed weights would do, the network only needs one sharpness channel.
LUMA = (0.299, 0.587, 0.114)


#: Differences along a blur are small; this brings them to the order of 1.
CONTRAST = 8.0


def luma(frame: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, 1, H, W), float32. A picture with one channel is luma already."""
    if frame.shape[1] == 1:
        return frame.float()
    red, green, blue = frame.float().chunk(3, dim=1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


#: Pixels of a strip: at full size everything at once would be read from and written to main memory ten times over.
STRIP_PIXELS = 80_000
#: A neighbour that differs by so much luma in the mean, after it is brought into place, is not looked at.
MISMATCH_LIMIT = 0.2


class Neighbour(NamedTuple):
    """Another frame in which each pixel is seen again.

    ``frame`` (B, 3, H, W) in [0, 1] or its luma (B, 1, H, W), None where there is none; ``displacement``
    (B, 2, H/8, W/8) to the pixel's place there, in pixels; ``mismatch`` (B, 1, H/8, W/8), the mean difference in luma
    there, 1 where there is no frame.
    """

    frame: Tensor | None
    displacement: Tensor
    mismatch: Tensor


class PreparedNeighbour(NamedTuple):
    """A neighbour made ready to be looked at: its luma (B, 1, h, w) at the resolution of the taps; at 1/8 the step to
    the pixel's place there (B, 2, H/8, W/8) in the units of ``grid_sample``, and the trust in it (B, 1, H/8, W/8)."""

    luma: Tensor
    step: Tensor
    trust: Tensor


class PreparedFrame(NamedTuple):
    """A frame prepared for sampling, as :class:`PreparedNeighbour`; motion ``length`` (B, 1, H/8, W/8) in pixels."""

    luma: Tensor
    step: Tensor
    length: Tensor
    views: tuple[PreparedNeighbour | None, ...]


class SamplingPath(NamedTuple):
    """Where the pixels of an area look: their place (1, h, w, 2), the motion (B, h, w, 2), its length (B, 1, h, w).

    Places are in the units of ``grid_sample``, lengths in pixels of the frame.
    """

    area: Region
    base: Tensor
    step: Tensor
    length: Tensor


class Deconvolution(NamedTuple):
    """What the taps make of an area: the luma correction (B, 1, h, w), float32; texture features at 1/4 of the frame
    (B, features · (4/scale)², H/4, W/4); and details for a :class:`vdeblur.model.image_refiner.ImageRefiner`
    (B, details, h, w)."""

    correction: Tensor
    texture: Tensor
    details: Tensor


class MotionTaps(nn.Module):
    """Samples luma at ``taps`` points along each pixel's motion and deconvolves there with one shared filter bank.

    The points run from −reach to +reach exposure lengths around the pixel. They enter as differences to the pixel
    itself and are gated by the length of the motion: no motion, no correction. In each of ``neighbours`` other frames
    ``neighbour_points`` more are looked at, from −1 to +1 exposure lengths around the pixel's place there, and
    ``beside`` points on each of two lines one sample to the left and right of the motion.
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
        beside: int = 0,
        details: int = 0,
    ) -> None:
        super().__init__()
        self.scale = scale
        offsets = torch.linspace(-reach, reach, taps)
        self.register_buffer("offsets", offsets[offsets.abs() > 1e-6], persistent=False)
        self.offsets: Tensor
        around = torch.linspace(-1, 1, neighbour_points) if neighbour_points > 1 else torch.zeros(neighbour_points)
        self.register_buffer("neighbour_offsets", around, persistent=False)
        self.neighbour_offsets: Tensor
        self.register_buffer("lateral_offsets", torch.linspace(-reach, reach, beside), persistent=False)
        self.lateral_offsets: Tensor
        seen = neighbours * (neighbour_points + 1) if neighbour_points else 0
        seen += 2 * beside
        self.guides = guides
        #: Pixels of a strip, None for STRIP_PIXELS.
        self.strip_pixels: int | None = None
        #: What a kernel keeps with these weights.
        self.kernel_cache: dict[Any, Any] = {}
        self.filters = nn.Conv2d(len(self.offsets) + 2 + seen + guides, hidden, 1)
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
        area: Region | None = None,
    ) -> Deconvolution:
        """Deconvolve a frame along its motion.

        Args:
            frame: (B, 3, H, W) in [0, 1], or its luma (B, 1, H, W).
            motion: displacement during the exposure (B, 2, H/8, W/8) in pixels of the frame.
            guide: what to mind there, noise for one (B, G, H/8, W/8).
            neighbours: as many as the taps were made for.
            area: only there; edges are multiples of 4. Where it ends inside of the frame, the outermost ``scale``
                pixels of the correction differ from those of the whole.
        """
        area = whole_of(frame) if area is None else area
        fused = self._fused(frame, motion, guide, neighbours, area)
        if fused is not None:
            return fused
        sight = self.prepare(frame, motion, neighbours)
        area = area.divided(self.scale)
        strips = _strips(sight.luma, area, 4 // self.scale, self.strip_pixels or STRIP_PIXELS)
        parts = side_by_side([partial(self._deconvolve, sight, guide, strip) for strip in strips], frame.device)
        correction, texture, details = (torch.cat(columns, dim=2) for columns in zip(*parts, strict=True))
        if self.scale > 1:
            correction = upsample(correction, self.scale)
            details = upsample(details, self.scale) if self.details is not None else correction[:, :0]
        return Deconvolution(correction, texture, details)

    def _fused(
        self, frame: Tensor, motion: Tensor, guide: Tensor, neighbours: Sequence[Neighbour], area: Region
    ) -> Deconvolution | None:
        """The same from one kernel; None where there is none."""
        half = self.filters.weight.dtype == torch.float16 and frame.device.type == "cpu"
        if self.scale != 1 or len(neighbours) not in (0, 2) or half:
            return None

        def work(kernels: Any) -> Deconvolution:
            moves = motion.float()
            length = moves.square().sum(dim=1, keepdim=True).sqrt()
            frames, places, trusts = looked_at(frame, moves, neighbours)
            maps = torch.cat((moves, length, places, trusts, guide.float()), 1)
            return Deconvolution(*kernels.apply_motion_taps(PixelInputs(frames, maps, CONTRAST, *area), self))

        return try_kernels(frame, work)

    def prepare(self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]) -> PreparedFrame:
        """All that is computed once for a frame."""
        motion = motion.float()
        length = motion.square().sum(dim=1, keepdim=True).sqrt()
        return PreparedFrame(self._grey(frame), steps(motion), length, tuple(self._view(one) for one in neighbours))

    def path(self, sight: PreparedFrame, area: Region | None = None) -> SamplingPath:
        """Where the pixels of an area look, of the whole frame where none is given."""
        area = whole_of(sight.luma) if area is None else area
        return SamplingPath(
            area, _places(sight.luma, area), self._raised(sight.step, area), self._upsample(sight.length, area)
        )

    def _grey(self, frame: Tensor) -> Tensor:
        """Luma at the resolution of the taps: (B, 3, H, W) → (B, 1, h, w)."""
        return F.avg_pool2d(luma(frame), self.scale) if self.scale > 1 else luma(frame)

    def _upsample(self, x: Tensor, area: Region) -> Tensor:
        """(B, C, H/8, W/8) → an area of it at the resolution of the taps."""
        return upsample_area(x, 8 // self.scale, area)

    def _raised(self, step: Tensor, area: Region) -> Tensor:
        """Steps (B, 2, H/8, W/8) → (B, h, w, 2) in an area."""
        return self._upsample(step, area).permute(0, 2, 3, 1).contiguous()

    def _view(self, neighbour: Neighbour) -> PreparedNeighbour | None:
        """A neighbour made ready to be looked at, None where there is none."""
        if neighbour.frame is None:
            return None
        trust = trust_in(neighbour)
        return PreparedNeighbour(self._grey(neighbour.frame), steps(neighbour.displacement.float()), trust)

    def _deconvolve(self, sight: PreparedFrame, guide: Tensor, area: Region) -> Deconvolution:
        """An area at the resolution of the taps."""
        dtype = self.filters.weight.dtype
        path = self.path(sight, area)
        seen = torch.cat((self.look(sight, path).to(dtype), self._upsample(guide, area).to(dtype)), 1)
        x = self.invert(seen.contiguous(memory_format=torch.channels_last), path.length)
        correction = self.correction(x).float() / CONTRAST
        details = correction[:, :0] if self.details is None else self.details(x)  # a view of x would keep all of it
        return Deconvolution(correction, F.pixel_unshuffle(self.texture(x), 4 // self.scale), details)

    def invert(self, seen: Tensor, length: Tensor) -> Tensor:
        """What a pixel sees along its motion, guides last (B, K, h, w), and that motion's length give its features."""
        x = activate(self.filters(seen))
        for layer in self.mix:
            x = activate(layer(x))
        return x * (length * length / (1 + length * length)).to(x.dtype)

    def change(self, seen: Tensor, length: Tensor) -> Tensor:
        """Correction (N,) of pixels that see (N, K), guides apart, along ``length`` (N,) pixels; for training."""
        guides = seen.new_zeros(len(seen), self.guides)
        features = self.invert(torch.cat((seen, guides), 1).T[None, :, :, None], length[None, None, :, None])
        correction: Tensor = self.correction(features)[0, 0, :, 0] / CONTRAST
        return correction

    def look(self, sight: PreparedFrame, path: SamplingPath) -> Tensor:
        """What the pixels of an area see, (B, K, h, w) float32, of the order of 1.

        Differences to the pixel along its motion, the motion's length, the pixel's own luma, and for each neighbour the
        differences there and the trust in them; then the differences beside the motion.
        """
        here = path.area.of(sight.luma)
        along = _sampled(sight.luma, path.base, path.step, self.offsets)
        parts = [(along - here) * CONTRAST, torch.log1p(path.length) / 4, here - 0.5]
        parts += [self._look_into(view, here, path) for view in sight.views]
        if len(self.lateral_offsets):
            parts += [(seen - here) * CONTRAST for seen in self._look_beside(sight.luma, path)]
        return torch.cat(parts, 1)

    def _look_beside(self, centre: Tensor, path: SamplingPath) -> list[Tensor]:
        """Luma on the two lines beside the motion: (B, K, h, w) each."""
        height, width = centre.shape[-2:]
        x, y = path.step[..., 0] * (width / 2), path.step[..., 1] * (height / 2)
        length = (x * x + y * y).sqrt() + 1e-3
        across = torch.stack((-y / length * (2 / width), x / length * (2 / height)), -1)
        return [_sampled(centre, path.base + side * across, path.step, self.lateral_offsets) for side in (-1.0, 1.0)]

    def _look_into(self, view: PreparedNeighbour | None, here: Tensor, path: SamplingPath) -> Tensor:
        """A neighbour's differences to the centre times CONTRAST, and the trust in them: (B, K + 1, h, w).

        All are weighted by the trust, so that a missing neighbour and a wrong match are zeros.
        """
        if view is None:
            return here.new_zeros(here.shape[0], len(self.neighbour_offsets) + 1, *here.shape[2:])
        place = path.base + self._raised(view.step, path.area)
        taps = _sampled(view.luma, place, path.step, self.neighbour_offsets)
        trust = self._upsample(view.trust, path.area)
        return torch.cat(((taps - here) * (CONTRAST * trust), trust), 1)


def trust_in(neighbour: Neighbour) -> Tensor:
    """How far a neighbour is to be believed, 0 to 1: (B, 1, H/8, W/8)."""
    return (1 - neighbour.mismatch.float() / MISMATCH_LIMIT).clamp(min=0)


def looked_at(
    frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]
) -> tuple[tuple[Tensor | None, ...], Tensor, Tensor]:
    """A frame and two neighbours, or none, as kernels look at them: luma of each, displacements, and trusts.

    Displacements (B, 4, H/8, W/8) and trusts (B, 2, H/8, W/8) are float32; without neighbours they mean nothing.
    """
    pictures = [None if one.frame is None else luma(one.frame) for one in neighbours]
    places = [one.displacement.float() for one in neighbours] or [motion, motion]
    trusts = [trust_in(one) for one in neighbours] or [motion]
    return (luma(frame), *pictures), torch.cat(places, 1), torch.cat(trusts, 1)


def steps(displacement: Tensor) -> Tensor:
    """(B, 2, H/8, W/8) in pixels of the frame → in the units of ``grid_sample``."""
    height, width = displacement.shape[-2:]
    return normal_steps(displacement, 8 * height, 8 * width).permute(0, 3, 1, 2)


def _places(picture: Tensor, area: Region) -> Tensor:
    """Places of an area's pixels (1, h, w, 2) in a picture (B, C, H, W)."""
    height, width = picture.shape[-2:]
    rows, columns = slice(area.top, area.bottom), slice(area.left, area.right)
    return normal_grid(height, width, picture.device, rows=rows, columns=columns)


def _sampled(picture: Tensor, base: Tensor, step: Tensor, offsets: Tensor) -> Tensor:
    """Luma (B, 1, H, W) at ``base`` + each offset · ``step``, both (B, h, w, 2): (B, K, h, w)."""
    return sampled(picture, base, step, offsets)[:, 0]


def sampled(picture: Tensor, base: Tensor, step: Tensor, offsets: Tensor) -> Tensor:
    """A picture (B, C, H, W) at ``base`` + each offset · ``step``, both (B, h, w, 2): (B, C, K, h, w)."""
    grid = torch.addcmul(base[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    taps = F.grid_sample(picture, grid.flatten(1, 2), "bilinear", "border", align_corners=False)
    return taps.view(*picture.shape[:2], len(offsets), *step.shape[1:3])


def _strips(picture: Tensor, area: Region, multiple: int, pixels: int) -> list[Region]:
    """Rows of an area to work on at a time: on a CPU so few that what is computed of them stays in its cache."""
    if picture.device.type != "cpu" or torch.compiler.is_exporting():
        return [area]
    rows = max(8, pixels // (picture.shape[0] * area.width) // multiple * multiple)
    return [area._replace(top=top, bottom=min(area.bottom, top + rows)) for top in range(area.top, area.bottom, rows)]
