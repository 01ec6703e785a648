"""Time range: start and duration in seconds, converted to ticks of the source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

#: A start that lies a thousandth of a tick beyond a frame means that frame: seconds are floats.
_TICK_TOLERANCE = Fraction(1, 1000)


@dataclass(frozen=True)
class TimeRange:
    """Where to begin, in seconds from the start of the stream, and for how long; ``None`` = no limit."""

    start: Fraction | None = None
    duration: Fraction | None = None

    @staticmethod
    def of(start_seconds: float | None, duration_seconds: float | None) -> TimeRange:
        """The stretch that was asked for (:class:`vdeblur.options.ReadOptions`)."""
        return TimeRange(_exact(start_seconds), _exact(duration_seconds))

    def ticks(self, start_pts: int | None, time_base: Fraction) -> tuple[int | None, int | None]:
        """First tick that is wanted and first that is wanted no longer; ``None`` = no limit, or not known yet."""
        if start_pts is None:
            return None, None
        start = self.start or Fraction(0)
        begin = None if self.start is None else start_pts + first_tick(start, time_base)
        if self.duration is None:
            return begin, None
        return begin, start_pts + first_tick(start + self.duration, time_base)

    @property
    def words(self) -> str:
        """ "from 2 s to 3.5 s"."""
        start = float(self.start or 0)
        until = "" if self.duration is None else f" to {start + float(self.duration):g} s"
        return f"from {start:g} s{until}"


def first_tick(seconds: Fraction, time_base: Fraction) -> int:
    """The first tick that is no earlier than these seconds, by a tolerance for what floats lose."""
    return math.ceil(seconds / time_base - _TICK_TOLERANCE)


def exact_seconds(value: float) -> Fraction:
    """Seconds as the decimal number that was written: 2.04 means 51/25, not the float nearest to it."""
    return Fraction(repr(float(value)))


def _exact(value: float | None) -> Fraction | None:
    return None if value is None else exact_seconds(value)
