"""ISO base media boxes (MP4, QuickTime): walked within bounds, whatever a file says of their sizes.

Source: ISO/IEC 14496-12, 4.2 (boxes) and 8.5.2 (sample entries).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

#: No index is larger; ten hours at 60 frames a second take 40 MB.
_MOST_MOVIE_BYTES = 256 << 20
#: Boxes of a file that are looked at on the way to the index.
_MOST_BOXES = 10_000
#: Entries of one description, and tracks of one file.
MOST_CHILDREN = 1000
#: Where the boxes in a sample entry of video begin, behind its own fields.
VISUAL_FIELDS = 78

#: A file's bytes, or a part of them.
Data = bytes | bytearray | memoryview


class Box(NamedTuple):
    """One box: its four letters, and where it, its content and what follows it begin."""

    kind: bytes
    start: int
    body: int
    end: int


class Movie(NamedTuple):
    """The index (``moov``) of a file and where it lies there."""

    data: bytes
    start: int


class SampleEntry(NamedTuple):
    """A sample entry, the boxes around it from ``moov`` inwards, and the number of its track."""

    box: Box
    around: tuple[Box, ...]
    track: int


def boxes(data: Data, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Boxes that lie in a row; ends at the first whose size cannot be."""
    end = len(data) if end is None else min(end, len(data))
    while end - start >= 8:
        box = _header(data[start : start + 16], start, end)
        if box is None:
            return
        yield box
        start = box.end


def children(data: Data, parent: Box, kind: bytes, skip: int = 0) -> list[Box]:
    """The first boxes of a kind inside another, behind ``skip`` bytes of its own fields."""
    found: list[Box] = []
    for box in boxes(data, parent.body + skip, parent.end):
        if box.kind == kind and len(found) < MOST_CHILDREN:
            found.append(box)
    return found


def read_movie(path: Path) -> Movie | None:
    """The index of a file; ``None`` where there is none, or it is larger than any.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return movie_of(file)


def movie_of(file: BinaryIO) -> Movie | None:
    """The same of an open file that can seek."""
    end, start = file.seek(0, 2), 0
    for _ in range(_MOST_BOXES):
        file.seek(start)
        box = _header(file.read(16), start, end)
        if box is None:
            return None
        if box.kind == b"moov":
            if box.end - start > _MOST_MOVIE_BYTES:
                return None
            file.seek(start)
            return Movie(file.read(box.end - start), start)
        start = box.end
    return None


def sample_entries(data: Data, start: int = 0) -> Iterator[SampleEntry]:
    """Every sample entry of every track of the index that begins at ``start``."""
    moov = next(boxes(data, start), None)
    if moov is None or moov.kind != b"moov":
        return
    for track in children(data, moov, b"trak"):
        header = children(data, track, b"tkhd")
        number = _track_number(data, header[0]) if header else 0
        around = [moov, track]
        for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
            inner = children(data, around[-1], kind)
            if not inner:
                break
            around.append(inner[0])
        else:
            for count, box in enumerate(boxes(data, around[-1].body + 8, around[-1].end)):
                if count >= MOST_CHILDREN:
                    break
                yield SampleEntry(box, tuple(around), number)


def _track_number(data: Data, header: Box) -> int:
    """Field ``track_ID`` of a track header (ISO/IEC 14496-12, 8.3.2)."""
    place = header.body + (20 if data[header.body : header.body + 1] == b"\1" else 12)
    return int.from_bytes(data[place : place + 4], "big") if place + 4 <= header.end else 0


def _header(head: Data, start: int, end: int) -> Box | None:
    """The box whose first bytes these are, if it ends no later than ``end``."""
    if len(head) < 8:
        return None
    size, body = int.from_bytes(head[:4], "big"), start + 8
    if size == 1:
        size, body = int.from_bytes(head[8:16], "big"), start + 16
    elif size == 0:
        size = end - start
    if size < body - start or start + size > end:
        return None
    return Box(bytes(head[4:8]), start, body, start + size)
