"""The ledger: what a session has seen and shown so far, and what is worth saying of it. Any thread may write to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from vdeblur.live.rate_meter import Meter
from vdeblur.live.settings import LiveSettings
from vdeblur.live.types import Shown, State, Status, Taken

logger = logging.getLogger(__name__)

#: Without a frame for so long, the source counts as waiting.
WAITING_SECONDS = 2.0


class Ledger:
    """State, message and counts of a session.

    Args:
        tell: told what is worth saying, in one line each.
    """

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self.state: State = "starting"
        self._message = ""
        #: Frames the source gave, and how often it came back.
        self.frames = self.restarts = 0
        self._last: Taken | None = None
        self._took, self._done, self._delays = Meter(), Meter(), Meter()

    @property
    def source_fps(self) -> float:
        return self._took.rate

    def say(self, words: str, *, state: State | None = None) -> None:
        """Note what has happened; empty words only change the state."""
        with self._lock:
            self.state = state or self.state
            self._message = words
        logger.debug("%s %s", self.state, words)
        if words and self._tell is not None and state != "failed":  # a failure is raised
            self._tell(words)

    def took(self, taken: Taken) -> None:
        with self._lock:
            self.frames, self._last = taken.number, taken
        self._took.count()

    def showed(self, shown: Sequence[Shown]) -> None:
        for one in shown:
            self._done.count()
            self._delays.count(one.delay_seconds)

    def status(self, source: str, now: LiveSettings, *, dropped: int, recording: str | None) -> Status:
        """How things stand with a source of that name, restored as ``now`` says."""
        with self._lock:
            last, state, message = self._last, self.state, self._message
            frames, restarts = self.frames, self.restarts
        if state == "running" and last is not None and time.monotonic() - last.at > WAITING_SECONDS:
            state, message = "waiting", f"no picture from {source} at the moment"
        return Status(
            state=state,
            message=message,
            source=source,
            width=0 if last is None else last.frame.width,
            height=0 if last is None else last.frame.height,
            source_fps=self._took.rate,
            shown_fps=self._done.rate,
            delay_ms=1000 * self._delays.middle,
            frames=frames,
            dropped=dropped,
            settings=now,
            restarts=restarts,
            recording=recording,
        )
