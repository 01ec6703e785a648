"""Raw pipe: uncompressed frames to another program, each flushed whole and at once."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, Protocol, get_args

import av
import numpy as np

from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Frame
from vdeblur.video.encode.raw_video import RawMuxer, RawVideoSpec
from vdeblur.video.formats.pixel_formats import video_frame_from
from vdeblur.video.realtime.uniform_frames import YUV420, UniformFrames

PipeFormat = Literal["nut", "y4m", "mpegts"]
PIPE_FORMATS: tuple[str, ...] = get_args(PipeFormat)

#: Ticks a second of the times that are written.
TICKS = 90_000
_USUAL_RATE = Fraction(30)
_Y4M_SAMPLINGS = {"yuv420p": "420mpeg2", "yuv422p": "422", "yuv444p": "444", "yuv411p": "411"}
#: For a wire: no picture waits for another, and key frames are near, for those who join.
_WIRE = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18", "g": "30"}
_WIRE_CONTAINER = {"flush_packets": "1", "muxdelay": "0", "muxpreload": "0", "pat_period": "0.1"}


class _Stream(Protocol):
    def write(self, frame: Frame, tick: int) -> None: ...

    def close(self) -> None: ...


class RawPipe:
    """Writes frames of any kind to something with ``write``; all become plain ones of the first one's size.

    Args:
        write: takes bytes, waits until they are taken, and raises when nobody takes them any more.
        kind: "nut" and "y4m" hold raw frames, NUT with their times; "mpegts" holds H.264.
        rate: asked at the first frame for the frames a second; ``None`` where nobody knows.

    Raises:
        UsageError: there is no such kind.
    """

    def __init__(
        self, write: Callable[[bytes], object], kind: PipeFormat, *, rate: Callable[[], Fraction | None] = lambda: None
    ) -> None:
        if kind not in PIPE_FORMATS:
            raise UsageError(f"format cannot be {kind!r}; on standard output it is one of {', '.join(PIPE_FORMATS)}")
        self._out = _Out(write)
        self._kind = kind
        self._ask_rate = rate
        self._plain = UniformFrames(YUV420 if kind == "mpegts" else None)
        self._stream: _Stream | None = None
        self._last = -1

    def write(self, frame: Frame, seconds: float) -> None:
        """Write a frame that is shown so many seconds after the first.

        Raises:
            OSError: nobody takes it.
            TargetError: it cannot be encoded.
        """
        plain = self._plain(frame)
        if self._stream is None:
            self._stream = self._begun(plain)
        self._last = max(self._last + 1, round(seconds * TICKS))
        try:
            self._stream.write(plain, self._last)
        except av.error.FFmpegError as exc:
            raise self._out.failure or TargetError(f"cannot write the picture: {exc.strerror or exc}") from exc
        if self._out.failure is not None:
            raise self._out.failure

    def close(self) -> None:
        """Write what is still due, unless nobody takes it."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            try:
                stream.close()
            except (OSError, av.error.FFmpegError) as exc:
                if self._out.failure is None:
                    raise TargetError(f"cannot end the picture: {exc}") from exc

    def _begun(self, first: Frame) -> _Stream:
        rate = self._ask_rate() or _USUAL_RATE
        if self._kind == "y4m":
            return _Y4M(self._out, first, rate)
        if self._kind == "mpegts":
            return _Wire(self._out, first, rate)
        spec = RawVideoSpec(first.format, first.colour, first.width, first.height, Fraction(1, TICKS), rate=rate)
        return RawMuxer(self._out, spec)


class _Out:
    """What the muxers write to; a failure is remembered, and nothing is written after it."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.failure is None:
            try:
                self._write(data)
            except OSError as exc:
                self.failure = exc
        return len(data)


class _Y4M:
    """YUV4MPEG2, which has a rate and no times."""

    def __init__(self, out: _Out, first: Frame, rate: Fraction) -> None:
        self._out = out
        sampling = _Y4M_SAMPLINGS.get(first.format.name, "420mpeg2")
        words = f"YUV4MPEG2 W{first.width} H{first.height} F{rate.numerator}:{rate.denominator} Ip A1:1 C{sampling}"
        out.write(f"{words} XCOLORRANGE=LIMITED\n".encode())

    def write(self, frame: Frame, tick: int) -> None:
        planes = [np.ascontiguousarray(plane).tobytes() for plane in frame.planes]
        self._out.write(b"".join([b"FRAME\n", *planes]))

    def close(self) -> None:
        """There is no end mark."""


class _Wire:
    """H.264 in MPEG-TS, encoded so that nothing waits."""

    def __init__(self, out: _Out, first: Frame, rate: Fraction) -> None:
        self._container = av.open(out, "w", format="mpegts", container_options=_WIRE_CONTAINER)
        stream: Any = self._container.add_stream("libx264", rate=rate, options=_WIRE)
        # H.264 with half the chroma has even sides.
        stream.width, stream.height, stream.pix_fmt = first.width & ~1, first.height & ~1, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream = stream

    def write(self, frame: Frame, tick: int) -> None:
        picture = video_frame_from(_even(frame))
        picture.pts, picture.time_base = tick, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _even(frame: Frame) -> Frame:
    """The frame without its last row and column where their number is odd."""
    height, width = frame.height & ~1, frame.width & ~1
    shapes = [frame.format.plane_shape(index, height, width) for index in range(3)]
    parts = zip(frame.planes, shapes, strict=True)
    return frame.with_planes([plane[:rows, :columns] for plane, (rows, columns) in parts])
