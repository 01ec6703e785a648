"""JPEG metadata: segments between the first marker and the first scan.

Source: ITU-T T.81 and T.871 (JFIF), CIPA DC-008 (Exif), ICC.1 annex B.4, Adobe XMP part 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO

from vdeblur.video.photo.metadata import MOST_BYTES, PictureTags

_APP0, _APP1, _APP2, _APP13, _COMMENT, _SCAN = 0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xDA
_EXIF, _XMP, _MORE_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _RESOURCES, _JFIF = b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"JFIF\0"
#: Previews, depth and gain maps behind the picture itself (CIPA DC-007).
_MORE_PICTURES = b"MPF\0"
#: Longest payload of a segment.
_ROOM = 65533
_CM_PER_INCH = Fraction(254, 100)


def read(file: BinaryIO) -> PictureTags:
    exif = xmp = None
    density: tuple[Fraction, Fraction] | None = None
    profile: dict[int, bytes] = {}
    resources, further_pictures = b"", False
    comments, own = [], []
    for marker, data in _segments(file):
        if marker == _APP0 and data.startswith(_JFIF):
            density = _density(data)
        elif marker == _APP1 and data.startswith(_EXIF) and exif is None:
            exif = data[len(_EXIF) :]
        elif marker == _APP1 and data.startswith(_XMP):
            xmp = data[len(_XMP) :]
        elif marker == _APP1 and data.startswith(_MORE_XMP):
            own.append(_segment(marker, data))
        elif marker == _APP2 and data.startswith(_ICC) and len(data) > 14:
            profile[data[12]] = data[14:]
        elif marker == _APP2 and data.startswith(_MORE_PICTURES):
            further_pictures = True
        elif marker == _APP13 and data.startswith(_RESOURCES):
            resources += data[len(_RESOURCES) :]
        elif marker == _COMMENT:
            comments.append(data)
    icc = b"".join(profile[number] for number in sorted(profile)) or None
    return PictureTags(
        exif, icc, xmp=xmp, resources=resources or None, density=density, comments=tuple(comments),
        own=("JPEG", tuple(own)) if own else None, further_pictures=further_pictures,
    )  # fmt: skip


def write(data: bytes, tags: PictureTags) -> bytes:
    """The same JPEG with these tags instead of the encoder's own."""
    file = BytesIO(data)
    first, kept = b"", b""
    for marker, payload in _segments(file):
        if marker == _APP0 and payload.startswith(_JFIF):
            first = _segment(marker, _with_density(payload, tags.density))
        elif marker not in (_APP1, _APP2, _APP13, _COMMENT):
            kept += _segment(marker, payload)
    return b"\xff\xd8" + first + b"".join(_written(tags)) + kept + data[file.tell() :]


def _written(tags: PictureTags) -> Iterator[bytes]:
    """Segments that say what the tags say; what is too long for one is left out, except for profiles."""
    if tags.exif is not None and len(tags.exif) + len(_EXIF) <= _ROOM:
        yield _segment(_APP1, _EXIF + tags.exif)
    if tags.xmp is not None and len(tags.xmp) + len(_XMP) <= _ROOM:
        yield _segment(_APP1, _XMP + tags.xmp)
    yield from tags.own_of("JPEG")
    icc = tags.icc or b""
    parts = [icc[place : place + _ROOM - 14] for place in range(0, len(icc), _ROOM - 14)]
    for number, part in enumerate(parts if len(parts) < 256 else (), 1):
        yield _segment(_APP2, _ICC + bytes([number, len(parts)]) + part)
    resources = tags.resources or b""
    room = _ROOM - len(_RESOURCES)
    for place in range(0, len(resources), room):
        yield _segment(_APP13, _RESOURCES + resources[place : place + room])
    for comment in tags.comments:
        yield _segment(_COMMENT, comment)


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each segment up to the first scan; the file then stands at its marker."""
    if file.read(2) != b"\xff\xd8":
        raise ValueError("no JPEG")
    total = 0
    while True:
        place = file.tell()
        lead, marker = file.read(1), file.read(1)
        while marker == b"\xff":  # filling
            marker = file.read(1)
        size = int.from_bytes(file.read(2), "big")
        if lead != b"\xff" or not marker or marker[0] == _SCAN or size < 2:
            file.seek(place)
            return
        data = file.read(size - 2)
        total += size
        if len(data) < size - 2 or total > MOST_BYTES:
            file.seek(place)
            return
        yield marker[0], data


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _density(jfif: bytes) -> tuple[Fraction, Fraction] | None:
    """Pixels an inch; ``None`` where it says the shape of the pixels only."""
    if len(jfif) < 12:
        return None
    unit, across, down = struct.unpack(">BHH", jfif[7:12])
    scale = {1: Fraction(1), 2: _CM_PER_INCH}.get(unit)
    return None if scale is None or not across or not down else (across * scale, down * scale)


def _with_density(jfif: bytes, density: tuple[Fraction, Fraction] | None) -> bytes:
    if density is None:
        return jfif
    metric = all((value / _CM_PER_INCH).denominator == 1 for value in density)
    unit, scale = (2, 1 / _CM_PER_INCH) if metric else (1, Fraction(1))
    across, down = (min(65535, max(1, round(value * scale))) for value in density)
    return jfif[:7] + struct.pack(">BHH", unit, across, down) + jfif[12:]
