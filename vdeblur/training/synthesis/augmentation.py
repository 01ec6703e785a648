"""Disguises: a clip that was made once serves several times, mirrored, turned, reversed and in other colours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.training.synthesis.blur import Clip, Levels
from vdeblur.training.synthesis.rng import Draw


class Disguise(NamedTuple):
    """Left and right exchanged, top and bottom, rows and columns, first and last frame; where each colour is from."""

    mirrored: bool
    upside_down: bool
    turned: bool
    reversed: bool
    colours: tuple[int, ...]

    @classmethod
    def drawn(cls, draw: Draw) -> Disguise:
        mirrored, upside_down, turned, reversed_ = (draw.chance(0.5) for _ in range(4))
        return cls(mirrored, upside_down, turned, reversed_, tuple(draw.order(3)))


#: The clip as it was made.
AS_IT_IS = Disguise(False, False, False, False, (0, 1, 2))


def disguised(levels: Levels, disguise: Disguise) -> Clip:
    """The clip (T, …) in disguise, its motion told rightly. Frames that are turned must be square."""
    axes = [
        axis for axis, told in ((-1, disguise.mirrored), (-2, disguise.upside_down), (1, disguise.reversed)) if told
    ]
    pictures = levels.pictures.flip(axes)
    if disguise.turned:
        pictures = pictures.transpose(-1, -2)
    blurry, sharp = pictures[:, :, list(disguise.colours)].float().div_(255)
    if levels.vectors is None:
        return Clip(blurry, sharp, None, None)
    velocity, motion = _vectors(levels.vectors, axes, disguise)
    return Clip(blurry, sharp, velocity, motion)


def _vectors(vectors: Tensor, axes: list[int], disguise: Disguise) -> Tensor:
    """(2, T, 2, H, W) float32: turned with the picture, and backwards where time runs backwards."""
    time = -1.0 if disguise.reversed else 1.0
    signs = [-time if disguise.mirrored else time, -time if disguise.upside_down else time]
    moved = vectors.flip(axes).float()
    for component, sign in enumerate(signs):
        if sign < 0:
            moved[:, :, component].neg_()
    return moved.transpose(-1, -2).flip(2) if disguise.turned else moved


def stack(clips: list[Clip]) -> Clip:
    """Clips joined to one batch (B, T, …); the motion is ``None`` unless all know theirs."""
    fields = [
        None if any(part is None for part in parts) else torch.stack([part for part in parts if part is not None])
        for parts in zip(*clips, strict=True)
    ]
    blurry, sharp, velocity, motion = fields
    assert blurry is not None
    assert sharp is not None
    return Clip(blurry, sharp, velocity, motion)
