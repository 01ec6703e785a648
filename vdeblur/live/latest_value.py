"""A slot: a queue between two threads in which the newest item wins, so that nobody waits for what is old."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: How often a waiting thread looks up; without it, Ctrl-C could not end a wait on Windows.
_TICK_SECONDS = 0.2


class Ended(Exception):
    """Nothing more will come."""


class Slot(Generic[T]):
    """At most ``depth`` items wait; the oldest gives way to a new one. Any number of threads may put and take.

    Args:
        inherit: makes the item that takes the place of one that gave way, of both, in this order.
    """

    def __init__(self, depth: int = 1, *, inherit: Callable[[T, T], T] | None = None) -> None:
        self._items: deque[T] = deque()
        self._depth = depth
        self._inherit = inherit
        self._ended = False
        self._changed = threading.Condition()
        #: Items that gave way.
        self.dropped = 0

    def put(self, item: T) -> None:
        """Put an item; never waits. After :meth:`end` it goes nowhere."""
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
