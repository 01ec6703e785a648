"""A running encode: FFmpeg at work on a job, and the frames and packets on their way to it."""

from __future__ import annotations

import logging
import subprocess
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av

from vdeblur.errors import TargetError
from vdeblur.frames import Frame
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.raw_video import RawMuxer
from vdeblur.video.ffmpeg.process import FFmpegProcess, write_all
from vdeblur.video.segments.joining import join
from vdeblur.video.segments.journal import Segment
from vdeblur.video.sink.command_plan import Job
from vdeblur.video.sink.targets import Target
from vdeblur.video.streams.passthrough import Companions
from vdeblur.video.streams.timeline import Stretch

_log = logging.getLogger(__name__)

#: An FFmpeg that no longer reads has this long to say why.
_PATIENCE_SECONDS = 20.0


class Encode:
    """FFmpeg, and the pipe into it.

    Args:
        target: what it writes, for its standard output and for messages.

    Raises:
        TargetError: FFmpeg cannot be started.
    """

    def __init__(self, command: Sequence[str], target: Target) -> None:
        self._name = target.name
        stdout = None if target.is_standard_output else subprocess.DEVNULL
        self.process = FFmpegProcess(command, stdout=stdout, sink=target.sink)
        self.pipe = _Pipe(self.process)
        #: FFmpeg has ended well before its input, because an option of the user said so.
        self.satisfied = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around writing to the pipe: what fails there has a reason that FFmpeg knows.

        Raises:
            TargetError: FFmpeg has failed.
        """
        try:
            yield
            self.pipe.check()
        except (OSError, av.error.FFmpegError) as exc:
            self._stopped(exc)

    def finish(self) -> None:
        """End the input, and wait until FFmpeg has written everything.

        Raises:
            TargetError: FFmpeg has failed.
        """
        with self.writing():
            self.process.stdin.close()
        if self.process.wait() or self.process.sink_failure is not None:
            self._stopped(None)
        self.process.kill()

    def interrupt(self) -> None:
        """End FFmpeg at once; what is written after that goes nowhere."""
        self.process.interrupt()
        self.pipe.cut = True

    def _stopped(self, cause: Exception | None) -> None:
        """FFmpeg reads no more: because it has what it was asked for, or because it failed."""
        if self.process.wait_for(_PATIENCE_SECONDS) == 0 and self.process.sink_failure is None:
            self.satisfied = self.pipe.cut = True
            return
        self.process.interrupt()
        self.process.wait()
        cause = self.process.sink_failure or cause
        reason = str(self.process.sink_failure or self.process.reason())
        raise TargetError(f"cannot write {self._name}: {reason}") from cause


class Feed:
    """Raw frames, and packets beside them, on their way into an encode.

    Raises:
        TargetError: FFmpeg cannot be started.
    """

    def __init__(
        self, job: Job, command: Sequence[str], stretch: Stretch, companions: Companions | None = None
    ) -> None:
        self._stretch = stretch
        self._companions = companions
        self.encode = Encode(command, job.target)
        self._muxer = RawMuxer(self.encode.pipe, job.picture)
        #: Times of the frames so far, as they were sent.
        self.times = array("q")
        if companions is not None:
            companions.add_to(self._muxer)

    @property
    def satisfied(self) -> bool:
        return self.encode.satisfied

    def send(self, frame: Frame) -> None:
        """Pass a frame on, and the packets that have come with it.

        Raises:
            TargetError: FFmpeg has failed.
        """
        if self.satisfied:
            return
        sent = self._stretch.sent(frame.pts)
        with self.encode.writing():
            self._send_packets()
            self._muxer.write(frame, sent)
        self.times.append(sent)

    def finish(self) -> None:
        """Send the end, and wait until FFmpeg has written it.

        Raises:
            TargetError: FFmpeg has failed.
        """
        with self.encode.writing():
            if not self.satisfied:
                self._send_packets()
            self._muxer.close()
        self.encode.finish()

    def discard(self) -> None:
        """End FFmpeg at once and free everything; harmless after :meth:`finish`."""
        self.encode.interrupt()
        try:
            self._muxer.discard()
        except (OSError, av.error.FFmpegError) as exc:
            _log.debug("closing the frames' container: %s", exc)
        self.encode.process.kill()

    def _send_packets(self) -> None:
        if self._companions is not None:
            self._companions.pass_on(self._muxer, self._stretch)


class Joining:
    """Finished pieces on their way, as one stream, into the FFmpeg that puts everything together.

    Raises:
        TargetError: FFmpeg cannot be started.
    """

    def __init__(self, job: Job, stretch: Stretch, carrier: Container) -> None:
        self._job = job
        self._carrier = carrier
        self.encode = Encode(job.joining_command(stretch, carrier), job.target)

    def run(self, folder: Path, segments: Sequence[Segment]) -> None:
        """Send all pieces, and wait until FFmpeg has written the whole.

        Raises:
            TargetError: FFmpeg or the disk failed.
        """
        with self.encode.writing():
            join(folder, segments, self._job.picture, self._carrier, self.encode.pipe)
        self.encode.finish()

    def discard(self) -> None:
        """End FFmpeg at once; harmless after :meth:`run`."""
        self.encode.interrupt()
        self.encode.process.kill()


class _Pipe:
    """What PyAV writes to: FFmpeg's standard input, or nothing once that has been cut."""

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
