"""Segments of a TIFF page, strips and tiles, decompressed within bounds.

Deflate, LZMA and PackBits are unpacked here, and never to more than a segment has. LZW, fax and JPEG go through
FFmpeg's decoders, one segment at a time, each dressed as a small picture whose samples are the unpacked bytes: there
FFmpeg is right, and its own bounds hold.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from functools import cache
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

from vdeblur.errors import SourceError
from vdeblur.video.formats.plane_layouts import rows
from vdeblur.video.tiff.directories import TiffData
from vdeblur.video.tiff.layout import DEFLATE, FAX, JPEG, LZMA, NONE, OLD_DEFLATE, PACKBITS, PageLayout

#: Most memory that unpacking LZMA may take beside the samples.
_LZMA_BYTES = 1 << 27
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class SegmentReader:
    """Unpacks segments of pages; keeps FFmpeg's decoders between them."""

    def __init__(self, data: TiffData) -> None:
        self._data = data
        self._decoders: dict[str, VideoCodecContext] = {}

    def unpacked(self, page: PageLayout, index: int, row_bytes: int, row_count: int) -> bytes:
        """The bytes of a segment that is not a JPEG: rows of samples, as they would lie there uncompressed.

        Raises:
            SourceError: it is damaged or too short; in words that follow "it".
        """
        wanted = row_bytes * row_count
        packed = self._packed(page, index, wanted)
        if page.compression == NONE:
            found = packed
        elif page.compression in (DEFLATE, OLD_DEFLATE):
            found = _inflated(packed, wanted)
        elif page.compression == LZMA:
            found = _unpacked_lzma(packed, wanted)
        elif page.compression == PACKBITS:
            found = _unpacked_bits(packed, wanted)
        else:
            found = self._unpacked_by_ffmpeg(page, packed, row_bytes, row_count)
        if len(found) < wanted:
            raise SourceError(f"part {index + 1} of its samples ends too early")
        return found[:wanted]

    def jpeg(self, page: PageLayout, index: int) -> av.VideoFrame:
        """The picture of a segment that is a JPEG.

        Raises:
            SourceError: it is damaged.
        """
        packed = self._packed(page, index, 1 << 62)
        tables = page.jpeg_tables.removeprefix(_JPEG_START)
        if tables:
            packed = _JPEG_START + tables.partition(_JPEG_END)[0] + packed.removeprefix(_JPEG_START)
        return self._decoded("mjpeg", packed, f"part {index + 1} of its samples is damaged")

    def _packed(self, page: PageLayout, index: int, most: int) -> bytes:
        place, count = page.offsets[index], page.counts[index]
        if page.compression == NONE:
            count = min(count, most)
        if not place or not count or place >= self._data.size:
            raise SourceError(f"part {index + 1} of its samples is missing")
        packed = self._data.read(place, count)
        return packed.translate(_reversed_bits()) if page.bits_reversed and page.compression != JPEG else packed

    def _unpacked_by_ffmpeg(self, page: PageLayout, packed: bytes, row_bytes: int, row_count: int) -> bytes:
        fax = page.compression in FAX
        width = min(page.segment_width, 8 * row_bytes) if fax else row_bytes
        picture = _small_tiff(page, packed, width, row_count, bits=1 if fax else 8)
        frame = self._decoded("tiff", picture, "its samples are damaged")
        found = rows(frame, 0, np.uint8, row_bytes)[:row_count]
        return np.ascontiguousarray(found).tobytes()

    def _decoded(self, decoder: str, data: bytes, failure: str) -> av.VideoFrame:
        packet: av.Packet[Any] = av.Packet(len(data))
        packet.update(data)
        try:
            frames = self._decoder(decoder).decode(packet)
        except (av.error.FFmpegError, ValueError) as exc:
            self._decoders.pop(decoder, None)
            raise SourceError(failure) from exc
        if not frames or frames[0].is_corrupt:
            raise SourceError(failure)
        return frames[0]

    def _decoder(self, name: str) -> VideoCodecContext:
        if name not in self._decoders:
            made = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
            made.thread_count = 1
            # Else FFmpeg's decoder of TIFF gives black where data are damaged.
            made.options = {"err_detect": "explode"}
            self._decoders[name] = made
        return self._decoders[name]


def _inflated(packed: bytes, wanted: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, wanted)
    except zlib.error as exc:
        raise SourceError("its samples are damaged") from exc


def _unpacked_lzma(packed: bytes, wanted: int) -> bytes:
    try:
        return lzma.LZMADecompressor(memlimit=_LZMA_BYTES).decompress(packed, wanted)
    except (lzma.LZMAError, EOFError) as exc:
        raise SourceError("its samples are damaged") from exc


def _unpacked_bits(packed: bytes, wanted: int) -> bytes:
    """PackBits; here and not in FFmpeg, which refuses runs that go on into the next row."""
    made, place = bytearray(), 0
    while place < len(packed) and len(made) < wanted:
        count = packed[place]
        if count < 128:
            made += packed[place + 1 : place + 2 + count]
            place += 2 + count
        else:
            made += packed[place + 1 : place + 2] * (257 - count if count > 128 else 0)
            place += 2 if count > 128 else 1
    return bytes(made)


def _small_tiff(page: PageLayout, packed: bytes, width: int, height: int, *, bits: int) -> bytes:
    """A TIFF of one strip, whose samples are the unpacked bytes, or the bits of a fax."""
    fields = (
        (256, width), (257, height), (258, bits), (259, page.compression), (262, 1),
        (273, 8), (277, 1), (278, height), (279, len(packed)), (292, page.fax_options),
    )  # fmt: skip
    place = 8 + len(packed) + len(packed) % 2
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    padded = packed + b"\0" * (len(packed) % 2)
    return struct.pack("<2sHI", b"II", 42, place) + padded + struct.pack("<H", len(fields)) + entries + bytes(4)


@cache
def _reversed_bits() -> bytes:
    values: npt.NDArray[np.uint8] = np.arange(256, dtype=np.uint8)
    return np.packbits(np.unpackbits(values[:, None], axis=1)[:, ::-1], axis=1).tobytes()
