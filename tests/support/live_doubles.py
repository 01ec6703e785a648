"""Stand-ins for live tests: sources that fail and come back, sinks that keep, wait or fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction

from support.doubles import clip
from vdeblur.errors import SourceError
from vdeblur.frames import Frame
from vdeblur.live.settings import LiveSettings
from vdeblur.live.types import LiveFrame

#: Settings that nothing changes but the test, for a network that is given as "double".
STILL = LiveSettings(model="double", auto=False, device="cpu", precision="float32")


class Rounds:
    """A source that gives the frames of one round after another; each round ends with what it is told to raise."""

    name = "a source of rounds"

    def __init__(self, *rounds: list[Frame | BaseException], seconds: float = 0.002) -> None:
        self._rounds = iter(rounds)
        self._seconds = seconds
        self._closing = threading.Event()
        self.opened = 0

    def frames(self) -> Iterator[Frame]:
        self.opened += 1
        for item in next(self._rounds, []):
            if self._closing.wait(self._seconds):
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        self._closing.set()


class Steady(Rounds):
    """A camera: so many frames a second, one after another, for as long as anybody looks."""

    name = "a steady source"

    def __init__(self, fps: float = 50, *, count: int = 1 << 30, height: int = 36, width: int = 52) -> None:
        super().__init__()
        self._fps, self._count = fps, count
        self._pictures = list(clip(8, height, width))

    def frames(self) -> Iterator[Frame]:
        start = time.monotonic()
        for number in range(self._count):
            if self._closing.wait(max(0.0, start + number / self._fps - time.monotonic())):
                return
            picture = self._pictures[number % len(self._pictures)]
            yield Frame(
                picture.planes, picture.format, picture.colour, round(number * 90000 / self._fps), Fraction(1, 90000)
            )


class Keeps:
    """A sink that keeps what it was shown; may be slow, or fail at the n-th."""

    def __init__(
        self, *, name: str = "keeps", seconds: float = 0.0, failure: tuple[int, Exception] | None = None
    ) -> None:
        self.name = name
        self.shown: list[LiveFrame] = []
        self.closed = 0
        self._seconds, self._failure = seconds, failure

    def show(self, shown: LiveFrame) -> None:
        time.sleep(self._seconds)
        if self._failure is not None and len(self.shown) == self._failure[0]:
            raise self._failure[1]
        self.shown.append(shown)

    def close(self) -> None:
        self.closed += 1

    @property
    def numbers(self) -> list[int]:
        return [one.taken.number for one in self.shown]


class KeepsEvery(Keeps):
    every = True


class Vital(Keeps):
    vital = True


LOST = SourceError("the plug was pulled")
