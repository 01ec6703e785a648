"""Matroska patch: set the colour range of a video track in a finished file, or put elements into it (RFC 9559).

FFmpeg (7.1 and newer) converts full-range YUV to limited range before some lossless encoders, because their streams
have no place to say so. Matroska has: the samples are therefore passed as they are, and the container says it here.
Of R'G'B' FFmpeg says that it is full, whatever it is; here it is said to be limited where it is.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

from vdeblur.errors import TargetError
from vdeblur.video import ebml
from vdeblur.video.spatial.matroska import video_entries

_COLOUR, _RANGE = 0x55B0, 0x55B9
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
    except (OSError, LookupError) as exc:
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
        _renew_checksum(head, tracks[0])
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
    tracks = ebml.tracks_of(head)
    if tracks is None:
        raise LookupError
    place = tracks[1][track]
    for kind in (ebml.VIDEO, _COLOUR, _RANGE):
        found = ebml.child(head, place.body, place.end, kind)
        if found is None:
            raise LookupError
        place = found
    head[place.body : place.end] = value.to_bytes(place.end - place.body, "big")
    _renew_checksum(head, tracks[0])


def _renew_checksum(head: bytearray, tracks: ebml.Element) -> None:
    """Make the checksum of the tracks true again, if they have one."""
    first = next(ebml.elements(head, tracks.body, tracks.end))
    if first.kind == ebml.CHECKSUM:
        head[first.body : first.end] = zlib.crc32(head[first.end : tracks.end]).to_bytes(4, "little")
