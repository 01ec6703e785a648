"""Finish: a second look at the whole picture, with context, after the filters along the motion have done theirs.

The filters decide for each pixel alone. Here a U-shaped network of plain convolutions sees what they made. It blurs
that again along the motion and compares it with the frame (the consistency that unrolled deconvolution rests on, as in
Zhang et al. 2017), and it sees both neighbour frames brought into place. It adds a correction of R'G'B' that fades with
the motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.kernels.inputs import RefinerInputs
from vdeblur.model.layers import Activation, activate, conv3x3, normal_grid, residual_blocks, upsample, zero_init
from vdeblur.model.motion_taps import CONTRAST, Neighbour, luma, sampled, steps, trust_in
from vdeblur.model.regions import Region, upsample_area

#: Points along the motion at which the restored picture is looked at, and how far they reach, in exposure lengths.
POINTS, REACH = 17, 1.0
#: Those of them that lie within the exposure, from one end to the other.
_WITHIN = slice(4, 13)
#: Brings differences to neighbour frames to the order of 1.
_ASIDE = 4.0
#: Edges of areas are multiples of it.
CELL = 8
#: Channels that are seen at full resolution, besides the details.
SEEN = 3 + 3 + 3 + (POINTS - 1) + 2 * 4 + 3


class WarpSource(NamedTuple):
    """A neighbour frame (B, 3, H, W); at 1/8 the step to a pixel's place there, and the trust in it."""

    frame: Tensor
    step: Tensor
    trust: Tensor


class FrameContext(NamedTuple):
    """A whole frame with all that is known of it.

    ``frame``, ``residual``, ``restored`` (B, 3, H, W) float32: the last is their sum, which passes no gradient;
    ``details`` (B, C, H, W); ``coarse`` (B, C, H/8, W/8): what the trunk knows. At 1/8, ``step`` is the motion during
    the exposure in the units of ``grid_sample``, ``way`` its length and direction, the same for both ways along it, and
    ``length`` is in pixels.
    """

    frame: Tensor
    residual: Tensor
    restored: Tensor
    details: Tensor
    coarse: Tensor
    step: Tensor
    way: Tensor
    length: Tensor
    views: tuple[WarpSource | None, ...]

    @classmethod
    def of(
        cls,
        frame: Tensor,
        residual: Tensor,
        details: Tensor,
        neighbours: Sequence[Neighbour],
        coarse: Tensor,
        motion: Tensor,
    ) -> FrameContext:
        """``motion`` is that during the exposure (B, 2, H/8, W/8), in pixels."""
        motion = motion.float()
        x, y = motion.chunk(2, 1)
        square = x * x + y * y
        length = square.sqrt()
        way = torch.cat((torch.log1p(length) / 4, (x * x - y * y) / (square + 1), 2 * x * y / (square + 1)), 1)
        restored = frame + residual.detach()
        views = tuple(_view(neighbour) for neighbour in neighbours)
        return cls(frame, residual, restored, details, coarse, steps(motion), way, length, views)


class ImageRefiner(nn.Module):
    """A U at 1/2, 1/4 and 1/8 of the resolution that corrects the restored picture; it starts as no correction.

    Args:
        channels: at these resolutions.
        blocks: residual blocks down, and as many up again, at 1/2 and 1/4; those at 1/8.
        details: channels of what the filters tell.
        coarse: channels of what the trunk knows at 1/8.
    """

    def __init__(
        self, *, channels: tuple[int, int, int], blocks: tuple[int, int, int], details: int, coarse: int
    ) -> None:
        super().__init__()
        c2, c4, c8 = channels
        self.blocks = blocks
        self.enter = conv3x3(4 * (SEEN + details), c2)
        self.down2 = residual_blocks(c2, blocks[0])
        self.to4 = conv3x3(c2, c4, stride=2)
        self.down4 = residual_blocks(c4, blocks[1])
        self.to8 = conv3x3(c4, c8, stride=2)
        self.join8 = nn.Conv2d(coarse, c8, 1)
        self.middle = residual_blocks(c8, blocks[2])
        self.back4 = nn.Conv2d(c8, c4, 1)
        self.up4 = residual_blocks(c4, blocks[1])
        self.back2 = nn.Conv2d(c4, c2, 1)
        self.up2 = nn.Sequential(residual_blocks(c2, blocks[0]), Activation())
        self.head = zero_init(conv3x3(c2, 12))

    @property
    def reach(self) -> int:
        """Pixels around an area that its correction depends on, besides what is looked at along the motion."""
        at2, at4, at8 = self.blocks
        # A block is two convolutions; entering, leaving and going down are one each; enlarging takes a cell more.
        pixels = 2 * (4 * at2 + 3) + 4 * (4 * at4 + 2) + 8 * (2 * at8 + 1)
        return ceil(pixels / CELL) * CELL

    def forward(self, scene: FrameContext, area: Region) -> Tensor:
        """Correction (B, 3, h, w), float32, of an area whose edges are multiples of 8."""
        x2 = self.down2(activate(self.enter(self._seen(scene, area))))
        x4 = self.down4(activate(self.to4(activate(x2))))
        x8 = self.middle(activate(self.to8(activate(x4)) + self.join8(area.divided(8).of(scene.coarse))))
        x4 = self.up4(x4 + upsample(self.back4(activate(x8)), 2))
        x2 = self.up2(x2 + upsample(self.back2(activate(x4)), 2))
        length = upsample_area(scene.length, 8, area)
        change: Tensor = F.pixel_shuffle(self.head(x2), 2).float()
        return change * (length * length / (1 + length * length) / CONTRAST)

    def _seen(self, scene: FrameContext, area: Region) -> Tensor:
        """What :meth:`look` gives, in squares of 2 × 2 pixels, in channels_last: by a kernel where one works."""
        dtype = scene.coarse.dtype
        fused: Tensor | None = try_cpu_kernels(
            scene.frame, lambda kernels: kernels.gather_refiner_inputs(_restored(scene, area), dtype)
        )
        if fused is not None:
            return fused
        seen = F.pixel_unshuffle(self.look(scene, area).to(dtype), 2)
        return seen.contiguous(memory_format=torch.channels_last)

    def look(self, scene: FrameContext, area: Region) -> Tensor:
        """All that is seen of an area, (B, SEEN + details, h, w) float32, of the order of 1."""
        frame = area.of(scene.frame)
        height, width = scene.frame.shape[-2:]
        rows, columns = slice(area.top, area.bottom), slice(area.left, area.right)
        place = normal_grid(height, width, frame.device, rows=rows, columns=columns)
        along, again = _along(scene, area, place)
        parts = [frame - 0.5, area.of(scene.residual) * CONTRAST, (frame - again) * CONTRAST, along]
        for view in scene.views:
            parts.append(_aside(view, frame, area, place))
        parts += [upsample_area(scene.way, 8, area), area.of(scene.details)]
        return torch.cat(parts, 1)


def _restored(scene: FrameContext, area: Region) -> RefinerInputs:
    """All that is looked at, as a kernel is given it."""
    height, width = scene.frame.shape[-2:]
    half = torch.tensor([width / 2, height / 2]).view(1, 2, 1, 1)
    none = torch.zeros_like(scene.step)
    places = [none if view is None else view.step * half for view in scene.views]
    trusts = [none[:, :1] if view is None else view.trust for view in scene.views]
    before, after = (None if view is None else view.frame for view in scene.views)
    return RefinerInputs(
        scene.frame, scene.residual, scene.restored, scene.details.float(), (before, after),
        torch.cat((scene.step * half, *places, *trusts, scene.way), 1), torch.linspace(-REACH, REACH, POINTS),
        _WITHIN.start, _WITHIN.stop - 1, CONTRAST, _ASIDE, *area,
    )  # fmt: skip


def _along(scene: FrameContext, area: Region, place: Tensor) -> tuple[Tensor, Tensor]:
    """The restored picture along the motion: luma's differences (B, POINTS − 1, h, w), and the mean over the exposure,
    (B, 3, h, w), which is the restored picture blurred again."""
    offsets = torch.linspace(-REACH, REACH, POINTS, device=place.device)
    points = sampled(scene.restored, place, _raised(scene.step, area), offsets)  # (B, 3, K, h, w)
    within = points[:, :, _WITHIN]
    ends = (within[:, :, 0] + within[:, :, -1]) / 2
    again = (within.sum(2) - ends) / (within.shape[2] - 1)
    middle = POINTS // 2
    grey = luma(points.flatten(2, 3)).view(len(points), POINTS, *points.shape[3:])
    others = torch.cat((grey[:, :middle], grey[:, middle + 1 :]), 1)
    return (others - grey[:, middle : middle + 1]) * CONTRAST, again


def _aside(view: WarpSource | None, frame: Tensor, area: Region, place: Tensor) -> Tensor:
    """A neighbour's colours, less the frame's own, and the trust in them by which they are weighted: (B, 4, h, w)."""
    if view is None:
        return torch.cat((torch.zeros_like(frame), torch.zeros_like(frame[:, :1])), 1)
    there = F.grid_sample(view.frame, place + _raised(view.step, area), "bilinear", "border", align_corners=False)
    trust = upsample_area(view.trust, 8, area)
    return torch.cat(((there - frame) * (trust * _ASIDE), trust), 1)


def _view(neighbour: Neighbour) -> WarpSource | None:
    if neighbour.frame is None:
        return None
    return WarpSource(neighbour.frame.float(), steps(neighbour.displacement.float()), trust_in(neighbour))


def _raised(step: Tensor, area: Region) -> Tensor:
    """Steps (B, 2, H/8, W/8) → (B, h, w, 2) in an area."""
    return upsample_area(step, 8, area).permute(0, 2, 3, 1).contiguous()
