"""Canon timed metadata (``CTMD``): exposure time of each frame in records of type 5.

Source: the layout that ExifTool documents (Canon CTMD and ExposureInfo tags). Little-endian: the record's bytes (u32),
its type (u16), six bytes of unknown meaning, then for type 5 an f-number, an exposure time (two u16 each) and an ISO.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from vdeblur.video.exposure.written import PacketExposures

_HEADER_BYTES, _EXPOSURE, _HIGHEST_TYPE = 12, 5, 11


class CtmdReader:
    """Exposure time of each packet."""

    source = "Canon CTMD"

    def recognises(self, data: bytes) -> bool:
        records = list(_records(data))
        whole = sum(_HEADER_BYTES + len(body) for _, body in records) == len(data)
        return whole and bool(records) and all(0 < kind <= _HIGHEST_TYPE for kind, _ in records)

    def read(self, data: bytes) -> PacketExposures:
        for kind, body in _records(data):
            if kind == _EXPOSURE and len(body) >= 8:
                top, bottom = struct.unpack_from("<HH", body, 4)
                return PacketExposures(seconds=(top / bottom,) if bottom else ())
        return PacketExposures()


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _HEADER_BYTES <= len(data):
        size, kind = struct.unpack_from("<IH", data, place)
        if size < _HEADER_BYTES or place + size > len(data):
            return
        yield kind, data[place + _HEADER_BYTES : place + size]
        place += size
