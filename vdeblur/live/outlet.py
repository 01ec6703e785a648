"""An outlet: the thread that shows frames at one sink, so that a slow one delays neither the network nor the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from vdeblur.live.slot import Ended, Slot
from vdeblur.live.words import Shown, Sink

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
    def dropped(self) -> int:
        """Frames it was not shown, as newer ones were there."""
        return self._slot.dropped

    def put(self, shown: Shown) -> None:
        self._slot.put(shown)

    def close(self, *, forget: bool = False) -> None:
        """Show what is left, unless that is not wanted, and close the sink. Not from the sink's own thread."""
        self._slot.end(forget=forget)
        seconds = _EVERY_JOIN_SECONDS if getattr(self.sink, "every", False) else _JOIN_SECONDS
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
