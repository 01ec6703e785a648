"""Cell taps: luma sampled along its blur as in :mod:`vdeblur.model.motion_taps`, cheap enough for real time on a CPU.

The pixels of an 8×8 cell share one motion, so a place is computed once for 64 samples; and what all pixels
see is one matrix, which a few small matrix products turn into their corrections.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_kernels
from vdeblur.kernels.inputs import BlockInputs
from vdeblur.model.block_sampling import gathered, places, sampled, shifts, spread, steps
from vdeblur.model.block_taps_export import whole_correction
from vdeblur.model.layers import leaky_linear, zero_init
from vdeblur.model.motion_taps import CONTRAST, Neighbour, looked_at, luma, trust_in
from vdeblur.model.regions import Region, tiles_of, whole_of
from vdeblur.runtime.cpu_pool import side_by_side

#: Pixels each way that share a motion: those of one of its vectors.
CELL = 8
#: Pixels of a strip, which one core works on: large enough that cores seldom meet.
STRIP_PIXELS = 131_072
#: Pixels that go through the filters at a time.
CACHED_PIXELS = 32_768


class NeighbourBlocks(NamedTuple):
    """A neighbour made ready: its :func:`shifts`, the cells' places there (B, h, w, 2) and the trust (B, 1, h, w)."""

    shifts: Tensor
    place: Tensor
    trust: Tensor


class FrameBlocks(NamedTuple):
    """A frame made ready, h × w cells.

    Its pixels (B, 64, h, w) and its :func:`shifts`; the cells' places (1, h, w, 2), their motion in the same units
    (B, h, w, 2), its length in pixels (B, 1, h, w).
    """

    own: Tensor
    shifts: Tensor
    place: Tensor
    step: Tensor
    length: Tensor
    views: tuple[NeighbourBlocks | None, ...]


def faded(length: Tensor) -> Tensor:
    """The weight of a correction by the length of the motion in pixels: no motion, no correction."""
    square = length * length
    return square / (1 + square) / CONTRAST


class FeatureSpec(NamedTuple):
    """What stands in a row of what is seen.

    ``kind``: a "difference" at ``offset`` exposure lengths along the motion, the motion's "length", the "own" luma, or
    the "trust" in a neighbour. ``side``: of the frame before (−1), of the one after (1), or of the frame itself (0).
    """

    kind: Literal["difference", "length", "own", "trust"]
    side: int = 0
    offset: float = 0.0

    def backwards(self) -> FeatureSpec:
        """What it is if the film runs backwards."""
        return FeatureSpec(self.kind, -self.side, -self.offset + 0.0)


class BlockTaps(nn.Module, ABC):
    """Looks at luma along its motion, cell by cell; what is made of it is for a subclass to say.

    It sees ``taps`` points from −reach to +reach exposure lengths around the pixel, as differences to the pixel itself,
    and ``neighbour_points`` from −1 to +1 around its place in each of two other frames. The correction fades with the
    length of the motion: no motion, no correction.
    """

    scale = 1
    guides = 0

    def __init__(self, *, taps: int, reach: float, neighbour_points: int) -> None:
        super().__init__()
        offsets = torch.linspace(-reach, reach, taps)
        self.register_buffer("offsets", offsets[offsets.abs() > 1e-6], persistent=False)
        self.offsets: Tensor
        around = torch.linspace(-1, 1, neighbour_points) if neighbour_points > 1 else torch.zeros(neighbour_points)
        self.register_buffer("neighbour_offsets", around, persistent=False)
        self.neighbour_offsets: Tensor
        #: Pixels of a strip, None for STRIP_PIXELS.
        self.strip_pixels: int | None = None
        #: What a kernel keeps with these weights.
        self.kernel_cache: dict[Any, Any] = {}
        self.seen = len(self.offsets) + 2 + (2 * (neighbour_points + 1) if neighbour_points else 0)

    @property
    def columns(self) -> list[FeatureSpec]:
        """What the rows of what is seen (:meth:`look`) are."""
        found = [FeatureSpec("difference", 0, round(offset, 4)) for offset in self.offsets.tolist()]
        found += [FeatureSpec("length"), FeatureSpec("own")]
        around = [round(offset, 4) for offset in self.neighbour_offsets.tolist()]
        for side in (-1, 1) if around else ():
            found += [*(FeatureSpec("difference", side, offset) for offset in around), FeatureSpec("trust", side)]
        return found

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of the weights."""

    @abstractmethod
    def kernel(self, kernels: Any) -> Any:
        """The fused twin in a kernel module; it takes :class:`vdeblur.kernels.inputs.BlockInputs` and this module."""

    @abstractmethod
    def corrected(self, seen: Tensor) -> Tensor:
        """What pixels of cells see (seen, B, 64, h, w) → (B, 64, h, w), before it is weighted by the motion."""

    @abstractmethod
    def whole(self, sight: FrameBlocks) -> Tensor:
        """Correction (B, 64, h, w) of a whole frame in few operations, for programs elsewhere."""

    def forward(
        self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour], *, side: int | None = None
    ) -> Tensor:
        """Luma correction (B, 1, H, W), float32.

        Args:
            frame: luma (B, 1, H, W), or (B, 3, H, W), in [0, 1].
            motion: displacement during the exposure (B, 2, H/8, W/8) in pixels of the frame.
            neighbours: two, or none if no points are looked at there.
            side: of tiles to work in, pixels; it makes no difference but for memory.
        """
        fused = self._fused(frame, motion, neighbours, side)
        if fused is not None:
            return fused
        sight = self.prepare(frame, motion, neighbours)
        if torch.compiler.is_exporting():
            return spread(self.whole(sight), CELL)
        result = torch.empty_like(sight.own)

        def work(area: Region) -> None:
            area.of(result).copy_(self.corrected(self.look(sight, area)) * faded(area.of(sight.length)))

        side_by_side([partial(work, area) for area in self._areas(sight, side)], frame.device)
        return spread(result, CELL)

    def _fused(self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour], side: int | None) -> Tensor | None:
        """The same from one kernel; None where there is none. On a CPU it takes no memory, so tiles do not matter."""
        on_cpu = frame.device.type == "cpu"
        if self.dtype != torch.float32 if on_cpu else side is not None:
            return None

        def work(kernels: Any) -> Tensor:
            moves = motion.float()
            frames, places, trusts = looked_at(frame, moves, neighbours)
            looks = BlockInputs(frames, moves, places, trusts, CONTRAST, CELL)
            result: Tensor = self.kernel(kernels)(looks, self)
            return result

        return try_kernels(frame, work)

    def prepare(self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]) -> FrameBlocks:
        """All that is computed once for a frame."""
        grey, motion = luma(frame), motion.float()
        height, width = motion.shape[-2:]
        place = places(height, width, CELL, motion.device)
        length = motion.square().sum(1, keepdim=True).sqrt()
        views = tuple(_view(one, place) for one in neighbours)
        return FrameBlocks(gathered(grey, CELL), shifts(grey, CELL), place, steps(motion, CELL), length, views)

    def look(self, sight: FrameBlocks, area: Region) -> Tensor:
        """What the pixels of an area of cells see, all of the order of 1: (seen, B, 64, h, w), in the filters' dtype.

        Differences along the motion, the motion's length, the pixel's own luma, and for each neighbour the differences
        there, weighted by the trust in them, and that trust; zeros for a neighbour that is missing.
        """
        own, length, step = area.of(sight.own), area.of(sight.length), _cut(sight.step, area)
        seen = own.new_empty((self.seen, *own.shape), dtype=self.dtype)
        count, points = len(self.offsets), len(self.neighbour_offsets)
        seen[:count] = _differences(sight.shifts, _cut(sight.place, area), step, self.offsets, own, CONTRAST)
        seen[count], seen[count + 1] = torch.log1p(length) / 4, own - 0.5
        for number, view in enumerate(sight.views):
            part = seen[count + 2 + number * (points + 1) :][: points + 1]
            if view is None:
                part.zero_()
            else:
                trust, place = area.of(view.trust), _cut(view.place, area)
                weight = CONTRAST * trust[:, :, None]
                part[:points] = _differences(view.shifts, place, step, self.neighbour_offsets, own, weight)
                part[points] = trust
        return seen

    def sights(self, sight: FrameBlocks) -> Tensor:
        """What all pixels of a frame see, as a picture (B, seen, H, W); for training."""
        seen = self.look(sight, whole_of(sight.own))
        return torch.stack([spread(channel, CELL)[:, 0] for channel in seen], 1)

    def _areas(self, sight: FrameBlocks, side: int | None) -> list[Region]:
        """Areas of cells to work on one after the other: tiles, and on a CPU strips of them."""
        whole = whole_of(sight.own)
        tiles = [whole] if side is None else tiles_of(whole, side // CELL, 1)
        if sight.own.device.type != "cpu":
            return tiles
        cells = (self.strip_pixels or STRIP_PIXELS) // (CELL * CELL * len(sight.own))
        return [strip for tile in tiles for strip in _strips(tile, max(1, cells // tile.width))]


class SharedTaps(BlockTaps):
    """Deconvolves luma with one small shared network of what each pixel sees along its motion."""

    def __init__(self, *, taps: int, reach: float, hidden: int, depth: int, neighbour_points: int) -> None:
        super().__init__(taps=taps, reach=reach, neighbour_points=neighbour_points)
        self.filters = nn.Conv2d(self.seen, hidden, 1)
        self.mix = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(depth))
        self.correction = zero_init(nn.Conv2d(hidden, 1, 1))

    @property
    def dtype(self) -> torch.dtype:
        return self.filters.weight.dtype

    def kernel(self, kernels: Any) -> Any:
        return kernels.apply_shared_taps

    def corrected(self, seen: Tensor) -> Tensor:
        return self._corrected(seen.flatten(1).t()).view(seen.shape[1:])

    def whole(self, sight: FrameBlocks) -> Tensor:
        return whole_correction(self, sight, CELL)

    def change(self, seen: Tensor, length: Tensor) -> Tensor:
        """Correction (N,) of pixels that see (N, seen) along a motion of ``length`` (N,) pixels; for training."""
        return self._corrected(seen.to(self.filters.weight.dtype)) * faded(length)

    def _corrected(self, rows: Tensor) -> Tensor:
        """(N, seen) → (N,), float32, before it is weighted by the motion; on a CPU in pieces that a cache holds."""
        if rows.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._filtered(rows)
        firsts = range(0, len(rows), CACHED_PIXELS)
        return torch.cat([self._filtered(rows[first : first + CACHED_PIXELS]) for first in firsts])

    def _filtered(self, rows: Tensor) -> Tensor:
        for layer in (self.filters, *self.mix):
            rows = leaky_linear(rows, layer.weight.flatten(1), layer.bias)
        return F.linear(rows, self.correction.weight.flatten(1), self.correction.bias)[:, 0].float()


def _strips(area: Region, rows: int) -> list[Region]:
    tops = range(area.top, area.bottom, rows)
    return [area._replace(top=top, bottom=min(area.bottom, top + rows)) for top in tops]


def _view(neighbour: Neighbour, place: Tensor) -> NeighbourBlocks | None:
    if neighbour.frame is None:
        return None
    there = place + steps(neighbour.displacement.float(), CELL)
    return NeighbourBlocks(shifts(luma(neighbour.frame), CELL), there, trust_in(neighbour))


def _cut(grid: Tensor, area: Region) -> Tensor:
    """An area of a grid (B, h, w, 2)."""
    return grid[:, area.top : area.bottom, area.left : area.right]


def _differences(
    views: Tensor, place: Tensor, step: Tensor, offsets: Tensor, own: Tensor, weight: Tensor | float
) -> Tensor:
    """Samples at ``place`` + each offset · ``step``, less the pixel's own, weighted: (K, B, 64, h, w)."""
    grid = torch.addcmul(place[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    seen = sampled(views, grid.flatten(1, 2), CELL)
    seen = seen.view(*own.shape[:2], len(offsets), *own.shape[2:])
    return seen.sub_(own[:, :, None]).mul_(weight).permute(2, 0, 1, 3, 4)
