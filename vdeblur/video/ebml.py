"""EBML elements (Matroska, WebM): walked within bounds, and written.

Source: RFC 8794 (EBML), RFC 9559 (Matroska).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
VOID, CHECKSUM, NAME = 0xEC, 0xBF, 0x536E
#: Elements in a row that are looked at.
_MOST_ELEMENTS = 10_000

#: A file's bytes, or a part of them.
Data = bytes | bytearray | memoryview


class Element(NamedTuple):
    """One element: its identifier with the marker bits, and where it, its content and what follows it begin."""

    kind: int
    start: int
    body: int
    end: int


def elements(data: Data, start: int = 0, end: int | None = None) -> Iterator[Element]:
    """Elements that lie in a row; one of unknown size, or beyond the data, reaches to the end of them."""
    end = len(data) if end is None else min(end, len(data))
    for _ in range(_MOST_ELEMENTS):
        if start >= end or not data[start]:
            return
        width = 9 - data[start].bit_length()
        body = start + width
        if width > 4 or body >= end or not data[body]:
            return
        kind = int.from_bytes(data[start:body], "big")
        width = 9 - data[body].bit_length()
        size = int.from_bytes(data[body : body + width], "big") & ((1 << 7 * width) - 1)
        body += width
        unknown = size == (1 << 7 * width) - 1
        last = end if unknown else min(end, body + size)
        if body > end:
            return
        yield Element(kind, start, body, last)
        start = last


def child(data: Data, start: int, end: int, kind: int) -> Element | None:
    """The first element of a kind in a row."""
    return next((element for element in elements(data, start, end) if element.kind == kind), None)


def tracks_of(data: Data) -> tuple[Element, list[Element]] | None:
    """The tracks of a file by its first bytes: the element around them, and each entry."""
    segment = child(data, 0, len(data), SEGMENT)
    tracks = None if segment is None else child(data, segment.body, segment.end, TRACKS)
    if tracks is None:
        return None
    return tracks, [element for element in elements(data, tracks.body, tracks.end) if element.kind == TRACK]


def number(data: Data, element: Element) -> int:
    """An unsigned number; of absurdly long ones the last eight bytes."""
    return int.from_bytes(data[max(element.body, element.end - 8) : element.end], "big")


def element(kind: int, content: bytes) -> bytes:
    """An element as it is written."""
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    width = 1 if len(content) < 0x7F else 4
    return name + (len(content) | 1 << 7 * width).to_bytes(width, "big") + content


def unsigned(kind: int, value: int) -> bytes:
    """An element with an unsigned number."""
    return element(kind, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def float64(kind: int, value: float) -> bytes:
    """An element with a floating-point number."""
    return element(kind, struct.pack(">d", value))


def void(size: int) -> bytes:
    """An element of nothing that takes exactly ``size`` bytes, at least two; ``b""`` for none."""
    if not size:
        return b""
    if size < 9:
        return bytes((VOID, 0x80 | size - 2)) + bytes(size - 2)
    return bytes((VOID,)) + (size - 9 | 1 << 56).to_bytes(8, "big") + bytes(size - 9)
