"""Replay pool: clips are synthesised beside the steps, and steps draw at random from all made so far.

A GPU takes clips faster than processors make them. So nobody waits for a clip: each step draws at random from those
made so far, with new augmentation, and the more processors, the seldomer a clip comes again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vdeblur.runtime.workers import prefetch
from vdeblur.training.data.clip_cache import SyntheticData, clips_of_workers
from vdeblur.training.synthesis.augmentation import Augmentation, augmented, stack
from vdeblur.training.synthesis.blur import ByteClip, Clip
from vdeblur.training.synthesis.rng import Draw

log = logging.getLogger(__name__)

#: Clips that wait to be taken, and how many are taken at one step.
_WAITING, _AT_A_STEP = 64, 16
#: Steps begin when there are so many times the clips of one.
_FIRST_BATCHES = 4


class ReplayPool:
    """An endless stream of batches from a pool of clips that grows while it is drawn from.

    What a step gets depends on how fast clips are made, so no two runs are the same.

    Args:
        data: makes the clips, synthetic ones only.
        batch: clips a step.
        kept: most clips in the pool; then new ones take the place of the oldest.
    """

    def __init__(self, data: SyntheticData, *, batch: int, kept: int) -> None:
        self.data, self.batch, self.kept = data, batch, max(kept, batch)

    def batches(self, first_step: int) -> Iterator[Clip]:
        """Batches (B, T, …) on the device, without end; close it to end those that make clips."""
        device, seed = self.data.device, self.data.source.seed
        pool: list[ByteClip] = []
        with self._made(first_step) as made, prefetch(made, depth=_WAITING, name="clips") as ahead:
            taken = 0
            for step in itertools.count(first_step):
                least = min(self.kept, _FIRST_BATCHES * self.batch) - len(pool)
                for _ in range(max(least, min(ahead.ready, _AT_A_STEP))):
                    levels = _moved(next(ahead), device)
                    if len(pool) < self.kept:
                        pool.append(levels)
                    else:
                        pool[taken % self.kept] = levels
                    taken += 1
                draw = Draw.of(seed, "growing", step)
                picked = [pool[draw.integer(len(pool))] for _ in range(self.batch)]
                if step % 500 == 0:
                    log.info("step %d: %d clips were made", step, taken)
                yield stack([augmented(levels, Augmentation.of(levels, draw)) for levels in picked])

    @contextmanager
    def _made(self, first_step: int) -> Iterator[Iterator[ByteClip]]:
        source = self.data.source
        # Other numbers than an earlier call had.
        wanted = (("synthetic", number) for number in itertools.count(first_step * self.batch))
        if self.data.workers:
            pinned = self.data.device.type == "cuda"
            with clips_of_workers(source, wanted, workers=self.data.workers, in_order=False, pinned=pinned) as made:
                yield made
        else:
            yield (source.make(kind, [number])[0] for kind, number in wanted)


def _moved(levels: ByteClip, device: torch.device) -> ByteClip:
    vectors = levels.vectors
    return ByteClip(
        levels.pictures.to(device, non_blocking=True),
        None if vectors is None else vectors.to(device, non_blocking=True),
        levels.quantiser,
    )
