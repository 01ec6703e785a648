"""Signal handling: SIGINT and SIGTERM are deferred to the end of the step, so that the checkpoint is consistent."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Signals that ask a process to end.
_ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
#: One request may come as two signals, from the terminal and from a launcher.
_ONE_REQUEST_SECONDS = 2.0


class Interruption:
    """Whether the run was asked to end. A second request is obeyed at once."""

    def __init__(self) -> None:
        self.asked = False
        self._number: int | None = None
        self._heard_at = 0.0
        self._before: dict[int, object] = {}

    def obey(self) -> None:
        """Do what the signal would have done at once."""
        number, self._number = self._number, None
        handler = self._before.get(number) if number is not None else None
        if number is not None and callable(handler):
            handler(number, None)
        raise KeyboardInterrupt

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        if self.asked and time.monotonic() > self._heard_at + _ONE_REQUEST_SECONDS:
            self.obey()
        if not self.asked:
            self.asked, self._heard_at = True, time.monotonic()


@contextmanager
def deferred_interruption() -> Iterator[Interruption]:
    """Within the block, a first signal only sets ``asked``; outside the main thread nothing changes."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    for name in _ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            interruption._before[number] = signal.signal(number, interruption._hear)
    try:
        yield interruption
    finally:
        for number, handler in interruption._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


@contextmanager
def children_deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started within the block never hear Ctrl-C, which a terminal sends to them too.

    They end when this process ends them. This process hears what came meanwhile at the end of the block. Windows has
    no such thing.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start would lift the mask again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
