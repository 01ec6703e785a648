"""Training data: synthetic clips made ahead of the step in worker processes, each used a few times in new guises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vdeblur.training.stills import Stills
from vdeblur.training.synthesis import Clip, Draw, SynthesisConfig, synthesise

#: How much larger than a frame the crops are that move past it.
CROP_FACTOR = 2.25


class SyntheticClips(IterableDataset[Clip]):
    """An endless stream of synthetic clips; each worker has a seed of its own.

    Args:
        reuse: how often a clip is used, every time mirrored, turned or played another way.
        pool: how many clips a worker keeps to draw from, so that uses of one clip lie apart.
    """

    def __init__(
        self, paths: list[Path], config: SynthesisConfig, *, seed: int, reuse: int = 4, pool: int = 64
    ) -> None:
        super().__init__()
        self.paths, self.config, self.seed, self.reuse, self.pool = paths, config, seed, reuse, pool

    def __iter__(self) -> Iterator[Clip]:
        worker = get_worker_info()
        number = 0 if worker is None else worker.id
        generator = torch.Generator().manual_seed(self.seed * 1000 + number)
        draw = Draw(generator)
        stills = Stills(self.paths)
        pool: list[Clip] = []
        while True:
            clip = make_clip(stills, self.config, draw)
            if len(pool) < self.pool:
                pool.append(clip)
            else:
                pool[draw.integer(self.pool)] = clip
            yield disguise(clip, draw)
            for _ in range(min(self.reuse - 1, len(pool) - 1)):
                yield disguise(pool[draw.integer(len(pool))], draw)


def make_clip(stills: Stills, config: SynthesisConfig, draw: Draw) -> Clip:
    """One clip from two random crops."""
    side = int(config.size_px * CROP_FACTOR)
    return synthesise((stills.crop(side, draw), stills.crop(side, draw)), config, draw.generator)


def disguise(clip: Clip, draw: Draw) -> Clip:
    """The same clip mirrored, transposed, played backwards or with its colours exchanged, its motion told rightly."""
    pictures, vectors = [clip.blurry, clip.sharp], [clip.velocity, clip.motion]
    for axis, component in ((-1, 0), (-2, 1)):
        if draw.chance(0.5):
            pictures = [picture.flip(axis) for picture in pictures]
            sign = torch.ones(1, 2, 1, 1)
            sign[:, component] = -1
            vectors = [vector.flip(axis) * sign for vector in vectors]
    if draw.chance(0.5):
        pictures = [picture.transpose(-1, -2) for picture in pictures]
        vectors = [vector.transpose(-1, -2).flip(1) for vector in vectors]
    if draw.chance(0.5):
        pictures = [picture.flip(0) for picture in pictures]
        vectors = [-vector.flip(0) for vector in vectors]
    order = torch.randperm(3, generator=draw.generator)
    pictures = [picture[:, order] for picture in pictures]
    return Clip(*(tensor.contiguous() for tensor in (*pictures, *vectors)))


def loader(clips: SyntheticClips, *, batch: int, workers: int) -> DataLoader[Clip]:
    """Batches (B, T, C, H, W) made ahead by ``workers`` processes, or in this one when 0."""
    return DataLoader(
        clips,
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def fixed_clips(paths: list[Path], config: SynthesisConfig, *, count: int, seed: int) -> list[Clip]:
    """The same clips every time: for validation and tests."""
    stills = Stills(paths)
    return [
        make_clip(stills, config, Draw(torch.Generator().manual_seed(seed * 100_003 + index))) for index in range(count)
    ]


def stack(clips: list[Clip]) -> Clip:
    """Clips joined to one batch (B, T, C, H, W)."""
    fields: list[Tensor] = [torch.stack(parts) for parts in zip(*clips, strict=True)]
    return Clip(*fields)
