"""Live session: capture, restoration and display in threads of their own, with bounded latency.

Latency is bounded by latest-value queues: at most one captured frame, the newest, waits for the network, so it is
restored as soon as the frame before it is done; older ones are dropped and counted. The same holds before each sink.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from vdeblur.errors import UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.capture_thread import CaptureWorker
from vdeblur.live.latest_value import QueueEnded
from vdeblur.live.quality_controller import (
    OperatingPoint,
    QualityController,
    describe_change,
    describe_size,
    operating_points,
)
from vdeblur.live.restorer import Restorer
from vdeblur.live.session_stats import SessionStats
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sink_threads import SinkThreads
from vdeblur.live.sources import Source
from vdeblur.live.types import CapturedFrame, LiveFrame, LiveSink, NobodyWatches, SessionStatus
from vdeblur.model.checkpoint import weights_path
from vdeblur.model.network import Network

__all__ = ["CapturedFrame", "LiveFrame", "LiveSession", "LiveSettings", "LiveSink", "NobodyWatches", "SessionStatus"]

logger = logging.getLogger(__name__)

#: With lookahead, the frame that is owed is shown when none has come for so long.
_OWING_SECONDS = 0.5
_JOIN_SECONDS = 10.0


class LiveSession:
    """Restores a live source and shows it at its sinks, with the least latency the machine allows.

    A context manager: entering starts it, leaving closes it. All methods may be called from any thread, but ``close``
    not from a sink. It closes its source and its sinks.

    Example::

        with Session(source, LiveSettings(model="fast"), [window]) as session:
            session.wait()

    Args:
        source: frames as they come.
        settings: how they are restored.
        sinks: where they go.
        note: callback for messages of one line each, called from any thread.
        networks: networks by the names that ``settings.model`` may have, before those that are shipped.

    Raises:
        UsageError: there is no such network.
    """

    def __init__(
        self,
        source: Source,
        settings: LiveSettings | None = None,
        sinks: Sequence[LiveSink] = (),
        *,
        note: Callable[[str], None] | None = None,
        networks: Mapping[str, Network] | None = None,
    ) -> None:
        self._source = source
        self._settings = settings or LiveSettings()
        self._networks = dict(networks or {})
        self._check(self._settings)
        self._lock = threading.RLock()
        self._first_sinks = list(sinks)
        self._stats = SessionStats(note)
        self._capture = CaptureWorker(source, self._stats, self._fail)
        self._sink_threads = SinkThreads(self._stats.say, self._end)
        self._restorer: Restorer | None = None
        self._controller: QualityController | None = None
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._threads = (
            threading.Thread(target=self._capture.run, name="vdeblur-capture", daemon=True),
            threading.Thread(target=self._restore, name="vdeblur-restore", daemon=True),
        )

    # --- From outside -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; once."""
        for sink in self._first_sinks:
            self._sink_threads.add(sink)
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> LiveSession:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session: waiting frames are dropped, sinks finish what they were given. Idempotent."""
        self._capture.close()
        for thread in self._threads:
            if thread.ident is None:
                continue
            thread.join(_JOIN_SECONDS)
            if thread.is_alive():
                logger.warning("%s is still busy %.0f s after it was stopped", thread.name, _JOIN_SECONDS)
        self._finish()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has ended; whether it has.

        Raises:
            VdeblurError, BrokenPipeError: the failure of the session, once.
        """
        if not self._over.wait(timeout):
            return False
        with self._lock:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return True

    @property
    def settings(self) -> LiveSettings:
        """Requested settings; with ``auto``, :meth:`status` has the active ones."""
        return self._settings

    def change(self, **changes: Any) -> None:
        """Change settings of the running session by their names; a new network is loaded in the background.

        ``reduce`` ends ``auto``, unless that is given too.

        Raises:
            UsageError: a setting or its name is wrong.
        """
        if "reduce" in changes:
            changes = {"auto": False, **changes}
        with self._lock:
            try:
                settings = replace(self._settings, **changes)
            except TypeError as exc:
                raise UsageError(f"no such setting among {', '.join(changes)}; there are {_NAMES}") from exc
            self._check(settings)
            paced = ("model", "reduce", "auto")
            again = any(getattr(settings, name) != getattr(self._settings, name) for name in paced)
            self._settings = settings
            if again:
                self._controller = self._new_controller()
            if self._restorer is not None:
                self._restorer.request(self._wanted())

    def add_sink(self, sink: LiveSink) -> None:
        """Add a sink.

        Raises:
            UsageError: the session has ended.
        """
        self._sink_threads.add(sink)

    def remove_sink(self, sink: LiveSink) -> None:
        """Let a sink finish and close it; an unknown one is ignored. Not from the sink's own thread."""
        self._sink_threads.remove(sink)

    def status(self) -> SessionStatus:
        """Snapshot of state and measurements."""
        restorer = self._restorer
        now = self._settings if restorer is None else restorer.now
        dropped, recording = self._capture.queue.dropped, self._sink_threads.recording
        return self._stats.status(self._source.name, now, dropped=dropped, recording=recording)

    # --- Restoring ----------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Restore the newest frame, again and again."""
        try:
            restorer = Restorer(self._settings, self._networks, self._network_failed)
            with self._lock:
                self._controller = self._new_controller()
                self._restorer = restorer
                restorer.request(self._wanted())
            with contextlib.closing(restorer):
                self._restore_with(restorer)
            self._finish()
        except Exception as exc:
            self._fail(exc)

    def _restore_with(self, restorer: Restorer) -> None:
        try:
            while True:
                taken = self._capture.queue.take(_OWING_SECONDS)
                if taken is None:
                    self._show(restorer.flush() if restorer.has_pending else [])
                    continue
                begun = time.monotonic()
                self._show(restorer.restore(taken))
                self._adapt(time.monotonic() - begun, taken.frame)
        except QueueEnded:
            if not self._capture.closing:
                self._show(restorer.flush())

    def _show(self, ready: Sequence[LiveFrame]) -> None:
        self._stats.count_shown(ready)
        self._sink_threads.show(ready)

    def _adapt(self, seconds: float, frame: Frame) -> None:
        """Report a frame's processing time to the quality controller, and apply its decision."""
        with self._lock:
            controller, restorer = self._controller, self._restorer
            if controller is None or restorer is None or not self._is_at(controller.point, restorer.now):
                return
            before, overloaded, fps = controller.point, controller.overloaded, self._stats.source_fps
            point = controller.observe(time.monotonic(), seconds, fps)
            if point is not None:
                restorer.request(self._wanted())
        what = f"{frame.width}×{frame.height} at {fps:.0f} fps"
        if point is not None:
            self._stats.say(describe_change(what, before, point))
        elif controller.overloaded and not overloaded:
            size = describe_size(before.reduce)
            self._stats.say(
                f"{what} is too much for {before.model} even at {size}: "
                f"shows {1 / controller.median_seconds:.0f} of them a second"
            )

    def _is_at(self, point: OperatingPoint, now: LiveSettings) -> bool:
        """Whether a frame was restored at an operating point, and not before its network was loaded."""
        return (now.model, now.reduce) == (point.model, point.reduce)

    def _new_controller(self) -> QualityController | None:
        if not self._settings.auto:
            return None
        return QualityController(operating_points(self._settings.model, self._settings.reduce), time.monotonic())

    def _wanted(self) -> LiveSettings:
        """The requested settings at the operating point that the controller has chosen."""
        if self._controller is None:
            return self._settings
        return replace(self._settings, model=self._controller.point.model, reduce=self._controller.point.reduce)

    # --- Ends and failures --------------------------------------------------------------------------------------------

    def _check(self, settings: LiveSettings) -> None:
        if settings.model not in self._networks:
            weights_path(settings.model)

    def _network_failed(self, exc: VdeblurError) -> None:
        """Fall back to the running network: the requested one cannot be loaded."""
        with self._lock:
            now = self._settings if self._restorer is None else self._restorer.now
            self._settings = self._settings.with_fixed_of(now)
            self._controller = self._new_controller()
        self._stats.say(f"{exc}; goes on with {now.model}")

    def _end(self, failure: Exception | None) -> None:
        """A sink without which the session has no purpose has ended; called in its thread."""
        with self._lock:
            self._failure = self._failure or failure
        self._capture.close()

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or exc
        self._capture.close()
        self._finish()

    def _finish(self) -> None:
        """Close the sinks and announce the end."""
        self._sink_threads.close()
        with self._lock:
            if not self._over.is_set():
                words = "" if self._failure is None else str(self._failure)
                self._stats.say(words, state="ended" if self._failure is None else "failed")
            self._over.set()


_NAMES = ", ".join(LiveSettings.__dataclass_fields__)
