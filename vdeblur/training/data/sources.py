"""Data sources: batches and validation clips from a config's folders, found and checked before the first step."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeVar

from vdeblur.errors import UsageError
from vdeblur.training.config import TrainConfig
from vdeblur.training.data.clip_cache import SyntheticData, fixed_clips
from vdeblur.training.data.noisy_data import NoisyData
from vdeblur.training.data.pair_files import FramePair, open_footage
from vdeblur.training.data.pairs import PairData, fixed_pair_clips
from vdeblur.training.data.replay_pool import ReplayPool
from vdeblur.training.distributed import ProcessTeam
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.noise_mixture import validation_mixture
from vdeblur.training.synthesis.stills import find_stills
from vdeblur.training.synthesis.videos import find_videos

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Of data that are not told apart, every tenth is kept back for validation.
_KEPT_BACK = 10


class BatchStream(Protocol):
    """Batches to learn from: what step N gets depends on N, not on what was drawn before."""

    def batches(self, first_step: int) -> Iterator[Clip]:
        """Endless batches (B, T, C, H, W) on the device, from a step on."""


#: Batches for a clip length in frames.
DataFor = Callable[[int], BatchStream]


@dataclass(frozen=True)
class DataSources:
    """What a run learns from and what it is validated on."""

    data_for: DataFor
    validation: list[Clip]
    #: Synthetic clips as a changed synthesis config makes them, each used once; None where there are none.
    synthetic_for: Callable[[SynthesisConfig], BatchStream] | None = None


class MixedData:
    """Two streams, so interleaved that ``share`` of the steps take the second; which ones, the step's number says."""

    def __init__(self, first: BatchStream, second: BatchStream, share: float) -> None:
        self.first, self.second, self.share = first, second, Fraction(share).limit_denominator(1000)

    def batches(self, first_step: int) -> Generator[Clip, None, None]:
        """Batches from ``first_step`` on; each stream counts its own steps."""
        seconds = self._seconds_before(first_step)
        with (
            closing_iterator(self.first.batches(first_step - seconds)) as first,
            closing_iterator(self.second.batches(seconds)) as second,
        ):
            step = first_step
            while True:
                takes_second = self._seconds_before(step + 1) > self._seconds_before(step)
                yield next(second if takes_second else first)
                step += 1

    def _seconds_before(self, step: int) -> int:
        return math.floor(step * self.share)


@contextlib.contextmanager
def closing_iterator(batches: Iterator[Clip]) -> Iterator[Iterator[Clip]]:
    """Close a generator at the end of the block, and with it the threads and processes it started."""
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def open_feeds(config: TrainConfig, team: ProcessTeam) -> DataSources:
    """Find and check the config's data.

    Raises:
        UsageError: there is nothing to learn from or to validate on, or it cannot be used.
        SourceError: a file cannot be read.
    """
    if not (config.stills or config.videos or config.pairs):
        raise UsageError(
            "nothing to learn from: give stills (sharp photographs), videos (sharp ones) or pairs (blurred and sharp)"
        )
    if config.noise is not None and (config.pairs or config.validation_pairs):
        raise UsageError("pairs do not show noise alone, so no guide learns from them: give stills or videos")
    stills, validation_stills = _split(
        find_stills(_folders(config.stills)), find_stills(_folders(config.validation_stills)), "photographs"
    )
    videos = find_videos(_folders(config.videos))
    footage, validation_footage = _split(
        _footage(config, config.pairs, team), _footage(config, config.validation_pairs, team), "pairs"
    )
    if not (validation_stills or validation_footage):
        raise UsageError("nothing to validate on: give validation_stills or validation_pairs")
    validation = _validation_clips(config, validation_stills, validation_footage) if team.leads else []

    def data_for(frames: int) -> BatchStream:
        synthetic = _synthetic(config, stills, videos, frames, team) if stills or videos else None
        pairs = _pairs(config, footage, frames, team) if footage else None
        if synthetic is not None and pairs is not None and 0 < config.pairs_share < 1:
            return MixedData(synthetic, pairs, config.pairs_share)
        chosen = pairs if synthetic is None or (pairs is not None and config.pairs_share == 1) else synthetic
        assert chosen is not None
        if config.noise is not None:
            return NoisyData(chosen, config.noise, seed=config.seed, rank=team.rank)
        return chosen

    def synthetic_for(synthesis: SynthesisConfig) -> BatchStream:
        single = replace(config, synthesis=synthesis, reuse=1, growing=0)
        return _synthetic(single, stills, videos, synthesis.frames, ProcessTeam(team.device))

    return DataSources(data_for, validation, synthetic_for if stills or videos else None)


def _synthetic(
    config: TrainConfig, stills: Sequence[Path], videos: Sequence[Path], frames: int, team: ProcessTeam
) -> BatchStream:
    data = SyntheticData(
        replace(config.synthesis, frames=frames),
        stills=stills,
        videos=videos,
        seed=config.seed,
        batch=config.batch,
        reuse=config.reuse,
        workers=config.workers,
        device=team.device,
        rank=team.rank,
        world_size=team.size,
    )
    return ReplayPool(data, batch=config.batch, kept=config.growing) if config.growing else data


def _pairs(config: TrainConfig, footage: Sequence[FramePair], frames: int, team: ProcessTeam) -> BatchStream:
    return PairData(
        footage,
        size_px=config.synthesis.size_px,
        frames=frames,
        seed=config.seed,
        batch=config.batch,
        reuse=config.pairs_reuse,
        workers=config.workers,
        device=team.device,
        rank=team.rank,
        world_size=team.size,
    )


def _footage(config: TrainConfig, folders: Sequence[str], team: ProcessTeam) -> list[FramePair]:
    return open_footage(
        _folders(folders), least_px=config.synthesis.size_px, threads=config.workers, thorough=team.leads
    )


def _validation_clips(config: TrainConfig, stills: Sequence[Path], footage: Sequence[FramePair]) -> list[Clip]:
    """``validation_clips`` clips, half of each kind where there are both."""
    count = math.ceil(config.validation_clips / 2) if stills and footage else config.validation_clips
    clips = fixed_clips(stills, config.synthesis, count=count, seed=0) if stills else []
    if config.noise is not None:
        return validation_mixture(clips, config.noise)
    if footage:
        size, frames = config.synthesis.size_px, config.synthesis.frames
        clips += fixed_pair_clips(footage, size_px=size, frames=frames, count=config.validation_clips - len(clips))
    return clips


def _split(training: list[T], validation: list[T], what: str) -> tuple[list[T], list[T]]:
    """Training and validation data; with none for the latter, a part of the former is kept back."""
    if validation or not training:
        return training, validation
    if len(training) < 2:
        raise UsageError(f"nothing to validate on: give validation_{_key(what)}, or more {what} than one")
    kept_back = training[::_KEPT_BACK]
    logger.info("%d of %d %s are kept back for validation", len(kept_back), len(training), what)
    return [each for index, each in enumerate(training) if index % _KEPT_BACK], kept_back


def _key(what: str) -> str:
    return "stills" if what == "photographs" else what


def _folders(names: Sequence[str]) -> list[Path]:
    return [Path(name) for name in names]
