"""Live restorer: inference on captured frames, with settings and networks swapped without a gap in the picture."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import VdeblurError
from vdeblur.frames import Frame
from vdeblur.live.settings import LiveSettings
from vdeblur.live.types import CapturedFrame, LiveFrame
from vdeblur.model.network import Network
from vdeblur.options import SETTABLE_OPTIONS

#: Frames a new network is tried with before it takes over: the first is slow, and none should be seen waiting.
_WARMING = 2
_JOIN_SECONDS = 10.0


class Restorer:
    """Restores frames in the thread that calls :meth:`restore`; :meth:`request` may be called from any.

    Args:
        settings: the initial ones; ``auto`` means nothing here.
        networks: networks by name, before those that are shipped.
        failed: error callback for a requested network that cannot be loaded; the running one stays.

    Raises:
        UsageError, DeviceError, NetworkError: as :class:`vdeblur.engine.deblurrer.Deblurrer`.
    """

    def __init__(
        self, settings: LiveSettings, networks: Mapping[str, Network], failed: Callable[[VdeblurError], None]
    ) -> None:
        self._networks = networks
        self._failed = failed
        self._lock = threading.Lock()
        self._wanted = self._now = settings
        self._deblurrer = self._made(settings)
        self._ready: tuple[LiveSettings, Deblurrer] | None = None
        self._loader: threading.Thread | None = None
        self._pending: deque[CapturedFrame] = deque()
        self._last: Frame | None = None

    @property
    def now(self) -> LiveSettings:
        """The active settings."""
        return self._now

    @property
    def has_pending(self) -> bool:
        """Whether :meth:`flush` would return a frame."""
        return bool(self._pending)

    def request(self, settings: LiveSettings) -> None:
        """Request other settings, from the next frame on, or once their network has been loaded in the background."""
        with self._lock:
            self._wanted = settings
            if settings.fixed != self._now.fixed and self._loader is None:
                self._loader = threading.Thread(target=self._load, name="vdeblur-load", daemon=True)
                self._loader.start()

    def restore(self, taken: CapturedFrame) -> list[LiveFrame]:
        """Push a frame; return the frames this completes, in order.

        Raises:
            NetworkError, DeviceError: with the frame's time.
        """
        shown = self._change()
        self._last = taken.frame
        self._pending.append(taken)
        try:
            sharp = self._deblurrer.step(taken.frame)
        except BaseException:
            self._pending.clear()
            raise
        return shown if sharp is None else [*shown, self._shown(sharp)]

    def flush(self) -> list[LiveFrame]:
        """Return the frame that is delayed by lookahead; the next frame starts a new clip."""
        sharp = self._deblurrer.flush()
        shown = [] if sharp is None else [self._shown(sharp)]
        self._pending.clear()
        return shown

    def close(self) -> None:
        """Wait for a network that is being loaded."""
        with self._lock:
            loader, self._wanted = self._loader, self._now
        if loader is not None:
            loader.join(_JOIN_SECONDS)

    def _shown(self, sharp: Frame) -> LiveFrame:
        return LiveFrame(self._pending.popleft(), sharp, time.monotonic())

    def _change(self) -> list[LiveFrame]:
        """Apply the requested settings, as far as their network is loaded; return the frames this flushes."""
        with self._lock:
            wanted, now = self._wanted, self._now
            ready, self._ready = self._ready, None
            if ready is not None and ready[0].fixed != wanted.fixed:
                ready = None
            if ready is None and wanted.fixed != now.fixed:
                wanted = wanted.with_fixed_of(now)
            if ready is None and wanted == now:
                return []
            self._now = wanted
        owed = self.flush() if ready is not None or wanted.lookahead != now.lookahead else []
        if ready is not None:
            self._deblurrer = ready[1]
        again = wanted.lookahead != self._deblurrer.lookahead
        for name in SETTABLE_OPTIONS:
            setattr(self._deblurrer, name, getattr(wanted, name))
        if again:
            self._deblurrer.reset()
        return owed

    def _load(self) -> None:
        """Load and warm up the requested network in a background thread, until it is the latest one requested."""
        while True:
            with self._lock:
                settings = self._wanted
                done = self._ready is not None and self._ready[0].fixed == settings.fixed
                if done or settings.fixed == self._now.fixed:
                    self._loader = None
                    return
            try:
                deblurrer = self._made(settings)
                self._warm(deblurrer)
                with self._lock:
                    self._ready = (settings, deblurrer)
            except VdeblurError as exc:
                with self._lock:
                    self._wanted = self._wanted.with_fixed_of(self._now)
                self._failed(exc)

    def _warm(self, deblurrer: Deblurrer) -> None:
        if (frame := self._last) is not None:
            for number in range(_WARMING):  # they move a little: a copy would not reach the network
                deblurrer.step(frame.with_planes([np.roll(np.asarray(plane), number, 1) for plane in frame.planes]))
            deblurrer.reset()

    def _made(self, settings: LiveSettings) -> Deblurrer:
        return Deblurrer(self._networks.get(settings.model, settings.model), **settings.arguments)
