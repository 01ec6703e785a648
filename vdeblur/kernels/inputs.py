"""Looks: what a kernel is given to look along the motion of a frame's cells, whatever it then makes of that."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class BlockInputs(NamedTuple):
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


class PixelInputs(NamedTuple):
    """A frame whose pixels have motions of their own, between those of the 8×8 cells around.

    ``frames`` are as in :class:`BlockInputs`. ``maps`` (B, C, H/8, W/8), float32, are what is known of cells: motion,
    x before y, its length, the displacement to each neighbour, the trust in each, guides; lengths are in pixels. All
    that is wanted are the pixels of rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the ends left out.
    """

    frames: tuple[Tensor | None, ...]
    maps: Tensor
    contrast: float
    top: int
    bottom: int
    left: int
    right: int


class RefinerInputs(NamedTuple):
    """Inputs of the image refiner: a restored frame, its residual, details and neighbours, float32.

    ``frame``, ``residual``, ``restored`` (B, 3, H, W) and ``details`` (B, C, H, W); ``frames``: the neighbours
    (B, 3, H, W), None for one that is missing. ``maps`` (B, C, H/8, W/8): motion, x before y, the displacement to each
    neighbour, the trust in each, then what is passed on. Points along the motion lie at ``offsets``; those from number
    ``first`` to number ``last`` within the exposure, in the middle of which the pixel itself lies. Differences count
    ``contrast`` times, those to neighbours ``aside`` times. The rectangle is as in :class:`PixelInputs`.
    """

    frame: Tensor
    residual: Tensor
    restored: Tensor
    details: Tensor
    frames: tuple[Tensor | None, Tensor | None]
    maps: Tensor
    offsets: Tensor
    first: int
    last: int
    contrast: float
    aside: float
    top: int
    bottom: int
    left: int
    right: int
