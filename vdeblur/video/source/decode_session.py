"""Decode session: demuxer and decoder of one source, from the start or from the key frame before a tick."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Any

import av

from vdeblur.errors import SourceError
from vdeblur.video.info import TimeScan
from vdeblur.video.quantiser.lookup import QuantiserLookup
from vdeblur.video.source.decoder import Decoder
from vdeblur.video.source.demuxer import PacketSource, open_media
from vdeblur.video.source.limits import pixel_limit, refused_claim
from vdeblur.video.source.location import SourceLocation
from vdeblur.video.source.parts.container_crop import cropped

#: How far before the wanted tick to look for a key frame to start from, one try after the other.
_STEPS_BACK_SECONDS = (0, 1, 4, 16, 64)


class DecodeSession:
    """One pass over a source; closing it ends the decoder's threads.

    Raises:
        SourceError, UsageError: as :func:`open_media`, or there is no decoder.
    """

    media: PacketSource
    decoder: Decoder

    def __init__(
        self,
        place: SourceLocation,
        *,
        threads: int,
        frame_rate: Fraction | None,
        keep_packets: bool = False,
        video: int | None = None,
        scan: TimeScan | None = None,
        quantisers: QuantiserLookup | None = None,
    ) -> None:
        self._place = place
        self._quantisers = quantisers
        self._video = video
        self._threads = threads
        self._frame_rate = frame_rate
        self._keep_packets = keep_packets
        self._scan = scan
        self._max_px = pixel_limit(place.file_bytes)
        self._open()

    def _open(self) -> None:
        self.media = open_media(
            self._place,
            frame_rate=self._frame_rate,
            keep_packets=self._keep_packets,
            video=self._video,
            scan=self._scan,
        )
        try:
            context = self.media.decoding_context()
            self.decoder = Decoder(context, threads=self._threads, max_px=self._max_px, quantisers=self._quantisers)
        except SourceError as exc:
            self.media.close()
            if (claim := self._refused_claim()) is not None:
                raise SourceError(f"cannot read {self._place.name}: {claim}") from exc
            raise
        except BaseException:
            self.media.close()
            raise

    def _refused_claim(self) -> str | None:
        """A size of the picture that was refused, in words."""
        if not self._place.again:
            return None

        def open_again() -> None:
            with closing(open_media(self._place, frame_rate=self._frame_rate, video=self._video)) as media:
                Decoder(media.stream.codec_context, threads=1, max_px=self._max_px).close()

        return refused_claim(open_again, self._place.file_bytes)

    def __enter__(self) -> DecodeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.decoder.close()
        self.media.close()

    def pictures(self) -> Iterator[av.VideoFrame]:
        """Decoded frames from the present position to the end."""
        return self._shown(self.decoder.frames(self.media.packets()))

    def _shown(self, pictures: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Decoded pictures as far as the container wants them shown."""
        return pictures if self.media.crop is None else cropped(pictures, self.media.crop)

    def pictures_from(self, tick: int) -> Iterator[av.VideoFrame]:
        """Decoded frames from one at or before ``tick`` on, all of them sound; from the start if need be.

        A key frame must be shown no later than ``tick``: frames that are decoded after it but shown before it may
        refer to frames that were never read.
        """
        if not self._place.again:
            return self.pictures()
        if self._scan is not None and self._scan.moves:
            return self._pictures_from_key(self._scan, tick)
        for seconds in _STEPS_BACK_SECONDS:
            if not self.media.seek(tick - round(seconds / self.media.time_base)):
                break
            packets = self.media.packets()
            key = _key_packet(packets, tick)
            if key is not None and (pictures := self._from_key(key, packets, tick)) is not None:
                return pictures
        self.close()
        self._open()
        return self.pictures()

    def _pictures_from_key(self, scan: TimeScan, tick: int) -> Iterator[av.VideoFrame]:
        """The same where times in the file say no place: packets before the key frame are read and not decoded."""
        keys = [key for key in scan.keys if key <= tick]
        for key in sorted(keys, reverse=True)[: len(_STEPS_BACK_SECONDS)]:
            self.close()
            self._open()
            packets = self.media.packets()
            found = next((packet for packet in packets if packet.is_keyframe and packet.pts == key), None)
            if found is None:
                break
            if (pictures := self._from_key(found, packets, tick)) is not None:
                return pictures
        self.close()
        self._open()
        return self.pictures()

    def _from_key(
        self, key: av.Packet[Any], packets: Iterator[av.Packet[Any]], tick: int
    ) -> Iterator[av.VideoFrame] | None:
        """Decoded frames from a key frame on; ``None`` if the first is shown after ``tick``."""
        pictures = self._shown(self.decoder.frames(chain([key], packets)))
        first = next(pictures, None)
        if first is None or first.pts is None or first.pts > tick:
            return None
        return chain([first], pictures)


def _key_packet(packets: Iterator[av.Packet[Any]], tick: int) -> av.Packet[Any] | None:
    """The next key frame if it is shown at or before ``tick``."""
    for packet in packets:
        if packet.pts is None or (packet.dts or packet.pts) > tick:
            return None
        if packet.is_keyframe:
            return packet if packet.pts <= tick else None
    return None
