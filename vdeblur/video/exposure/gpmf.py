"""GoPro GPMF: exposure times (``SHUT``) in the key-length-value packets of the "GoPro MET" track.

Source: GoPro's description of GPMF, github.com/gopro/gpmf-parser (docs/README.md). Everything is big-endian. A key of
four letters, a type, the bytes of a sample and their number, then the samples, padded to four bytes; type 0 holds
further keys. ``SCAL`` divides the values that follow it, ``TYPE`` describes samples of type "?".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vdeblur.video.exposure.written import PacketExposures

#: struct's letters and divisors of the numeric types; q and Q are fixed-point.
_TYPES = {
    "b": ("b", 1), "B": ("B", 1), "s": ("h", 1), "S": ("H", 1), "l": ("i", 1), "L": ("I", 1), "f": ("f", 1),
    "d": ("d", 1), "j": ("q", 1), "J": ("Q", 1), "q": ("i", 1 << 16), "Q": ("q", 1 << 32),
}  # fmt: skip
#: Devices hold streams, and streams values; nothing real is nested deeper.
_MOST_DEPTH = 4
#: Values of one packet: a second of 240 frames has 240.
_MOST_VALUES = 4096


@dataclass(frozen=True)
class _Item:
    key: bytes
    kind: str
    size: int
    data: bytes


class GpmfReader:
    """Exposure times of each packet, with the camera's clock where it is written."""

    source = "GoPro GPMF"

    def recognises(self, data: bytes) -> bool:
        return data[:4] == b"DEVC"

    def read(self, data: bytes) -> PacketExposures:
        return _found(data, 0) or PacketExposures()


def _found(data: bytes, depth: int) -> PacketExposures | None:
    """The first stream of exposure times, wherever it lies."""
    stream: dict[bytes, _Item] = {}
    for item in _items(data):
        if item.kind == "\0" and depth < _MOST_DEPTH:
            found = _found(item.data, depth + 1)
            if found is not None:
                return found
        elif item.key == b"SHUT":
            values = _first_numbers(item, stream)
            return PacketExposures(values, clock_seconds=_clock(stream)) if values else None
        else:
            stream[item.key] = item
    return None


def _items(data: bytes) -> Iterator[_Item]:
    """Keys that lie side by side; what is cut off is left out."""
    place = 0
    while place + 8 <= len(data):
        key, kind, size, count = struct.unpack_from(">4scBH", data, place)
        end = place + 8 + size * count
        if key == b"\0\0\0\0" or end > len(data):
            return
        yield _Item(key, kind.decode("latin-1"), size, data[place + 8 : end])
        place = end + -end % 4


def _first_numbers(item: _Item, stream: dict[bytes, _Item]) -> tuple[float, ...]:
    """The first number of each sample, divided by its scale."""
    kind = item.kind
    if kind == "?":
        described = stream.get(b"TYPE")
        kind = chr(described.data[0]) if described is not None and described.data else ""
    letter, divisor = _TYPES.get(kind, ("", 1))
    if not letter or item.size < struct.calcsize(letter):
        return ()
    scale = stream.get(b"SCAL")
    by = _first_numbers(scale, {}) if scale is not None else ()
    places = range(0, min(len(item.data), item.size * _MOST_VALUES), item.size)
    numbers = [struct.unpack_from(f">{letter}", item.data, place)[0] / divisor for place in places]
    return tuple(number / (by[0] if by and by[0] else 1) for number in numbers)


def _clock(stream: dict[bytes, _Item]) -> float | None:
    """Seconds of the camera's clock: microseconds, or in older cameras milliseconds."""
    for key, ticks in ((b"STMP", 1e6), (b"TICK", 1e3)):
        if key in stream and (numbers := _first_numbers(stream[key], {})):
            return numbers[0] / ticks
    return None
