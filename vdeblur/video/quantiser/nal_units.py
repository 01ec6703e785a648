"""NAL units of H.264 and HEVC in packets and decoder configurations (ISO/IEC 14496-15; annex B of both standards)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from vdeblur.video.quantiser.bits import OutOfBitsError

#: Bytes of a slice that hold its header, and of a parameter set; NAL units that are looked at.
HEADER_BYTES, SET_BYTES = 512, 8192
_MOST_UNITS = 64
_START = b"\x00\x00\x01"


class UnitQuantisers(ABC):
    """Quantisers of pictures by their NAL units: reads packets in decoding order.

    Args:
        units: of the decoder's configuration.
        length_bytes: of the length before each unit in a packet; 0: there are start codes.
    """

    def __init__(self, units: Iterable[memoryview], length_bytes: int) -> None:
        #: By how much the blocks lie below their slice in the mean, as far as the encoder says.
        self.lowered = 0.0
        self._length_bytes = length_bytes
        for unit in units:
            self._told(unit)

    def read(self, packet: Any) -> float | None:
        """Quantiser of the picture in a packet; ``None`` where it cannot be told, or is lossless."""
        for unit in packet_units(packet, self._length_bytes):
            if (found := self._told(unit)) is not None:
                return found
        return None

    def _told(self, unit: memoryview) -> float | None:
        try:
            return self._quantiser(unit)
        except OutOfBitsError:
            return None

    @abstractmethod
    def _quantiser(self, unit: memoryview) -> float | None:
        """That of a NAL unit, if it is the first slice of a picture; parameter sets are kept."""


def packet_units(packet: Any, length_bytes: int) -> Iterator[memoryview]:
    """NAL units of a packet, each behind a length of so many bytes, or behind a start code (0)."""
    data = memoryview(packet)
    return _with_lengths(data, length_bytes) if length_bytes else _after_start_codes(data)


def set_units(record: bytes, start: int) -> Iterator[memoryview]:
    """Parameter sets of an AVCDecoderConfigurationRecord, from the number of sequence parameter sets on."""
    view, place = memoryview(record), start
    for bits in (0x1F, 0xFF):
        count = view[place] & bits if place < len(view) else 0
        place += 1
        for _ in range(min(count, _MOST_UNITS)):
            length = int.from_bytes(view[place : place + 2], "big")
            yield view[place + 2 : place + 2 + length]
            place += 2 + length


def array_units(record: bytes) -> Iterator[memoryview]:
    """Parameter sets of an HEVCDecoderConfigurationRecord: arrays, each with its type and number of units in front."""
    view, place = memoryview(record), 23
    for _ in range(min(record[22], _MOST_UNITS)):
        count = int.from_bytes(view[place + 1 : place + 3], "big")
        place += 3
        for _ in range(min(count, _MOST_UNITS)):
            length = int.from_bytes(view[place : place + 2], "big")
            yield view[place + 2 : place + 2 + length]
            place += 2 + length


def _with_lengths(data: memoryview, length_bytes: int) -> Iterator[memoryview]:
    place = 0
    for _ in range(_MOST_UNITS):
        length = int.from_bytes(data[place : place + length_bytes], "big")
        place += length_bytes
        if not length or place + length > len(data):
            return
        yield data[place : place + length]
        place += length


def _after_start_codes(data: memoryview) -> Iterator[memoryview]:
    whole = bytes(data)
    place = whole.find(_START)
    for _ in range(_MOST_UNITS):
        if place < 0:
            return
        end = whole.find(_START, place + 3)
        yield data[place + 3 : len(whole) if end < 0 else end]
        place = end
