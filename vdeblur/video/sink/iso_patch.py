"""ISO patch: the creation time in the header of a finished MP4 or QuickTime file (ISO/IEC 14496-12, ``mvhd``).

FFmpeg writes it there by itself, but in files with tags of any name also among these, and readers then see it twice.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from vdeblur.errors import TargetError

#: Times are counted from here.
_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
_MOST_BOXES = 1000


def write_creation_time(path: Path, date: datetime) -> bool:
    """Set creation and modification time of the movie; False if it has no header that holds them.

    Raises:
        TargetError: the file cannot be changed.
    """
    seconds = round((date - _EPOCH).total_seconds())
    try:
        with path.open("r+b") as file:
            end = file.seek(0, 2)
            movie = _find(file, b"moov", 0, end)
            header = movie and _find(file, b"mvhd", *movie)
            if not header:
                return False
            file.seek(header[0])
            layout = ">2Q" if file.read(1) == b"\1" else ">2I"
            if not 0 <= seconds < 1 << (8 * struct.calcsize(layout) // 2):
                return False
            file.seek(header[0] + 4)
            file.write(struct.pack(layout, seconds, seconds))
    except OSError as exc:
        raise TargetError(f"cannot write the date into {path}: {exc.strerror or exc}") from exc
    return True


def _find(file: BinaryIO, wanted: bytes, start: int, end: int) -> tuple[int, int] | None:
    """First and last byte of the content of the first box of a kind."""
    for _ in range(_MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        if start >= end or len(head) < 8:
            return None
        size, kind = struct.unpack(">I4s", head[:8])
        width = 8
        if size == 1 and len(head) == 16:
            size, width = int.from_bytes(head[8:16], "big"), 16
        last = end if size == 0 else start + size
        if kind == wanted:
            return start + width, last
        if last <= start:
            return None
        start = last
    return None
