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
