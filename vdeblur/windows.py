"""Windows: frames one by one become t-1, t, t+1, one window a frame, the edges repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from vdeblur.errors import UsageError

F = TypeVar("F")


@dataclass(frozen=True, eq=False)
class Window(Generic[F]):
    """What the network sees to restore ``current``. At an edge ``previous`` or ``next`` is the same object as it."""

    previous: F
    current: F
    next: F
    #: Nothing before it belongs to the same shot: the recurrent state must start anew.
    first: bool


class SlidingWindow(Generic[F]):
    """The window while it slides: push() a frame and get the window that became complete, if one did.

    With ``lookahead`` 0 that is the frame's own, and ``next`` is always ``current``. With 1 it is the window of the
    frame before. No window reaches across a break.

    Args:
        lookahead: frames of the future a window waits for, 0 or 1.
        breaks: asked once for every two neighbours whether a new shot starts at the second.
    """

    def __init__(self, *, lookahead: int, breaks: Callable[[F, F], bool]) -> None:
        if lookahead not in (0, 1):
            raise UsageError(f"lookahead cannot be {lookahead!r}; it is 0 (no delay) or 1 (one frame of delay)")
        self._lookahead = lookahead
        self._breaks = breaks
        self._before: F | None = None  # the frame before the waiting one, in the same shot
        self._waiting: F | None = None  # the newest frame

    def push(self, frame: F) -> Window[F] | None:
        """Take the next frame; return the window that is complete now (None at the first one of lookahead 1)."""
        last, before = self._waiting, self._before
        joined = last is not None and not self._breaks(last, frame)
        self._before, self._waiting = (last if joined else None), frame
        if self._lookahead == 0:
            return _window(self._before, frame, None)
        return None if last is None else _window(before, last, frame if joined else None)

    def finish(self) -> Window[F] | None:
        """End of the frames: return the window still owed (with lookahead 1, the last frame's) and forget them all."""
        last, before = self._waiting, self._before
        self._before = self._waiting = None
        return None if last is None or self._lookahead == 0 else _window(before, last, None)


def windows(frames: Iterable[F], *, lookahead: int, breaks: Callable[[F, F], bool]) -> Iterator[Window[F]]:
    """One window a frame, in order; see :class:`SlidingWindow`.

    Raises:
        UsageError: ``lookahead`` is neither 0 nor 1.
    """
    sliding = SlidingWindow(lookahead=lookahead, breaks=breaks)
    for frame in frames:
        window = sliding.push(frame)
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
