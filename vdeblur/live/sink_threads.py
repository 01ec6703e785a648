"""Outlets: each sink has a thread of its own, so that a slow one delays neither the network nor the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from vdeblur.errors import UsageError
from vdeblur.live.latest_value import Ended, Slot
from vdeblur.live.types import Shown, Sink, Unwatched

logger = logging.getLogger(__name__)

#: Frames that may wait for a sink that wants each of them: two seconds of most cameras.
_EVERY_DEPTH = 60
#: How long a sink may take to finish, and one that must write a long file's end.
_JOIN_SECONDS, _EVERY_JOIN_SECONDS = 10.0, 120.0


class Outlet:
    """A sink with its thread, running from the start.

    Args:
        failed: told, in that thread, what ``show`` has raised; the sink is shown nothing more.
    """

    def __init__(self, sink: Sink, failed: Callable[[Outlet, Exception], None]) -> None:
        self.sink = sink
        self._failed = failed
        self._slot: Slot[Shown] = Slot(_EVERY_DEPTH if getattr(sink, "every", False) else 1)
        self._thread = threading.Thread(target=self._work, name=f"vdeblur-show-{sink.name}", daemon=True)
        self._thread.start()

    @property
    def vital(self) -> bool:
        """Whether the session ends with it."""
        return bool(getattr(self.sink, "vital", False))

    @property
    def records(self) -> bool:
        """Whether it is given every frame."""
        return bool(getattr(self.sink, "every", False))

    @property
    def dropped(self) -> int:
        """Frames it was not shown, as newer ones were there."""
        return self._slot.dropped

    def put(self, shown: Shown) -> None:
        self._slot.put(shown)

    def close(self, *, forget: bool = False) -> None:
        """Show what is left, unless that is not wanted, and close the sink. Not from the sink's own thread."""
        self._slot.end(forget=forget)
        seconds = _EVERY_JOIN_SECONDS if self.records else _JOIN_SECONDS
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning("%s is still busy %.0f s after it was closed", self.sink.name, seconds)

    def _work(self) -> None:
        try:
            while True:
                shown = self._slot.take()
                if shown is not None:
                    self.sink.show(shown)
        except Ended:
            self._end(None)
        except Exception as exc:
            self._slot.end(forget=True)
            self._end(exc)

    def _end(self, failure: Exception | None) -> None:
        try:
            self.sink.close()
        except Exception as exc:
            failure = failure or exc
        if failure is not None:
            self._failed(self, failure)


class Outlets:
    """All outlets of a session.

    Args:
        say: told of sinks that have failed, and of recordings that lack frames.
        ended: told when one without which the session has no purpose has ended, and why, if that is a failure.
    """

    def __init__(self, say: Callable[[str], None], ended: Callable[[Exception | None], None]) -> None:
        self._say, self._ended = say, ended
        self._lock = threading.Lock()
        self._outlets: list[Outlet] = []
        self._closed = False

    def add(self, sink: Sink) -> None:
        """Show at one more sink.

        Raises:
            UsageError: all have been closed.
        """
        with self._lock:
            if self._closed:
                raise UsageError("the session has ended; start another")
            self._outlets.append(Outlet(sink, self._failed))

    def remove(self, sink: Sink) -> None:
        """Let a sink finish and close it."""
        with self._lock:
            removed = [outlet for outlet in self._outlets if outlet.sink is sink]
            self._outlets = [outlet for outlet in self._outlets if outlet.sink is not sink]
        self._close(removed)

    def show(self, ready: Sequence[Shown]) -> None:
        """Hand frames to all sinks, in order."""
        with self._lock:
            outlets = list(self._outlets)
        for shown in ready:
            for outlet in outlets:
                outlet.put(shown)

    def close(self) -> None:
        """Let all finish and close them; once is enough."""
        with self._lock:
            outlets, self._outlets, self._closed = self._outlets, [], True
        self._close(outlets)

    @property
    def recording(self) -> str | None:
        """Name of the first recording."""
        with self._lock:
            return next((outlet.sink.name for outlet in self._outlets if outlet.records), None)

    def _close(self, outlets: Sequence[Outlet]) -> None:
        for outlet in outlets:
            outlet.close()
            if outlet.records and outlet.dropped:
                self._say(f"{outlet.sink.name} lacks {outlet.dropped} frames: writing was slower than the picture")

    def _failed(self, outlet: Outlet, exc: Exception) -> None:
        """A sink has failed, in its own thread."""
        with self._lock:
            self._outlets = [other for other in self._outlets if other is not outlet]
        if outlet.vital:
            self._ended(None if isinstance(exc, Unwatched) else exc)
        else:
            self._say(f"{outlet.sink.name} has stopped: {exc}")
