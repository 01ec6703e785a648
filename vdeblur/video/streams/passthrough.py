"""Packets that travel with the frames: the other streams of a source that cannot be opened a second time.

They come from the reader and go through the same NUT into FFmpeg, which copies them into the target.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import av
from av.stream import Stream

from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.encode.raw_video import RawMuxer
from vdeblur.video.streams.timeline import Stretch


class Companions:
    """The other streams' packets, read as the frames are."""

    def __init__(self, packets: Callable[[], list[av.Packet[Any]]], templates: Sequence[Stream]) -> None:
        self._packets = packets
        self._templates = {stream.index: stream for stream in templates}
        self._travelling: dict[int, Stream] = {}
        self._wanted: tuple[int, ...] = ()

    def takes(self, codecs: dict[int, str], muxer: str) -> bool:
        """Whether NUT and ``muxer`` have words for these streams; asked of the muxers themselves."""
        if not codecs.keys() <= self._templates.keys():
            return False
        copied = [index for index, codec in codecs.items() if codec == "copy"]
        return self._header_of("nut", codecs) and self._header_of(muxer, copied)

    def _header_of(self, muxer: str, indexes: Iterable[int]) -> bool:
        """Whether the muxer writes a header for these streams; none at all need no header."""
        try:
            with av.open(io.BytesIO(), "w", format=muxer) as container:
                for index in indexes:
                    container.add_stream_from_template(self._templates[index], opaque=True)
                if container.streams:
                    container.start_encoding()
        except (av.error.FFmpegError, ValueError, TypeError):
            return False
        return True

    def choose(self, indexes: Sequence[int]) -> None:
        """Say which streams will travel, in the order they get in NUT behind the frames."""
        self._wanted = tuple(indexes)

    def add_to(self, muxer: RawMuxer) -> None:
        for index in self._wanted:
            self._travelling[index] = muxer.add_stream(self._templates[index])

    def pass_on(self, muxer: RawMuxer, stretch: Stretch) -> None:
        """Send the packets read since the last call."""
        for packet in self._packets():
            stream = self._travelling.get(packet.stream.index)
            time_base = fraction_or_none(packet.time_base)
            if stream is None or time_base is None:
                continue
            moved = _ticks(stretch.moved_seconds, time_base)
            shown = packet.pts if packet.pts is not None else packet.dts
            if stretch.cut and shown is not None and shown + moved < 0:
                continue
            ahead = moved + _ticks(Fraction(stretch.lead_seconds), time_base)
            if packet.pts is not None:
                packet.pts += ahead
            if packet.dts is not None:
                packet.dts += ahead
            packet.stream = stream
            muxer.mux(packet)


def _ticks(seconds: Fraction, time_base: Fraction) -> int:
    return round(seconds / time_base)
