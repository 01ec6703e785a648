"""Capture thread: takes frames from a live source without ever blocking it, and reconnects when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from vdeblur.errors import SourceError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.latest_value import LatestValueQueue
from vdeblur.live.session_stats import SessionStats
from vdeblur.live.sources import Source
from vdeblur.live.types import CapturedFrame

#: Seconds between attempts to find a lost source: the first, and the longest, each twice as long as the one before.
_FIRST_RETRY, _LAST_RETRY = 0.25, 5.0


class CaptureWorker:
    """Puts the newest frame of a source into ``queue``, in the thread that calls :meth:`run`.

    Args:
        failed: error callback, called in that thread when no more frames can come; not at the end of the source.
    """

    def __init__(self, source: Source, stats: SessionStats, failed: Callable[[BaseException], None]) -> None:
        self._source, self._stats, self._failed = source, stats, failed
        self._closing = threading.Event()
        self.queue: LatestValueQueue[CapturedFrame] = LatestValueQueue(inherit=_cut_kept)

    def close(self) -> None:
        """Stop capturing; from any thread."""
        self._closing.set()
        self._source.close()
        self.queue.end(forget=True)

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def run(self) -> None:
        """Take frames until the source has ended, with reconnection (exponential backoff) once it has given frames."""
        retry = _FIRST_RETRY
        try:
            while not self.closing:
                before = self._stats.frames
                try:
                    self._take_all()
                    return
                except VdeblurError as exc:
                    taken = self._stats.frames
                    # A camera that is pulled out is no such file a moment later; at first that is a mistake.
                    if not taken or not (before or isinstance(exc, SourceError)):
                        raise
                    retry = _FIRST_RETRY if taken > before else min(2 * retry, _LAST_RETRY)
                    self._lose(exc)
                self._closing.wait(retry)
        except Exception as exc:
            if not self.closing:
                self._failed(exc)
        finally:
            self.queue.end()

    def _take_all(self) -> None:
        first = True
        for frame in self._source.frames():
            self._take(frame, back=first and self._stats.frames > 0)
            first = False
            if self.closing:
                return

    def _take(self, frame: Frame, *, back: bool) -> None:
        """Count a frame and queue it; ``back`` = the source was lost before it."""
        if back:
            frame = replace(frame, cut=True)
            self._stats.restarts += 1
            self._stats.say(f"{self._source.name} is back", state="running")
        elif self._stats.state != "running":
            self._stats.say("", state="running")
        tag = getattr(self._source, "tag", None)
        taken = CapturedFrame(frame, self._stats.frames + 1, time.monotonic(), tag)
        self._stats.count_captured(taken)
        self.queue.put(taken)

    def _lose(self, exc: VdeblurError) -> None:
        if self._stats.state != "lost":
            self._stats.say(f"lost {self._source.name}: {exc}; looking for it", state="lost")


def _cut_kept(lost: CapturedFrame, heir: CapturedFrame) -> CapturedFrame:
    """A scene cut before a dropped frame is one before the frame that replaces it."""
    return replace(heir, frame=replace(heir.frame, cut=True)) if lost.frame.cut else heir
