"""Quality controller: chooses model and resolution so that the network's throughput keeps up with the source.

A feedback controller without side effects: it observes the time each frame takes and returns the next operating point.
It steps down as soon as frames clearly take too long, and up only after a while with headroom for more work, or after
a longer while with just enough; a step up that fails doubles the wait before the next one (exponential backoff). No
model is passed over unmeasured on the way down, so it ends with the best picture that keeps up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

#: Frames a second that are enough, however many the source gives.
ENOUGH_FPS = 30.0
#: Parts of a frame's interval: what is slower than the first for a moment, or than the second for longer, is too slow;
#: the third is aimed at, the fourth must hold before more work is taken on, the fifth after a longer while.
FAR_TOO_SLOW, TOO_SLOW, AIM, ROOM, TIGHT = 1.2, 0.98, 0.85, 0.75, 0.92
#: Frames of a moment, and of longer; and the first after a change, which count for nothing: memory is allocated,
#: kernels are chosen.
_MOMENT, _LONGER, _SETTLE = 12, 45, 3
#: Where frames take so many seconds, only the first counts for nothing, and so many are enough to judge.
_LONG_SECONDS, _FEW = 0.25, 2
#: Seconds before the first ascent, and the most after failed ones; so many times as long before one that just fits.
PATIENCE, MOST_PATIENCE, LONGER_PATIENCE = 8.0, 300.0, 4
#: An ascent that lasts so long has not failed.
HELD_SECONDS = 60.0
#: Of what was measured once, so much more than the work says is believed.
_DOUBT = 1.5
#: Parts of a frame's work that its size does not change.
_FIXED = 0.22
#: Work of the models, of one another, on two cores (the table of the README; quality is estimated). GPUs differ less.
_WORK = {"swift": 0.63, "fast": 1.0, "balanced": 8.2, "quality": 50.0}
#: Smaller models of each, best first.
_SMALLER = {"quality": ("balanced", "fast", "swift"), "balanced": ("fast", "swift"), "fast": ("swift",)}
#: Most times the picture is made smaller. Less is gained from a smaller picture than from a smaller model.
MOST_REDUCE = 4

_SIZES = {1: "full size", 2: "half size", 3: "a third of the size", 4: "a quarter of the size"}


@dataclass(frozen=True)
class OperatingPoint:
    """Model and resolution, and their cost of a frame, in any unit."""

    model: str
    reduce: int
    work: float


def operating_points(model: str, reduce: int = 1) -> tuple[OperatingPoint, ...]:
    """Operating points from the requested one down, in order of falling cost.

    First come the smaller models at the requested size, then the smallest one at smaller sizes.
    """
    models = (model, *_SMALLER.get(model, ()))
    chosen = [_point_of(name, reduce) for name in models[:-1]]
    return (*chosen, *(_point_of(models[-1], times) for times in range(reduce, max(reduce, MOST_REDUCE) + 1)))


def _point_of(model: str, reduce: int) -> OperatingPoint:
    return OperatingPoint(model, reduce, _WORK.get(model, 1.0) * (_FIXED + (1 - _FIXED) / reduce**2))


class QualityController:
    """Chooses an operating point from the time frames take; times are of any clock, in seconds."""

    def __init__(self, operating_points: Sequence[OperatingPoint], now: float) -> None:
        self._points = operating_points
        self._index = 0
        self._seen: deque[float] = deque(maxlen=_LONGER)
        self._unsettled = _SETTLE
        self._since = now
        self._rose = False
        self._patience = PATIENCE
        #: Whether frames take too long at the lowest operating point.
        self.overloaded = False
        #: Median seconds of the last frames, once enough have been seen.
        self.median_seconds = 0.0
        #: Seconds of a frame at each operating point when it was left.
        self._known: dict[int, float] = {}

    @property
    def point(self) -> OperatingPoint:
        return self._points[self._index]

    @property
    def lowest(self) -> bool:
        """Whether no cheaper operating point is left."""
        return self._index == len(self._points) - 1

    def observe(self, now: float, seconds: float, source_fps: float) -> OperatingPoint | None:
        """Account for a frame's processing time; return the new operating point if it changes.

        Args:
            now: time of the observation.
            seconds: processing time of the frame.
            source_fps: frame rate of the source, 0 if unknown.
        """
        if self._unsettled == _SETTLE or (self._unsettled and seconds < _LONG_SECONDS):
            self._unsettled -= 1
            return None
        self._unsettled = 0
        self._seen.append(seconds)
        if source_fps <= 0 or not self._enough_seen():
            return None
        interval, took = 1 / min(source_fps, ENOUGH_FPS), median(list(self._seen)[-_MOMENT:])
        self.median_seconds = took
        longer = median(self._seen) if len(self._seen) == _LONGER else 0.0
        too_slow = took > FAR_TOO_SLOW * interval or longer > TOO_SLOW * interval
        self.overloaded = too_slow and self.lowest
        if too_slow:
            return None if self.lowest else self._descend(now, max(took, longer), AIM * interval)
        if self._rose and now - self._since >= HELD_SECONDS:
            self._rose, self._patience = False, max(PATIENCE, self._patience / 2)
        if not self._index or now - self._since < self._patience:
            return None
        higher = self._index - 1
        fits = self._expected(higher, took) <= ROOM * interval
        if not fits and longer and now - self._since >= LONGER_PATIENCE * self._patience:
            fits = self._expected(higher, longer) <= TIGHT * interval
        return self._go(higher, now, took, rose=True) if fits else None

    def _enough_seen(self) -> bool:
        count = len(self._seen)
        return count >= _MOMENT or (count >= _FEW and min(self._seen) >= _LONG_SECONDS)

    def _descend(self, now: float, took: float, aim: float) -> OperatingPoint:
        if self._rose and now - self._since < HELD_SECONDS:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        below = range(self._index + 1, self._first_unknown() + 1)
        fits = (index for index in below if self._expected(index, took) <= aim)
        return self._go(next(fits, below[-1]), now, took, rose=False)

    def _first_unknown(self) -> int:
        """The next model below that has not been measured: the models' work is not known well enough to pass it over.

        That of the sizes of one model is.
        """
        for index in range(self._index + 1, len(self._points)):
            if self._points[index].model != self._points[index - 1].model and index not in self._known:
                return index
        return len(self._points) - 1

    def _expected(self, index: int, took: float) -> float:
        """Predicted seconds of a frame at an operating point, from measurements of both, else their cost."""
        by_work = self._points[index].work / self.point.work
        if index < self._index and index in self._known and self._index in self._known:
            # What was measured in a bad moment must not keep it down for ever.
            return took * min(self._known[index] / self._known[self._index], _DOUBT * by_work)
        return took * by_work

    def _go(self, index: int, now: float, took: float, *, rose: bool) -> OperatingPoint:
        self._known[self._index] = took
        self._index, self._since, self._rose = index, now, rose
        self._seen.clear()
        self._unsettled = _SETTLE
        return self.point


def describe_change(what: str, before: OperatingPoint, point: OperatingPoint) -> str:
    """Message about a change of the operating point, at a source like "640×480 at 30 fps"."""
    model = "" if point.model == before.model else f" with {point.model}"
    if point.work > before.work:
        return f"{what}: there is time for more, works at {describe_size(point.reduce)}{model}"
    too_much = f"{what} is too much for {before.model} at {describe_size(before.reduce)}"
    return f"{too_much}: works at {describe_size(point.reduce)}{model}"


def describe_size(reduce: int) -> str:
    return _SIZES.get(reduce, f"1/{reduce} of the size")
