"""Augmentation: flips, transposition, time reversal and channel permutation of a cached clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.guide.guide_net import Told
from vdeblur.training.synthesis.blur import ByteClip, Clip
from vdeblur.training.synthesis.rng import Draw


class Augmentation(NamedTuple):
    """Left and right exchanged, top and bottom, rows and columns, first and last frame; where each colour is from."""

    mirrored: bool
    upside_down: bool
    turned: bool
    reversed: bool
    colours: tuple[int, ...]

    @classmethod
    def drawn(cls, draw: Draw) -> Augmentation:
        mirrored, upside_down, turned, reversed_ = (draw.chance(0.5) for _ in range(4))
        return cls(mirrored, upside_down, turned, reversed_, tuple(draw.order(3)))

    @classmethod
    def of(cls, levels: ByteClip, draw: Draw) -> Augmentation:
        """A random one for a clip; where its codec matters, colours and time stay, which codecs treat differently."""
        drawn = cls.drawn(draw)
        return drawn if levels.quantiser is None else drawn._replace(reversed=False, colours=AS_IT_IS.colours)


#: The clip as it was made.
AS_IT_IS = Augmentation(False, False, False, False, (0, 1, 2))


def augmented(levels: ByteClip, augmentation: Augmentation) -> Clip:
    """The augmented clip (T, …), its motion fields transformed alike. Transposed frames must be square."""
    axes = [
        axis
        for axis, told in ((-1, augmentation.mirrored), (-2, augmentation.upside_down), (1, augmentation.reversed))
        if told
    ]
    pictures = levels.pictures.flip(axes)
    if augmentation.turned:
        pictures = pictures.transpose(-1, -2)
    blurry, sharp = pictures[:, :, list(augmentation.colours)].float().div_(255)
    told = _told(levels.quantiser)
    if levels.vectors is None:
        return Clip(blurry, sharp, None, None, told)
    velocity, motion = _vectors(levels.vectors, axes, augmentation)
    return Clip(blurry, sharp, velocity, motion, told)


def _told(quantiser: float | None) -> Told | None:
    return None if quantiser is None else Told(torch.tensor(quantiser), torch.tensor(math.nan))


def _vectors(vectors: Tensor, axes: list[int], augmentation: Augmentation) -> Tensor:
    """(2, T, 2, H, W) float32: turned with the picture, and backwards where time runs backwards."""
    time = -1.0 if augmentation.reversed else 1.0
    signs = [-time if augmentation.mirrored else time, -time if augmentation.upside_down else time]
    moved = vectors.flip(axes).float()
    for component, sign in enumerate(signs):
        if sign < 0:
            moved[:, :, component].neg_()
    return moved.transpose(-1, -2).flip(2) if augmentation.turned else moved


def stack(clips: list[Clip]) -> Clip:
    """Clips joined to one batch (B, T, …); the motion is ``None`` unless all know theirs."""
    blurry, sharp, velocity, motion = (_stacked(parts) for parts in zip(*(clip[:4] for clip in clips), strict=True))
    assert blurry is not None
    assert sharp is not None
    told = [clip.told for clip in clips if clip.told is not None]
    whole = (
        Told(*(torch.stack(parts) for parts in zip(*(each[:2] for each in told), strict=True)))
        if len(told) == len(clips)
        else None
    )
    return Clip(blurry, sharp, velocity, motion, whole)


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.stack(known) if len(known) == len(parts) else None
