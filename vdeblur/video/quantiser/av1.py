"""Quantiser of an AV1 picture: base_q_idx of the frame that is shown (AV1 specification, 5.9 to 5.12).

Read with every header on the way, and nothing behind it: segments and blocks may add to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vdeblur.video.quantiser.av1_sequence import EACH_FRAME, Av1Sequence, read_sequence
from vdeblur.video.quantiser.bits import BitReader, OutOfBitsError
from vdeblur.video.quantiser.scales import quantiser_of_vp9

#: obu_type, and frame_type.
_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_SLOTS, _REFERENCES, _ALL = 8, 7, 0xFF
#: Bytes of an OBU that hold the headers, and OBUs of a packet that are looked at.
_HEADER_BYTES, _MOST_UNITS = 1024, 256
#: Limits of tiles, in luma samples.
_TILE_WIDTH, _TILE_AREA, _MOST_TILES = 4096, 4096 * 2304, 64


@dataclass(frozen=True)
class _Shown:
    """What is kept of a frame: its index, its size, which later frames may take, and whether it is a key frame."""

    index: int
    size: tuple[int, int]
    key: bool


class Av1Quantisers:
    """Reads packets in decoding order.

    Args:
        extradata: the decoder's: AV1CodecConfigurationRecord, or nothing.
    """

    def __init__(self, extradata: bytes) -> None:
        self.lowered = 0.0
        self._sequence: Av1Sequence | None = None
        self._slots: list[_Shown | None] = [None] * _SLOTS
        if len(extradata) > 4 and extradata[0] == 0x81:
            self.read(extradata[4:])

    def read(self, packet: Any) -> float | None:
        """Quantiser of the picture that a packet shows; ``None`` where it cannot be told, or is lossless."""
        shown: _Shown | None = None
        for kind, layer, payload in _units(memoryview(packet)):
            try:
                if kind == _SEQUENCE:
                    self._sequence = read_sequence(payload)
                elif kind in (_FRAME_HEADER, _FRAME) and self._sequence is not None:
                    shown = _FrameHeader(BitReader(payload), self._sequence, self._slots, layer).read() or shown
            except OutOfBitsError:
                return None
        return quantiser_of_vp9(shown.index) if shown is not None and shown.index else None


def _units(data: memoryview) -> Iterator[tuple[int, tuple[int, int], bytes]]:
    """Type, layer (temporal, spatial) and the beginning of each OBU of a packet."""
    place = 0
    for _ in range(_MOST_UNITS):
        if place >= len(data) or data[place] & 0x80:
            return
        head, layer = data[place], (0, 0)
        place += 1
        if head & 4 and place < len(data):
            layer = data[place] >> 5, (data[place] >> 3) & 3
            place += 1
        size = len(data) - place
        if head & 2:
            size = shift = 0
            for _ in range(8):
                if place >= len(data):
                    return
                size |= (data[place] & 0x7F) << shift
                shift += 7
                place += 1
                if not data[place - 1] & 0x80:
                    break
        yield (head >> 3) & 15, layer, bytes(data[place : place + min(size, _HEADER_BYTES)])
        place += size


class _FrameHeader:
    """uncompressed_header() to base_q_idx, which fills the slots of later frames."""

    def __init__(
        self, read: BitReader, sequence: Av1Sequence, slots: list[_Shown | None], layer: tuple[int, int]
    ) -> None:
        self._bits, self._sequence, self._slots, self._layer = read, sequence, slots, layer
        self._resilient = self._intra = self._override = False

    def read(self) -> _Shown | None:
        """The frame, if it is shown."""
        read, sequence = self._bits, self._sequence
        kind, shown = _KEY, True
        if not sequence.reduced_still:
            if read.flag():
                return self._again(read.bits(3))
            kind, shown = read.bits(2), read.flag()
            if shown and sequence.time_bits is not None:
                read.bits(sequence.time_bits)
            if not shown:
                read.bits(1)
        self._intra = kind in (_KEY, _INTRA_ONLY)
        fresh = kind == _KEY and shown
        self._resilient = sequence.reduced_still or kind == _SWITCH or fresh or read.flag()
        return self._refreshed(kind, fresh, shown)

    def _refreshed(self, kind: int, fresh: bool, shown: bool) -> _Shown | None:
        """From disable_cdf_update on."""
        read, sequence = self._bits, self._sequence
        fixed = read.flag()
        screen = read.flag() if sequence.screen_content == EACH_FRAME else bool(sequence.screen_content)
        integer = self._intra
        if screen:
            said = read.flag() if sequence.integer_vectors == EACH_FRAME else bool(sequence.integer_vectors)
            integer = integer or said
        read.bits(sequence.number_bits)
        self._override = kind == _SWITCH or (not sequence.reduced_still and read.flag())
        read.bits(sequence.order_bits)
        if not (self._intra or self._resilient):
            read.bits(3)  # primary_ref_frame
        self._skip_removal_times()
        slots = _ALL if kind == _SWITCH or fresh else read.bits(8)
        if (not self._intra or slots != _ALL) and self._resilient and sequence.order_bits:
            read.bits(_SLOTS * sequence.order_bits)
        size, coded_width = self._intra_size(screen) if self._intra else self._inter_size(integer)
        if not (sequence.reduced_still or fixed):
            read.bits(1)
        _skip_tiles(read, sequence.large_superblocks, (coded_width, size[1]))
        found = _Shown(read.bits(8), size, kind == _KEY)
        for slot in range(_SLOTS):
            if slots >> slot & 1:
                self._slots[slot] = found
        return found if shown else None

    def _again(self, slot: int) -> _Shown | None:
        """A frame that has been decoded before; a key frame then starts afresh."""
        found = self._slots[slot]
        if found is not None and found.key:
            self._slots[:] = [found] * _SLOTS
        return found

    def _skip_removal_times(self) -> None:
        read, sequence = self._bits, self._sequence
        if not sequence.removal_bits or not read.flag():
            return
        temporal, spatial = self._layer
        for idc, modelled in sequence.points:
            if modelled and (not idc or (idc >> temporal & 1 and idc >> (spatial + 8) & 1)):
                read.bits(sequence.removal_bits)

    def _intra_size(self, screen: bool) -> tuple[tuple[int, int], int]:
        size, coded = self._own_size()
        if screen and coded == size[0]:
            self._bits.bits(1)  # intra block copy
        return size, coded

    def _inter_size(self, integer: bool) -> tuple[tuple[int, int], int]:
        """Size of a frame that refers to others, and all up to use_ref_frame_mvs."""
        read, sequence = self._bits, self._sequence
        short = bool(sequence.order_bits) and read.flag()
        if short:
            read.bits(6)
        slots = []
        for _ in range(_REFERENCES):
            slots.append(None if short else read.bits(3))
            read.bits(sequence.difference_bits)
        if self._override and not self._resilient:
            size, coded = self._size_of(slots)
        else:
            size, coded = self._own_size()
        if not integer:
            read.bits(1)
        if not read.flag():
            read.bits(2)  # interpolation filter
        read.bits(1)
        if not self._resilient and sequence.reference_vectors:
            read.bits(1)
        return size, coded

    def _size_of(self, slots: list[int | None]) -> tuple[tuple[int, int], int]:
        """frame_size_with_refs()."""
        for slot in slots:
            if self._bits.flag():
                before = None if slot is None else self._slots[slot]
                if before is None:
                    raise OutOfBitsError("the size of a reference is not known")
                return before.size, self._coded_width(before.size[0])
        return self._own_size()

    def _own_size(self) -> tuple[tuple[int, int], int]:
        """frame_size() and render_size()."""
        read, size = self._bits, self._sequence.size
        if self._override:
            size = 1 + read.bits(self._sequence.size_bits[0]), 1 + read.bits(self._sequence.size_bits[1])
        coded = self._coded_width(size[0])
        if read.flag():
            read.bits(32)
        return size, coded

    def _coded_width(self, width: int) -> int:
        if not self._sequence.superres or not self._bits.flag():
            return width
        denominator = 9 + self._bits.bits(3)
        return (width * 8 + denominator // 2) // denominator


def _skip_tiles(read: BitReader, large: bool, size: tuple[int, int]) -> None:
    """tile_info(), of a picture of a size (width, height)."""
    shift = 7 if large else 6
    columns, rows = (2 * ((side + 7) >> 3) * 4 + (1 << shift) - 1 >> shift for side in size)
    widest, area = _TILE_WIDTH >> shift, _TILE_AREA >> 2 * shift
    least_columns = _log2(widest, columns)
    least = max(least_columns, _log2(area, rows * columns))
    if read.flag():
        wide = _increments(read, least_columns, _log2(1, min(columns, _MOST_TILES)))
        high = _increments(read, max(least - wide, 0), _log2(1, min(rows, _MOST_TILES)))
    else:
        count, largest = _own_tiles(read, columns, widest)
        wide = _log2(1, count)
        area = (rows * columns >> least + 1) if least else rows * columns
        count, _ = _own_tiles(read, rows, max(area // largest, 1))
        high = _log2(1, count)
    if wide or high:
        read.bits(wide + high + 2)


def _increments(read: BitReader, least: int, most: int) -> int:
    while least < most and read.flag():
        least += 1
    return least


def _own_tiles(read: BitReader, length: int, most: int) -> tuple[int, int]:
    """Count and largest size of tiles along one side, in superblocks."""
    start = count = largest = 0
    while start < length:
        tile = 1 + read.below(min(length - start, most))
        largest, start, count = max(largest, tile), start + tile, count + 1
        if count > _MOST_TILES:
            raise OutOfBitsError("a frame has too many tiles")
    return count, largest


def _log2(block: int, target: int) -> int:
    """tile_log2(): smallest k with ``block`` · 2^k ≥ ``target``."""
    return 0 if target <= block else (-(-target // block) - 1).bit_length()
