"""A slot: a queue between two threads in which the newest item wins, so that nobody waits for what is old."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

#: How often a waiting thread looks up; without it, Ctrl-C could not end a wait on Windows.
_TICK_SECONDS = 0.2


class Ended(Exception):
    """Nothing more will come."""


class Slot(Generic[T]):
    """At most ``depth`` items wait; the oldest gives way to a new one. Any number of threads may put and take."""

    def __init__(self, depth: int = 1) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._ended = False
        self._changed = threading.Condition()
        #: Items that gave way.
        self.dropped = 0

    def put(self, item: T) -> None:
        """Put an item; never waits. After :meth:`end` it goes nowhere."""
        with self._changed:
            if self._ended:
                return
            while len(self._items) >= self._depth:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()

    def take(self, seconds: float | None = None) -> T | None:
        """The oldest item; waits for one, for so long. ``None``: none has come.

        Raises:
            Ended: nothing is left and nothing more will come.
        """
        with self._changed:
            left = seconds
            while not self._items and not self._ended and (left is None or left > 0):
                self._changed.wait(_TICK_SECONDS if left is None else min(left, _TICK_SECONDS))
                left = None if left is None else left - _TICK_SECONDS
            if self._items:
                return self._items.popleft()
            if self._ended:
                raise Ended
            return None

    def end(self, *, forget: bool = False) -> None:
        """Nothing more will be put; ``forget``: what waits is not wanted any more."""
        with self._changed:
            self._ended = True
            if forget:
                self._items.clear()
            self._changed.notify_all()
