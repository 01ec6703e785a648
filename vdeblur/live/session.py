"""The session: one thread takes frames and never waits, one restores the newest, and each sink shows in its own.

What bounds the delay: between taking and restoring waits one frame at most, the newest; so a frame is restored no later
than the one before it is done, and old ones are left out and counted. The same holds in front of each sink.
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
from vdeblur.live.capture_thread import Intake
from vdeblur.live.latest_value import Ended
from vdeblur.live.quality_controller import Pace, pace_words, rungs, size_words
from vdeblur.live.restorer import Restorer
from vdeblur.live.session_stats import Ledger
from vdeblur.live.settings import LiveSettings
from vdeblur.live.sink_threads import Outlets
from vdeblur.live.sources import Source
from vdeblur.live.types import Shown, Sink, Status, Taken, Unwatched
from vdeblur.model.checkpoint import weights_path
from vdeblur.model.network import Network

__all__ = ["LiveSettings", "Session", "Shown", "Sink", "Status", "Taken", "Unwatched"]

logger = logging.getLogger(__name__)

#: With lookahead, the frame that is owed is shown when none has come for so long.
_OWING_SECONDS = 0.5
_JOIN_SECONDS = 10.0


class Session:
    """Restores a live source and shows it at its sinks, with the least delay the machine allows.

    A context manager: entering starts it, leaving closes it. All methods may be called from any thread, but ``close``
    not from a sink. It closes its source and its sinks.

    Example::

        with Session(source, LiveSettings(model="fast"), [window]) as session:
            session.wait()

    Args:
        source: frames as they come.
        settings: how they are restored.
        sinks: where they go.
        note: told what is worth saying, in one line each, from any thread.
        networks: networks by the names that ``settings.model`` may have, before those that are shipped.

    Raises:
        UsageError: there is no such network.
    """

    def __init__(
        self,
        source: Source,
        settings: LiveSettings | None = None,
        sinks: Sequence[Sink] = (),
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
        self._ledger = Ledger(note)
        self._intake = Intake(source, self._ledger, self._fail)
        self._outlets = Outlets(self._ledger.say, self._end)
        self._restorer: Restorer | None = None
        self._pace: Pace | None = None
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._threads = (
            threading.Thread(target=self._intake.run, name="vdeblur-capture", daemon=True),
            threading.Thread(target=self._restore, name="vdeblur-restore", daemon=True),
        )

    # --- From outside -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; once."""
        for sink in self._first_sinks:
            self._outlets.add(sink)
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything: what waits is let go, sinks finish what they were given. More than once does no harm."""
        self._intake.close()
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
            VdeblurError, BrokenPipeError: what it failed with, once.
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
        """What was asked for; with ``auto``, :meth:`status` tells what is at work."""
        return self._settings

    def change(self, **changes: Any) -> None:
        """Change settings while it runs, by their names; a network is loaded beside the running one.

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
                self._pace = self._new_pace()
            if self._restorer is not None:
                self._restorer.want(self._wanted())

    def add_sink(self, sink: Sink) -> None:
        """Show at one more sink from now on.

        Raises:
            UsageError: the session has ended.
        """
        self._outlets.add(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Let a sink finish and close it; one that is not there is no harm. Not from the sink's own thread."""
        self._outlets.remove(sink)

    def status(self) -> Status:
        """How things stand now."""
        restorer = self._restorer
        now = self._settings if restorer is None else restorer.now
        dropped, recording = self._intake.slot.dropped, self._outlets.recording
        return self._ledger.status(self._source.name, now, dropped=dropped, recording=recording)

    # --- Restoring ----------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Restore the newest frame, again and again."""
        try:
            restorer = Restorer(self._settings, self._networks, self._network_failed)
            with self._lock:
                self._pace = self._new_pace()
                self._restorer = restorer
                restorer.want(self._wanted())
            with contextlib.closing(restorer):
                self._restore_with(restorer)
            self._finish()
        except Exception as exc:
            self._fail(exc)

    def _restore_with(self, restorer: Restorer) -> None:
        try:
            while True:
                taken = self._intake.slot.take(_OWING_SECONDS)
                if taken is None:
                    self._show(restorer.flush() if restorer.owing else [])
                    continue
                begun = time.monotonic()
                self._show(restorer.restore(taken))
                self._keep_pace(time.monotonic() - begun, taken.frame)
        except Ended:
            if not self._intake.closing:
                self._show(restorer.flush())

    def _show(self, ready: Sequence[Shown]) -> None:
        self._ledger.showed(ready)
        self._outlets.show(ready)

    def _keep_pace(self, seconds: float, frame: Frame) -> None:
        """Let the pace see how long a frame took, and do what it says."""
        with self._lock:
            pace, restorer = self._pace, self._restorer
            if pace is None or restorer is None:
                return
            before, overtaxed, fps = pace.rung, pace.overtaxed, self._ledger.source_fps
            rung = pace.saw(time.monotonic(), seconds, fps)
            if rung is not None:
                restorer.want(self._wanted())
        what = f"{frame.width}×{frame.height} at {fps:.0f} fps"
        if rung is not None:
            self._ledger.say(pace_words(what, before, rung))
        elif pace.overtaxed and not overtaxed:
            size = size_words(before.reduce)
            self._ledger.say(
                f"{what} is too much for {before.model} even at {size}: shows {1 / pace.took:.0f} of them a second"
            )

    def _new_pace(self) -> Pace | None:
        if not self._settings.auto:
            return None
        return Pace(rungs(self._settings.model, self._settings.reduce), time.monotonic())

    def _wanted(self) -> LiveSettings:
        """The settings with what the pace has chosen."""
        if self._pace is None:
            return self._settings
        return replace(self._settings, model=self._pace.rung.model, reduce=self._pace.rung.reduce)

    # --- Ends and failures --------------------------------------------------------------------------------------------

    def _check(self, settings: LiveSettings) -> None:
        if settings.model not in self._networks:
            weights_path(settings.model)

    def _network_failed(self, exc: VdeblurError) -> None:
        """A network that was wanted cannot be had; the old one goes on."""
        with self._lock:
            now = self._settings if self._restorer is None else self._restorer.now
            self._settings = self._settings.with_fixed_of(now)
            self._pace = self._new_pace()
        self._ledger.say(f"{exc}; goes on with {now.model}")

    def _end(self, failure: Exception | None) -> None:
        """A sink without which the session has no purpose has ended; called in its thread."""
        with self._lock:
            self._failure = self._failure or failure
        self._intake.close()

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or exc
        self._intake.close()
        self._finish()

    def _finish(self) -> None:
        """Close the sinks and say that it is over."""
        self._outlets.close()
        with self._lock:
            if not self._over.is_set():
                words = "" if self._failure is None else str(self._failure)
                self._ledger.say(words, state="ended" if self._failure is None else "failed")
            self._over.set()


_NAMES = ", ".join(LiveSettings.__dataclass_fields__)
