"""Surfaces made of seeded noise: brick, plaster, paving, planks and leaves."""

from __future__ import annotations

import numpy as np
from drawing import DRAW_SCALE, Canvas, FloatArray
from PIL import Image

Rng = np.random.Generator
RGB = tuple[float, float, float]


def cloud(rng: Rng, width: float, height: float, coarsest_px: float, octaves: int = 4) -> FloatArray:
    """Fractal noise in about -1…1 at the drawing's scale, (rows, columns), for an area given in output pixels."""
    columns, rows = round(width * DRAW_SCALE), round(height * DRAW_SCALE)
    total = np.zeros((rows, columns), np.float32)
    for octave in range(octaves):
        cell = coarsest_px / 2**octave
        grid = rng.uniform(-1, 1, (int(height / cell) + 3, int(width / cell) + 3)).astype(np.float32)
        size = (round(grid.shape[1] * cell * DRAW_SCALE), round(grid.shape[0] * cell * DRAW_SCALE))
        wide = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(wide)[:rows, :columns] / 2**octave
    return total / 1.6


def _grid(width: float, height: float) -> tuple[FloatArray, FloatArray]:
    """Column and row positions in output pixels of every drawn pixel."""
    y, x = np.mgrid[0 : round(height * DRAW_SCALE), 0 : round(width * DRAW_SCALE)].astype(np.float32)
    return (x + 0.5) / DRAW_SCALE, (y + 0.5) / DRAW_SCALE


def _grain(rng: Rng, shape: tuple[int, ...], amount: float) -> FloatArray:
    """Fine grain about as large as an output pixel."""
    rows, columns = shape[0] // 3 + 1, shape[1] // 3 + 1
    coarse = rng.normal(0, amount, (rows, columns)).astype(np.float32)
    return coarse.repeat(3, 0).repeat(3, 1)[: shape[0], : shape[1]]


def bricks(
    rng: Rng, width: float, height: float, base: RGB, *, long_px: float = 21, tall_px: float = 7.5
) -> FloatArray:
    """A brick wall in running bond, every brick its own shade, with pale mortar and soot."""
    x, y = _grid(width, height)
    row = (y // tall_px).astype(int)
    along = x + (row % 2) * long_px / 2
    column = (along // long_px).astype(int)
    inside_x, inside_y = along % long_px, y % tall_px
    edge = np.minimum(np.minimum(inside_x, long_px - inside_x), np.minimum(inside_y, tall_px - inside_y))
    shades = rng.normal(1, 0.11, (row.max() + 1, column.max() + 1)).astype(np.float32)
    burnt = rng.random(shades.shape) < 0.07
    shades[burnt] *= 0.62
    warm = rng.normal(0, 9, shades.shape).astype(np.float32)
    grain = _grain(rng, x.shape, 0.045)
    brick = np.stack([np.full(x.shape, value, np.float32) for value in base], -1)
    brick[..., 0] += warm[row, column]
    brick *= (shades[row, column] * (1 + grain) * (0.86 + 0.14 * np.clip(edge / 1.6, 0, 1)))[..., None]
    lit = np.where(inside_y < 1.5, 1.08, 1.0)[..., None]
    mortar = np.array([160, 149, 134], np.float32) * (1 + 1.2 * grain[..., None])
    blend = np.clip((edge - 0.45) / 0.5, 0, 1)[..., None]
    soot = 1 + 0.13 * cloud(rng, width, height, 90)[..., None]
    return np.asarray((brick * lit * blend + mortar * (1 - blend)) * soot, np.float32)


def plaster(rng: Rng, width: float, height: float, base: RGB, roughness: float = 0.05) -> FloatArray:
    """Painted render: rough, stained, lighter in places."""
    x, _ = _grid(width, height)
    bumps = cloud(rng, width, height, 5, 3)
    relief = np.clip(bumps - np.roll(bumps, 3, 0), -1, 1)
    tone = 1 + roughness * (2.2 * relief + cloud(rng, width, height, 120)) + _grain(rng, x.shape, roughness * 0.6)
    return np.asarray(np.array(base, np.float32) * tone[..., None], np.float32)


def paving(rng: Rng, width: float, height: float, base: RGB, *, horizon_px: float, setts: float) -> FloatArray:
    """Setts on the ground in perspective; ``horizon_px`` is how far the horizon lies above the top edge."""
    x, y = _grid(width, height)
    depth = 1000 / (y + horizon_px)
    row = (depth * setts * 1.7).astype(int)
    across = (x - width / 2) * depth / 10 * setts / 10 + (row % 2) * 0.5 + 500
    column = across.astype(int)
    inside_x, inside_y = across % 1, (depth * setts * 1.7) % 1
    edge = np.minimum(np.minimum(inside_x, 1 - inside_x), np.minimum(inside_y, 1 - inside_y))
    shades = rng.normal(1, 0.09, (512, 512)).astype(np.float32)
    wear = (1 + _grain(rng, x.shape, 0.04)) * (1 + 0.12 * cloud(rng, width, height, 150))
    tone = shades[row % 512, column % 512] * wear
    joint = np.clip((edge - 0.02) / 0.09, 0, 1)
    tone *= 0.6 + 0.4 * joint
    tone *= 1 + 0.12 * (inside_y - 0.5)
    return np.asarray(np.array(base, np.float32) * tone[..., None], np.float32)


def planks(rng: Rng, width: float, height: float, base: RGB, plank_px: float = 1e9) -> FloatArray:
    """Wood with its grain running from left to right, cut in boards of ``plank_px``."""
    x, y = _grid(width, height)
    row = (y // plank_px).astype(int)
    shift = rng.uniform(0, 400, row.max() + 1).astype(np.float32)[row]
    wave = cloud(rng, width, height, 60, 3)
    rings = np.sin((y + 5 * wave + shift) * 2.4 + 1.5 * np.sin((x + shift * 3) / 47)) * 0.5
    rings += np.sin((y + 2 * wave) * 7.1 + shift) * 0.3
    tone = 1 + 0.1 * rings + 0.08 * cloud(rng, width, height, 40) + _grain(rng, x.shape, 0.03)
    gap = np.clip((np.minimum(y % plank_px, plank_px - y % plank_px)) / 0.7, 0.35, 1)
    return np.asarray(np.array(base, np.float32) * (tone * gap)[..., None], np.float32)


def leaves(
    canvas: Canvas, rng: Rng, centre: tuple[float, float], radii: tuple[float, float], count: int, leaf_px: float = 5
) -> None:
    """A bush of ``count`` leaves in an ellipse: the dark ones behind, the sunlit ones in front and on top."""
    cx, cy = centre
    for i in range(count):
        front = i / count
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * rng.normal(1, 0.07)
        x, y = cx + radii[0] * away * np.cos(angle), cy + radii[1] * away * np.sin(angle)
        sun = 0.35 + 0.65 * front * np.clip(0.75 - 0.6 * (y - cy) / radii[1] * 0.6 + rng.normal(0, 0.22), 0.1, 1.25)
        hue = rng.normal(0, 12)
        colour = (int(78 * sun + hue), int(128 * sun + hue / 3), int(46 * sun))
        turn, size = rng.uniform(0, np.pi), leaf_px * rng.uniform(0.6, 1.3)
        ux, uy = np.cos(turn) * size / 2, np.sin(turn) * size / 2
        tip, tail = (x + ux, y + uy), (x - ux, y - uy)
        side = (-uy * 0.55, ux * 0.55)
        canvas.polygon([tip, (x + side[0], y + side[1]), tail, (x - side[0], y - side[1])], colour)
        if leaf_px > 5:
            pale = (int(colour[0] * 1.2), int(colour[1] * 1.15), int(colour[2] * 1.2))
            canvas.line([tail, tip], 0.25, pale)
