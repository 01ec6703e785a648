"""Encoder process: a running FFmpeg, and the pipe that feeds it raw frames and packets."""

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
from vdeblur.video.segments.joining import join_segments
from vdeblur.video.segments.journal import Segment
from vdeblur.video.sink.command_plan import CommandPlan
from vdeblur.video.sink.targets import Target
from vdeblur.video.streams.passthrough import PassthroughPackets
from vdeblur.video.streams.timeline import Timeline

_log = logging.getLogger(__name__)

#: An FFmpeg that no longer reads has this long to say why.
_PATIENCE_SECONDS = 20.0


class EncoderProcess:
    """A running FFmpeg with the pipe into it.

    Args:
        target: the output, for FFmpeg's standard output and for messages.

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
        """Context of a write to the pipe: a failure is reported with FFmpeg's own reason.

        Raises:
            TargetError: FFmpeg has failed.
        """
        try:
            yield
            self.pipe.check()
        except (OSError, av.error.FFmpegError) as exc:
            self._stopped(exc)

    def finish(self) -> None:
        """Close the pipe, and wait until FFmpeg has written everything.

        Raises:
            TargetError: FFmpeg has failed.
        """
        with self.writing():
            self.process.stdin.close()
        if self.process.wait() or self.process.sink_failure is not None:
            self._stopped(None)
        self.process.kill()

    def interrupt(self) -> None:
        """Interrupt FFmpeg; later writes are discarded."""
        self.process.interrupt()
        self.pipe.cut = True

    def _stopped(self, cause: Exception | None) -> None:
        """FFmpeg has closed the pipe: it has all it was asked for, or it failed."""
        if self.process.wait_for(_PATIENCE_SECONDS) == 0 and self.process.sink_failure is None:
            self.satisfied = self.pipe.cut = True
            return
        self.process.interrupt()
        self.process.wait()
        cause = self.process.sink_failure or cause
        reason = str(self.process.sink_failure or self.process.reason())
        raise TargetError(f"cannot write {self._name}: {reason}") from cause


class FrameFeed:
    """Feeds raw frames and pass-through packets to an encoder process.

    A frame that would share its instant with the one before, in the container's coarser clock, comes one tick of that
    later; ``after`` is the tick of the last frame of an earlier segment, as sent.

    Raises:
        TargetError: FFmpeg cannot be started.
    """

    def __init__(
        self,
        plan: CommandPlan,
        command: Sequence[str],
        timeline: Timeline,
        passthrough: PassthroughPackets | None = None,
        after: int | None = None,
    ) -> None:
        self._timeline = timeline
        self._least = plan.container.least_ticks(plan.spec.time_base)
        self._last = after
        self._passthrough = passthrough
        self.encoder_process = EncoderProcess(command, plan.target)
        self._muxer = RawMuxer(self.encoder_process.pipe, plan.spec)
        #: Timestamps of the frames so far, as sent.
        self.times = array("q")
        #: Closed captions by the tick of their frame.
        self.captions: dict[int, bytes] = {}
        if passthrough is not None:
            passthrough.add_streams(self._muxer)

    @property
    def satisfied(self) -> bool:
        return self.encoder_process.satisfied

    def send(self, frame: Frame) -> None:
        """Send a frame, and the packets demuxed with it.

        Raises:
            TargetError: FFmpeg has failed.
        """
        if self.satisfied:
            return
        tick = self._timeline.nut_tick(frame.pts)
        if self._last is not None:
            tick = max(tick, self._last + self._least)
        self._last = tick
        with self.encoder_process.writing():
            self._send_packets()
            self._muxer.write(frame, tick)
        self.times.append(tick)
        if frame.captions:
            self.captions[tick] = frame.captions

    def finish(self) -> None:
        """End the stream, and wait until FFmpeg has written it.

        Raises:
            TargetError: FFmpeg has failed.
        """
        with self.encoder_process.writing():
            if not self.satisfied:
                self._send_packets()
            self._muxer.close()
        self.encoder_process.finish()

    def discard(self) -> None:
        """Interrupt FFmpeg and free everything; harmless after :meth:`finish`."""
        self.encoder_process.interrupt()
        try:
            self._muxer.discard()
        except (OSError, av.error.FFmpegError) as exc:
            _log.debug("closing the frames' container: %s", exc)
        self.encoder_process.process.kill()

    def _send_packets(self) -> None:
        if self._passthrough is not None:
            self._passthrough.mux_pending(self._muxer, self._timeline)


class SegmentJoin:
    """Feeds the joined segments, as one stream, to the FFmpeg that muxes the output.

    Raises:
        TargetError: FFmpeg cannot be started.
    """

    def __init__(self, plan: CommandPlan, timeline: Timeline, carrier: Container) -> None:
        self._plan = plan
        self._carrier = carrier
        self.encoder_process = EncoderProcess(plan.joining_command(timeline, carrier), plan.target)

    def run(self, folder: Path, segments: Sequence[Segment]) -> None:
        """Send all segments, and wait until FFmpeg has written the output.

        Raises:
            TargetError: FFmpeg or the disk failed.
        """
        with self.encoder_process.writing():
            join_segments(folder, segments, self._plan.spec, self._carrier, self.encoder_process.pipe)
        self.encoder_process.finish()

    def discard(self) -> None:
        """Interrupt FFmpeg; harmless after :meth:`run`."""
        self.encoder_process.interrupt()
        self.encoder_process.process.kill()


class _Pipe:
    """FFmpeg's standard input as a sink for PyAV; closed once ``cut``, it discards the bytes."""

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
        """Raise the exception that interrupted a write."""
        if self.interruption is not None:
            raise self.interruption
