"""Quantiser of a VP8 frame: y_ac_qi in the frame header, behind a boolean decoder (RFC 6386, 7.3 and 9.3 to 9.6)."""

from __future__ import annotations

from typing import Any

from vdeblur.video.quantiser.bits import OutOfBitsError
from vdeblur.video.quantiser.scales import quantiser_of_vp8

#: Bytes of a frame that hold all that is read here.
_MOST_BYTES = 128
_KEY_START = b"\x9d\x01\x2a"


def vp8_quantiser(packet: Any) -> float | None:
    """Quantiser of a frame, without what its segments add to it; ``None`` for data that are no frame."""
    data = bytes(memoryview(packet)[:_MOST_BYTES])
    if len(data) < 3:
        return None
    key = not data[0] & 1
    if key and data[3:6] != _KEY_START:
        return None
    try:
        return quantiser_of_vp8(_index(_BoolReader(data[10 if key else 3 :]), key))
    except OutOfBitsError:
        return None


def _index(read: _BoolReader, key: bool) -> int:
    if key:
        read.bits(2)  # colour space, clamping
    if read.bits(1):
        _skip_segmentation(read)
    read.bits(1 + 6 + 3)  # loop filter: kind, level, sharpness
    if read.bits(1) and read.bits(1):
        for _ in range(8):
            read.optional(6)
    read.bits(2)  # partitions
    return read.bits(7)


def _skip_segmentation(read: _BoolReader) -> None:
    update_map, update_data = read.bits(1), read.bits(1)
    if update_data:
        read.bits(1)
        for width in (7, 7, 7, 7, 6, 6, 6, 6):
            read.optional(width)
    if update_map:
        for _ in range(3):
            if read.bits(1):
                read.bits(8)


class _BoolReader:
    """The boolean decoder of RFC 6386, 7.3, for bits that are 0 and 1 alike often."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 2:
            raise OutOfBitsError("a frame has no header")
        self._data, self._place = data, 2
        self._value, self._range, self._shifts = int.from_bytes(data[:2], "big"), 255, 0

    def bits(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + self._bit()
        return value

    def optional(self, width: int) -> None:
        """Pass over a number with a sign, if there is one."""
        if self.bits(1):
            self.bits(width + 1)

    def _bit(self) -> int:
        split = 1 + (((self._range - 1) * 128) >> 8)
        if found := self._value >= split << 8:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifts += 1
            if self._shifts == 8:
                self._shifts = 0
                if self._place >= len(self._data):
                    raise OutOfBitsError("a header is longer than its frame")
                self._value |= self._data[self._place]
                self._place += 1
        return int(found)
