"""Console output of `vdeblur live`: messages, a status line on a terminal, JSON events, a summary."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from vdeblur.live.session import LiveSession
    from vdeblur.live.types import SessionStatus

_STATUS_SECONDS = 1.0
#: Short, so that Ctrl-C is heard at once where a wait cannot be interrupted.
_TICK_SECONDS = 0.2


class LiveReport:
    """Reports messages and status of a session. :meth:`note` may be called from any thread."""

    def __init__(self, stream: IO[str], *, as_json: bool, quiet: bool) -> None:
        self._stream, self._json, self._quiet = stream, as_json, quiet
        self._on_terminal = stream.isatty() and not as_json and not quiet
        self._began = time.monotonic()
        self._shown_line = False

    def note(self, words: str) -> None:
        """Report a message."""
        if self._json:
            self._write(json.dumps({"event": "note", "words": words}))
        elif not self._quiet:
            self._write(f"vdeblur: {words}")

    def watch(self, session: LiveSession, seconds: float | None) -> None:
        """Report the status once a second, until the session ends, the seconds are over, or Ctrl-C.

        Raises:
            VdeblurError, BrokenPipeError: the failure of the session.
        """
        self._began = told = time.monotonic()
        try:
            while not session.wait(_TICK_SECONDS):
                now = time.monotonic()
                if seconds is not None and now - self._began >= seconds:
                    return
                if now - told >= _STATUS_SECONDS:
                    told = now
                    self._status(session.status())
        except KeyboardInterrupt:
            return

    def end(self, status: SessionStatus) -> None:
        """Report the summary."""
        if self._json:
            self._write(json.dumps({"event": "end", **status.as_dict()}))
        elif not self._quiet and status.frames:
            seconds = time.monotonic() - self._began
            self._write(f"vdeblur: {status.frames} frames in {seconds:.1f} s, {status.dropped} of them left out")

    def _status(self, status: SessionStatus) -> None:
        if self._json:
            self._write(json.dumps({"event": "status", **status.as_dict()}))
        elif self._on_terminal:
            self._shown_line = True
            self._stream.write(f"\r\x1b[K{status_words(status)}")
            self._stream.flush()

    def _write(self, line: str) -> None:
        clear = "\r\x1b[K" if self._shown_line else ""
        self._shown_line = False
        self._stream.write(f"{clear}{line}\n")
        self._stream.flush()


def status_words(status: SessionStatus) -> str:
    """Status line for a terminal."""
    if status.state != "running":
        return status.message or status.state
    now = status.settings
    size = "" if now.reduce == 1 else f" at 1/{now.reduce}"
    return (
        f"{status.width}×{status.height}  {status.source_fps:.0f} fps in, {status.shown_fps:.0f} shown, "
        f"{status.delay_ms:.0f} ms, {status.dropped} left out  ({now.model}{size})"
    )


def show_cameras(*, as_json: bool) -> int:
    """Print the cameras of this machine and their modes, the default one marked, or the reason why there are none."""
    from vdeblur.video.realtime.cameras import choose_mode, list_cameras, why_none

    cameras = list_cameras()
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(camera) for camera in cameras]) + "\n")
    elif not cameras:
        sys.stderr.write(f"vdeblur: {why_none()}\n")
    for camera in () if as_json else cameras:
        sys.stdout.write(f"{camera.number}  {camera.name}  ({camera.address})\n")
        if camera.problem is not None:
            sys.stdout.write(f"   cannot be opened: {camera.problem}\n")
        best = choose_mode(camera.modes)
        for mode in camera.modes:
            sys.stdout.write(f"   {mode.words}{'  *' if mode == best else ''}\n")
    return 0
