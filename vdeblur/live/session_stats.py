"""Session statistics: state, message, frame counts, rates and latency of a live session. Thread-safe."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from vdeblur.live.rate_meter import RateMeter
from vdeblur.live.settings import LiveSettings
from vdeblur.live.types import CapturedFrame, LiveFrame, SessionStatus, State

logger = logging.getLogger(__name__)

#: Without a frame for so long, the source counts as waiting.
WAITING_SECONDS = 2.0


class SessionStats:
    """State, message, counts and rates of a session.

    Args:
        tell: callback for messages of one line each.
    """

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self.state: State = "starting"
        self._message = ""
        #: Frames the source gave, and how often it came back.
        self.frames = self.restarts = 0
        self._last: CapturedFrame | None = None
        self._took, self._done, self._delays = RateMeter(), RateMeter(), RateMeter()

    @property
    def source_fps(self) -> float:
        return self._took.rate

    def say(self, words: str, *, state: State | None = None) -> None:
        """Set the message, and the state if one is given; an empty message is not passed on."""
        with self._lock:
            self.state = state or self.state
            self._message = words
        logger.debug("%s %s", self.state, words)
        if words and self._tell is not None and state != "failed":  # a failure is raised
            self._tell(words)

    def count_captured(self, taken: CapturedFrame) -> None:
        with self._lock:
            self.frames, self._last = taken.number, taken
        self._took.count()

    def count_shown(self, shown: Sequence[LiveFrame]) -> None:
        for one in shown:
            self._done.count()
            self._delays.count(one.delay_seconds)

    def status(self, source: str, now: LiveSettings, *, dropped: int, recording: str | None) -> SessionStatus:
        """Snapshot for a source of that name and the active settings."""
        with self._lock:
            last, state, message = self._last, self.state, self._message
            frames, restarts = self.frames, self.restarts
        if state == "running" and last is not None and time.monotonic() - last.at > WAITING_SECONDS:
            state, message = "waiting", f"no picture from {source} at the moment"
        return SessionStatus(
            state=state,
            message=message,
            source=source,
            width=0 if last is None else last.frame.width,
            height=0 if last is None else last.frame.height,
            source_fps=self._took.rate,
            shown_fps=self._done.rate,
            delay_ms=1000 * self._delays.median,
            frames=frames,
            dropped=dropped,
            settings=now,
            restarts=restarts,
            recording=recording,
        )
