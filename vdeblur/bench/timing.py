"""Timing: warm-up, device synchronisation, medians; wall-clock beside CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import torch

from vdeblur.runtime.device import synchronize

#: Times that work is done on a GPU between two looks at the clock.
GPU_REPEATS = 20


@dataclass(frozen=True)
class Timing:
    """Seconds for one frame: wall time, and processor time of all threads and child processes."""

    seconds: float
    cpu_seconds: float

    @property
    def frames_per_second(self) -> float:
        return 1 / self.seconds

    def plus(self, other: Timing) -> Timing:
        return Timing(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def minus(self, other: Timing) -> Timing:
        """What is left beside ``other``, which is part of it; never below 0, as clocks are not exact."""
        return Timing(max(0.0, self.seconds - other.seconds), max(0.0, self.cpu_seconds - other.cpu_seconds))


def cpu_clock() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = [time.process_time()]
    with suppress(ImportError):  # Windows has no such module: there, what children take is not known
        import resource

        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        times += [children.ru_utime, children.ru_stime]
    return sum(times)


def timed(work: Callable[[], object], *, frames: int = 1, device: torch.device | None = None) -> Timing:
    """Do ``work`` once; what it took for each of its frames. Waits for ``device`` before and after."""
    _wait(device)
    began, cpu_began = time.perf_counter(), cpu_clock()
    work()
    _wait(device)
    return Timing((time.perf_counter() - began) / frames, (cpu_clock() - cpu_began) / frames)


def typical(
    work: Callable[[], object], *, runs: int, warm_up: int = 0, frames: int = 1, device: torch.device | None = None
) -> Timing:
    """The median of several runs, wall and processor time each for itself, after runs that do not count.

    On a GPU a run does ``work`` several times before it waits: as in a pipeline, and as waiting takes time itself.
    """
    repeats = GPU_REPEATS if device is not None and device.type == "cuda" else 1

    def run() -> None:
        for _ in range(repeats):
            work()

    for _ in range(warm_up):
        work()
    return middle([timed(run, frames=frames * repeats, device=device) for _ in range(runs)])


def middle(timings: list[Timing]) -> Timing:
    return Timing(median(one.seconds for one in timings), median(one.cpu_seconds for one in timings))


def _wait(device: torch.device | None) -> None:
    if device is not None:
        synchronize(device)
