"""PNG metadata: ancillary chunks. Source: W3C Portable Network Graphics, third edition."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO

from vdeblur.video.photo.metadata import MOST_BYTES, XMP_KEYWORD, PictureTags, inflated

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Chunks that say what colour the samples have; a profile or code points overrule the rest.
_COLOUR = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt", b"tIME"})
_SAMPLES = frozenset({b"IDAT", b"fdAT", b"PLTE", b"IEND"})
_INCHES_PER_METRE = Fraction(10000, 254)


def read(file: BinaryIO) -> PictureTags:
    exif = icc = xmp = density = None
    name, own = b"ICC profile", []
    for kind, data in _chunks(file, samples=False):
        if kind == b"eXIf":
            exif = data.removeprefix(b"Exif\0\0")
        elif kind == b"iCCP":
            name, _, rest = data.partition(b"\0")
            icc = inflated(rest[1:])
        elif kind == b"iTXt" and data.startswith(XMP_KEYWORD + b"\0"):
            xmp = _xmp(data)
        elif kind == b"pHYs" and len(data) == 9:
            density = _density(data)
        elif kind in _COLOUR or kind in _TEXT:
            own.append(_chunk(kind, data))
    return PictureTags(exif, icc, name, xmp, density=density, own=("PNG", tuple(own)) if own else None)


def write(data: bytes, tags: PictureTags) -> bytes:
    """The same PNG with these tags; where they speak of colour, the encoder's own words about it go."""
    own = tags.own_of("PNG")
    replaced = {b"eXIf", b"iCCP"}
    if tags.icc is not None or own:
        replaced |= _COLOUR
    if tags.density is not None or not _shaped(data):
        replaced.add(b"pHYs")
    head, rest = b"", b""
    for kind, payload in _chunks(BytesIO(data), samples=True):
        if kind == b"IHDR":
            head = _chunk(kind, payload) + b"".join(_written(tags)) + b"".join(own)
        elif kind not in replaced:
            rest += _chunk(kind, payload)
    return _SIGNATURE + head + rest


def _written(tags: PictureTags) -> Iterator[bytes]:
    if tags.icc is not None:
        yield _chunk(b"iCCP", (tags.icc_name[:79] or b"ICC profile") + b"\0\0" + zlib.compress(tags.icc))
    if tags.exif is not None:
        yield _chunk(b"eXIf", tags.exif)
    if tags.density is not None:
        across, down = (round(value * _INCHES_PER_METRE) for value in tags.density)
        yield _chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    if tags.xmp is not None:
        yield _chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + tags.xmp)
    for comment in tags.comments:
        yield _chunk(b"iTXt", b"Comment\0\0\0\0\0" + comment.decode("utf-8", "replace").encode())


def _shaped(data: bytes) -> bool:
    """Whether the encoder says that pixels are not square."""
    for kind, payload in _chunks(BytesIO(data), samples=False):
        if kind == b"pHYs" and len(payload) == 9:
            return payload[:4] != payload[4:8]
    return False


def _chunks(file: BinaryIO, *, samples: bool) -> Iterator[tuple[bytes, bytes]]:
    """Kind and data of each chunk; those of the samples are passed over unless they are wanted."""
    if file.read(8) != _SIGNATURE:
        raise ValueError("no PNG")
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if not samples and (kind in _SAMPLES or size > MOST_BYTES):
            file.seek(size + 4, 1)
            continue
        data = file.read(size)
        file.seek(4, 1)
        if len(data) < size:
            return
        yield kind, data


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _xmp(data: bytes) -> bytes | None:
    start = len(XMP_KEYWORD) + 1
    compressed, rest = data[start : start + 1], data[start + 2 :]
    text = rest.split(b"\0", 2)[-1] if rest.count(b"\0") >= 2 else b""
    return inflated(text) if compressed == b"\1" else text or None


def _density(data: bytes) -> tuple[Fraction, Fraction] | None:
    across, down, unit = struct.unpack(">IIB", data)
    if unit != 1 or not across or not down:
        return None
    # Whole pixels an inch are rounded to whole pixels a metre: back to the nearest hundredth.
    return Fraction(round(across * 2.54), 100), Fraction(round(down * 2.54), 100)
