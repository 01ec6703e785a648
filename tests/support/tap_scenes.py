"""Inputs for tests of taps and their kernels, and taps with random weights."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.model.block_taps import SharedTaps
from vdeblur.model.mixture_taps import MixtureTaps
from vdeblur.model.motion_taps import MotionTaps, Neighbour

#: Which neighbours are present.
PRESENT = [(True, True), (False, True), (True, False), (False, False)]


def noise(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def scene(
    present: tuple[bool, ...], height: int, width: int, batch: int = 1, *, far: float = 15, moved: float = 8
) -> tuple[Tensor, Tensor, list[Neighbour]]:
    """A frame, its motion, and neighbours; some displacements lead far outside of the frame."""
    frames = [noise(batch, 1, height, width, scale=0.2, seed=seed).add(0.5).clamp(0, 1) for seed in range(3)]
    small = height // 8, width // 8
    neighbours = [
        Neighbour(
            frames[1 + side] if there else None,
            noise(batch, 2, *small, scale=far, seed=10 + side),
            noise(batch, 1, *small, scale=0.1, seed=20 + side).abs(),
        )
        for side, there in enumerate(present)
    ]
    return frames[0], noise(batch, 2, *small, scale=moved, seed=30), neighbours


def shared_taps(
    *, taps: int = 13, reach: float = 1.5, hidden: int = 32, depth: int, neighbour_points: int
) -> SharedTaps:
    torch.manual_seed(0)
    made = SharedTaps(taps=taps, reach=reach, hidden=hidden, depth=depth, neighbour_points=neighbour_points)
    torch.nn.init.normal_(made.correction.weight)
    return made


def mixture_taps(
    *, taps: int = 13, hidden: int = 24, experts: int = 16, code: int = 32, neighbour_points: int = 3
) -> MixtureTaps:
    torch.manual_seed(0)
    made = MixtureTaps(
        taps=taps, reach=1.5, hidden=hidden, experts=experts, code=code, neighbour_points=neighbour_points
    )
    torch.nn.init.normal_(made.last)
    torch.nn.init.normal_(made.head.weight, std=0.2)
    torch.nn.init.normal_(made.bias, std=0.2)
    return made


def motion_taps(
    *, taps: int = 25, hidden: int = 96, depth: int = 2, features: int = 6, guides: int = 8, neighbours: int = 2,
    points: int = 7, lateral_points: int = 9, details: int = 0, scale: int = 1,
) -> MotionTaps:  # fmt: skip
    """As large as those of ``balanced`` by default."""
    torch.manual_seed(0)
    made = MotionTaps(
        taps=taps, reach=2.0, scale=scale, hidden=hidden, depth=depth, features=features, guides=guides,
        neighbours=neighbours, neighbour_points=points, lateral_points=lateral_points, details=details,
    )  # fmt: skip
    torch.nn.init.normal_(made.correction.weight)
    return made
