"""Quantiser lookup: how strongly each picture of a source was compressed, from its decoder or from its packet."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import av

from vdeblur.video.av_compat import side_data_items
from vdeblur.video.quantiser.av1 import Av1Quantisers
from vdeblur.video.quantiser.h264 import H264Quantisers
from vdeblur.video.quantiser.hevc import HevcQuantisers
from vdeblur.video.quantiser.jpeg import jpeg_quantiser
from vdeblur.video.quantiser.side_data import mean_quantiser
from vdeblur.video.quantiser.vp8 import vp8_quantiser

#: Options of a decoder that make it tell, where it can.
DECODER_OPTIONS = {"export_side_data": "venc_params"}
#: What the decoder then puts beside a picture, by FFmpeg's name.
ENCODING_PARAMETERS = "VIDEO_ENC_PARAMS"
#: Decoders that do.
_TELLING = frozenset(
    {"vp9", "mpeg1video", "mpeg2video", "mpegvideo", "mpeg4", "h263", "h263p", "h263i", "flv", "msmpeg4"}
    | {"msmpeg4v1", "msmpeg4v2", "wmv1", "wmv2", "rv10", "rv20"}
)


class QuantiserReader(Protocol):
    """Reads the packets of one decoder, in decoding order."""

    @property
    def lowered(self) -> float:
        """By how much the blocks lie below what is read, in the mean of many pictures, as far as is known by now."""

    def read(self, packet: Any) -> float | None:
        """Quantiser of the picture of a packet; ``None`` where it cannot be told, or is lossless."""


class _Alone:
    """A reader that needs nothing but the packet."""

    lowered = 0.0

    def __init__(self, read: Callable[[Any], float | None]) -> None:
        self.read = read


#: Readers of packets, by decoder; each is made with the decoder's extradata.
_READERS: dict[str, Callable[[bytes], QuantiserReader]] = {
    "h264": H264Quantisers,
    "hevc": HevcQuantisers,
    "av1": Av1Quantisers,
    "libdav1d": Av1Quantisers,
    "mjpeg": lambda _: _Alone(jpeg_quantiser),
    "vp8": lambda _: _Alone(vp8_quantiser),
    "libvpx": lambda _: _Alone(vp8_quantiser),
}
#: Pictures that may be in the decoder at once, and values that wait for their frames.
_MOST_WAITING = 1024
#: How the quantiser is known, by decoder, for people.
_SOURCES = {
    "h264": "its slice headers",
    "hevc": "its slice headers",
    "mjpeg": "its quantisation tables",
}


def quantiser_source(decoder: str) -> str | None:
    """What tells the quantisers of a decoder's pictures, in words; ``None`` = nothing does."""
    if decoder in _TELLING:
        return "its decoder"
    return _SOURCES.get(decoder, "its frame headers") if decoder in _READERS else None


class QuantiserLookup:
    """Quantisers of one source's pictures, each of its packet or picture alone. It never fails: else nothing is known.

    Packets are shown to a watcher of their decoder in decoding order, pictures to :meth:`seen` in the order they come
    out. The value of a picture does not depend on where reading goes on, so that a resumed job has the same; what the
    encoder says of itself, once in a stream, is kept.
    """

    def __init__(self) -> None:
        self._decoder = ""
        self._lowered = 0.0
        self._of_packets: OrderedDict[int, float] = OrderedDict()
        self._waiting: deque[float | None] = deque()
        self._of_ticks: dict[int, float] = {}

    def watcher(self, decoder: str, extradata: bytes | None) -> Callable[[av.Packet[Any]], None]:
        """What is to be called with each packet of one decoder of the source, before it is decoded."""
        self._decoder = decoder
        make = _READERS.get(decoder)
        if make is None:
            return _ignore
        return partial(self._sent, make(extradata or b""))

    def _sent(self, reader: QuantiserReader, packet: av.Packet[Any]) -> None:
        found = reader.read(packet)
        self._lowered = self._lowered or reader.lowered
        if packet.pts is None:
            return
        self._of_packets.pop(packet.pts, None)
        if found is not None:
            self._of_packets[packet.pts] = found
            if len(self._of_packets) > _MOST_WAITING:
                self._of_packets.popitem(last=False)

    def seen(self, pictures: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Pictures as they came out of the decoder; for each, :meth:`place` must follow in this order."""
        for picture in pictures:
            self._waiting.append(self.of_picture(picture))
            yield picture

    def place(self, tick: int) -> None:
        """The tick of the next picture that has been seen."""
        found = self._waiting.popleft() if self._waiting else None
        if found is not None:
            self._of_ticks[tick] = found

    def of_frame(self, tick: int) -> float | None:
        """Quantiser of a frame that has come from the picture of a tick; those of earlier ones are forgotten."""
        for old in [one for one in self._of_ticks if one < tick]:
            del self._of_ticks[old]
        return self._of_ticks.get(tick)

    def restart(self) -> None:
        """Reading goes on elsewhere."""
        self._waiting.clear()
        self._of_ticks.clear()

    def of_picture(self, picture: av.VideoFrame) -> float | None:
        """Quantiser of a picture that has just come out of the decoder."""
        if self._decoder not in _TELLING:
            found = None if picture.pts is None else self._of_packets.get(picture.pts)
            return None if found is None else max(0.0, found - self._lowered)
        try:
            for item in side_data_items(picture):
                if item.type.name == ENCODING_PARAMETERS:
                    return mean_quantiser(item, picture.format.components[0].bits)
        except ValueError:  # PyAV 18 does not know the kind of one of them
            pass
        return None


def _ignore(packet: av.Packet[Any]) -> None:
    """Of codecs whose packets do not tell."""
