"""Synthetic clips by the number of the step: made ahead in worker processes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vdeblur.training.data import disguise, make_clip, stack
from vdeblur.training.stills import Stills
from vdeblur.training.synthesis import Clip, Draw, SynthesisConfig


class SyntheticData:
    """An endless stream of synthetic batches; each clip is used ``reuse`` times in new guises."""

    def __init__(
        self,
        config: SynthesisConfig,
        *,
        stills: Sequence[Path],
        seed: int,
        batch: int,
        reuse: int,
        workers: int,
        device: str | torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.config, self.stills, self.seed, self.batch, self.reuse = config, list(stills), seed, batch, reuse
        self.workers, self.device = workers, torch.device(device)
        self.slots = range(rank * batch, (rank + 1) * batch)

    def batches(self, first_step: int) -> Generator[Clip, None, None]:
        dataset = _Steps(self, first_step)
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            multiprocessing_context="spawn" if self.workers else None,
            worker_init_fn=_one_thread,
        )
        iterator = iter(loader)
        try:
            for clip in iterator:
                yield Clip(*(tensor.to(self.device) for tensor in clip))
        finally:
            del iterator


class _Steps(IterableDataset[Clip]):
    def __init__(self, data: SyntheticData, first_step: int) -> None:
        self.data, self.first_step = data, first_step

    def __iter__(self) -> Iterator[Clip]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        data, stills = self.data, Stills(self.data.stills)
        kept: dict[tuple[int, int], Clip] = {}
        for step in itertools.count(self.first_step + number, count):
            wanted = [(slot, (step // count + slot) // data.reuse) for slot in data.slots]
            for key in wanted:
                if key not in kept:
                    kept[key] = make_clip(stills, data.config, Draw(_generator(data.seed, "clip", number, key)))
            kept = {key: kept[key] for key in wanted}
            yield stack([disguise(kept[key], Draw(_generator(data.seed, "guise", step, key[0]))) for key in wanted])


def _generator(*key: object) -> torch.Generator:
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
