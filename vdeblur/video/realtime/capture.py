"""Capture: frames of a live input with minimal latency, and a timeout when it falls silent."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import SourceError
from vdeblur.frames import Frame
from vdeblur.video.av_compat import fraction_or_none, open_input
from vdeblur.video.formats.colour_tags import frame_colour, stream_colour
from vdeblur.video.formats.pixel_formats import planes_of
from vdeblur.video.quantiser.lookup import DECODER_OPTIONS, QuantiserLookup
from vdeblur.video.realtime.inputs import LiveInput
from vdeblur.video.source.location import PipeSource, SourceLocation
from vdeblur.video.source.opening import choose_video, raise_pipe_failure, reason_of
from vdeblur.video.source.timestamps import TimestampRepair

#: How long an inlet may take to open, and how long it may be silent before it counts as lost.
OPENING_SECONDS, SILENCE_SECONDS = 10.0, 4.0


class Capture:
    """Opens an inlet anew with each call of :meth:`frames`; one thread takes frames, another may close it.

    Decoding uses threads inside a picture only, so that no picture waits for those behind it.
    """

    def __init__(
        self, inlet: LiveInput, *, opening_seconds: float = OPENING_SECONDS, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self.inlet = inlet
        self._timeout = (opening_seconds, silence_seconds)
        self._closing = threading.Event()
        self._pipe = inlet.pipe
        #: Frames a second that the inlet says it has; ``None`` before it is open.
        self.rate: Fraction | None = None

    def frames(self) -> Iterator[Frame]:
        """Frames from now on, with rising times.

        Raises:
            SourceError: it cannot be opened, is silent for too long, breaks off, or ends although it has no end.
        """
        try:
            with self._fifo(), closing(self._open()) as container:
                yield from self._frames(container, choose_video(container, SourceLocation(self.inlet.name)))
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            if self._closing.is_set():
                return
            raise self._lost(exc) from exc
        self._check_pipe()
        if self.inlet.endless and not self._closing.is_set():
            raise SourceError(f"{self.inlet.name} has ended")

    def close(self) -> None:
        """End :meth:`frames`: with the next picture, or when the inlet is silent for too long."""
        self._closing.set()
        if self._pipe is not None:
            self._pipe.stop()

    @contextmanager
    def _fifo(self) -> Iterator[None]:
        """Open the FIFO, if it is one, without waiting for somebody to write to it: closing must not hang there."""
        if self.inlet.fifo is None:
            yield
            return
        descriptor = os.open(self.inlet.fifo, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with io.FileIO(descriptor, "rb") as file:
            self._pipe = PipeSource(file, wait=True)
            if self._closing.is_set():
                self._pipe.stop()
            yield

    def _open(self) -> InputContainer:
        inlet, pipe = self.inlet, self._pipe
        source: Any = inlet.url if pipe is None else pipe
        timeout = None if pipe is not None else self._timeout
        return open_input(source, inlet.format, options=inlet.options, timeout=timeout)

    def _frames(self, container: InputContainer, stream: VideoStream) -> Iterator[Frame]:
        context, header = _decoder(stream), stream_colour(stream)
        time_base = fraction_or_none(stream.time_base)
        assert time_base is not None
        self.rate = fraction_or_none(stream.average_rate) or fraction_or_none(stream.guessed_rate)
        quantisers = QuantiserLookup()
        watch = quantisers.watcher(context.name, context.extradata)
        clock = TimestampRepair(time_base, self.rate, stream.start_time or 0)
        for packet in container.demux(stream):
            if self._closing.is_set():
                return
            if packet.size:
                watch(packet)
            for picture in _decoded(context, packet):
                planes, pixel_format = planes_of(picture)
                colour, quantiser = frame_colour(picture, header), quantisers.of_picture(picture)
                tick = clock.stamp(picture.pts, picture.dts, picture.duration)
                yield Frame(planes, pixel_format, colour, tick, time_base, picture.duration, quantiser=quantiser)

    def _lost(self, exc: Exception) -> SourceError:
        self._check_pipe()
        if isinstance(exc, av.error.ExitError):
            return SourceError(f"{self.inlet.name} is silent")
        return SourceError(f"cannot read {self.inlet.name}: {reason_of(exc)}")

    def _check_pipe(self) -> None:
        pipe = self._pipe
        if pipe is not None and pipe.failure is not None and not self._closing.is_set():
            raise_pipe_failure(self.inlet.name, pipe.failure)


def _decoder(stream: VideoStream) -> VideoCodecContext:
    context = stream.codec_context
    context.thread_type = "SLICE"
    context.thread_count = 0
    context.options = {**context.options, **DECODER_OPTIONS}
    return context


def _decoded(context: VideoCodecContext, packet: av.Packet[Any]) -> list[av.VideoFrame]:
    """Pictures of a packet; a damaged one gives none, the next may be whole again."""
    try:
        return context.decode(packet if packet.size else None)
    except (av.error.InvalidDataError, av.error.EOFError):
        return []
