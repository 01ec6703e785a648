"""Pair data: training clips cropped from the user's own blurred and sharp frames, prefetched by threads."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vdeblur.runtime.workers import prefetch
from vdeblur.training.data.pair_files import FramePair
from vdeblur.training.synthesis.blur import Clip

#: Batches made and not yet taken.
_DEPTH = 3
#: So many steps before it is needed, a stretch begins to be read.
_READ_AHEAD = 4


class PairData:
    """An endless stream of random crops from footage, mirrored, transposed, reversed, with colours exchanged.

    What a step gets depends on (seed, step, rank, world size) only; ranks together get what one process with all
    their clips would get. A stretch of frames is read once and cut ``reuse`` times, in as many steps.

    A clip is as long as ``frames``, or as the longest sequence if that is shorter. Shorter sequences are played
    forth and back, and a single photo stands still.

    Args:
        frames: frames a clip.
        size_px: side of the crops.
        batch: clips a step and rank.
        workers: threads that read; one at least.
    """

    def __init__(
        self,
        footage: Sequence[FramePair],
        *,
        size_px: int,
        frames: int,
        seed: int,
        batch: int,
        reuse: int,
        workers: int,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.footage, self.size_px, self.seed = list(footage), size_px, seed
        self.frames = min(frames, max(each.frames for each in self.footage))
        self.batch, self.reuse, self.workers, self.device = batch, reuse, max(1, workers), torch.device(device)
        self.slots = range(rank * batch, (rank + 1) * batch)
        self.all_slots = batch * world_size

    def batches(self, first_step: int) -> Generator[Clip, None, None]:
        """Clips (B, T, 3, size, size) in [0, 1] on the device, from ``first_step`` on; the motion is unknown."""
        with (
            ThreadPoolExecutor(self.workers, thread_name_prefix="vdeblur-pairs") as pool,
            prefetch(self._made(first_step, pool), depth=_DEPTH, name="pairs") as ahead,
        ):
            for cut in ahead:
                if self.device.type == "cuda":
                    cut = cut.pin_memory()
                blurry, sharp = cut.to(self.device, non_blocking=True).float().div(255).unbind(0)
                yield Clip(blurry, sharp, None, None)

    def _made(self, first_step: int, pool: ThreadPoolExecutor) -> Iterator[Tensor]:
        """uint8 batches (2, B, T, 3, size, size); what the next steps need is already being read."""
        reading: dict[tuple[int, int], Future[Tensor]] = {}
        for step in itertools.count(first_step):
            wanted, *soon = (
                [(slot, self._stretch(slot, step + ahead)) for slot in self.slots] for ahead in range(_READ_AHEAD + 1)
            )
            needed = dict.fromkeys(itertools.chain(wanted, *soon))
            reading = {key: reading[key] if key in reading else pool.submit(self._read, *key) for key in needed}
            cuts = [self._cut(reading[key].result(), key[0], step) for key in wanted]
            yield torch.stack(cuts, 1)

    def _stretch(self, slot: int, step: int) -> int:
        """Number of the stretch a slot uses at a step; the slots change theirs at different steps."""
        return (step + slot * self.reuse // self.all_slots) // self.reuse

    def _read(self, slot: int, number: int) -> Tensor:
        """A random stretch of frames, uint8 (2, T, 3, H, W); longer sequences are drawn more often."""
        generator = _generator(self.seed, "stretch", slot, number)
        starts = torch.tensor([max(1, each.frames - self.frames + 1) for each in self.footage], dtype=torch.float64)
        chosen = self.footage[int(torch.multinomial(starts, 1, generator=generator))]
        here = min(self.frames, chosen.frames)
        stretch = chosen.read(_below(chosen.frames - here + 1, generator), here)
        return stretch[:, _forth_and_back(here, self.frames)]

    def _cut(self, stretch: Tensor, slot: int, step: int) -> Tensor:
        """A random crop (2, T, 3, size, size) in a random guise."""
        generator = _generator(self.seed, "cut", slot, step)
        height, width = stretch.shape[-2:]
        top, left = (_below(side - self.size_px + 1, generator) for side in (height, width))
        crop = stretch[..., top : top + self.size_px, left : left + self.size_px]
        for axis in (1, 3, 4):
            if _below(2, generator):
                crop = crop.flip(axis)
        if _below(2, generator):
            crop = crop.transpose(-1, -2)
        return crop[:, :, torch.randperm(3, generator=generator)].contiguous()


def fixed_pair_clips(footage: Sequence[FramePair], *, size_px: int, frames: int, count: int) -> list[Clip]:
    """The same crops every time, on the CPU: for validation."""
    data = PairData(footage, size_px=size_px, frames=frames, seed=0, batch=1, reuse=1, workers=1)
    batches = data.batches(0)
    try:
        clips = [next(batches) for _ in range(count)]
    finally:
        batches.close()
    return [Clip(clip.blurry[0], clip.sharp[0], None, None) for clip in clips]


def _generator(*key: object) -> torch.Generator:
    """Random numbers that depend on the key alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (1,), generator=generator))


def _forth_and_back(frames: int, wanted: int) -> list[int]:
    """0, 1, … n−1, n−2, … 0, 1, …: ``wanted`` indices of a sequence of ``frames``."""
    period = max(1, 2 * frames - 2)
    return [min(index % period, (period - index % period) % period) if frames > 1 else 0 for index in range(wanted)]
