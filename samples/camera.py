"""The camera: where it looks at each moment, the light it gathers during an exposure, the noise of its sensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from drawing import TEXTURE_SCALE, Canvas, to_display
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Picture = NDArray[np.uint8]

#: Pictures averaged for each frame; a blur of 16 px then moves half a pixel from one to the next.
SUBFRAMES = 32
#: Sensor noise in linear light: variance = SHOT × light + READ².
SHOT, READ = 1.2e-4, 1.5e-3


@dataclass(frozen=True)
class Pose:
    """How a picture is laid out: the point (x, y) of it, in its own pixels, lies at (at_x, at_y) of the frame."""

    x: float
    y: float
    at_x: float
    at_y: float
    degrees: float = 0.0
    zoom: float = 1.0


@dataclass(frozen=True)
class Layer:
    """A picture and the pose it has at a time in seconds; layers lie over each other in order."""

    texture: Tensor
    pose: Callable[[float], Pose]


@dataclass(frozen=True)
class Shot:
    """Layers seen for ``frames`` frames."""

    layers: tuple[Layer, ...]
    frames: int


def layer(canvas: Canvas, pose: Callable[[float], Pose]) -> Layer:
    """A layer from a drawing; the texture is (1, 3 or 4, rows, columns) in linear light."""
    return Layer(torch.from_numpy(canvas.texture())[None], pose)


def shake(seed: int, amplitudes_px: Sequence[float], frequencies_hz: Sequence[float]) -> Callable[[float], float]:
    """An unsteady hand along one axis: a sum of sines with seeded phases, (seconds) -> px."""
    phases = np.random.default_rng(seed).uniform(0, 2 * math.pi, len(amplitudes_px))
    parts = list(zip(amplitudes_px, frequencies_hz, phases, strict=True))
    return lambda t: float(sum(a * math.sin(2 * math.pi * f * t + p) for a, f, p in parts))


def render(shot: Shot, time_seconds: float, size: tuple[int, int]) -> Tensor:
    """What a perfect camera sees at one moment: (1, 3, height, width) in linear light."""
    height, width = size
    picture = torch.zeros(1, 3, height, width)
    for part in shot.layers:
        rows, columns = part.texture.shape[2] / TEXTURE_SCALE, part.texture.shape[3] / TEXTURE_SCALE
        pose = part.pose(time_seconds)
        (top, bottom), (left, right) = _reach(pose, rows, columns, size)
        if top >= bottom or left >= right:
            continue
        seen = _look(part.texture, pose, slice(top, bottom), slice(left, right))
        if seen.shape[1] == 4:
            below = picture[..., top:bottom, left:right]
            picture[..., top:bottom, left:right] = below * (1 - seen[:, 3:]) + seen[:, :3]
        else:
            picture[..., top:bottom, left:right] = seen
    return picture


def _reach(pose: Pose, rows: float, columns: float, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and the columns of the frame that a picture of ``rows`` × ``columns`` output pixels can touch."""
    turn = math.radians(pose.degrees)
    cos, sin = math.cos(turn) * pose.zoom, math.sin(turn) * pose.zoom
    corners = [(x - pose.x, y - pose.y) for x in (0, columns) for y in (0, rows)]
    across = [pose.at_x + cos * x - sin * y for x, y in corners]
    down = [pose.at_y + sin * x + cos * y for x, y in corners]
    limits = []
    for places, most in ((down, size[0]), (across, size[1])):
        limits.append((max(0, math.floor(min(places)) - 1), min(most, math.ceil(max(places)) + 1)))
    return limits[0], limits[1]


def _look(texture: Tensor, pose: Pose, rows: slice, columns: slice) -> Tensor:
    """A texture resampled to the frame's pixels in a window of rows and columns."""
    turn = math.radians(pose.degrees)
    cos, sin = math.cos(turn) / pose.zoom, math.sin(turn) / pose.zoom
    down = torch.arange(rows.start, rows.stop) + 0.5 - pose.at_y
    across = torch.arange(columns.start, columns.stop) + 0.5 - pose.at_x
    y, x = torch.meshgrid(down, across, indexing="ij")
    column = (pose.x + cos * x + sin * y) * TEXTURE_SCALE
    row = (pose.y - sin * x + cos * y) * TEXTURE_SCALE
    grid = torch.stack((2 * column / texture.shape[3] - 1, 2 * row / texture.shape[2] - 1), -1)[None].float()
    return functional.grid_sample(texture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def expose(shot: Shot, index: int, rate: float, shutter: float, size: tuple[int, int]) -> Tensor:
    """Light gathered during frame ``index``: the mean of the sub-frames while the shutter is open."""
    moments = (index + shutter * ((np.arange(SUBFRAMES) + 0.5) / SUBFRAMES - 0.5)) / rate
    total = torch.zeros(1, 3, *size)
    for moment in moments:
        total += render(shot, float(moment), size)
    return total / SUBFRAMES


def develop(light: Tensor, noise: np.random.Generator | None) -> Picture:
    """Light (1, 3, height, width) to 8-bit values (height, width, 3), with sensor noise if a generator is given."""
    values = light[0].permute(1, 2, 0).numpy()
    if noise is not None:
        spread = np.sqrt(SHOT * np.clip(values, 0, None) + READ**2)
        values = values + spread * noise.standard_normal(values.shape).astype(np.float32)
    return np.rint(to_display(values) * 255).astype(np.uint8)
