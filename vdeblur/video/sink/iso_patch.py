"""ISO base media patch: boxes inserted into the index of a finished file, and the date in its header.

Source: ISO/IEC 14496-12, 8.2.2 (``mvhd``), 8.7.5 (chunk offsets count from the beginning of the file).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from vdeblur.errors import TargetError
from vdeblur.video.iso_boxes import Box, SampleEntry, boxes, children, movie_of, sample_entries

_PIECE_BYTES = 8 << 20
_OFFSETS = {b"stco": 4, b"co64": 8}
#: Times are counted from here.
_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)


def write_creation_time(path: Path, date: datetime) -> bool:
    """Set creation and modification time of the movie; False if it has no header that holds them.

    FFmpeg writes it there by itself, but in files with tags of any name also among these, so that readers see it twice.

    Raises:
        TargetError: the file cannot be changed.
    """
    seconds = round((date - _EPOCH).total_seconds())
    try:
        with path.open("r+b") as file:
            movie = movie_of(file)
            header = movie and next((box for box in boxes(movie.data, 8) if box.kind == b"mvhd"), None)
            if movie is None or header is None:
                return False
            layout = ">2Q" if movie.data[header.body] == 1 else ">2I"
            if not 0 <= seconds < 1 << (8 * struct.calcsize(layout) // 2):
                return False
            file.seek(movie.start + header.body + 4)
            file.write(struct.pack(layout, seconds, seconds))
    except OSError as exc:
        raise TargetError(f"cannot write the date into {path}: {exc.strerror or exc}") from exc
    return True


def insert_boxes(path: Path, place: int, in_entry: bytes, in_track: bytes) -> bool:
    """Insert boxes at the end of a video's first sample entry, and at the end of its track.

    Args:
        place: of the video among all videos of the file.

    Returns:
        Whether there was such a video, in a file that can be changed: it is not if it has fragments, or if a chunk
        would begin behind 4 GiB where its offset has 32 bits.

    Raises:
        OSError: the disk failed.
    """
    with path.open("r+b") as file:
        movie = movie_of(file)
        if movie is None:
            return False
        data = bytearray(movie.data)
        entries = list(_first_entries_of_videos(data))
        if place >= len(entries) or any(box.kind == b"mvex" for box in boxes(data, 8)):
            return False
        entry, end = entries[place], movie.start + len(data)
        file_end = file.seek(0, 2)
        grown = len(in_entry) + len(in_track)
        if file_end > end and not _move_offsets(data, end, grown):
            return False
        _insert(data, entry, in_entry, in_track)
        if file_end > end:
            _move(file, end, file_end, grown)
        file.seek(movie.start)
        file.write(data)
    return True


def _first_entries_of_videos(data: bytearray) -> Iterator[SampleEntry]:
    seen = set()
    for entry in sample_entries(data):
        track = entry.around[1]
        if track.start not in seen and _handler(data, entry.around[2]) == b"vide":
            seen.add(track.start)
            yield entry


def _handler(data: bytearray, media: Box) -> bytes:
    found = children(data, media, b"hdlr")
    return bytes(data[found[0].body + 8 : found[0].body + 12]) if found else b""


def _insert(data: bytearray, entry: SampleEntry, in_entry: bytes, in_track: bytes) -> None:
    for box in (*entry.around, entry.box):
        inner = len(in_entry) + (len(in_track) if box in entry.around[:2] else 0)
        size = struct.unpack_from(">I", data, box.start)[0]
        if size == 1:
            struct.pack_into(">Q", data, box.start + 8, box.end - box.start + inner)
        else:
            struct.pack_into(">I", data, box.start, box.end - box.start + inner)
    track = entry.around[1]
    data[track.end : track.end] = in_track
    data[entry.box.end : entry.box.end] = in_entry


def _move_offsets(data: bytearray, end: int, by: int) -> bool:
    """Add to the offsets of all chunks behind the index; whether they fit into their fields."""
    places = []
    for table in {entry.around[-2] for entry in sample_entries(data)}:
        for kind, width in _OFFSETS.items():
            for box in children(data, table, kind):
                count = min(int.from_bytes(data[box.body + 4 : box.body + 8], "big"), (box.end - box.body - 8) // width)
                places += [(box.body + 8 + width * number, width) for number in range(count)]
    moved = []
    for place, width in places:
        offset = int.from_bytes(data[place : place + width], "big")
        offset += by if offset >= end else 0
        if offset >= 1 << 8 * width:
            return False
        moved.append(offset.to_bytes(width, "big"))
    for (place, width), value in zip(places, moved, strict=True):
        data[place : place + width] = value
    return True


def _move(file: BinaryIO, start: int, end: int, by: int) -> None:
    """Move the bytes between two places, from behind."""
    while end > start:
        begin = max(start, end - _PIECE_BYTES)
        file.seek(begin)
        piece = file.read(end - begin)
        file.seek(begin + by)
        file.write(piece)
        end = begin
