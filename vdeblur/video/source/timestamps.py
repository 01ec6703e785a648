"""Timestamp repair: one timestamp for every frame, strictly increasing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol, TypeVar

#: A step back of more than this is another time line (a splice, a wrapped counter), not a disorder.
_SPLICE_SECONDS = 1
#: A frame that comes so many frames later than it is due may have a wrong time, which the next one tells.
_LATE_FRAMES = 3
#: Frames in a row without a good time that are looked at together.
_MOST_TOGETHER = 16


class Stamped(Protocol):
    """What a decoder says of a frame's time."""

    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...
    @property
    def duration(self) -> int: ...


P = TypeVar("P", bound=Stamped)


class TimestampRepair:
    """Gives every frame its tick. Good timestamps pass unchanged.

    A missing one is taken from the decoding time, or else the frame follows its predecessor by that one's duration.
    One that does not rise is moved to the next tick; after a step back by more than a second the new time line is
    appended to the old. With ``even`` frames follow one another at ``rate``, whatever the source says. Where later
    frames may be looked at (:meth:`stamped`), frames without a good time are spread between their neighbours, and a
    step back of any size begins a new time line if two frames say so.
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
        self._shown_known = False

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
        return self._give(tick, pts, duration)

    def stamped(self, pictures: Iterable[P]) -> Iterator[tuple[P, int]]:
        """Frames with their ticks; one without a good time waits until the next good one is seen."""
        waiting: deque[P] = deque()
        for picture in pictures:
            waiting.append(picture)
            yield from self._clear(waiting, final=False)
        yield from self._clear(waiting, final=True)

    def _clear(self, waiting: deque[P], *, final: bool) -> Iterator[tuple[P, int]]:
        """Those of the waiting frames whose ticks are clear; at the end, all."""
        while waiting:
            count = self._bad_ones(waiting, final=final or len(waiting) >= _MOST_TOGETHER)
            if count is None:
                return
            if count:
                yield from self._spread(waiting, count)
            else:
                picture = waiting.popleft()
                yield picture, self.stamp(picture.pts, picture.dts, picture.duration)

    def _bad_ones(self, waiting: deque[P], *, final: bool) -> int | None:
        """How many frames in front lie between two good ones and have no good time; ``None`` = not known yet."""
        if self._interval is not None or self._last is None:
            return 0
        first = self._given(waiting[0])
        if first is not None and self._last < first <= self._last + _LATE_FRAMES * self._step:
            return 0
        late = first is not None and first > self._last
        if first is not None and not late:
            second = self._given(waiting[1]) if len(waiting) > 1 else None
            if second is not None and first < second <= self._last and 2 * (self._last - first) >= self._step:
                self._offset += self.due - first
                return 0
        for place in range(1, len(waiting)):
            tick = self._given(waiting[place])
            if tick is None or tick <= self._last:
                if late:
                    return 0
                continue
            if late:
                return 0 if first is None or tick > first else place
            return place if tick > self._last + place else 0
        return 0 if final else None

    def _spread(self, waiting: deque[P], count: int) -> Iterator[tuple[P, int]]:
        """Put ``count`` frames between the last one and the next good one, no further apart than frames are."""
        until = self._given(waiting[count])
        assert self._last is not None
        assert until is not None
        begin, apart = self._last, min(Fraction(until - self._last, count + 1), Fraction(self._step))
        for place in range(1, count + 1):
            picture = waiting.popleft()
            yield picture, self._give(begin + max(place, round(place * apart)), picture.pts, picture.duration)

    def _given(self, picture: Stamped) -> int | None:
        return None if picture.pts is None else picture.pts + self._offset

    def _give(self, tick: int, pts: int | None, duration: int) -> int:
        if tick != pts:
            self.repaired += 1
        self._last, self._last_duration = tick, duration
        self._shown_known = self._shown_known or pts is not None
        return tick

    def _candidate(self, pts: int | None, dts: int | None) -> int:
        if pts is not None:
            return pts + self._offset
        if dts is not None and not self._shown_known and (self._last is None or dts + self._offset > self._last):
            return dts + self._offset
        return self.due

    @property
    def _step(self) -> int:
        return self._last_duration or self._frame_ticks

    @property
    def due(self) -> int:
        """Tick at which the next frame is due."""
        if self._last is None:
            return self._start
        return self._last + self._step
