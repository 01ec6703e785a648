"""Image refiner: a U-Net over the deconvolved frame, its re-blurred version and the warped neighbours.

Motion taps filter each pixel by itself; this network adds spatial context. The restored frame is blurred again along
the motion and compared with the input (the data consistency of unrolled deconvolution, Zhang et al. 2017). The
correction of R'G'B' is weighted by the length of the motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.kernels.inputs import BLOCK_PX, RefinerInputs
from vdeblur.model.layers import Activation, activate, conv3x3, residual_blocks, sampling_grid, upsample, zero_init
from vdeblur.model.motion_taps import DIFFERENCE_GAIN, Neighbour, luma, match_confidence, normalize_motion, sample_along
from vdeblur.model.regions import Region, upsample_region

#: Points along the motion at which the restored frame is sampled, and their reach to each side, in exposure lengths.
POINTS, REACH = 17, 1.0
#: Points within the exposure, its ends included.
_EXPOSURE = slice(4, 13)
#: Factor that brings differences to warped neighbours to the order of 1.
_NEIGHBOUR_GAIN = 4.0
#: Input channels at full resolution, without the details.
INPUT_CHANNELS = 3 + 3 + 3 + (POINTS - 1) + 2 * 4 + 3


class WarpSource(NamedTuple):
    """Neighbour prepared for warping.

    ``frame`` (B, 3, H, W); at 1/8 ``step`` (B, 2, H/8, W/8), the flow to it in units of ``grid_sample``, and the match
    ``confidence`` (B, 1, H/8, W/8).
    """

    frame: Tensor
    step: Tensor
    confidence: Tensor


class FrameContext(NamedTuple):
    """Inputs of the image refiner for a whole frame.

    ``frame``, ``residual``, ``restored`` (B, 3, H, W) float32: the last is their sum, detached; ``details``
    (B, C, H, W): from the motion taps; ``coarse`` (B, C, H/8, W/8): trunk features. At 1/8, ``step``: the motion during
    the exposure in units of ``grid_sample``; ``orientation`` (B, 3, H/8, W/8): its log length, and the cosine and sine
    of twice its angle, which are invariant to its sign; ``length``: in pixels.
    """

    frame: Tensor
    residual: Tensor
    restored: Tensor
    details: Tensor
    coarse: Tensor
    step: Tensor
    orientation: Tensor
    length: Tensor
    neighbours: tuple[WarpSource | None, ...]

    @classmethod
    def create(
        cls,
        frame: Tensor,
        residual: Tensor,
        details: Tensor,
        neighbours: Sequence[Neighbour],
        coarse: Tensor,
        motion: Tensor,
    ) -> FrameContext:
        """Prepare the inputs; ``motion`` is that during the exposure (B, 2, H/8, W/8), in pixels."""
        motion = motion.float()
        x, y = motion.chunk(2, 1)
        square = x * x + y * y
        length = square.sqrt()
        orientation = torch.cat((torch.log1p(length) / 4, (x * x - y * y) / (square + 1), 2 * x * y / (square + 1)), 1)
        restored = frame + residual.detach()
        sources = tuple(_warp_source(neighbour) for neighbour in neighbours)
        return cls(frame, residual, restored, details, coarse, normalize_motion(motion), orientation, length, sources)


class ImageRefiner(nn.Module):
    """U-Net at 1/2, 1/4 and 1/8 of the resolution that corrects the restored frame; its initial correction is zero.

    Args:
        channels: at these resolutions.
        blocks: residual blocks down, and as many up again, at 1/2 and 1/4; those at 1/8.
        details: channels from the motion taps.
        coarse: channels of the trunk features at 1/8.
    """

    def __init__(
        self, *, channels: tuple[int, int, int], blocks: tuple[int, int, int], details: int, coarse: int
    ) -> None:
        super().__init__()
        c2, c4, c8 = channels
        self.blocks = blocks
        self.enter = conv3x3(4 * (INPUT_CHANNELS + details), c2)
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
        """Receptive field of the convolutions beyond a region, in pixels; sampling along the motion reaches further."""
        at2, at4, at8 = self.blocks
        # A residual block is two convolutions; input, output and downsampling are one each; upsampling adds a pixel.
        pixels = 2 * (4 * at2 + 3) + 4 * (4 * at4 + 2) + 8 * (2 * at8 + 1)
        return ceil(pixels / BLOCK_PX) * BLOCK_PX

    def forward(self, context: FrameContext, region: Region) -> Tensor:
        """Correction (B, 3, h, w), float32, of a region whose edges are multiples of 8."""
        x2 = self.down2(activate(self.enter(self._inputs(context, region))))
        x4 = self.down4(activate(self.to4(activate(x2))))
        x8 = self.middle(activate(self.to8(activate(x4)) + self.join8(region.downscaled(8).crop(context.coarse))))
        x4 = self.up4(x4 + upsample(self.back4(activate(x8)), 2))
        x2 = self.up2(x2 + upsample(self.back2(activate(x4)), 2))
        length = upsample_region(context.length, 8, region)
        correction: Tensor = F.pixel_shuffle(self.head(x2), 2).float()
        return correction * (length * length / (1 + length * length) / DIFFERENCE_GAIN)

    def _inputs(self, context: FrameContext, region: Region) -> Tensor:
        """:meth:`gather_inputs` unshuffled by 2, in channels_last; by a fused kernel where one is available."""
        dtype = context.coarse.dtype
        fused: Tensor | None = try_cpu_kernels(
            context.frame, lambda kernels: kernels.gather_refiner_inputs(_kernel_inputs(context, region), dtype)
        )
        if fused is not None:
            return fused
        inputs = F.pixel_unshuffle(self.gather_inputs(context, region).to(dtype), 2)
        return inputs.contiguous(memory_format=torch.channels_last)

    def gather_inputs(self, context: FrameContext, region: Region) -> Tensor:
        """Input channels of a region, (B, INPUT_CHANNELS + details, h, w) float32, of the order of 1."""
        frame = region.crop(context.frame)
        height, width = context.frame.shape[-2:]
        rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
        grid = sampling_grid(height, width, frame.device, rows=rows, columns=columns)
        along, reblurred = _sample_along_motion(context, region, grid)
        residual, inconsistency = region.crop(context.residual), frame - reblurred
        parts = [frame - 0.5, residual * DIFFERENCE_GAIN, inconsistency * DIFFERENCE_GAIN, along]
        parts += [_warp_neighbour(neighbour, frame, region, grid) for neighbour in context.neighbours]
        parts += [upsample_region(context.orientation, 8, region), region.crop(context.details)]
        return torch.cat(parts, 1)


def _kernel_inputs(context: FrameContext, region: Region) -> RefinerInputs:
    """Kernel inputs of a region; steps converted to pixels."""
    height, width = context.frame.shape[-2:]
    to_px = torch.tensor([width / 2, height / 2]).view(1, 2, 1, 1)
    none = torch.zeros_like(context.step)
    displacements = [none if neighbour is None else neighbour.step * to_px for neighbour in context.neighbours]
    confidences = [none[:, :1] if neighbour is None else neighbour.confidence for neighbour in context.neighbours]
    before, after = (None if neighbour is None else neighbour.frame for neighbour in context.neighbours)
    return RefinerInputs(
        context.frame, context.residual, context.restored, context.details.float(), (before, after),
        torch.cat((context.step * to_px, *displacements, *confidences, context.orientation), 1),
        torch.linspace(-REACH, REACH, POINTS), _EXPOSURE.start, _EXPOSURE.stop - 1,
        DIFFERENCE_GAIN, _NEIGHBOUR_GAIN, *region,
    )  # fmt: skip


def _sample_along_motion(context: FrameContext, region: Region, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Sample the restored frame along the motion.

    Returns:
        Luma differences to the pixel (B, POINTS − 1, h, w), and the re-blurred frame (B, 3, h, w): the mean over the
        exposure by the trapezoidal rule.
    """
    offsets = torch.linspace(-REACH, REACH, POINTS, device=grid.device)
    points = sample_along(context.restored, grid, _upsample_step(context.step, region), offsets)  # (B, 3, K, h, w)
    within = points[:, :, _EXPOSURE]
    ends = (within[:, :, 0] + within[:, :, -1]) / 2
    reblurred = (within.sum(2) - ends) / (within.shape[2] - 1)
    middle = POINTS // 2
    grey = luma(points.flatten(2, 3)).view(len(points), POINTS, *points.shape[3:])
    others = torch.cat((grey[:, :middle], grey[:, middle + 1 :]), 1)
    return (others - grey[:, middle : middle + 1]) * DIFFERENCE_GAIN, reblurred


def _warp_neighbour(neighbour: WarpSource | None, frame: Tensor, region: Region, grid: Tensor) -> Tensor:
    """Confidence-weighted colour differences of a warped neighbour, and the confidence: (B, 4, h, w)."""
    if neighbour is None:
        return torch.cat((torch.zeros_like(frame), torch.zeros_like(frame[:, :1])), 1)
    points = grid + _upsample_step(neighbour.step, region)
    warped = F.grid_sample(neighbour.frame, points, "bilinear", "border", align_corners=False)
    confidence = upsample_region(neighbour.confidence, 8, region)
    return torch.cat(((warped - frame) * (confidence * _NEIGHBOUR_GAIN), confidence), 1)


def _warp_source(neighbour: Neighbour) -> WarpSource | None:
    if neighbour.frame is None:
        return None
    step = normalize_motion(neighbour.displacement.float())
    return WarpSource(neighbour.frame.float(), step, match_confidence(neighbour))


def _upsample_step(step: Tensor, region: Region) -> Tensor:
    """Upsample a region of steps: (B, 2, H/8, W/8) → (B, h, w, 2)."""
    return upsample_region(step, 8, region).permute(0, 2, 3, 1).contiguous()
