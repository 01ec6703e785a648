"""Sony real-time metadata (``rtmd``): shutter time or angle of each frame of XAVC, in tags of SMPTE RDD 18.

Source: SMPTE RDD 18 (acquisition metadata sets: 0x8106 capture frame rate, 0x8108 shutter speed as an angle in 1/60
degree, 0x8109 as a time in seconds); the header before the sets as ExifTool's documentation of Sony's MP4 has it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vdeblur.video.exposure.written import PacketExposures

_HEADER_BYTES = 0x1C
_CAPTURE_RATE, _ANGLE, _TIME = 0x8106, 0x8108, 0x8109
#: A label of SMPTE in front of a set, 16 bytes; the set's length then looks like a tag that holds further tags.
_LABEL, _LABEL_BYTES, _SET = 0x060E, 16, 0x8300
_MOST_DEPTH = 4


class RtmdReader:
    """Shutter of each packet."""

    source = "Sony rtmd"

    def recognises(self, data: bytes) -> bool:
        return len(data) > _HEADER_BYTES and data[:2] == b"\0\x1c" and any(True for _ in _tags(data[_HEADER_BYTES:], 0))

    def read(self, data: bytes) -> PacketExposures:
        tags = dict(_tags(data[_HEADER_BYTES:], 0))
        rate = _rational(tags.get(_CAPTURE_RATE, b""))
        if (seconds := _rational(tags.get(_TIME, b""))) is not None:
            return PacketExposures(seconds=(seconds,), capture_rate=rate)
        angle = tags.get(_ANGLE, b"")
        if len(angle) == 4:
            return PacketExposures(fractions=(int.from_bytes(angle, "big", signed=True) / 60 / 360,))
        return PacketExposures()


def _tags(data: bytes, depth: int) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 4 <= len(data):
        tag, size = struct.unpack_from(">HH", data, place)
        if tag == _LABEL:
            place += _LABEL_BYTES
            continue
        value = data[place + 4 : place + 4 + size]
        if tag in (0, 0xFFFF) or len(value) < size:
            return
        if tag != _SET:
            yield tag, value
        elif depth < _MOST_DEPTH:
            yield from _tags(value, depth + 1)
        place += 4 + size


def _rational(value: bytes) -> float | None:
    top, bottom = struct.unpack(">II", value) if len(value) == 8 else (0, 0)
    return top / bottom if top and bottom else None
