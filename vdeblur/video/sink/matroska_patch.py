"""Matroska patch: set the colour range of a video track in a finished file, or put elements into it (RFC 9559).

FFmpeg (7.1 and newer) converts full-range YUV to limited range before some lossless encoders, because their streams
have no place to say so. Matroska has: the samples are therefore passed as they are, and the container says it here.
Of R'G'B' FFmpeg says that it is full, whatever it is; here it is said to be limited where it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vdeblur.errors import TargetError
from vdeblur.video import ebml
from vdeblur.video.spatial.matroska import video_entries

_SEGMENT, _TRACKS, _ENTRY, _VIDEO, _COLOUR, _RANGE = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0, 0x55B9
_CHECKSUM = 0xBF
_RANGES = {"tv": 1, "pc": 2}
#: Tracks stand in front; what FFmpeg writes before them is far smaller.
_HEAD_BYTES = 1 << 20


def mark_range(path: Path, track: int, colour_range: Literal["pc", "tv"]) -> None:
    """Mark the samples of a track (counted from 0 in the file's order) as full ("pc") or limited range ("tv").

    Source: RFC 9559 (Matroska), elements Tracks, Video, Colour and Range; RFC 8794 (EBML), CRC-32.

    Raises:
        TargetError: the file is not as FFmpeg writes it, or cannot be changed.
    """
    try:
        with path.open("r+b") as file:
            head = bytearray(file.read(_HEAD_BYTES))
            _mark(head, track, _RANGES[colour_range])
            file.seek(0)
            file.write(head)
    except (OSError, IndexError, StopIteration) as exc:
        raise TargetError(f"cannot mark {path} with its range: {exc or 'no such element'}") from exc


def put_into_video(path: Path, place: int, element: bytes, *, room: str, title: str | None) -> bool:
    """Put an element into the settings of a video track, in the room of a title that was written for this.

    The entry of the track keeps its length, so nothing behind it moves.

    Args:
        place: of the video among all videos of the file.
        room: the title that stands there; ``title`` is the video's own.

    Returns:
        Whether there was such a track with that title, and room enough.

    Raises:
        OSError: the disk failed.
    """
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD_BYTES))
        videos, tracks = video_entries(head), ebml.tracks_of(head)
        if place >= len(videos) or tracks is None:
            return False
        entry = _with_element(bytes(head), *videos[place], element, room, title)
        if entry is None:
            return False
        head[slice(*videos[place])] = entry
        first = next(ebml.elements(head, tracks[0].body, tracks[0].end))
        if first.kind == _CHECKSUM:
            head[first.body : first.end] = zlib.crc32(head[first.end : tracks[0].end]).to_bytes(4, "little")
        file.seek(0)
        file.write(head)
    return True


def _with_element(head: bytes, start: int, end: int, element: bytes, room: str, title: str | None) -> bytes | None:
    """The content of a track's entry with an element more, as long as it was; ``None`` if there is no room."""
    content, found = b"", False
    for part in ebml.elements(head, start, end):
        whole, inner = head[part.start : part.end], head[part.body : part.end]
        if part.kind == ebml.NAME and inner == room.encode():
            found = True
            whole = b"" if title is None else ebml.element(ebml.NAME, title.encode())
        elif part.kind == ebml.VIDEO:
            whole = ebml.element(ebml.VIDEO, inner + element)
        content += whole
    left = end - start - len(content)
    return content + ebml.void(left) if found and left >= 0 and left != 1 else None


def _mark(head: bytearray, track: int, value: int) -> None:
    segment = _child(head, 0, len(head), _SEGMENT)
    tracks = _child(head, *segment, _TRACKS)
    entry = [span for kind, *span in _children(head, *tracks) if kind == _ENTRY][track]
    video = _child(head, entry[0], entry[1], _VIDEO)
    colour = _child(head, *video, _COLOUR)
    first, last = _child(head, *colour, _RANGE)
    head[first:last] = value.to_bytes(last - first, "big")
    kind, start, end = next(_children(head, *tracks))
    if kind == _CHECKSUM:
        head[start:end] = zlib.crc32(head[end : tracks[1]]).to_bytes(4, "little")


def _child(data: bytearray, start: int, end: int, wanted: int) -> tuple[int, int]:
    return next((first, last) for kind, first, last in _children(data, start, end) if kind == wanted)


def _children(data: bytearray, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Identifier, first byte and end of the content of each element."""
    while start < end:
        width = 9 - data[start].bit_length()
        kind = int.from_bytes(data[start : start + width], "big")
        start += width
        width = 9 - data[start].bit_length()
        size = int.from_bytes(data[start : start + width], "big") & ((1 << 7 * width) - 1)
        start += width
        unknown = size == (1 << 7 * width) - 1
        last = end if unknown else min(end, start + size)
        yield kind, start, last
        start = last
