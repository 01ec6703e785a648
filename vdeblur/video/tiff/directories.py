"""TIFF directories (IFDs), classic and BigTIFF, of either byte order, read within bounds.

Source: TIFF 6.0, sections 2 and 8; BigTIFF (libtiff).
"""

from __future__ import annotations

import math
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vdeblur.errors import SourceError

#: Letter of ``struct`` and bytes of one value, by the type of a field.
_TYPES = {
    1: ("B", 1), 2: ("s", 1), 3: ("H", 2), 4: ("I", 4), 5: ("II", 8), 6: ("b", 1), 7: ("s", 1), 8: ("h", 2),
    9: ("i", 4), 10: ("ii", 8), 11: ("f", 4), 12: ("d", 8), 13: ("I", 4), 16: ("Q", 8), 17: ("q", 8), 18: ("Q", 8),
}  # fmt: skip
_RATIONALS = frozenset({5, 10})
#: Nobody has so many fields in a directory, so many pages in a file, or so long a field.
_MOST_FIELDS, MOST_PAGES, _MOST_BYTES = 1000, 1 << 17, 1 << 26
_SIGNATURES = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
#: Bytes that show whether a file is a TIFF.
HEAD_BYTES = 4


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF."""
    return head[:HEAD_BYTES] in _SIGNATURES


class TiffData:
    """Bytes of a TIFF, by place: of an open file or of memory. May be read from several threads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.size = file.seek(0, os.SEEK_END)

    @staticmethod
    def of(path: Path) -> TiffData:
        """The bytes of a file.

        Raises:
            SourceError: it cannot be read.
        """
        try:
            return TiffData(path.open("rb"))
        except OSError as exc:
            raise SourceError(f"cannot read {path}: {exc.strerror or exc}") from exc

    def read(self, place: int, count: int) -> bytes:
        """``count`` bytes from ``place`` on; fewer where the data end.

        Raises:
            SourceError: the disk failed.
        """
        if place >= self.size:
            return b""
        with self._lock:
            try:
                self._file.seek(place)
                return self._file.read(min(count, self.size - place))
            except OSError as exc:
                raise SourceError(f"cannot read on: {exc.strerror or exc}") from exc

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Field:
    """One field of a directory; ``data`` in the file's byte order."""

    kind: int
    count: int
    data: bytes
    order: str

    @property
    def numbers(self) -> tuple[int | float | Fraction, ...]:
        """Its values, all of them finite; empty for texts and unknown bytes."""
        letter, size = _TYPES[self.kind]
        if letter == "s":
            return ()
        values = struct.unpack(f"{self.order}{self.count * len(letter)}{letter[0]}", self.data[: self.count * size])
        if letter in "fd":
            return tuple(value if math.isfinite(value) else 0 for value in values)
        if self.kind not in _RATIONALS:
            return values
        return tuple(Fraction(top, bottom or 1) for top, bottom in zip(values[0::2], values[1::2], strict=True))

    @property
    def integers(self) -> tuple[int, ...]:
        """Its values as whole numbers; empty where they are none."""
        return tuple(value for value in self.numbers if isinstance(value, int))

    @property
    def text(self) -> str:
        return self.data.split(b"\0")[0].decode("utf-8", "replace")


class Directory(Mapping[int, Field]):
    """Fields of one page by their tags; what lies outside of the file is left out."""

    def __init__(self, fields: Mapping[int, Field]) -> None:
        self._fields = fields

    def __getitem__(self, tag: int) -> Field:
        return self._fields[tag]

    def __iter__(self) -> Iterator[int]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def integer(self, tag: int, default: int) -> int:
        """First value of a field, or ``default``."""
        return next(iter(self.integers(tag)), default)

    def integers(self, tag: int) -> tuple[int, ...]:
        return self._fields[tag].integers if tag in self._fields else ()

    def numbers(self, tag: int) -> tuple[int | float | Fraction, ...]:
        return self._fields[tag].numbers if tag in self._fields else ()

    def text(self, tag: int) -> str:
        return self._fields[tag].text if tag in self._fields else ""


def directories(data: TiffData) -> Iterator[Directory]:
    """The directories of the pages, one after the other; a chain that leads back into itself ends there.

    Raises:
        SourceError: it is no TIFF, or has too many pages.
    """
    head = data.read(0, 16)
    if not is_tiff(head) or len(head) < 8:
        raise SourceError("it is no TIFF")
    order, big = _SIGNATURES[head[:HEAD_BYTES]]
    number = "Q" if big else "I"
    place = _unpacked(order + number, head[8:] if big else head[4:])
    seen: set[int] = set()
    while place and place not in seen:
        if len(seen) >= MOST_PAGES:
            raise SourceError(f"it has more than {MOST_PAGES} pages")
        seen.add(place)
        directory, place = _directory(data, place, order, big)
        if directory is None:
            return
        yield directory


def _directory(data: TiffData, place: int, order: str, big: bool) -> tuple[Directory | None, int]:
    """Fields at a place, ``None`` if there are none, and the place of the next directory."""
    counter, entry, pointer = ("Q", 20, 8) if big else ("H", 12, 4)
    width = struct.calcsize(order + counter)
    count = _unpacked(order + counter, data.read(place, width))
    if not 0 < count <= _MOST_FIELDS:
        return None, 0
    rows = data.read(place + width, count * entry + pointer)
    fields = {}
    for start in range(0, min(count * entry, len(rows) - entry + 1), entry):
        tag, kind = struct.unpack_from(order + "HH", rows, start)
        values = _unpacked(order + ("Q" if big else "I"), rows[start + 4 :])
        size = _TYPES.get(kind, ("", 0))[1] * values
        if not 0 < size <= _MOST_BYTES:
            continue
        inside = rows[start + entry - pointer : start + entry]
        held = inside[:size] if size <= pointer else data.read(_unpacked(order + ("Q" if big else "I"), inside), size)
        if len(held) == size:
            fields[tag] = Field(kind, values, held, order)
    return Directory(fields), _unpacked(order + ("Q" if big else "I"), rows[count * entry :])


def _unpacked(layout: str, data: bytes) -> int:
    """A number at the beginning of the data; 0 where they are too short."""
    if len(data) < struct.calcsize(layout):
        return 0
    return int(struct.unpack_from(layout, data)[0])
