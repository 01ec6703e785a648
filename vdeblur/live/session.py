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

from vdeblur.engine import Network
from vdeblur.errors import SourceError, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.meter import Meter
from vdeblur.live.outlet import Outlet
from vdeblur.live.pace import Pace, pace_words, rungs, size_words
from vdeblur.live.restorer import Restorer
from vdeblur.live.slot import Ended, Slot
from vdeblur.live.sources import Source
from vdeblur.live.words import Settings, Shown, Sink, State, Status, Taken, Unwatched
from vdeblur.model.checkpoint import weights_path

__all__ = ["Session", "Settings", "Shown", "Sink", "Status", "Taken", "Unwatched"]

logger = logging.getLogger(__name__)

#: Without a frame for so long, the source counts as waiting; with lookahead the frame it owes is shown.
WAITING_SECONDS, _OWING_SECONDS = 2.0, 0.5
#: Seconds between attempts to find a lost source.
_FIRST_RETRY, _LAST_RETRY = 0.25, 5.0
_JOIN_SECONDS = 10.0


class Session:
    """Restores a live source and shows it at its sinks, with the least delay the machine allows.

    A context manager: entering starts it, leaving closes it. All methods may be called from any thread, but ``close``
    not from a sink. It closes its source and its sinks.

    Example::

        with Session(source, Settings(model="fast"), [window]) as session:
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
        settings: Settings | None = None,
        sinks: Sequence[Sink] = (),
        *,
        note: Callable[[str], None] | None = None,
        networks: Mapping[str, Network] | None = None,
    ) -> None:
        self._source = source
        self._settings = settings or Settings()
        self._networks = dict(networks or {})
        self._check(self._settings)
        self._tell = note
        self._lock = threading.RLock()
        self._first_sinks = list(sinks)
        self._outlets: list[Outlet] = []
        self._slot: Slot[Taken] = Slot()
        self._restorer: Restorer | None = None
        self._pace: Pace | None = None
        self._closing, self._over = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._state: State = "starting"
        self._message = ""
        self._frames = self._restarts = 0
        self._last: Taken | None = None
        self._took, self._done, self._delays = Meter(), Meter(), Meter()

    # --- From outside -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; once."""
        with self._lock:
            for sink in self._first_sinks:
                self.add_sink(sink)
            self._threads = [
                threading.Thread(target=self._capture, name="vdeblur-capture", daemon=True),
                threading.Thread(target=self._restore, name="vdeblur-restore", daemon=True),
            ]
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
        self._closing.set()
        self._source.close()
        self._slot.end(forget=True)
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
            if thread.is_alive():
                logger.warning("%s is still busy %.0f s after it was stopped", thread.name, _JOIN_SECONDS)
        self._finish(None)

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
    def settings(self) -> Settings:
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
        """Show at one more sink from now on."""
        with self._lock:
            if self._over.is_set():
                raise UsageError("the session has ended; start another")
            self._outlets.append(Outlet(sink, self._sink_failed))

    def remove_sink(self, sink: Sink) -> None:
        """Let a sink finish and close it; one that is not there is no harm. Not from the sink's own thread."""
        with self._lock:
            removed = [outlet for outlet in self._outlets if outlet.sink is sink]
            self._outlets = [outlet for outlet in self._outlets if outlet.sink is not sink]
        for outlet in removed:
            outlet.close()

    def status(self) -> Status:
        """How things stand now."""
        with self._lock:
            last, state, message = self._last, self._state, self._message
            if state == "running" and last is not None and time.monotonic() - last.at > WAITING_SECONDS:
                state, message = "waiting", f"no picture from {self._source.name} at the moment"
            now = self._settings if self._restorer is None else self._restorer.now
            recordings = [outlet.sink.name for outlet in self._outlets if getattr(outlet.sink, "every", False)]
        return Status(
            state=state,
            message=message,
            source=self._source.name,
            width=0 if last is None else last.frame.width,
            height=0 if last is None else last.frame.height,
            source_fps=self._took.rate,
            shown_fps=self._done.rate,
            delay_ms=1000 * self._delays.middle,
            frames=self._frames,
            dropped=self._slot.dropped,
            model=now.model,
            strength=now.strength,
            lookahead=now.lookahead,
            reduce=now.reduce,
            restarts=self._restarts,
            recording=recordings[0] if recordings else None,
        )

    # --- Taking -------------------------------------------------------------------------------------------------------

    def _capture(self) -> None:
        """Take frames as they come until the source has ended; look for it when it is lost."""
        retry = _FIRST_RETRY
        try:
            while not self._closing.is_set():
                before = self._frames
                try:
                    for frame in self._source.frames():
                        self._take(frame, again=self._frames == before)
                        if self._closing.is_set():
                            return
                    return
                except VdeblurError as exc:
                    if not self._frames or not (isinstance(exc, SourceError) or before):
                        raise
                    retry = _FIRST_RETRY if self._frames > before else min(2 * retry, _LAST_RETRY)
                    self._lose(exc)
                self._closing.wait(retry)
        except Exception as exc:
            if not self._closing.is_set():
                self._fail(exc)
        finally:
            self._slot.end()

    def _take(self, frame: Frame, *, again: bool) -> None:
        """Count a frame and hand it on; ``again`` = the first since the source was opened."""
        if again and self._frames:
            frame = replace(frame, cut=True)
            self._restarts += 1
            self._say(f"{self._source.name} is back", state="running")
        elif self._state != "running":
            self._say("", state="running")
        self._frames += 1
        self._last = Taken(frame, self._frames, time.monotonic(), getattr(self._source, "tag", None))
        self._took.count()
        self._slot.put(self._last)

    def _lose(self, exc: VdeblurError) -> None:
        if self._state != "lost":
            self._say(f"lost {self._source.name}: {exc}; looking for it", state="lost")

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
            self._finish(None)
        except Exception as exc:
            self._fail(exc)

    def _restore_with(self, restorer: Restorer) -> None:
        try:
            while True:
                taken = self._slot.take(_OWING_SECONDS)
                if taken is None:
                    self._show(restorer.flush() if restorer.owing else [])
                    continue
                begun = time.monotonic()
                self._show(restorer.restore(taken))
                self._keep_pace(time.monotonic() - begun, taken.frame)
        except Ended:
            if not self._closing.is_set():
                self._show(restorer.flush())

    def _show(self, ready: Sequence[Shown]) -> None:
        with self._lock:
            outlets = list(self._outlets)
        for shown in ready:
            self._done.count()
            self._delays.count(shown.delay_seconds)
            for outlet in outlets:
                outlet.put(shown)

    def _keep_pace(self, seconds: float, frame: Frame) -> None:
        """Let the pace see how long a frame took, and do what it says."""
        with self._lock:
            pace, restorer = self._pace, self._restorer
            if pace is None or restorer is None:
                return
            before, overtaxed, fps = pace.rung, pace.overtaxed, self._took.rate
            rung = pace.saw(time.monotonic(), seconds, fps)
            if rung is not None:
                restorer.want(self._wanted())
        what = f"{frame.width}×{frame.height} at {fps:.0f} fps"
        if rung is not None:
            self._say(pace_words(what, before, rung))
        elif pace.overtaxed and not overtaxed:
            size = size_words(before.reduce)
            self._say(f"{what} is too much for {before.model} even at {size}: shows {1 / seconds:.0f} of them a second")

    def _new_pace(self) -> Pace | None:
        if not self._settings.auto:
            return None
        return Pace(rungs(self._settings.model, self._settings.reduce), time.monotonic())

    def _wanted(self) -> Settings:
        """The settings with what the pace has chosen."""
        if self._pace is None:
            return self._settings
        return replace(self._settings, model=self._pace.rung.model, reduce=self._pace.rung.reduce)

    # --- Ends and failures --------------------------------------------------------------------------------------------

    def _check(self, settings: Settings) -> None:
        if settings.model not in self._networks:
            weights_path(settings.model)

    def _network_failed(self, exc: VdeblurError) -> None:
        with self._lock:
            now = self._settings if self._restorer is None else self._restorer.now
            self._settings = replace(self._settings, model=now.model, device=now.device, precision=now.precision)
            self._pace = self._new_pace()
        self._say(f"{exc}; goes on with {now.model}")

    def _sink_failed(self, outlet: Outlet, exc: Exception) -> None:
        """A sink has failed, in its own thread."""
        with self._lock:
            self._outlets = [other for other in self._outlets if other is not outlet]
        if not outlet.vital:
            self._say(f"{outlet.sink.name} has stopped: {exc}")
            return
        if not isinstance(exc, Unwatched):
            with self._lock:
                self._failure = self._failure or exc
        self._closing.set()
        self._source.close()
        self._slot.end(forget=True)

    def _fail(self, exc: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or exc
        self._slot.end(forget=True)
        self._closing.set()
        self._source.close()
        self._finish(exc)

    def _finish(self, exc: BaseException | None) -> None:
        """Close the sinks and say that it is over."""
        with self._lock:
            outlets, self._outlets = self._outlets, []
        for outlet in outlets:
            outlet.close()
        with self._lock:
            failure = exc or self._failure
            if not self._over.is_set():
                self._say("" if failure is None else str(failure), state="ended" if failure is None else "failed")
            self._over.set()

    def _say(self, words: str, *, state: State | None = None) -> None:
        with self._lock:
            self._state = state or self._state
            self._message = words
        logger.debug("%s %s", self._state, words)
        if words and self._tell is not None and state != "failed":
            self._tell(words)


_NAMES = ", ".join(Settings.__dataclass_fields__)
