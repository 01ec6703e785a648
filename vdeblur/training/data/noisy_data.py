"""Noisy data: the batches of another stream, their noise made anew at each step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Protocol

from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.synthesis.noise_config import NoiseConfig
from vdeblur.training.synthesis.noise_mixture import mixed


class _Stream(Protocol):
    def batches(self, first_step: int) -> Iterator[Clip]: ...


class NoisyData:
    """Batches whose truth is the blurred frames, with the config's noise; which one depends on step, seed and rank."""

    def __init__(self, stream: _Stream, config: NoiseConfig, *, seed: int, rank: int = 0) -> None:
        self._stream, self._config, self._words = stream, config, (seed, "noise", rank)

    def batches(self, first_step: int) -> Iterator[Clip]:
        """Batches (B, T, …) from ``first_step`` on, without end; close it to close the other stream."""
        with closing(self._stream.batches(first_step)) as batches:  # type: ignore[type-var]
            for step in itertools.count(first_step):
                yield mixed(next(batches), self._config, *self._words, step)
