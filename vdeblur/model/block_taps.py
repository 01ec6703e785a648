"""Block taps: motion-aligned samples with one motion vector per 8×8 block, fast enough for real time on a CPU.

As :mod:`vdeblur.model.motion_taps`, but a sampling position is computed once for the 64 pixels of a block, and the
features of all pixels form one matrix, which a few small matrix products turn into corrections.
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
from vdeblur.kernels.inputs import BLOCK_PX, BlockInputs
from vdeblur.model.block_sampling import (
    block_grid,
    normalize_block_displacement,
    sample_blocks,
    shifted_views,
    shuffle_blocks,
    unshuffle_blocks,
)
from vdeblur.model.block_taps_export import correction_for_export
from vdeblur.model.layers import linear_leaky_relu, zero_init
from vdeblur.model.motion_taps import DIFFERENCE_GAIN, Neighbour, luma, match_confidence, stack_neighbour_inputs
from vdeblur.model.regions import Region, full_region, split_tiles
from vdeblur.runtime.cpu_pool import run_parallel

#: Pixels of a strip, the work item of one core: large enough that cores seldom synchronise.
STRIP_PIXELS = 131_072
#: Pixels per call of the filters, so that their features stay in the cache.
CACHED_PIXELS = 32_768


class NeighbourBlocks(NamedTuple):
    """Neighbour prepared for block sampling.

    ``views``: its :func:`shifted_views`; ``grid`` (B, h, w, 2): the blocks' positions there; ``confidence``
    (B, 1, h, w): match confidence in [0, 1].
    """

    views: Tensor
    grid: Tensor
    confidence: Tensor


class FrameBlocks(NamedTuple):
    """Frame prepared for block sampling, h × w blocks.

    ``pixels`` (B, 64, h, w): its luma, a block's pixels as channels; ``views``: its :func:`shifted_views`; ``grid``
    (1, h, w, 2): the blocks' positions; ``step`` (B, h, w, 2): their motion, in the same units; ``length``
    (B, 1, h, w): of the motion in pixels.
    """

    pixels: Tensor
    views: Tensor
    grid: Tensor
    step: Tensor
    length: Tensor
    neighbours: tuple[NeighbourBlocks | None, ...]


def motion_weight(length: Tensor) -> Tensor:
    """Weight of a correction, ℓ² / (1 + ℓ²) over the gain, by the motion's length ℓ in pixels: 0 without motion."""
    square = length * length
    return square / (1 + square) / DIFFERENCE_GAIN


class FeatureSpec(NamedTuple):
    """Description of one input feature.

    ``kind``: a "difference" at ``offset`` exposure lengths along the motion, the motion's "length", the pixel's "luma",
    or the match "confidence" of a neighbour. ``side``: previous frame (−1), next frame (1), or the frame itself (0).
    """

    kind: Literal["difference", "length", "luma", "confidence"]
    side: int = 0
    offset: float = 0.0

    def time_reversed(self) -> FeatureSpec:
        """The feature that takes its place when the clip is played backwards."""
        return FeatureSpec(self.kind, -self.side, -self.offset + 0.0)


class BlockTaps(nn.Module, ABC):
    """Deconvolution along the motion with one motion vector per block; subclasses define the filters.

    The features are luma at ``taps`` points from −reach to +reach exposure lengths around the pixel, as differences to
    the pixel itself, and at ``neighbour_points`` from −1 to +1 around its position in each of two neighbours. The
    correction is weighted by the length of the motion: no motion, no correction.
    """

    scale = 1
    guides = 0

    def __init__(self, *, taps: int, reach: float, neighbour_points: int) -> None:
        super().__init__()
        offsets = torch.linspace(-reach, reach, taps)
        self.register_buffer("offsets", offsets[offsets.abs() > 1e-6], persistent=False)
        self.offsets: Tensor
        centred = torch.linspace(-1, 1, neighbour_points) if neighbour_points > 1 else torch.zeros(neighbour_points)
        self.register_buffer("neighbour_offsets", centred, persistent=False)
        self.neighbour_offsets: Tensor
        #: Pixels of a strip, None for STRIP_PIXELS.
        self.strip_pixels: int | None = None
        #: Packed weights and tables that kernels cache with this module.
        self.kernel_cache: dict[Any, Any] = {}
        self.feature_count = len(self.offsets) + 2 + (2 * (neighbour_points + 1) if neighbour_points else 0)

    @property
    def feature_specs(self) -> list[FeatureSpec]:
        """Descriptions of the rows that :meth:`gather_features` returns."""
        specs = [FeatureSpec("difference", 0, round(offset, 4)) for offset in self.offsets.tolist()]
        specs += [FeatureSpec("length"), FeatureSpec("luma")]
        neighbour_offsets = [round(offset, 4) for offset in self.neighbour_offsets.tolist()]
        for side in (-1, 1) if neighbour_offsets else ():
            specs += [FeatureSpec("difference", side, offset) for offset in neighbour_offsets]
            specs.append(FeatureSpec("confidence", side))
        return specs

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""

    @abstractmethod
    def select_kernel(self, kernels: Any) -> Any:
        """The fused twin in a kernel module; it takes :class:`vdeblur.kernels.inputs.BlockInputs` and this module."""

    @abstractmethod
    def apply_filters(self, features: Tensor) -> Tensor:
        """Filter features (features, B, 64, h, w) → (B, 64, h, w), float32, not yet weighted by the motion."""

    @abstractmethod
    def export_correction(self, blocks: FrameBlocks) -> Tensor:
        """Correction (B, 64, h, w) of a whole frame in few operations, for export to other runtimes."""

    def forward(
        self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour], *, side: int | None = None
    ) -> Tensor:
        """Luma correction (B, 1, H, W), float32.

        Args:
            frame: luma (B, 1, H, W), or (B, 3, H, W), in [0, 1].
            motion: displacement during the exposure (B, 2, H/8, W/8) in pixels of the frame.
            neighbours: two, or none with ``neighbour_points`` of 0.
            side: of tiles in pixels, to bound the memory; the result is the same.
        """
        fused = self._forward_fused(frame, motion, neighbours, side)
        if fused is not None:
            return fused
        blocks = self.prepare(frame, motion, neighbours)
        if torch.compiler.is_exporting():
            return shuffle_blocks(self.export_correction(blocks), BLOCK_PX)
        result = torch.empty_like(blocks.pixels)

        def work(region: Region) -> None:
            correction = self.apply_filters(self.gather_features(blocks, region))
            region.crop(result).copy_(correction * motion_weight(region.crop(blocks.length)))

        run_parallel([partial(work, region) for region in self._work_regions(blocks, side)], frame.device)
        return shuffle_blocks(result, BLOCK_PX)

    def _forward_fused(
        self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour], side: int | None
    ) -> Tensor | None:
        """:meth:`forward` by a fused kernel; None if none is available.

        On a CPU the kernel needs no intermediate tensors, so it ignores tiles.
        """
        on_cpu = frame.device.type == "cpu"
        if self.dtype != torch.float32 if on_cpu else side is not None:
            return None

        def work(kernels: Any) -> Tensor:
            vectors = motion.float()
            frames, displacements, confidences = stack_neighbour_inputs(frame, vectors, neighbours)
            inputs = BlockInputs(frames, vectors, displacements, confidences, DIFFERENCE_GAIN, BLOCK_PX)
            result: Tensor = self.select_kernel(kernels)(inputs, self)
            return result

        return try_kernels(frame, work)

    def prepare(self, frame: Tensor, motion: Tensor, neighbours: Sequence[Neighbour]) -> FrameBlocks:
        """Compute the tensors that all regions of a frame share."""
        grey, motion = luma(frame), motion.float()
        height, width = motion.shape[-2:]
        grid = block_grid(height, width, BLOCK_PX, motion.device)
        length = motion.square().sum(1, keepdim=True).sqrt()
        step = normalize_block_displacement(motion, BLOCK_PX)
        prepared = tuple(_prepare_neighbour(neighbour, grid) for neighbour in neighbours)
        pixels, views = unshuffle_blocks(grey, BLOCK_PX), shifted_views(grey, BLOCK_PX)
        return FrameBlocks(pixels, views, grid, step, length, prepared)

    def gather_features(self, blocks: FrameBlocks, region: Region) -> Tensor:
        """Input features of a region of blocks, of the order of 1: (features, B, 64, h, w), in the filters' dtype.

        Differences along the motion, the motion's log length, the pixel's luma, and for each neighbour the differences
        there, weighted by the match confidence, and that confidence; zeros for a missing neighbour.
        """
        pixels, length, step = region.crop(blocks.pixels), region.crop(blocks.length), _crop_grid(blocks.step, region)
        features = pixels.new_empty((self.feature_count, *pixels.shape), dtype=self.dtype)
        count, points = len(self.offsets), len(self.neighbour_offsets)
        grid = _crop_grid(blocks.grid, region)
        features[:count] = _sample_differences(blocks.views, grid, step, self.offsets, pixels, DIFFERENCE_GAIN)
        features[count], features[count + 1] = torch.log1p(length) / 4, pixels - 0.5
        for number, neighbour in enumerate(blocks.neighbours):
            part = features[count + 2 + number * (points + 1) :][: points + 1]
            if neighbour is None:
                part.zero_()
            else:
                confidence, grid = region.crop(neighbour.confidence), _crop_grid(neighbour.grid, region)
                weight = DIFFERENCE_GAIN * confidence[:, :, None]
                part[:points] = _sample_differences(neighbour.views, grid, step, self.neighbour_offsets, pixels, weight)
                part[points] = confidence
        return features

    def feature_image(self, blocks: FrameBlocks) -> Tensor:
        """Features of a whole frame as an image (B, features, H, W), for training."""
        features = self.gather_features(blocks, full_region(blocks.pixels))
        return torch.stack([shuffle_blocks(channel, BLOCK_PX)[:, 0] for channel in features], 1)

    def _work_regions(self, blocks: FrameBlocks, side: int | None) -> list[Region]:
        """Regions of blocks to process one after the other: tiles, and on a CPU strips of them."""
        whole = full_region(blocks.pixels)
        tiles = [whole] if side is None else split_tiles(whole, side // BLOCK_PX, 1)
        if blocks.pixels.device.type != "cpu":
            return tiles
        count = (self.strip_pixels or STRIP_PIXELS) // (BLOCK_PX * BLOCK_PX * len(blocks.pixels))
        return [strip for tile in tiles for strip in _split_rows(tile, max(1, count // tile.width))]


class SharedTaps(BlockTaps):
    """Block taps with one MLP of 1×1 convolutions shared by all pixels."""

    def __init__(self, *, taps: int, reach: float, hidden: int, depth: int, neighbour_points: int) -> None:
        super().__init__(taps=taps, reach=reach, neighbour_points=neighbour_points)
        self.filters = nn.Conv2d(self.feature_count, hidden, 1)
        self.mix = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(depth))
        self.correction = zero_init(nn.Conv2d(hidden, 1, 1))

    @property
    def dtype(self) -> torch.dtype:
        return self.filters.weight.dtype

    def select_kernel(self, kernels: Any) -> Any:
        return kernels.apply_shared_taps

    def apply_filters(self, features: Tensor) -> Tensor:
        return self._apply_cached(features.flatten(1).t()).view(features.shape[1:])

    def export_correction(self, blocks: FrameBlocks) -> Tensor:
        return correction_for_export(self, blocks, BLOCK_PX)

    def correct_pixels(self, features: Tensor, length: Tensor) -> Tensor:
        """Luma correction (N,) of single pixels with ``features`` (N, K) and motion ``length`` (N,), for training."""
        return self._apply_cached(features.to(self.filters.weight.dtype)) * motion_weight(length)

    def _apply_cached(self, rows: Tensor) -> Tensor:
        """Filter (N, features) → (N,), float32; on a CPU in pieces that fit into the cache."""
        if rows.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._apply_layers(rows)
        firsts = range(0, len(rows), CACHED_PIXELS)
        return torch.cat([self._apply_layers(rows[first : first + CACHED_PIXELS]) for first in firsts])

    def _apply_layers(self, rows: Tensor) -> Tensor:
        for layer in (self.filters, *self.mix):
            rows = linear_leaky_relu(rows, layer.weight.flatten(1), layer.bias)
        return F.linear(rows, self.correction.weight.flatten(1), self.correction.bias)[:, 0].float()


def _split_rows(region: Region, rows: int) -> list[Region]:
    tops = range(region.top, region.bottom, rows)
    return [region._replace(top=top, bottom=min(region.bottom, top + rows)) for top in tops]


def _prepare_neighbour(neighbour: Neighbour, grid: Tensor) -> NeighbourBlocks | None:
    if neighbour.frame is None:
        return None
    grid = grid + normalize_block_displacement(neighbour.displacement.float(), BLOCK_PX)
    return NeighbourBlocks(shifted_views(luma(neighbour.frame), BLOCK_PX), grid, match_confidence(neighbour))


def _crop_grid(grid: Tensor, region: Region) -> Tensor:
    """Region of a grid (B, h, w, 2)."""
    return grid[:, region.top : region.bottom, region.left : region.right]


def _sample_differences(
    views: Tensor, grid: Tensor, step: Tensor, offsets: Tensor, pixels: Tensor, weight: Tensor | float
) -> Tensor:
    """Weighted differences of samples at ``grid`` + offset · ``step`` to ``pixels``: (K, B, 64, h, w)."""
    points = torch.addcmul(grid[:, None], offsets.view(1, -1, 1, 1, 1), step[:, None])  # (B, K, h, w, 2)
    samples = sample_blocks(views, points.flatten(1, 2), BLOCK_PX)
    samples = samples.view(*pixels.shape[:2], len(offsets), *pixels.shape[2:])
    return samples.sub_(pixels[:, :, None]).mul_(weight).permute(2, 0, 1, 3, 4)
