"""Ctrl-C and its like: once ends a job at the next frame and keeps what is done, twice ends everything at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

#: Signals that ask a process to end; each becomes what Ctrl-C is.
_ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
#: While the first one closes everything, impatience must not tear it out of that.
_CLOSING_SECONDS = 5.0
#: One request may come as two signals, from the terminal and from a launcher.
_ONE_REQUEST_SECONDS = 0.5
_PATIENCE = "\nvdeblur: stopping after this frame, to keep what is done; once more stops at once\n"


class Ending:
    """The requests to end that have come to this process."""

    def __init__(self) -> None:
        #: Numbers of the signals that were obeyed.
        self.came: list[int] = []
        self.asked = False
        self._patient: Callable[[], bool] = lambda: False
        self._asked_at = self._deaf_until = 0.0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        now = time.monotonic()
        if now < self._deaf_until or (self.asked and now < self._asked_at + _ONE_REQUEST_SECONDS):
            return
        self.came.append(number)
        if self._patient() and not self.asked:
            self.asked, self._asked_at = True, now
            with contextlib.suppress(OSError):  # not through sys.stderr, which may be in the middle of a line
                os.write(2, _PATIENCE.encode())
            return
        self._deaf_until = now + _CLOSING_SECONDS
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def patient(self, when: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Within the block, a first request only makes the returned function say True, if ``when()``."""
        self._patient = when
        try:
            yield lambda: self.asked
        finally:
            self._patient = lambda: False


#: The process's own, while :func:`ending_like_ctrl_c` runs.
current = Ending()


@contextlib.contextmanager
def ending_like_ctrl_c() -> Iterator[list[int]]:
    """Let SIGTERM and its like close everything as Ctrl-C does; gives the numbers of those that were obeyed."""
    global current
    current = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield current.came
        return
    before = {}
    for name in _ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, current.hear)
    try:
        yield current.came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
