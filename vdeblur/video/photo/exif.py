"""Exif: tags of a photograph as TIFF directories, and its orientation.

Source: TIFF 6.0; Exif 2.32 (CIPA DC-008), which puts the same directories into every kind of picture file.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

ORIENTATION, EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 274, 34665, 34853, 40965
_POINTERS = frozenset({EXIF_POINTER, GPS_POINTER, INTEROP_POINTER})
#: Bytes of one value of each type; 1 byte, 2 text, 3 short, 4 long, 5 rational, 7 undefined, 8-10 signed, 11-12 floats.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: Bytes of the units that change places with the byte order.
_UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}
#: Directories may lie anywhere and point anywhere; nobody has so many tags, or so long ones.
_MOST_TAGS, _MOST_BYTES = 1000, 1 << 26
_SHORT, _LONG = 3, 4

#: A TIFF stream in memory, or a file mapped into it.
Data = bytes | mmap.mmap

#: Signs of the display matrix (a, b, c, d) and the orientation that shows the same.
_BY_MATRIX = {
    (1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8,
}  # fmt: skip


@dataclass(frozen=True)
class Tag:
    """One entry of a directory; ``data`` is little-endian, a directory it points to stands in its place."""

    kind: int
    count: int
    data: bytes
    directory: Mapping[int, Tag] | None = None

    @property
    def numbers(self) -> tuple[Fraction, ...]:
        """Values of the integer and rational types; empty for others."""
        letter = {1: "B", 3: "H", 4: "I", 5: "I", 8: "h", 9: "i", 10: "i"}.get(self.kind)
        if letter is None:
            return ()
        values = struct.unpack(f"<{len(self.data) // struct.calcsize(letter)}{letter}", self.data)
        if self.kind not in (5, 10):
            return tuple(map(Fraction, values))
        return tuple(Fraction(top, bottom or 1) for top, bottom in zip(values[0::2], values[1::2], strict=True))


def short(value: int) -> Tag:
    return Tag(_SHORT, 1, struct.pack("<H", value))


def rational(value: Fraction) -> Tag:
    value = value.limit_denominator(1 << 16)
    return Tag(5, 1, struct.pack("<II", value.numerator, value.denominator))


def orientation_of(matrix: tuple[int, ...] | None) -> int | None:
    """Exif's orientation, 1 to 8, of FFmpeg's display matrix; ``None`` where there is none, or it is askew."""
    if matrix is None:
        return None
    a, b, c, d = ((matrix[place] > 0) - (matrix[place] < 0) for place in (0, 1, 3, 4))
    return _BY_MATRIX.get((a, b, c, d))


def matrix_of(orientation: int) -> tuple[int, ...] | None:
    """FFmpeg's display matrix that shows a picture as an orientation, 1 to 8, says; ``None`` for other numbers."""
    signs = next((signs for signs, number in _BY_MATRIX.items() if number == orientation), None)
    if signs is None:
        return None
    a, b, c, d = (sign << 16 for sign in signs)
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def read_directory(data: Data, position: int | None = None, *, depth: int = 0) -> dict[int, Tag]:
    """Tags of the first directory of a TIFF stream, or of the one at ``position``, and of those it points to.

    Values that lie outside of the data are left out.
    """
    order = byte_order(data)
    if order is None:
        return {}
    if position is None:
        position = _number(data, 4, 4, order)
    tags: dict[int, Tag] = {}
    for place in _entries(data, position, order):
        name, kind, count = struct.unpack_from(order + "HHI", data, place)
        size = SIZES.get(kind, 0) * count
        start = place + 8 if size <= 4 else _number(data, place + 8, 4, order)
        if not 0 < size <= _MOST_BYTES or start + size > len(data):
            continue
        directory = None
        if name in _POINTERS and depth < 2:
            directory = read_directory(data, _number(data, place + 8, 4, order), depth=depth + 1)
        tags[name] = Tag(kind, count, swapped(data[start : start + size], kind, order), directory)
    return tags


def directory_bytes(tags: Mapping[int, Tag], position: int) -> bytes:
    """A little-endian directory that will lie at ``position``, with its values and the directories it points to."""
    entries, further = b"", b""
    here = position + 2 + 12 * len(tags) + 4
    for name in sorted(tags):
        tag = tags[name]
        kind, count, data = tag.kind, tag.count, tag.data
        if tag.directory is not None:
            kind, count, data = _LONG, 1, struct.pack("<I", here + len(further))
            further += directory_bytes(tag.directory, here + len(further))
        elif len(data) > 4:
            data, value = struct.pack("<I", here + len(further)), data
            further += value + b"\0" * (len(value) % 2)
        entries += struct.pack("<HHI", name, kind, count) + data.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + further


def stream_of(tags: Mapping[int, Tag]) -> bytes:
    """Exif data with these tags."""
    return struct.pack("<2sHI", b"II", 42, 8) + directory_bytes(tags, 8)


def with_orientation(exif: bytes | None, orientation: int) -> bytes | None:
    """Exif data that say which way up the picture is; everything else in it stays where it is, byte for byte."""
    order = None if exif is None else byte_order(exif)
    if exif is None or order is None:
        return None if orientation == 1 else stream_of({ORIENTATION: short(orientation)})
    value = struct.pack(order + "HHIHH", ORIENTATION, _SHORT, 1, orientation, 0)
    first = _number(exif, 4, 4, order)
    entries = list(_entries(exif, first, order))
    for place in entries:
        if _number(exif, place, 2, order) == ORIENTATION:
            return exif[:place] + value + exif[place + 12 :]
    if orientation == 1:
        return exif
    # A new first directory at the end: nothing else moves, so that what makers point to stays right.
    rows = sorted([exif[place : place + 12] for place in entries] + [value], key=lambda row: _number(row, 0, 2, order))
    following = first + 2 + 12 * len(entries)
    directory = struct.pack(order + "H", len(rows)) + b"".join(rows) + exif[following : following + 4].ljust(4, b"\0")
    padded = exif + b"\0" * (len(exif) % 2)
    return padded[:4] + struct.pack(order + "I", len(padded)) + padded[8:] + directory


def byte_order(data: Data) -> str | None:
    """ "<" or ">" by the first bytes of a TIFF stream; ``None`` if it is none."""
    return {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4]) if len(data) >= 8 else None


def _entries(data: Data, position: int, order: str) -> range:
    """Places of a directory's entries."""
    if position + 2 > len(data):
        return range(0)
    count = min(_number(data, position, 2, order), _MOST_TAGS, (len(data) - position - 2) // 12)
    return range(position + 2, position + 2 + 12 * count, 12)


def _number(data: Data, position: int, size: int, order: str) -> int:
    return int.from_bytes(data[position : position + size], "little" if order == "<" else "big")


def swapped(data: bytes, kind: int, order: str) -> bytes:
    """Values in little-endian order."""
    unit = _UNITS.get(kind, 1)
    if order == "<" or unit == 1:
        return data
    return b"".join(data[place : place + unit][::-1] for place in range(0, len(data), unit))
