"""The growing pool: steps draw from the clips made last, nobody waits for more than the first, and workers end."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import active_children, resource_tracker
from pathlib import Path
from typing import Any

import pytest
import torch

from support.training_fixtures import stills
from vdeblur.training.data import replay_pool
from vdeblur.training.data.clip_cache import SyntheticData
from vdeblur.training.data.replay_pool import ReplayPool
from vdeblur.training.synthesis.augmentation import AS_IT_IS
from vdeblur.training.synthesis.blur import ByteClip, Clip
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.stills import find_stills

__all__ = ["stills"]

if sys.platform != "win32":
    # Python's own helper of spawned processes; it lives as long as this one and is no leak.
    resource_tracker.ensure_running()

KEPT, BATCH = 12, 2
CPU = torch.device("cpu")


@dataclass
class Numbers:
    """Makes clips that show nothing but their number; ``most`` of them, and then none before ``more`` is set."""

    seed: int = 1
    made: list[int] = field(default_factory=list)
    most: int = 10**6
    more: threading.Event = field(default_factory=threading.Event)

    def make(self, kind: str, numbers: list[int]) -> list[ByteClip]:
        assert kind == "synthetic"
        if len(self.made) >= self.most:
            self.more.wait(10)
        self.made += numbers
        return [ByteClip(torch.full((2, 1, 3, 8, 8), number % 251, dtype=torch.uint8), None) for number in numbers]


@dataclass
class Made:
    """What stands in for synthetic data."""

    source: Numbers
    device: torch.device = CPU
    workers: int = 0


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the clips that went into the pool, in their order."""
    found: list[int] = []
    moved = replay_pool._moved

    def watched(levels: ByteClip, device: torch.device) -> ByteClip:
        found.append(int(levels.pictures.flatten()[0]))
        return moved(levels, device)

    monkeypatch.setattr(replay_pool, "_moved", watched)
    monkeypatch.setattr(replay_pool.Augmentation, "drawn", lambda _: AS_IT_IS)
    return found


def shown(batch: Clip) -> list[int]:
    """The numbers that a batch shows."""
    return [round(float(clip.flatten()[0]) * 255) for clip in batch.blurry]


def pool(numbers: Numbers) -> ReplayPool:
    return ReplayPool(Made(numbers), batch=BATCH, kept=KEPT)  # type: ignore[arg-type]


def test_steps_draw_from_the_clips_made_last(taken: list[int]) -> None:
    seen: set[int] = set()
    with closing(pool(Numbers()).batches(0)) as batches:  # type: ignore[type-var]
        for step in range(60):
            batch = shown(next(batches))
            assert len(batch) == BATCH
            assert set(batch) <= set(taken[-KEPT:])
            assert step or len(taken) >= 4 * BATCH, "steps begin with the clips of four"
            seen.update(batch)
            time.sleep(0.002)  # a step takes a while, in which clips are made
    assert len(taken) > 4 * KEPT
    assert max(seen) > 2 * KEPT, "old ones made room"
    assert taken == [number % 251 for number in range(len(taken))], "each once, in order"


def test_nobody_waits_for_a_clip(taken: list[int]) -> None:
    """With no new ones made, steps go on with those that there are, in ever new mixtures."""
    numbers = Numbers(most=4 * BATCH)
    with closing(pool(numbers).batches(5)) as batches:  # type: ignore[type-var]
        found = [shown(next(batches)) for _ in range(40)]
        assert len(taken) == 4 * BATCH
        assert set(itertools.chain(*found)) == set(taken)
        assert len({tuple(batch) for batch in found}) > 15
        numbers.more.set()
    assert numbers.made[0] == 5 * BATCH, "another run's numbers than those of a run from step 0"


def test_workers_fill_the_pool_and_end_with_the_stream(stills: Path) -> None:
    small = SynthesisConfig(size_px=32, frames=2, hevc_share=0.0, compressed_share=0.3)
    settings: dict[str, Any] = {"seed": 1, "batch": 3, "reuse": 1, "workers": 1, "device": "cpu"}
    data = SyntheticData(small, stills=find_stills([stills]), **settings)
    before = set(active_children())
    with closing(ReplayPool(data, batch=3, kept=8).batches(0)) as batches:  # type: ignore[type-var]
        first, *others = (next(batches) for _ in range(5))
        assert set(active_children()) > before
    assert set(active_children()) <= before
    assert first.blurry.shape == (3, 2, 3, 32, 32)
    assert first.motion is not None
    assert 0 <= float(first.blurry.min()) < float(first.blurry.max()) <= 1
    assert not any(torch.equal(first.blurry, other.blurry) for other in others)
