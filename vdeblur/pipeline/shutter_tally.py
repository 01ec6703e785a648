"""Shutter tally: which exposure a video was restored with, over all its frames, and whose word that was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vdeblur.engine.exposure import FrameShutter
from vdeblur.shutter import seconds_words

#: Shares below which, and above which, a sixth of the values lies: two thirds are between them.
_LOW, _HIGH = 1 / 6, 5 / 6
#: Fractions are counted in steps of a thousandth, so that a long video takes no more memory than a short one.
_STEPS = 1000
#: Source of what nobody said.
READ = "read from the blur"
#: People are shown two decimals.
_SHOWN = 0.01


@dataclass(frozen=True)
class UsedShutter:
    """Shutter of a video's frames: shares of the frame interval, and times where they are known."""

    #: Median over the frames: of what was said, or of the reading's middle.
    fraction: float
    #: Two frames in three lie between these; where the blur was read, with the doubt of their readings.
    low: float
    high: float
    #: Median of what the frames were restored with: a doubtful reading counts for less blur.
    used: float
    #: "as given", what the camera wrote it into, or "read from the blur"; of most frames.
    source: str
    #: How many of the frames that is.
    frames: int
    frames_total: int
    #: Shortest and longest exposure time, where times were said.
    seconds: tuple[float, float] | None = None
    #: The interval is a field's.
    of_fields: bool = False

    @property
    def words(self) -> str:
        """For people: "1/205 s (0.15 of the frame interval), GoPro GPMF"."""
        unit = f"of the {'field' if self.of_fields else 'frame'} interval"
        varies = self.high - self.low >= _SHOWN
        between = f"{self.low:.2f} to {self.high:.2f}"
        if self.seconds is None:
            said = f"{self.fraction:.2f} {unit}" + (f" ({between})" if varies else "")
        else:
            least, most = map(seconds_words, self.seconds)
            times = least if least == most else f"{least.removesuffix(' s')} to {most}"
            said = f"{times} ({between if varies else f'{self.fraction:.2f}'} {unit})"
        rest = "" if self.frames == self.frames_total else f" for {self.frames} of {self.frames_total} frames"
        return f"{said}, {self.source}{rest}"


class ShutterTally:
    """Counts the shutter of every frame, in constant memory.

    Args:
        of_fields: the frames are fields of interlaced video.
    """

    def __init__(self, *, of_fields: bool = False) -> None:
        self._of_fields = of_fields
        self._sources: dict[str, _Source] = {}

    def add(self, shutter: FrameShutter | None) -> None:
        """Count a frame; None, of a network that reads no exposure, counts for nothing."""
        if shutter is None:
            return
        known = shutter.known
        said = bool(shutter.source)
        middle, low, high = (shutter.used,) * 3 if said else (shutter.middle, shutter.low, shutter.high)
        source = self._sources.setdefault(shutter.source or READ, _Source())
        for counter, value in zip(source.counters, (middle, low, high, shutter.used), strict=True):
            counter[round(value * _STEPS)] += 1
        if said and known.seconds is not None:
            source.seconds = _widened(source.seconds, known.seconds)

    def result(self) -> UsedShutter | None:
        """The shutter of the source that most frames have; None if there is nothing to tell."""
        if not self._sources:
            return None
        name, most = max(self._sources.items(), key=lambda one: one[1].frames)
        middles, lows, highs, used = most.counters
        return UsedShutter(
            fraction=_quantile(middles, 0.5),
            low=_quantile(lows, _LOW),
            high=_quantile(highs, _HIGH),
            used=_quantile(used, 0.5),
            source=name,
            frames=most.frames,
            frames_total=sum(each.frames for each in self._sources.values()),
            seconds=most.seconds,
            of_fields=self._of_fields,
        )


class _Source:
    """Frames with one source of their shutter."""

    def __init__(self) -> None:
        #: Of middles, lows, highs and used fractions.
        self.counters: tuple[Counter[int], ...] = tuple(Counter() for _ in range(4))
        self.seconds: tuple[float, float] | None = None

    @property
    def frames(self) -> int:
        return self.counters[0].total()


def _widened(seconds: tuple[float, float] | None, more: float) -> tuple[float, float]:
    return (more, more) if seconds is None else (min(seconds[0], more), max(seconds[1], more))


def _quantile(counter: Counter[int], share: float) -> float:
    """Fraction below which at least this share of the counted ones lies."""
    left = share * counter.total()
    for step, count in sorted(counter.items()):
        left -= count
        if left <= 0:
            return step / _STEPS
    raise ValueError("nothing has been counted")
