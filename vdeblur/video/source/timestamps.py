"""Timestamp repair: one timestamp for every frame, strictly increasing."""

from __future__ import annotations

from fractions import Fraction

#: A step back of more than this is another time line (a splice, a wrapped counter), not a disorder.
_SPLICE_SECONDS = 1


class TimestampRepair:
    """Gives every frame its tick. Good timestamps pass unchanged.

    A missing one is taken from the decoding time, or else the frame follows its predecessor by that one's duration.
    One that does not rise is moved to the next tick; after a step back by more than a second the new time line is
    appended to the old. With ``even`` frames follow one another at ``rate``, whatever the source says.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None, start: int = 0, *, even: bool = False) -> None:
        self.repaired = 0
        self._interval = 1 / (rate * time_base) if rate and even else None
        self._count = 0
        self._frame_ticks = max(1, round(1 / (rate * time_base))) if rate else 1
        self._splice_ticks = _SPLICE_SECONDS / time_base
        self._start = start
        self._last: int | None = None
        self._last_duration = 0
        self._offset = 0

    def stamp(self, pts: int | None, dts: int | None, duration: int) -> int:
        """Tick of the next frame, given what the decoder says of it; ``duration`` is 0 when unknown."""
        if self._interval is not None:
            self._last, self._last_duration = self._start + round(self._count * self._interval), 0
            self._count += 1
            return self._last
        tick = self._candidate(pts, dts)
        if self._last is not None and tick <= self._last:
            if self._last - tick > self._splice_ticks:
                self._offset += self.due - tick
                tick = self.due
            else:
                tick = self._last + 1
        if tick != pts:
            self.repaired += 1
        self._last, self._last_duration = tick, duration
        return tick

    def _candidate(self, pts: int | None, dts: int | None) -> int:
        if pts is not None:
            return pts + self._offset
        if dts is not None and (self._last is None or dts + self._offset > self._last):
            return dts + self._offset
        return self.due

    @property
    def due(self) -> int:
        """Tick at which the next frame is due."""
        if self._last is None:
            return self._start
        return self._last + (self._last_duration or self._frame_ticks)
