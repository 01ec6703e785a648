"""Sink threads: each sink is served by a thread of its own, so that a slow one delays no other and no inference."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from vdeblur.errors import UsageError
from vdeblur.live.latest_value import LatestValueQueue, QueueEnded
from vdeblur.live.types import LiveFrame, LiveSink, NobodyWatches

logger = logging.getLogger(__name__)

#: Frames that may wait for a sink that wants each of them: two seconds of most cameras.
_EVERY_DEPTH = 60
#: How long a sink may take to finish, and one that must write a long file's end.
_JOIN_SECONDS, _EVERY_JOIN_SECONDS = 10.0, 120.0


class SinkThread:
    """A sink with its thread, running from the start.

    Args:
        failed: error callback with the exception of ``show``, called in that thread; the sink gets no more frames.
    """

    def __init__(self, sink: LiveSink, failed: Callable[[SinkThread, Exception], None]) -> None:
        self.sink = sink
        self._failed = failed
        self._queue: LatestValueQueue[LiveFrame] = LatestValueQueue(
            _EVERY_DEPTH if getattr(sink, "every", False) else 1
        )
        self._thread = threading.Thread(target=self._work, name=f"vdeblur-show-{sink.name}", daemon=True)
        self._thread.start()

    @property
    def vital(self) -> bool:
        """Whether the session ends with it."""
        return bool(getattr(self.sink, "vital", False))

    @property
    def records(self) -> bool:
        """Whether it gets every frame instead of the newest."""
        return bool(getattr(self.sink, "every", False))

    @property
    def dropped(self) -> int:
        """Number of frames dropped in favour of newer ones."""
        return self._queue.dropped

    def put(self, shown: LiveFrame) -> None:
        self._queue.put(shown)

    def close(self, *, forget: bool = False) -> None:
        """Show the queued frames, or discard them (``forget``), and close the sink. Not from the sink's own thread."""
        self._queue.end(forget=forget)
        seconds = _EVERY_JOIN_SECONDS if self.records else _JOIN_SECONDS
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning("%s is still busy %.0f s after it was closed", self.sink.name, seconds)

    def _work(self) -> None:
        try:
            while True:
                shown = self._queue.take()
                if shown is not None:
                    self.sink.show(shown)
        except QueueEnded:
            self._end(None)
        except Exception as exc:
            self._queue.end(forget=True)
            self._end(exc)

    def _end(self, failure: Exception | None) -> None:
        try:
            self.sink.close()
        except Exception as exc:
            failure = failure or exc
        if failure is not None:
            self._failed(self, failure)


class SinkThreads:
    """All sinks of a session, each with its thread.

    Args:
        say: message callback: sinks that have failed, recordings with dropped frames.
        ended: called when a vital sink has ended, with the exception if it failed.
    """

    def __init__(self, say: Callable[[str], None], ended: Callable[[Exception | None], None]) -> None:
        self._say, self._ended = say, ended
        self._lock = threading.Lock()
        self._threads: list[SinkThread] = []
        self._closed = False

    def add(self, sink: LiveSink) -> None:
        """Add a sink.

        Raises:
            UsageError: all have been closed.
        """
        with self._lock:
            if self._closed:
                raise UsageError("the session has ended; start another")
            self._threads.append(SinkThread(sink, self._failed))

    def remove(self, sink: LiveSink) -> None:
        """Let a sink finish and close it."""
        with self._lock:
            removed = [thread for thread in self._threads if thread.sink is sink]
            self._threads = [thread for thread in self._threads if thread.sink is not sink]
        self._close(removed)

    def show(self, ready: Sequence[LiveFrame]) -> None:
        """Queue frames for all sinks, in order."""
        with self._lock:
            threads = list(self._threads)
        for shown in ready:
            for thread in threads:
                thread.put(shown)

    def close(self) -> None:
        """Let all finish and close them. Idempotent."""
        with self._lock:
            threads, self._threads, self._closed = self._threads, [], True
        self._close(threads)

    @property
    def recording(self) -> str | None:
        """Name of the first recording."""
        with self._lock:
            return next((thread.sink.name for thread in self._threads if thread.records), None)

    def _close(self, threads: Sequence[SinkThread]) -> None:
        for thread in threads:
            thread.close()
            if thread.records and thread.dropped:
                self._say(f"{thread.sink.name} lacks {thread.dropped} frames: writing was slower than the picture")

    def _failed(self, thread: SinkThread, exc: Exception) -> None:
        """A sink has failed, in its own thread."""
        with self._lock:
            self._threads = [other for other in self._threads if other is not thread]
        if thread.vital:
            self._ended(None if isinstance(exc, NobodyWatches) else exc)
        else:
            self._say(f"{thread.sink.name} has stopped: {exc}")
