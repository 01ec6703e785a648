"""WebP metadata: chunks of its RIFF container. Source: RFC 9649."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from vdeblur.video.photo.metadata import MOST_BYTES, PictureTags

_ICC, _ALPHA, _EXIF, _XMP = 0x20, 0x10, 0x08, 0x04
_TAGS = frozenset({b"ICCP", b"EXIF", b"XMP "})


def read(file: BinaryIO) -> PictureTags:
    found = {kind: data for kind, data in _chunks(file, wanted=_TAGS) if data}
    exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    return PictureTags(exif or None, found.get(b"ICCP"), xmp=found.get(b"XMP "))


def write(data: bytes, tags: PictureTags) -> bytes:
    """The same WebP with these tags: the profile before the samples, the rest behind them."""
    chunks = [(kind, payload) for kind, payload in _chunks(BytesIO(data)) if kind not in _TAGS]
    header = next((payload for kind, payload in chunks if kind == b"VP8X"), None) or _header(chunks)
    if header is None:
        return data
    flags = header[0] & ~(_ICC | _EXIF | _XMP)
    for flag, value in ((_ICC, tags.icc), (_EXIF, tags.exif), (_XMP, tags.xmp)):
        flags |= flag if value is not None else 0
    body = _chunk(b"VP8X", bytes([flags]) + header[1:])
    body += b"" if tags.icc is None else _chunk(b"ICCP", tags.icc)
    body += b"".join(_chunk(kind, payload) for kind, payload in chunks if kind != b"VP8X")
    body += b"" if tags.exif is None else _chunk(b"EXIF", tags.exif)
    body += b"" if tags.xmp is None else _chunk(b"XMP ", tags.xmp)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _header(chunks: list[tuple[bytes, bytes]]) -> bytes | None:
    """The extended header that a simple file lacks."""
    for kind, data in chunks:
        if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a" and len(data) >= 10:
            width, height = (size & 0x3FFF for size in struct.unpack("<HH", data[6:10]))
            return _extended(width, height, alpha=False)
        if kind == b"VP8L" and data[:1] == b"\x2f" and len(data) >= 5:
            bits = int.from_bytes(data[1:5], "little")
            return _extended((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha=bool(bits >> 28 & 1))
    return None


def _extended(width: int, height: int, *, alpha: bool) -> bytes:
    return struct.pack("<I", _ALPHA if alpha else 0) + b"".join(
        (size - 1).to_bytes(3, "little") for size in (width, height)
    )


def _chunks(file: BinaryIO, *, wanted: frozenset[bytes] | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk; those that are not wanted are passed over."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        raise ValueError("no WebP")
    while len(head := file.read(8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if wanted is not None and (kind not in wanted or size > MOST_BYTES):
            file.seek(size + size % 2, 1)
            continue
        data = file.read(size)
        file.seek(size % 2, 1)
        if len(data) < size:
            return
        yield kind, data


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
