"""Latest-value queue: a bounded queue between threads that drops the oldest item instead of blocking the producer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: How often a waiting thread looks up; without it, Ctrl-C could not end a wait on Windows.
_TICK_SECONDS = 0.2


class QueueEnded(Exception):
    """The queue is empty and has been ended."""


class LatestValueQueue(Generic[T]):
    """Bounded queue that drops the oldest of ``depth`` items for a new one. Safe for any number of threads.

    Args:
        inherit: merges a dropped item with its successor, in this order; returns the successor's replacement.
    """

    def __init__(self, depth: int = 1, *, inherit: Callable[[T, T], T] | None = None) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._inherit = inherit
        self._ended = False
        self._changed = threading.Condition()
        #: Number of dropped items.
        self.dropped = 0

    def put(self, item: T) -> None:
        """Put an item; never blocks. After :meth:`end` it is discarded."""
        with self._changed:
            if self._ended:
                return
            self._items.append(item)
            while len(self._items) > self._depth:
                lost = self._items.popleft()
                if self._inherit is not None:
                    self._items[0] = self._inherit(lost, self._items[0])
                self.dropped += 1
            self._changed.notify_all()

    def take(self, seconds: float | None = None) -> T | None:
        """Return the oldest item, or ``None`` if none comes within the timeout in seconds (``None`` = no timeout).

        Raises:
            QueueEnded: the queue is empty and has been ended.
        """
        with self._changed:
            left = seconds
            while not self._items and not self._ended and (left is None or left > 0):
                self._changed.wait(_TICK_SECONDS if left is None else min(left, _TICK_SECONDS))
                left = None if left is None else left - _TICK_SECONDS
            if self._items:
                return self._items.popleft()
            if self._ended:
                raise QueueEnded
            return None

    def end(self, *, forget: bool = False) -> None:
        """Refuse further items and wake all waiting threads; ``forget`` discards the queued ones, too."""
        with self._changed:
            self._ended = True
            if forget:
                self._items.clear()
            self._changed.notify_all()
