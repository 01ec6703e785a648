"""Quality of a JPEG, as libjpeg counts it, from its quantisation tables (ITU-T T.81, B.2.4.1).

libjpeg multiplies the standard's own table by 50 / quality below 50, and by 2 − quality / 50 from there on. The sum of
a table tells the factor, also where a camera has tables of its own.
"""

from __future__ import annotations

from typing import Any

from vdeblur.video.quantiser.scales import quantiser_of_jpeg

_DQT, _SOS, _MARKER = 0xDB, 0xDA, 0xFF
#: Markers without a length.
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
#: Sum of the standard's table for luma (T.81, table K.1).
_STANDARD_SUM = 3688
#: Bytes and segments in front that are looked at: Exif and profiles may be long.
_MOST_BYTES, _MOST_SEGMENTS = 1 << 20, 128


def jpeg_quantiser(packet: Any) -> float | None:
    """Quantiser of a JPEG by its first table, that of luma; ``None`` where it has none, as lossless ones."""
    quality = jpeg_quality(bytes(memoryview(packet)[:_MOST_BYTES]))
    return None if quality is None else quantiser_of_jpeg(quality)


def jpeg_quality(data: bytes) -> float | None:
    """Quality of 1 to 100, like libjpeg's; ``None`` where no table is found."""
    total = _first_table_sum(data)
    if not total:
        return None
    percent = 100 * total / _STANDARD_SUM
    return min(max(100 - percent / 2 if percent <= 100 else 5000 / percent, 1.0), 100.0)


def _first_table_sum(data: bytes) -> int | None:
    place = data.find(b"\xff\xd8")
    place = place + 2 if place >= 0 else len(data)
    for _ in range(_MOST_SEGMENTS):
        while place + 1 < len(data) and data[place] == data[place + 1] == _MARKER:
            place += 1  # fill bytes
        if place + 4 > len(data) or data[place] != _MARKER or data[place + 1] == _SOS:
            return None
        if data[place + 1] in _BARE:
            place += 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == _DQT:
            return _table_sum(data[place + 4 : place + 2 + length])
        place += 2 + max(2, length)
    return None


def _table_sum(segment: bytes) -> int | None:
    """Sum of the table with number 0, else of the first one; whole tables only."""
    sums: dict[int, int] = {}
    while segment:
        wide, number = segment[0] >> 4, segment[0] & 15
        end = 1 + 64 * (1 + min(wide, 1))
        if wide > 1 or len(segment) < end:
            break
        values = segment[1:end]
        sums[number] = sum(values) if not wide else 256 * sum(values[::2]) + sum(values[1::2])
        segment = segment[end:]
    return sums.get(0, next(iter(sums.values()), None))
