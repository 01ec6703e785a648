"""Motion by matching: each pixel's velocity, found from coarse to fine between neighbouring frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vdeblur.model.blocks import activate, conv3x3, cost_volume, upsample, warp, zero_init

#: Correlations differ little between neighbouring shifts; this makes the differences count.
CONTRAST = 4.0


class Motion(NamedTuple):
    """What matching found.

    ``velocities``: one (B, 2, h, w) a level, coarse first, in pixels of the full frame a frame interval, x before y.
    ``evidence``: features of the finest level (B, E, H/8, W/8).
    """

    velocities: tuple[Tensor, ...]
    evidence: Tensor


class MatchLevel(nn.Module):
    """One level: cost volumes around the velocity so far give a correction of it."""

    def __init__(self, match_channels: int, hidden: int, radius: int, stride: int) -> None:
        super().__init__()
        self.radius = radius
        self.stride = stride
        volume = 2 * (2 * radius + 1) ** 2
        self.layers = nn.ModuleList(
            [conv3x3(volume + match_channels + 2, hidden), conv3x3(hidden, hidden), conv3x3(hidden, hidden)]
        )
        self.correction = zero_init(conv3x3(hidden, 2))

    def forward(
        self, previous: Tensor | None, current: Tensor, following: Tensor | None, velocity: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Normalised features of three frames and a velocity (B, 2, H, W) give a better velocity and the evidence.

        A missing neighbour is replaced by the other one seen under the same constant velocity.
        """
        step = velocity / self.stride
        forward = None if following is None else cost_volume(current, warp(following, step), self.radius, 1)
        backward = None if previous is None else cost_volume(current, warp(previous, -step), self.radius, -1)
        if forward is None:
            forward = backward if backward is not None else self._no_volume(current)
        if backward is None:
            backward = forward
        dtype = self.correction.weight.dtype
        x = torch.cat((forward * CONTRAST, backward * CONTRAST, current, velocity / 16), 1).to(dtype)
        for layer in self.layers:
            x = activate(layer(x))
        velocity = velocity + self.correction(x).float() * self.stride
        return velocity, x

    def _no_volume(self, current: Tensor) -> Tensor:
        """A lone frame matches itself: nothing is known about its motion."""
        batch, _, height, width = current.shape
        return current.new_zeros(batch, (2 * self.radius + 1) ** 2, height, width)


class Matcher(nn.Module):
    """Coarse-to-fine matcher over features at 1/16 and 1/8; gradients stop between the levels."""

    def __init__(self, match_channels: tuple[int, int], hidden: tuple[int, int]) -> None:
        super().__init__()
        self.coarse = MatchLevel(match_channels[0], hidden[0], radius=3, stride=16)
        self.fine = MatchLevel(match_channels[1], hidden[1], radius=2, stride=8)

    def forward(
        self,
        previous: tuple[Tensor, Tensor] | None,
        current: tuple[Tensor, Tensor],
        following: tuple[Tensor, Tensor] | None,
    ) -> Motion:
        """Each argument holds normalised features at (1/16, 1/8), or None where there is no such frame."""
        coarse, fine = current
        velocity = coarse.new_zeros(coarse.shape[0], 2, *coarse.shape[-2:])
        first, _ = self.coarse(
            None if previous is None else previous[0], coarse, None if following is None else following[0], velocity
        )
        second, evidence = self.fine(
            None if previous is None else previous[1],
            fine,
            None if following is None else following[1],
            upsample(first.detach(), 2),
        )
        return Motion((first, second), evidence)
