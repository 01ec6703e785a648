"""A running encode: FFmpeg at work on a job, and the frames and packets on their way to it."""

from __future__ import annotations

import logging
import subprocess

import av

from vdeblur.errors import TargetError
from vdeblur.frames import Frame
from vdeblur.video.companions import Companions
from vdeblur.video.job import Job
from vdeblur.video.picture import RawMuxer
from vdeblur.video.process import FFmpegProcess, write_all
from vdeblur.video.stretch import Stretch

_log = logging.getLogger(__name__)

#: An FFmpeg that no longer reads has this long to say why.
_PATIENCE_SECONDS = 20.0


class Feed:
    """FFmpeg and its input.

    Raises:
        TargetError: FFmpeg cannot be started.
    """

    def __init__(self, job: Job, stretch: Stretch, companions: Companions | None) -> None:
        self._job = job
        self._stretch = stretch
        self._companions = companions
        #: FFmpeg has ended well before the last frame, because an option of the user said so.
        self.satisfied = False
        stdout = None if job.target.is_standard_output else subprocess.DEVNULL
        self.process = FFmpegProcess(job.command(stretch), stdout=stdout, sink=job.target.sink)
        self._pipe = _Pipe(self.process)
        self._muxer = RawMuxer(self._pipe, job.picture)
        if companions is not None:
            companions.add_to(self._muxer)

    @property
    def origin(self) -> int:
        """Tick of the source that becomes 0."""
        return self._stretch.origin

    def send(self, frame: Frame) -> None:
        """Pass a frame on, and the packets that have come with it.

        Raises:
            TargetError: FFmpeg has failed.
        """
        if self.satisfied:
            return
        try:
            self._send_packets()
            self._muxer.write(frame, self._stretch.sent(frame.pts))
            self._pipe.check()
        except (OSError, av.error.FFmpegError) as exc:
            self._stopped(exc)

    def finish(self) -> None:
        """Send the end, and wait until FFmpeg has written it.

        Raises:
            TargetError: FFmpeg has failed.
        """
        try:
            if not self.satisfied:
                self._send_packets()
            self._muxer.close()
            self._pipe.check()
            self.process.stdin.close()
        except (OSError, av.error.FFmpegError) as exc:
            self._stopped(exc)
        if self.process.wait() or self.process.sink_failure is not None:
            self._stopped(None)
        self.process.kill()

    def discard(self) -> None:
        """End FFmpeg at once and free everything; harmless after :meth:`finish`."""
        self.process.interrupt()
        self._pipe.cut = True
        try:
            self._muxer.discard()
        except (OSError, av.error.FFmpegError) as exc:
            _log.debug("closing the frames' container: %s", exc)
        self.process.kill()

    def _send_packets(self) -> None:
        if self._companions is not None:
            self._companions.pass_on(self._muxer, self._stretch)

    def _stopped(self, cause: Exception | None) -> None:
        """FFmpeg reads no more: because it has what it was asked for, or because it failed."""
        if self.process.wait_for(_PATIENCE_SECONDS) == 0 and self.process.sink_failure is None:
            self.satisfied = self._pipe.cut = True
            return
        self.process.interrupt()
        self.process.wait()
        cause = self.process.sink_failure or cause
        reason = str(self.process.sink_failure or self.process.reason())
        raise TargetError(f"cannot write {self._job.target.name}: {reason}") from cause


class _Pipe:
    """What PyAV writes NUT to: FFmpeg's standard input, or nothing once that has been cut."""

    def __init__(self, process: FFmpegProcess) -> None:
        self._process = process
        self.cut = False
        self.interruption: BaseException | None = None

    def write(self, data: bytes) -> int:
        if not self.cut:
            try:
                write_all(self._process.stdin, data)
            except Exception:
                raise
            except BaseException as exc:
                # Ctrl-C inside FFmpeg's own call would be lost there.
                self.interruption, self.cut = exc, True
        return len(data)

    def check(self) -> None:
        """Raise what has interrupted a write."""
        if self.interruption is not None:
            raise self.interruption
