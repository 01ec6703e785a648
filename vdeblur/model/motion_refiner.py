"""Refine: the motion during the exposure, corrected by a network that sees what the flow left unexplained.

The flow knows brightness constancy and smoothness alone, and one fraction says how much of it happened during the
exposure. This network sees the frame, both neighbours as the flow brings them into place (as in SPyNet, Ranjan and
Black 2017), and what the trunk remembers; the blur itself tells it how long the motion was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.model.layers import activate, conv3x3, normal_grid, residual_blocks, upsample, zero_init
from vdeblur.model.motion import CLUES, Motion
from vdeblur.model.motion_taps import Neighbour, luma, steps

#: Pixels of a cell's side: the motion lies at 1/8.
CELL = 8
#: Differences of luma larger than this count as this, and what brings them to the order of 1.
_LIMIT, _CONTRAST = 0.25, 8.0
#: Pixels that the last layer's numbers stand for.
_STEP_PX = 4.0


class MotionRefiner(nn.Module):
    """A small U at 1/8 and 1/16 that corrects the motion during the exposure; it starts as no correction.

    Args:
        channels: at these resolutions.
        blocks: residual blocks down and up at 1/8; twice as many lie at 1/16.
        known: channels of what the trunk knows at 1/8.
    """

    def __init__(self, *, channels: tuple[int, int], blocks: int, known: int) -> None:
        super().__init__()
        c8, c16 = channels
        self.enter = conv3x3(3 * CELL * CELL + CLUES + 3 + known, c8)
        self.down8 = residual_blocks(c8, blocks)
        self.to16 = conv3x3(c8, c16, stride=2)
        self.middle = residual_blocks(c16, 2 * blocks)
        self.back8 = nn.Conv2d(c16, c8, 1)
        self.up8 = residual_blocks(c8, blocks)
        self.head = zero_init(conv3x3(c8, 2))

    def forward(
        self, frame: Tensor, neighbours: Sequence[Neighbour], motion: Motion, exposed: Tensor, known: Tensor
    ) -> Tensor:
        """Correction of the motion during the exposure (B, 2, H/8, W/8), float32, in pixels.

        Args:
            frame: (B, 3, H, W), or its luma.
            exposed: the motion to be corrected, in pixels.
            known: what the trunk knows (B, C, H/8, W/8).
        """
        seen = self.look(frame, neighbours, motion, exposed)
        x = torch.cat((seen.to(known.dtype), known), 1).contiguous(memory_format=torch.channels_last)
        x = self.down8(activate(self.enter(x)))
        x16 = self.middle(activate(self.to16(activate(x))))
        x = self.up8(x + upsample(self.back8(x16), 2))
        change: Tensor = self.head(activate(x)).float() * _STEP_PX
        return change

    def look(self, frame: Tensor, neighbours: Sequence[Neighbour], motion: Motion, exposed: Tensor) -> Tensor:
        """All that is seen but for the trunk's part: (B, C, H/8, W/8), float32, of the order of 1."""
        grey = luma(frame)
        parts = [F.pixel_unshuffle((grey - 0.5) * 2, CELL)]
        for neighbour in neighbours:
            there = (neighbour.mismatch < 1).float()  # where there is no frame, and beyond its edge, it is 1
            parts.append(F.pixel_unshuffle(_unexplained(grey, neighbour), CELL) * there)
        length = exposed.square().sum(1, keepdim=True).sqrt()
        return torch.cat((*parts, motion.clues, exposed / 16, torch.log1p(length) / 4), 1)


def _unexplained(grey: Tensor, neighbour: Neighbour) -> Tensor:
    """What differs in a neighbour after it is brought into place, (B, 1, H, W); zeros where there is none."""
    if neighbour.frame is None:
        return torch.zeros_like(grey)
    height, width = grey.shape[-2:]
    step = upsample(steps(neighbour.displacement.float()), CELL).permute(0, 2, 3, 1)
    grid = normal_grid(height, width, grey.device) + step
    there = F.grid_sample(luma(neighbour.frame), grid, "bilinear", "border", align_corners=False)
    return (there - grey).clamp(-_LIMIT, _LIMIT) * _CONTRAST
