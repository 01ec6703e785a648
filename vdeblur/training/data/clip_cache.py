"""Clip cache: synthetic clips made ahead of the step, each reused a few times with new augmentation."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from vdeblur.errors import UsageError
from vdeblur.training.data.clip_schedule import ClipSchedule
from vdeblur.training.data.shared_stills import ClipSource, SharedClipSource, begin_worker, scratch_folder
from vdeblur.training.synthesis.augmentation import AS_IT_IS, Augmentation, augmented, stack
from vdeblur.training.synthesis.blur import ByteClip, Clip, make_levels
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.rng import Draw
from vdeblur.training.synthesis.stills import Textures, detail_map, load_stills
from vdeblur.training.synthesis.videos import read_videos

__all__ = ["SyntheticData", "fixed_clips", "stack"]

log = logging.getLogger(__name__)

#: Clips of a block of the schedule; ``reuse`` blocks are in memory.
BLOCK_CLIPS = 16
#: Clips each worker makes ahead, and clips a GPU makes at once.
_AHEAD = 8
_AT_ONCE = 32

Made = Iterator[tuple[tuple[str, int], ByteClip]]


class SyntheticData:
    """An endless stream of batches; what a step gets depends on its number, the seed and the rank only.

    Reads and checks every photograph and video when it is made. On the CPU worker processes make the clips ahead;
    on a GPU the pictures stay there and clips are made there, between the steps.

    Args:
        stills: photographs (``find_stills``).
        videos: sharp videos (``find_videos``): their frames serve as further photographs, and those shot at a high rate
            are averaged in steps of their own, whose ``Clip.velocity`` and ``Clip.motion`` are ``None``.
        batch: clips a step of this rank.
        reuse: how often a clip serves, each time mirrored, turned, reversed or in other colours.
        workers: processes that make clips; 0 makes them in this one.
        device: where the batches are.

    Raises:
        UsageError: a photograph cannot be read, none is of use, or a number is out of range.
        SourceError: a video cannot be read.
    """

    def __init__(
        self,
        config: SynthesisConfig,
        *,
        stills: Sequence[Path],
        videos: Sequence[Path] = (),
        seed: int,
        batch: int,
        reuse: int,
        workers: int,
        device: str | torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, value, least in (("batch", batch, 1), ("reuse", reuse, 1), ("workers", workers, 0)):
            if value < least:
                raise UsageError(f"{name} cannot be {value}; it is {least} or more")
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} of {world_size} cannot be; ranks count from 0")
        self.device, self.workers = torch.device(device), workers
        pictures, pieces = read_videos(videos, config, seed=seed)
        textures = _joined(load_stills(stills, config) if stills or not pictures else None, pictures)
        #: Seeds differ between ranks and not between restarts; one rank of one has the plain seed.
        own = seed if world_size == 1 else Draw.of(seed, "rank", rank, world_size).integer(2**31)
        self.source = ClipSource(textures, pieces, config, own)
        share = config.averaged_share if pieces else 0.0
        log.info("%d pictures, %d pieces of video to average", len(textures), len(pieces))
        self.schedule = ClipSchedule(own, batch, reuse, BLOCK_CLIPS, share)

    def batches(self, first_step: int) -> Iterator[Clip]:
        """Batches (B, T, …) on the device, from ``first_step`` on, without end; close it to end its workers."""
        with closing(self._made(first_step)) as made:  # type: ignore[type-var]
            pool: dict[tuple[str, int], ByteClip] = {}
            for step in itertools.count(first_step):
                uses = self.schedule.step(step)
                clips = []
                for use in uses:
                    key = (use.kind, use.clip)
                    while key not in pool:
                        new, levels = next(made)
                        pool[new] = levels
                    draw = Draw.of(self.source.seed, "disguise", use.kind, use.clip, use.turn)
                    clips.append(augmented(pool[key], Augmentation.of(pool[key], draw)))
                yield stack(clips).to(self.device)
                kind = uses[0].kind
                oldest = self.schedule.oldest(kind, uses)
                for key in [key for key in pool if key[0] == kind and key[1] < oldest]:
                    del pool[key]

    def _made(self, first_step: int) -> Made:
        wanted = self.schedule.new_clips(first_step)
        if self.device.type == "cuda":
            return self._made_on_device(wanted)
        return self._made_by_workers(wanted) if self.workers else self._made_here(wanted)

    def _made_here(self, wanted: Iterator[tuple[str, int]]) -> Made:
        for kind, number in wanted:
            yield (kind, number), self.source.make(kind, [number])[0]

    def _made_on_device(self, wanted: Iterator[tuple[str, int]]) -> Made:
        source = self.source
        source = ClipSource(source.textures.to(self.device), source.pieces, source.config, source.seed)
        while True:
            some = list(itertools.islice(wanted, _AT_ONCE))
            for kind in sorted({kind for kind, _ in some}):
                numbers = [number for other, number in some if other == kind]
                for number, levels in zip(numbers, source.make(kind, numbers), strict=True):
                    yield (kind, number), levels

    def _made_by_workers(self, wanted: Iterator[tuple[str, int]]) -> Made:
        keys, asked = itertools.tee(wanted)
        with clips_of_workers(self.source, asked, workers=self.workers) as made:
            yield from zip(keys, made, strict=True)


@contextmanager
def clips_of_workers(
    source: ClipSource, wanted: Iterator[tuple[str, int]], *, workers: int, in_order: bool = True, pinned: bool = False
) -> Iterator[Iterator[ByteClip]]:
    """The clips of these kinds and numbers, made ahead by processes that end with the block.

    Args:
        in_order: give them in the order in which they are wanted, not in which they are done.
        pinned: in memory that a GPU copies from beside its work.
    """
    with scratch_folder() as folder:
        loader: DataLoader[Any] = DataLoader(
            SharedClipSource.written(source, Path(folder) / "pictures"),
            sampler=wanted,
            batch_size=None,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=workers,
            prefetch_factor=_AHEAD,
            multiprocessing_context="spawn",
            worker_init_fn=begin_worker,
            in_order=in_order,
            pin_memory=pinned,
        )
        made = iter(loader)
        try:
            yield made
        finally:
            # The workers end with their iterator.
            del made


def _joined(stills: Textures | None, pictures: Sequence[torch.Tensor]) -> Textures:
    details = [detail_map(picture) for picture in pictures]
    if stills is None:
        return Textures(pictures, details)
    return Textures([*stills.pictures, *pictures], [*stills.details, *details])


def _as_it_is(levels: ByteClip) -> ByteClip:
    return levels


def fixed_clips(stills: Sequence[Path], config: SynthesisConfig, *, count: int, seed: int) -> list[Clip]:
    """The same ``count`` clips everywhere, up to rounding, made on the CPU: for validation and test sets.

    Compressed ones depend on the build of x264 and x265 as well; a test set for many machines has ``compressed_share``
    0, or accepts that.
    """
    textures = load_stills(stills, config)
    clips = []
    for number in range(count):
        levels = make_levels(textures, config, seed=seed, numbers=[number])[0]
        clips.append(augmented(levels, AS_IT_IS))
    return clips
