"""Paths: smooth random motion of a camera or a layer, and the true motion it causes at each pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Path:
    """A similarity transform over time: shift, turn and zoom as a straight line plus a few slow oscillations.

    ``speed``, ``amplitude``, ``phase``, ``frequency``: (terms, 4) for x and y shift in pixels, angle in radians and
    logarithm of the zoom; times in frame intervals.
    """

    speed: Tensor
    amplitude: Tensor
    frequency: Tensor
    phase: Tensor

    def parameters(self, times: Tensor) -> Tensor:
        """(x, y, angle, log zoom) at each time: (N, 4)."""
        swing = torch.sin(times[:, None, None] * self.frequency + self.phase) - torch.sin(self.phase)
        return times[:, None] * self.speed + (self.amplitude * swing).sum(dim=1)

    def matrices(self, times: Tensor, centre: Tensor) -> Tensor:
        """Maps from the picture at time 0 to the screen at each time: (N, 3, 3), homogeneous pixels, x before y."""
        x, y, angle, zoom = self.parameters(times).unbind(1)
        cos, sin = torch.exp(zoom) * torch.cos(angle), torch.exp(zoom) * torch.sin(angle)
        cx, cy = centre
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rows = (cos, -sin, x + cx - cos * cx + sin * cy, sin, cos, y + cy - sin * cx - cos * cy, zero, zero, one)
        return torch.stack(rows, 1).view(-1, 3, 3)


def random_path(speed_px: float, size: int, generator: torch.Generator) -> Path:
    """A path whose typical speed at the picture's edge is ``speed_px`` pixels a frame interval.

    Half of the motion is steady and half is hand tremor of 0.05 to 0.35 cycles a frame, in random shares.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    direction = float(uniform(1)) * 2 * math.pi
    steady = float(uniform(1)) * speed_px
    tremor = speed_px - steady
    turn = (2 / size) * speed_px * (float(uniform(1)) < 0.4) * 0.5
    speed = torch.tensor(
        [
            steady * math.cos(direction),
            steady * math.sin(direction),
            turn * (float(uniform(1)) * 2 - 1),
            turn * (float(uniform(1)) * 2 - 1) * 0.5,
        ]
    )
    terms = 3
    frequency = (0.05 + 0.3 * uniform(terms, 1)) * 2 * math.pi
    share = uniform(terms, 4)
    share = share / share.sum(dim=0)
    scale = torch.tensor([tremor, tremor, turn, turn * 0.5])
    amplitude = share * scale * (uniform(terms, 4) * 2 - 1) * 1.5 / frequency
    return Path(speed, amplitude, frequency.expand(terms, 4), uniform(terms, 4) * 2 * math.pi)


def apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Points (2, P) moved by a matrix (3, 3) or by each of (N, 3, 3): (…, 2, P)."""
    return matrix[..., :2, :2] @ points + matrix[..., :2, 2:]


def displacement(path: Path, centre: Tensor, points: Tensor, at: float, before: float, after: float) -> Tensor:
    """How far the content seen at ``points`` (2, P) at time ``at`` moves from time ``before`` to ``after``: (2, P)."""
    here, start, end = path.matrices(torch.tensor([at, before, after]), centre)
    content = apply(torch.linalg.inv(here), points)
    return apply(end, content) - apply(start, content)
