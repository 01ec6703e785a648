"""Rate meter: events a second, and the median of a value, over a sliding window of two seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from statistics import median

WINDOW_SECONDS = 2.0


class RateMeter:
    """Counts events, each with a value, in a sliding window of time. Thread-safe."""

    def __init__(self, *, window_seconds: float = WINDOW_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window_seconds
        self._clock = clock
        self._events: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def count(self, value: float = 0.0) -> None:
        with self._lock:
            self._events.append((self._clock(), value))
            self._forget()

    @property
    def rate(self) -> float:
        """Events a second: intervals between the first and the last of the window; 0 where there are none."""
        with self._lock:
            self._forget()
            if len(self._events) < 2:
                return 0.0
            seconds = self._events[-1][0] - self._events[0][0]
            return (len(self._events) - 1) / seconds if seconds > 0 else 0.0

    @property
    def median(self) -> float:
        """Median of the numbers; 0 where there are none."""
        with self._lock:
            self._forget()
            return median(value for _, value in self._events) if self._events else 0.0

    def _forget(self) -> None:
        limit = self._clock() - self._window
        while self._events and self._events[0][0] < limit:
            self._events.popleft()
