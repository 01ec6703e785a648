"""The intake: takes frames from a source as they come and never waits, and looks for the source when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from vdeblur.errors import SourceError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.latest_value import Slot
from vdeblur.live.session_stats import Ledger
from vdeblur.live.sources import Source
from vdeblur.live.types import Taken

#: Seconds between attempts to find a lost source: the first, and the longest, each twice as long as the one before.
_FIRST_RETRY, _LAST_RETRY = 0.25, 5.0


class Intake:
    """Puts the newest frame of a source into ``slot``, in the thread that calls :meth:`run`.

    Args:
        failed: told in that thread why there will be no frames any more, unless the source has ended.
    """

    def __init__(self, source: Source, ledger: Ledger, failed: Callable[[BaseException], None]) -> None:
        self._source, self._ledger, self._failed = source, ledger, failed
        self._closing = threading.Event()
        self.slot: Slot[Taken] = Slot(inherit=_cut_kept)

    def close(self) -> None:
        """No frame is wanted any more; from any thread."""
        self._closing.set()
        self._source.close()
        self.slot.end(forget=True)

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def run(self) -> None:
        """Take frames until the source has ended. One that has given frames before is never given up."""
        retry = _FIRST_RETRY
        try:
            while not self.closing:
                before = self._ledger.frames
                try:
                    self._take_all()
                    return
                except VdeblurError as exc:
                    taken = self._ledger.frames
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
            self.slot.end()

    def _take_all(self) -> None:
        first = True
        for frame in self._source.frames():
            self._take(frame, back=first and self._ledger.frames > 0)
            first = False
            if self.closing:
                return

    def _take(self, frame: Frame, *, back: bool) -> None:
        """Count a frame and hand it on; ``back`` = the source was lost before it."""
        if back:
            frame = replace(frame, cut=True)
            self._ledger.restarts += 1
            self._ledger.say(f"{self._source.name} is back", state="running")
        elif self._ledger.state != "running":
            self._ledger.say("", state="running")
        tag = getattr(self._source, "tag", None)
        taken = Taken(frame, self._ledger.frames + 1, time.monotonic(), tag)
        self._ledger.took(taken)
        self.slot.put(taken)

    def _lose(self, exc: VdeblurError) -> None:
        if self._ledger.state != "lost":
            self._ledger.say(f"lost {self._source.name}: {exc}; looking for it", state="lost")


def _cut_kept(lost: Taken, heir: Taken) -> Taken:
    """A cut before a frame that is left out is a cut before the one that takes its place."""
    return replace(heir, frame=replace(heir.frame, cut=True)) if lost.frame.cut else heir
