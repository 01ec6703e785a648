"""Sliding window: one window of frames t-1, t, t+1 for each frame, the edges repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from vdeblur.options import OPTIONS

F = TypeVar("F")


@dataclass(frozen=True, eq=False)
class Window(Generic[F]):
    """A frame to restore, ``current``, with its neighbours. At an edge ``previous`` or ``next`` is the same object."""

    previous: F
    current: F
    next: F
    #: Nothing before it belongs to the same shot: the recurrent state must start anew.
    first: bool


class SlidingWindow(Generic[F]):
    """Sliding window over a stream: push() takes a frame and returns the window that it completes, if any.

    With ``lookahead`` 0 that is the frame's own, and ``next`` is always ``current``. With 1 it is the window of the
    frame before, unless :meth:`complete` has returned that already. A shallow copy of it goes on on its own.

    Args:
        lookahead: frames of the future a window waits for, 0 or 1.
    """

    def __init__(self, *, lookahead: int) -> None:
        self.lookahead: int = OPTIONS["lookahead"].checked(lookahead)
        #: The frame before the newest, if it is of the same shot.
        self.before: F | None = None
        self.newest: F | None = None
        #: The newest frame's window has not been returned yet.
        self.open = False

    def push(self, frame: F, *, same_shot: bool) -> Window[F] | None:
        """Push the next frame; return the window that it completes (None at the first one of lookahead 1).

        Args:
            same_shot: whether it belongs to the same shot as the frame before it; no window reaches across a break.
        """
        completed = self.complete(frame if same_shot else None)
        self.before, self.newest, self.open = self.newest if same_shot else None, frame, True
        return completed if self.lookahead else self.complete()

    def complete(self, following: F | None = None) -> Window[F] | None:
        """Return the newest frame's window with the frame that follows, None if there is none; once for each frame."""
        if self.newest is None or not self.open:
            return None
        self.open = False
        return _window(self.before, self.newest, following)

    def finish(self) -> Window[F] | None:
        """Flush at the end of the stream: return the pending window (with lookahead 1, the last frame's) and clear."""
        completed = self.complete()
        self.before = self.newest = None
        return completed


def windows(frames: Iterable[F], *, lookahead: int, breaks: Callable[[F, F], bool]) -> Iterator[Window[F]]:
    """One window a frame, in order; see :class:`SlidingWindow`.

    Args:
        breaks: asked once for every two neighbours whether a new shot starts at the second.

    Raises:
        UsageError: ``lookahead`` is neither 0 nor 1.
    """
    sliding: SlidingWindow[F] = SlidingWindow(lookahead=lookahead)
    for frame in frames:
        last = sliding.newest
        window = sliding.push(frame, same_shot=last is not None and not breaks(last, frame))
        if window is not None:
            yield window
    window = sliding.finish()
    if window is not None:
        yield window


def _window(previous: F | None, current: F, following: F | None) -> Window[F]:
    return Window(
        previous=current if previous is None else previous,
        current=current,
        next=current if following is None else following,
        first=previous is None,
    )
