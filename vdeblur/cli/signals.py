"""Signal handling: a first SIGINT, SIGTERM … stops a job gracefully after the frame, a second one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

#: Termination signals; each is handled like Ctrl-C.
_ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
#: Further signals are ignored while the first one closes everything.
_CLOSING_SECONDS = 5.0
#: One request may come as two signals, from the terminal and from a launcher.
_ONE_REQUEST_SECONDS = 0.5
_PATIENCE = "\nvdeblur: stopping after this frame, to keep what is done; once more stops at once\n"


class StopRequests:
    """Termination requests to this process."""

    def __init__(self) -> None:
        #: Numbers of the signals that were not ignored.
        self.obeyed: list[int] = []
        self.requested = False
        self._graceful: Callable[[], bool] = lambda: False
        self._requested_at = self._ignored_until = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        now = time.monotonic()
        if now < self._ignored_until or (self.requested and now < self._requested_at + _ONE_REQUEST_SECONDS):
            return
        self.obeyed.append(number)
        if self._graceful() and not self.requested:
            self.requested, self._requested_at = True, now
            with contextlib.suppress(OSError):  # not through sys.stderr, which may be in the middle of a line
                os.write(2, _PATIENCE.encode())
            return
        self._ignored_until = now + _CLOSING_SECONDS
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def graceful(self, when: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Within the block, and while ``when()``, a first request only makes the returned function return True."""
        self._graceful = when
        try:
            yield lambda: self.requested
        finally:
            self._graceful = lambda: False


#: The process's own, while :func:`signals_as_ctrl_c` runs.
current = StopRequests()


@contextlib.contextmanager
def signals_as_ctrl_c() -> Iterator[list[int]]:
    """Handle SIGTERM, SIGHUP and SIGBREAK like Ctrl-C; yields the numbers of the received signals."""
    global current
    current = StopRequests()
    if threading.current_thread() is not threading.main_thread():
        yield current.obeyed
        return
    before = {}
    for name in _ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, current.handle)
    try:
        yield current.obeyed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
