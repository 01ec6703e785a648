"""Animated WebP source: composed frames handed on as raw video."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import numpy as np
from av.stream import Stream

from vdeblur.errors import SourceError, UsageError
from vdeblur.video.clock.slots import DecodingSlots
from vdeblur.video.info import Crop, PartOfVideo, TimeScan
from vdeblur.video.source.decoder import DecodingContext, decoding_context
from vdeblur.video.source.location import file_id
from vdeblur.video.source.truncation import Truncation
from vdeblur.video.source.webp_parser import Planes, WebpAnimation, WebpCanvas, read_animation

#: Raw video of what a canvas has, its matrix and its range (ITU-T H.273; WebP's YCbCr is BT.601, limited).
_CARRIER = {"yuva420p": ("yuva420p", 5, 1), "gbrap": ("rgba", 0, 2)}


class AnimatedWebp:
    """An animated WebP; a tick is a millisecond.

    Raises:
        SourceError: it cannot be read.
        UsageError: ``frame_rate`` is given.
    """

    display_matrix: tuple[int, ...] | None = None
    first_colours: av.VideoFrame | None = None
    crop: Crop | None = None
    parts: Mapping[int, PartOfVideo] = MappingProxyType({})
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, frame_rate: Fraction | None) -> None:
        if frame_rate is not None:
            raise UsageError(f"{path} has timestamps of its own; a frame rate is for picture sequences and raw streams")
        try:
            self._file = path.open("rb")
        except OSError as exc:
            raise SourceError(f"cannot read {path}: {exc.strerror or exc}") from exc
        self._animation = animation = read_animation(self._file)
        self._canvas: WebpCanvas | None = None
        try:
            self._container = av.open(io.BytesIO(_carrier(animation)), "r")
        except av.error.FFmpegError as exc:
            self._file.close()
            claim = f"{animation.width}×{animation.height}"
            raise SourceError(f"{path} says that its picture is {claim}, more than can be decoded") from exc
        self.stream = self._container.streams.video[0]
        _, matrix, value_range = _CARRIER[animation.pixel_format]
        self.stream.codec_context.colorspace, self.stream.codec_context.color_range = matrix, value_range
        self.streams: list[Stream] = [self.stream]
        self.time_base = Fraction(1, 1000)
        total = sum(part.milliseconds for part in animation.parts)
        self.rate: Fraction | None = Fraction(1000 * len(animation.parts), total) if total else None
        self.start_pts: int | None = 0
        self.frame_count: int | None = len(animation.parts) or None
        self.video_seconds: float | None = total / 1000
        self.duration_seconds: float | None = self.video_seconds
        size = path.stat().st_size
        self.cut = Truncation(size, size + 1, certain=False) if animation.cut_off else None
        self.container_name = "webp"
        self.chapter_seconds: tuple[Fraction, ...] = ()
        self.metadata: dict[str, str] = {}
        self.input_url: str | None = None
        self.input_options: dict[str, str] = {}
        self.file_id = file_id(path)
        self.change: str | None = None
        self.failure: str | None = None
        self.kept: deque[av.Packet[Any]] = deque()
        self.scan: TimeScan | None = None
        self.broken: str | None = None
        self.slots: DecodingSlots | None = None

    def packets(self) -> Iterator[av.Packet[Any]]:
        """Every picture as it is shown, each with its time."""
        self._canvas = canvas = WebpCanvas(self._animation)
        parts = self._animation.parts
        for part, end in zip(parts, accumulate(part.milliseconds for part in parts), strict=True):
            self._file.seek(part.offset)
            try:
                canvas.draw(part, self._file.read(part.size))
            except SourceError as exc:
                self.failure = str(exc)
                return
            data = _raw(canvas.planes, self._animation.pixel_format)
            packet: av.Packet[Any] = av.Packet(len(data))
            packet.update(data)
            packet.pts = packet.dts = end - part.milliseconds
            packet.duration, packet.time_base, packet.is_keyframe = part.milliseconds, self.time_base, True
            yield packet
            if part.disposes:
                canvas.clear(part)

    def seek(self, tick: int) -> bool:
        """Each picture is drawn over the one before: there is nothing to begin from but the first."""
        return False

    def decoding_context(self) -> DecodingContext:
        return decoding_context(self.stream)

    def close(self) -> None:
        self.streams.clear()
        del self.stream
        self._canvas = None
        self._container.close()
        self._file.close()


def _carrier(animation: WebpAnimation) -> bytes:
    """Start of a raw video with the canvas's size and format, which gives the stream its decoder."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="nut") as container:
        stream: Any = container.add_stream("rawvideo", rate=Fraction(25))
        stream.width, stream.height = animation.width, animation.height
        stream.pix_fmt = _CARRIER[animation.pixel_format][0]
        container.start_encoding()
        # Without a packet it would be no video; nobody reads this one.
        packet: av.Packet[Any] = av.Packet(16)
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        container.mux_one(packet)
    return sink.getvalue()


def _raw(planes: Planes, pixel_format: str) -> bytes:
    """Samples as raw video has them."""
    if pixel_format == "yuva420p":
        return b"".join(plane.tobytes() for plane in planes)
    green, blue, red, alpha = planes
    return np.stack((red, green, blue, alpha), axis=-1).tobytes()
