"""Looks: what a kernel is given to look along the motion of a frame's cells, whatever it then makes of that."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Looks(NamedTuple):
    """A frame whose pixels share motions in squares of ``cell`` pixels each way: h × w of them.

    ``frames``: luma of the frame, and where there are neighbours of the one before and the one after (B, 1, H, W),
    float32; None for one that is missing. ``motion`` (B, 2, h, w) in pixels, x before y; ``places``, the displacement
    to each neighbour (B, 4, h, w) in pixels; ``trusts`` (B, 2, h, w). Differences in luma count ``contrast`` times.
    """

    frames: tuple[Tensor | None, ...]
    motion: Tensor
    places: Tensor
    trusts: Tensor
    contrast: float
    cell: int


class SteeredLooks(NamedTuple):
    """An area of a frame whose pixels move as squares of 8 × 8 pixels do, and between those as lies between them.

    ``frames`` as in :class:`Looks`; ``motion`` (B, 2, H/8, W/8) in pixels and its ``length`` (B, 1, H/8, W/8);
    ``places`` (B, 4, H/8, W/8), ``trusts`` (B, 2, H/8, W/8); ``guide`` (B, G, H/8, W/8). Differences in luma count
    ``contrast`` times. The area is ``top``, ``bottom``, ``left`` and ``right`` of it, multiples of 4.
    """

    frames: tuple[Tensor | None, ...]
    motion: Tensor
    length: Tensor
    places: Tensor
    trusts: Tensor
    guide: Tensor
    contrast: float
    area: tuple[int, int, int, int]
