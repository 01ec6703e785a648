"""Benchmark settings: sizes, networks, precisions, lookaheads and repetitions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from vdeblur.errors import UsageError
from vdeblur.options import OPTIONS

#: Sizes by name: (width, height) in pixels.
SIZES = {
    "360p": (640, 360),
    "480p": (854, 480),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "1440p": (2560, 1440),
    "2160p": (3840, 2160),
}


@dataclass(frozen=True, kw_only=True)
class BenchCase:
    """One row of the table."""

    size: str
    model: str
    precision: str
    lookahead: int

    @property
    def width(self) -> int:
        return SIZES[self.size][0]

    @property
    def height(self) -> int:
        return SIZES[self.size][1]

    @property
    def name(self) -> str:
        return f"{self.size} {self.model} {self.precision} lookahead {self.lookahead}"


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Every combination of these is measured.

    Args:
        sizes: names in ``SIZES``.
        models: names of networks or paths of checkpoints.
        precisions: as for :class:`vdeblur.engine.deblurrer.Deblurrer`.
        lookaheads: 0, 1 or both.
        device: as for :class:`vdeblur.engine.deblurrer.Deblurrer`.
        preset: of libx264, for encoding alone and for the whole.
        runs: of each measurement; the median counts.
        seconds: about how long each run of the whole lasts, which decides its frames.

    Raises:
        UsageError: a size has no such name, or a number is out of range.
    """

    sizes: tuple[str, ...] = ("720p",)
    models: tuple[str, ...] = ("fast",)
    precisions: tuple[str, ...] = ("auto",)
    lookaheads: tuple[int, ...] = (1,)
    device: str = "auto"
    preset: str = "veryfast"
    runs: int = 3
    seconds: float = 5.0

    def __post_init__(self) -> None:
        for size in self.sizes:
            if size not in SIZES:
                raise UsageError(f"size cannot be {size!r}; it is one of {', '.join(SIZES)}")
        for lookahead in self.lookaheads:
            OPTIONS["lookahead"].checked(lookahead)
        if self.runs < 1:
            raise UsageError(f"runs cannot be {self.runs}; it is at least 1")
        if not 0 < self.seconds <= 600:
            raise UsageError(f"seconds cannot be {self.seconds:g}; it is above 0, to 600")

    def cases(self) -> Iterator[BenchCase]:
        """All combinations, sizes outermost: a size's clip is made once."""
        for size, model, precision, lookahead in itertools.product(
            self.sizes, self.models, self.precisions, self.lookaheads
        ):
            yield BenchCase(size=size, model=model, precision=precision, lookahead=lookahead)
