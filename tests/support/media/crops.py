"""Containers that crop: ``clap`` put into an MP4 or QuickTime file by hand, and Matroska made of it."""

from __future__ import annotations

import struct
from pathlib import Path

from support.media.clips import ffmpeg

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
#: Fields before the boxes inside.
_FIELDS = {b"stsd": 8}


def clean_aperture(width: int, height: int, right: int, down: int) -> bytes:
    """A ``clap`` box; the centre is moved by half as many pixels as are given."""
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, right, 2, down, 2)


def with_crop(source: Path, target: Path, box: bytes) -> Path:
    """A copy of an H.264 file with its index at the end, cropped; in Matroska by FFmpeg, which passes the crop on."""
    data = source.read_bytes()
    opens: list[int] = []
    place, end = 0, len(data)
    for name in _PATH:
        place, size = _find(data, place, end, name)
        opens.append(place)
        end = place + size
        place += 8 + _FIELDS.get(name, 0)
    made = bytearray(data[:end] + box + data[end:])
    for start in opens:
        struct.pack_into(">I", made, start, struct.unpack_from(">I", made, start)[0] + len(box))
    if target.suffix != ".mkv":
        target.write_bytes(made)
        return target
    cropped = target.with_suffix(".mp4")
    cropped.write_bytes(made)
    ffmpeg("-i", str(cropped), "-c", "copy", str(target))
    return target


def _find(data: bytes, place: int, end: int, name: bytes) -> tuple[int, int]:
    while place + 8 <= end:
        size = struct.unpack_from(">I", data, place)[0]
        if data[place + 4 : place + 8] == name:
            return place, size
        place += size
    raise LookupError(name)
