"""Areas: rectangles of a frame, to work on one after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.layers import upsample


class Region(NamedTuple):
    """Rows from ``top`` to ``bottom`` and columns from ``left`` to ``right``, the ends left out."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def width(self) -> int:
        return self.right - self.left

    def of(self, x: Tensor) -> Tensor:
        """Its part of (…, H, W)."""
        return x[..., self.top : self.bottom, self.left : self.right]

    def divided(self, scale: int) -> Region:
        """The same rectangle of a smaller picture, as far as it is touched."""
        return Region(self.top // scale, -(-self.bottom // scale), self.left // scale, -(-self.right // scale))

    def grown(self, margin: int, whole: Region) -> Region:
        """With ``margin`` more on every side, as far as ``whole`` goes."""
        return Region(
            max(whole.top, self.top - margin),
            min(whole.bottom, self.bottom + margin),
            max(whole.left, self.left - margin),
            min(whole.right, self.right + margin),
        )

    def within(self, outer: Region) -> Region:
        """Where it lies in the part of the picture that is ``outer``."""
        return Region(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


def whole_of(x: Tensor) -> Region:
    """All of (…, H, W)."""
    return Region(0, x.shape[-2], 0, x.shape[-1])


def tiles_of(whole: Region, side: int, multiple: int) -> list[Region]:
    """Rectangles that cover ``whole``, none longer or wider than ``side``, as equal as multiples of ``multiple`` are.

    ``side`` and the size of ``whole`` are multiples of ``multiple``.
    """
    rows, columns = _cut(whole.top, whole.bottom, side, multiple), _cut(whole.left, whole.right, side, multiple)
    return [Region(top, bottom, left, right) for top, bottom in rows for left, right in columns]


def in_tiles(
    work: Callable[[Region], Tensor], whole: Region, side: int | None, *, reach: int, multiple: int, scale: int
) -> Tensor:
    """What ``work`` makes of a whole picture, or tile by tile the same.

    Args:
        work: given an area of the picture, returns (B, C, h/scale, w/scale). What is closer than ``reach`` to an edge
            of the area inside of the picture may be wrong.
        side: of the tiles; without it all is done at once.
        multiple: of which all edges are multiples.
    """
    if side is None:
        return work(whole)
    result: Tensor | None = None
    for tile in tiles_of(whole, side, multiple):
        outer = tile.grown(reach, whole)
        part = work(outer)
        if result is None:
            result = part.new_empty(*part.shape[:2], whole.bottom // scale, whole.right // scale)
        tile.divided(scale).of(result).copy_(tile.within(outer).divided(scale).of(part))
        del part
    assert result is not None
    return result


def _cut(start: int, end: int, side: int, multiple: int) -> list[tuple[int, int]]:
    units, most = (end - start) // multiple, side // multiple
    count = ceil(units / most)
    edges = [start + units * n // count * multiple for n in range(count + 1)]
    return list(pairwise(edges))


def upsample_area(x: Tensor, factor: int, area: Region) -> Tensor:
    """The samples that ``area`` has of ``upsample(x, factor)``, without computing the others."""
    whole = whole_of(x)
    if area == Region(0, whole.bottom * factor, 0, whole.right * factor):
        return upsample(x, factor)
    cells = area.divided(factor).grown(1, whole)
    near = cells.of(x)
    if near.shape != x.shape:  # the same kernel as for the whole, so that not even the last bit differs
        last = x.is_contiguous(memory_format=torch.channels_last)
        near = near.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    return area.within(Region(*(edge * factor for edge in cells))).of(upsample(near, factor))
