"""Regions: rectangles of a frame, and tiled processing with overlap."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.layers import upsample


class Region(NamedTuple):
    """Half-open rectangle: rows [``top``, ``bottom``), columns [``left``, ``right``)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def width(self) -> int:
        return self.right - self.left

    def crop(self, x: Tensor) -> Tensor:
        """Crop (…, H, W) to the region."""
        return x[..., self.top : self.bottom, self.left : self.right]

    def downscaled(self, scale: int) -> Region:
        """The region of an image ``scale`` times smaller that covers it."""
        return Region(self.top // scale, -(-self.bottom // scale), self.left // scale, -(-self.right // scale))

    def expanded(self, margin: int, limits: Region) -> Region:
        """The region grown by ``margin`` on every side, clamped to ``limits``."""
        return Region(
            max(limits.top, self.top - margin),
            min(limits.bottom, self.bottom + margin),
            max(limits.left, self.left - margin),
            min(limits.right, self.right + margin),
        )

    def relative_to(self, outer: Region) -> Region:
        """The region in coordinates of the crop ``outer``."""
        return Region(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


def full_region(x: Tensor) -> Region:
    """Region of all of (…, H, W)."""
    return Region(0, x.shape[-2], 0, x.shape[-1])


def split_tiles(full: Region, side: int, multiple: int) -> list[Region]:
    """Split a region into tiles of at most ``side`` pixels each way, as equal as multiples of ``multiple`` allow.

    ``side`` and the size of ``full`` are multiples of ``multiple``.
    """
    rows = _split_evenly(full.top, full.bottom, side, multiple)
    columns = _split_evenly(full.left, full.right, side, multiple)
    return [Region(top, bottom, left, right) for top, bottom in rows for left, right in columns]


def run_tiled(
    work: Callable[[Region], Tensor], full: Region, side: int | None, *, overlap: int, multiple: int, scale: int
) -> Tensor:
    """Run ``work`` on a whole frame or in overlapping tiles, with the same result (B, C, H/scale, W/scale).

    Args:
        work: maps a region to (B, C, h/scale, w/scale); pixels closer than ``overlap`` to an edge of the region inside
            of the frame may be wrong.
        side: of the tiles; None runs the whole frame at once.
        overlap: receptive field of ``work`` beyond its output, in pixels.
        multiple: of all edges.
    """
    if side is None:
        return work(full)
    result: Tensor | None = None
    for tile in split_tiles(full, side, multiple):
        outer = tile.expanded(overlap, full)
        part = work(outer)
        if result is None:
            result = part.new_empty(*part.shape[:2], full.bottom // scale, full.right // scale)
        tile.downscaled(scale).crop(result).copy_(tile.relative_to(outer).downscaled(scale).crop(part))
        del part
    assert result is not None
    return result


def _split_evenly(start: int, end: int, side: int, multiple: int) -> list[tuple[int, int]]:
    units, most = (end - start) // multiple, side // multiple
    count = ceil(units / most)
    edges = [start + units * n // count * multiple for n in range(count + 1)]
    return list(pairwise(edges))


def upsample_region(x: Tensor, factor: int, region: Region) -> Tensor:
    """A region of ``upsample(x, factor)``, bit for bit, without computing the rest."""
    full = full_region(x)
    if region == Region(0, full.bottom * factor, 0, full.right * factor):
        return upsample(x, factor)
    source = region.downscaled(factor).expanded(1, full)
    part = source.crop(x)
    if part.shape != x.shape:  # the same memory format and so the same kernel as for the whole, bit for bit
        last = x.is_contiguous(memory_format=torch.channels_last)
        part = part.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    return region.relative_to(Region(*(edge * factor for edge in source))).crop(upsample(part, factor))
