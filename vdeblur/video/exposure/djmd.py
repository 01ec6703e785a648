"""DJI ``djmd``: exposure time of each frame in the protobuf messages of DJI's drones and action cameras.

Source: the fields that ExifTool documents for each protocol (DJI Protobuf tags). The first packet names the protocol.
A protocol that is not in the table is not guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator

from vdeblur.video.exposure.written import PacketExposures

_PROTOCOL = (1, 1, 1)
#: Microseconds since the camera was switched on.
_CLOCK = (3, 1, 2)
#: The message that holds the exposure time as two numbers, e.g. 1 and 50.
_EXPOSURE_TIME = {
    "dvtm_ac203": (3, 2, 4, 1),  # Osmo Action 4
    "dvtm_ac204": (3, 2, 4, 1),  # Osmo Action 5 Pro
    "dvtm_ac206": (3, 2, 4, 1),  # Osmo Action 6
    "dvtm_oq101": (3, 2, 4, 1),  # Osmo 360
    "dvtm_AVATA2": (3, 2, 4, 1),
    "dvtm_dji_neo": (3, 2, 4, 1),
    "dvtm_wm265e": (3, 2, 3, 1),  # Mavic 3
    "dvtm_pm320": (3, 2, 3, 1),  # Matrice 30
    "dvtm_Mini4_Pro": (3, 2, 10, 1),
    "dvtm_Air3": (3, 2, 10, 1),
    "dvtm_Air3s": (3, 2, 10, 1),
    "dvtm_PP-101": (3, 2, 10, 1),  # Osmo Pocket 3
    "dvtm_wm261": (3, 2, 10, 1),  # Mavic 3 Pro
    "dvtm_Mavic4": (3, 2, 10, 1),
}
#: Protobuf's types of a field: a number of variable length, 8 bytes, a length and bytes, 4 bytes.
_VARIABLE, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MOST_FIELDS = 1000


class DjmdReader:
    """Exposure time of each packet, after the first one has named the protocol."""

    source = "DJI djmd"

    def __init__(self) -> None:
        self._path: tuple[int, ...] | None = None

    def recognises(self, data: bytes) -> bool:
        name = _value(data, _PROTOCOL)
        if isinstance(name, bytes):
            self._path = _EXPOSURE_TIME.get(name.decode("ascii", "replace").removesuffix(".proto"))
        return self._path is not None

    def read(self, data: bytes) -> PacketExposures:
        pair = _value(data, self._path) if self._path else None
        numbers = _variable_numbers(pair) if isinstance(pair, bytes) else []
        if len(numbers) != 2 or not numbers[1]:
            return PacketExposures()
        clock = _value(data, _CLOCK)
        clock_seconds = clock / 1e6 if isinstance(clock, int) else None
        return PacketExposures((numbers[0] / numbers[1],), clock_seconds=clock_seconds)


def _value(data: bytes, path: tuple[int, ...]) -> int | bytes | None:
    """The first field at the end of a path of field numbers."""
    found: int | bytes = data
    for number in path:
        if not isinstance(found, bytes):
            return None
        following = next((value for field, value in _fields(found) if field == number), None)
        if following is None:
            return None
        found = following
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields, up to the first that is damaged."""
    place = 0
    for _ in range(_MOST_FIELDS):
        key, place = _variable(data, place)
        kind = key & 7
        if kind == _VARIABLE:
            value, place = _variable(data, place)
            if place > len(data) or value < 0:
                return
            yield key >> 3, value
            continue
        size = {_EIGHT: 8, _FOUR: 4}.get(kind, -1)
        if kind == _BYTES:
            size, place = _variable(data, place)
        if key < 8 or size < 0 or place + size > len(data):
            return
        yield key >> 3, data[place : place + size]
        place += size


def _variable(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and the place behind it; -1 where it is cut off."""
    value = 0
    for index in range(10):
        if place + index >= len(data):
            break
        byte = data[place + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    return -1, len(data)


def _variable_numbers(data: bytes) -> list[int]:
    numbers: list[int] = []
    place = 0
    while place < len(data) and len(numbers) < 3:
        value, place = _variable(data, place)
        numbers.append(value)
    return numbers
