"""Pass-through packets: the other streams of a source that cannot be opened twice, muxed beside the raw frames.

The reader demuxes them; they go through the same NUT stream into FFmpeg, which copies them into the target.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
from av.stream import Stream

from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.encode.raw_video import RawMuxer
from vdeblur.video.streams.timeline import Timeline


class PassthroughPackets:
    """Packets of the other streams, demuxed while the frames are read.

    Args:
        packets: returns the packets demuxed since the last call.
        templates: their streams.
    """

    def __init__(self, packets: Callable[[], list[av.Packet[Any]]], templates: Sequence[Stream]) -> None:
        self._packets = packets
        self._templates = {stream.index: stream for stream in templates}
        self._streams: dict[int, Stream] = {}
        self._selected: tuple[int, ...] = ()

    def can_mux(self, codecs: Mapping[int, str], muxer: str) -> bool:
        """Whether NUT and ``muxer`` accept these streams, found by writing their headers."""
        if not codecs.keys() <= self._templates.keys():
            return False
        copied = [index for index, codec in codecs.items() if codec == "copy"]
        return self._header_of("nut", codecs) and self._header_of(muxer, copied)

    def _header_of(self, muxer: str, indexes: Iterable[int]) -> bool:
        """Whether the muxer writes a header for these streams; no streams need none."""
        try:
            with av.open(io.BytesIO(), "w", format=muxer) as container:
                for index in indexes:
                    container.add_stream_from_template(self._templates[index], opaque=True)
                if container.streams:
                    container.start_encoding()
        except (av.error.FFmpegError, ValueError, TypeError):
            return False
        return True

    def select(self, indexes: Sequence[int]) -> None:
        """Select the streams to pass through, in their order in NUT behind the frames."""
        self._selected = tuple(indexes)

    def add_streams(self, muxer: RawMuxer) -> None:
        """Add the selected streams to the muxer."""
        for index in self._selected:
            self._streams[index] = muxer.add_stream(self._templates[index])

    def mux_pending(self, muxer: RawMuxer, timeline: Timeline) -> None:
        """Mux the packets demuxed since the last call."""
        for packet in self._packets():
            stream = self._streams.get(packet.stream.index)
            time_base = fraction_or_none(packet.time_base)
            if stream is None or time_base is None:
                continue
            moved = _ticks(timeline.offset_seconds, time_base)
            shown = packet.pts if packet.pts is not None else packet.dts
            if timeline.trims_start and shown is not None and shown + moved < 0:
                continue
            ahead = moved + _ticks(Fraction(timeline.lead_seconds), time_base)
            if packet.pts is not None:
                packet.pts += ahead
            if packet.dts is not None:
                packet.dts += ahead
            packet.stream = stream
            muxer.mux(packet)


def _ticks(seconds: Fraction, time_base: Fraction) -> int:
    return round(seconds / time_base)
