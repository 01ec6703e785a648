"""Layer compositing: pictures in linear light, warped, alpha-blended and averaged over the exposure.

Nah et al. 2017 and REDS average sharp frames the same way; here the sub-frames are as dense as the motion asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.training.synthesis.clip_plan import ClipPlan, Layer, MaskShape
from vdeblur.training.synthesis.motion_paths import Array

#: Pixels around a layer that its edge may touch.
_BOX_MARGIN_PX = 2

#: Top, bottom, left, right of a part of the screen, in pixels.
Box = tuple[int, int, int, int]


class ExposedFrames(NamedTuple):
    """Frames in linear light, not yet clipped, (G, T, 3, H, W), and their true motion, (G, T, 2, H, W)."""

    blurry: Tensor
    sharp: Tensor
    velocity: Tensor | None
    motion: Tensor | None


@dataclass(frozen=True)
class LayerBatch:
    """The layers of one depth in a group of clips, ready to be drawn.

    Args:
        pictures: (G, C, h, w) in linear light; the fourth channel is the mask.
        maps: (G, T, S, 2, 3), from the screen to the picture, both in pixels from their centres.
        vectors: (2, G, T, 2, 3), from a point of the screen to its velocity and to its motion during the exposure.
    """

    pictures: Tensor
    maps: Array
    vectors: Array


def layer_batches(plans: Sequence[ClipPlan], pictures: Sequence[Sequence[Tensor]]) -> list[LayerBatch]:
    """What :func:`expose` needs of clips of one size.

    Args:
        pictures: for each clip and layer the picture in linear light, (3, h, w), or (4, h, w) with its mask.
    """
    count = max(max(plan.counts) for plan in plans)
    made = []
    for index in range(max(len(plan.layers) for plan in plans)):
        # A clip with fewer layers has an empty picture here, moved in any way.
        layers = [plan.layers[index if index < len(plan.layers) else 0] for plan in plans]
        maps = np.stack([_maps(plan, layer, count) for plan, layer in zip(plans, layers, strict=True)])
        vectors = np.stack([_vectors(plan, layer) for plan, layer in zip(plans, layers, strict=True)], axis=1)
        here = [clip[index] if index < len(clip) else None for clip in pictures]
        made.append(LayerBatch(_stacked(here, channels=3 + (index > 0)), maps, vectors))
    return made


def _maps(plan: ClipPlan, layer: Layer, count: int) -> Array:
    maps = np.linalg.inv(layer.matrices(plan.instants(count).ravel())).astype(np.float64)
    return maps.reshape(-1, count, 3, 3)[:, :, :2]


def _vectors(plan: ClipPlan, layer: Layer) -> Array:
    """Affine maps from a point of the screen to how far its content goes: in a frame interval and in the exposure."""
    times, half = np.arange(len(plan.exposures), dtype=float), np.array(plan.exposures) / 2
    instants = np.concatenate((times, times - 1, times + 1, times - half, times + half))
    now, before, after, opened, closed = layer.matrices(instants).reshape(5, -1, 3, 3)
    back = np.linalg.inv(now)
    vectors: Array = np.stack(((after - before) @ back / 2, (closed - opened) @ back))
    return vectors[:, :, :2]


def _stacked(pictures: Sequence[Tensor | None], channels: int) -> Tensor:
    """Pictures of different even sizes, centred in one batch (G, C, h, w); a missing one is empty."""
    there = [picture for picture in pictures if picture is not None]
    if len(there) == len(pictures) == 1:
        return there[0][None]
    height, width = (max(picture.shape[axis] for picture in there) for axis in (1, 2))
    batch = torch.zeros(len(pictures), channels, height, width, device=there[0].device)
    for target, picture in zip(batch, pictures, strict=True):
        if picture is not None:
            top, left = (height - picture.shape[1]) // 2, (width - picture.shape[2]) // 2
            target[:, top : top + picture.shape[1], left : left + picture.shape[2]] = picture
    return batch


def expose(
    plans: Sequence[ClipPlan], layers: Sequence[LayerBatch], frames: range, *, motion: bool, rows: range | None = None
) -> ExposedFrames:
    """Blurred and sharp frames of clips of one size, or some of their rows, with their true motion if it is wanted."""
    height, width = plans[0].height, plans[0].width
    rows = range(height) if rows is None else rows
    count = max(plan.counts[frame] for plan in plans for frame in frames)
    seen, fields = None, None
    for sheet in layers:
        skipped = (sheet.maps.shape[2] - count) // 2
        maps = sheet.maps[:, frames.start : frames.stop, skipped : skipped + count]
        box: Box | None = (rows.start, rows.stop, 0, width)
        if seen is not None and len(plans) == 1:
            box = _box(sheet.pictures.shape, maps, rows, height, width)
        if box is None:
            continue
        part = _sample(sheet.pictures, maps, box, height, width)  # (G, C, T, S, h, w)
        vectors = sheet.vectors[:, :, frames.start : frames.stop]
        moved = _affine(vectors, box, height, width, part.device) if motion else None
        if seen is None:
            seen, fields = part, moved
        else:
            _lay_over(seen, fields, part, moved, (box[0] - rows.start, box[1] - rows.start, *box[2:]))
    assert seen is not None
    sharp = seen[:, :, :, count // 2].transpose(1, 2).clone()
    velocity, during = (None, None) if fields is None else fields.unbind(0)
    return ExposedFrames(_averaged(seen, plans, frames, count).transpose(1, 2), sharp, velocity, during)


def _lay_over(seen: Tensor, fields: Tensor | None, part: Tensor, moved: Tensor | None, box: Box) -> None:
    """Put a layer, seen in a box, over what was seen before, and its motion where it hides more than half."""
    top, bottom, left, right = box
    opacity = part[:, 3:]
    seen[..., top:bottom, left:right].lerp_(part[:, :3], opacity)
    if fields is not None and moved is not None:
        solid = opacity[:, 0, :, part.shape[3] // 2, None] > 0.5  # (G, T, 1, h, w)
        here = fields[..., top:bottom, left:right]
        here.copy_(torch.where(solid, moved, here))


def _averaged(seen: Tensor, plans: Sequence[ClipPlan], frames: range, count: int) -> Tensor:
    """Sub-frames (G, C, T, S, H, W) averaged over each frame's own number of them; overwrites them."""
    if all(plan.counts[frame] == count for plan in plans for frame in frames):
        return seen.mean(dim=3)
    counts = np.array([[plan.counts[frame] for frame in frames] for plan in plans])[..., None]
    weights = (np.abs(np.arange(count) - count // 2) <= counts // 2) / counts  # (G, T, S)
    weight = torch.from_numpy(weights).to(seen.device, seen.dtype)
    return seen.mul_(weight[:, None, :, :, None, None]).sum(dim=3)


def _points(box: Box, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres of a box's pixels from the screen's centre: x (columns,) and y (rows, 1)."""
    top, bottom, left, right = box
    x = torch.arange(left, right, device=device, dtype=torch.float32) + (0.5 - width / 2)
    y = torch.arange(top, bottom, device=device, dtype=torch.float32) + (0.5 - height / 2)
    return x, y[:, None]


def _sample(pictures: Tensor, maps: Array, box: Box, height: int, width: int) -> Tensor:
    """Pictures (G, C, h, w) seen through maps (G, T, S, 2, 3) inside a box: (G, C, T, S, rows, columns)."""
    groups, frames, count = maps.shape[:3]
    tall, wide = pictures.shape[-2:]
    x, y = _points(box, height, width, pictures.device)
    scaled = maps * np.array([[2 / wide], [2 / tall]])
    rows = torch.from_numpy(scaled.astype(np.float32)).flatten(1, 2).to(pictures.device)[..., None, None]
    grid = torch.empty(groups, frames * count, len(y), len(x), 2, device=pictures.device)
    for axis in range(2):
        torch.add(rows[:, :, axis, 0] * x, rows[:, :, axis, 1] * y + rows[:, :, axis, 2], out=grid[..., axis])
    seen = F.grid_sample(pictures, grid.flatten(1, 2), padding_mode="border", align_corners=False)
    return seen.view(groups, pictures.shape[1], frames, count, len(y), len(x))


def _affine(vectors: Array, box: Box, height: int, width: int, device: torch.device) -> Tensor:
    """Vectors (2, G, T, 2, 3) at each pixel of a box: (2, G, T, 2, rows, columns)."""
    x, y = _points(box, height, width, device)
    terms = torch.from_numpy(vectors.astype(np.float32)).to(device)[..., None, None]
    return terms[..., 0, :, :] * x + (terms[..., 1, :, :] * y + terms[..., 2, :, :])


def _box(shape: torch.Size, maps: Array, rows: range, height: int, width: int) -> Box | None:
    """The part of the screen's rows that a picture touches through any of the maps (1, T, S, 2, 3), or None."""
    half_y, half_x = shape[2] / 2, shape[3] / 2
    corners = np.array([[-half_x, half_x, -half_x, half_x], [-half_y, -half_y, half_y, half_y]])
    seen = np.linalg.inv(maps[..., :2]) @ (corners - maps[..., 2:])  # (1, T, S, 2, 4)
    low, high = seen.min(axis=(0, 1, 2, 4)).tolist(), seen.max(axis=(0, 1, 2, 4)).tolist()
    left, top = (math.floor(at + side / 2) - _BOX_MARGIN_PX for at, side in zip(low, (width, height), strict=True))
    right, bottom = (math.ceil(at + side / 2) + _BOX_MARGIN_PX for at, side in zip(high, (width, height), strict=True))
    top, bottom, left, right = max(rows.start, top), min(rows.stop, bottom), max(0, left), min(width, right)
    return (top, bottom, left, right) if top < bottom and left < right else None


def soft_mask(shape: MaskShape, side: int, device: torch.device) -> Tensor:
    """A layer's mask, (1, side, side) in [0, 1]; 0 along the border."""
    axis = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    x, y = axis[None, :], axis[:, None]
    inside = (1 - torch.maximum(x.abs(), y.abs())) - shape.edge
    cos, sin = math.cos(shape.angle), math.sin(shape.angle)
    if shape.blob is None:
        u, v = (cos * x + sin * y) / shape.half_sides[0], (cos * y - sin * x) / shape.half_sides[1]
        radius = (u.abs() ** shape.power + v.abs() ** shape.power).clamp_min(1e-6) ** (1 / shape.power)
        distance = (1 - radius) * min(shape.half_sides)
    else:
        heights = torch.from_numpy(shape.blob).float().to(device)[None, None]
        field = F.interpolate(heights, (side, side), mode="bicubic", align_corners=False)[0, 0]
        distance = (field - 0.25 - 0.45 * (x * x + y * y)) * 0.6
    mask = (torch.minimum(distance, inside) / shape.edge + 0.5).clamp(0, 1)[None]
    return F.pad(mask[:, 1:-1, 1:-1], (1, 1, 1, 1))  # what lies outside of a layer is told from its border
