"""Motion refiner: a U-Net that corrects the motion during the exposure from the residuals of flow warping.

Optical flow knows brightness constancy and smoothness alone, and one exposure fraction scales it for the whole frame.
This network sees the frame, both neighbours warped by the flow (as in SPyNet, Ranjan and Black 2017), and the trunk's
recurrent features; the blur itself shows how long the motion was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.layers import activate, conv3x3, residual_blocks, sampling_grid, upsample, zero_init
from vdeblur.model.motion import MOTION_CUES, Motion
from vdeblur.model.motion_taps import Neighbour, luma, normalize_motion

#: Clamp of the luma differences after warping, and the factor that brings them to the order of 1.
_MAX_DIFFERENCE, _GAIN = 0.25, 8.0
#: Scale of the last layer's output in pixels.
_OUTPUT_PX = 4.0


class MotionRefiner(nn.Module):
    """U-Net at 1/8 and 1/16 that corrects the motion during the exposure; its initial correction is zero.

    Args:
        channels: at these resolutions.
        blocks: residual blocks down and up at 1/8; twice as many at 1/16.
        trunk: channels of the trunk features at 1/8.
    """

    def __init__(self, *, channels: tuple[int, int], blocks: int, trunk: int) -> None:
        super().__init__()
        c8, c16 = channels
        self.enter = conv3x3(3 * BLOCK_PX * BLOCK_PX + MOTION_CUES + 3 + trunk, c8)
        self.down8 = residual_blocks(c8, blocks)
        self.to16 = conv3x3(c8, c16, stride=2)
        self.middle = residual_blocks(c16, 2 * blocks)
        self.back8 = nn.Conv2d(c16, c8, 1)
        self.up8 = residual_blocks(c8, blocks)
        self.head = zero_init(conv3x3(c8, 2))

    def forward(
        self, frame: Tensor, neighbours: Sequence[Neighbour], motion: Motion, exposure_motion: Tensor, trunk: Tensor
    ) -> Tensor:
        """Correction of the motion during the exposure (B, 2, H/8, W/8), float32, in pixels.

        Args:
            frame: (B, 3, H, W), or its luma.
            motion: motion cues of the frame.
            exposure_motion: the motion to be corrected (B, 2, H/8, W/8), in pixels.
            trunk: trunk features (B, C, H/8, W/8).
        """
        inputs = self.gather_inputs(frame, neighbours, motion, exposure_motion)
        x = torch.cat((inputs.to(trunk.dtype), trunk), 1).contiguous(memory_format=torch.channels_last)
        x = self.down8(activate(self.enter(x)))
        x16 = self.middle(activate(self.to16(activate(x))))
        x = self.up8(x + upsample(self.back8(x16), 2))
        correction: Tensor = self.head(activate(x)).float() * _OUTPUT_PX
        return correction

    def gather_inputs(
        self, frame: Tensor, neighbours: Sequence[Neighbour], motion: Motion, exposure_motion: Tensor
    ) -> Tensor:
        """Input channels without the trunk features: (B, C, H/8, W/8), float32, of the order of 1."""
        grey = luma(frame)
        parts = [F.pixel_unshuffle((grey - 0.5) * 2, BLOCK_PX)]
        for neighbour in neighbours:
            matched = (neighbour.mismatch < 1).float()  # it is 1 for a missing frame and outside of the frame
            parts.append(F.pixel_unshuffle(_warp_difference(grey, neighbour), BLOCK_PX) * matched)
        length = exposure_motion.square().sum(1, keepdim=True).sqrt()
        return torch.cat((*parts, motion.cues, exposure_motion / 16, torch.log1p(length) / 4), 1)


def _warp_difference(grey: Tensor, neighbour: Neighbour) -> Tensor:
    """Clamped luma difference to a warped neighbour, (B, 1, H, W); zeros if it is missing."""
    if neighbour.frame is None:
        return torch.zeros_like(grey)
    height, width = grey.shape[-2:]
    step = upsample(normalize_motion(neighbour.displacement.float()), BLOCK_PX).permute(0, 2, 3, 1)
    grid = sampling_grid(height, width, grey.device) + step
    warped = F.grid_sample(luma(neighbour.frame), grid, "bilinear", "border", align_corners=False)
    return (warped - grey).clamp(-_MAX_DIFFERENCE, _MAX_DIFFERENCE) * _GAIN
