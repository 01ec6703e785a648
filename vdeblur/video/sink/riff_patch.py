"""RIFF patch: the date and the software of a recording in a finished AVI file, which FFmpeg's muxer has no words for.

Source: Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (1991): chunk IDIT, list INFO.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from vdeblur.errors import TargetError

#: What stands before the first packet; FFmpeg leaves a kilobyte free there.
_HEAD_BYTES = 1 << 20
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def write_riff_tags(path: Path, date: datetime | None, software: str | None) -> bool:
    """Write the date of the recording and the name of the software that made it; False if there is no room.

    The bytes come from the padding in front of the packets, so nothing behind it moves.

    Raises:
        TargetError: the file cannot be changed.
    """
    try:
        with path.open("r+b") as file:
            head = file.read(_HEAD_BYTES)
            patched = _patched(head, date, software)
            if patched is None:
                return False
            file.seek(0)
            file.write(patched)
    except OSError as exc:
        raise TargetError(f"cannot write tags into {path}: {exc.strerror or exc}") from exc
    return True


def _patched(head: bytes, date: datetime | None, software: str | None) -> bytes | None:
    """The same bytes with the tags in them; ``None`` if they are not as FFmpeg writes them."""
    if head[:4] != b"RIFF":
        return None
    first: list[bytes] = []
    room = position = 12
    for kind, content, end in _chunks(head, 12):
        if kind == b"LIST" and content.startswith(b"movi"):
            return None
        position = end
        if kind == b"JUNK":
            break
        if kind == b"LIST" and content.startswith(b"hdrl") and date is not None:
            content += _chunk(b"IDIT", _spoken(date))
        elif kind == b"LIST" and content.startswith(b"INFO") and software is not None:
            content = _with_software(content, software)
        first.append(_chunk(kind, content))
    else:
        return None
    written = b"".join(first)
    room = position - 12 - len(written) - 8
    if room < 0:
        return None
    return b"".join([head[:12], written, _chunk(b"JUNK", bytes(room)), head[position:]])


def _with_software(content: bytes, software: str) -> bytes:
    """The list INFO with another program in its chunk ISFT."""
    kept = [_chunk(kind, data) for kind, data, _ in _chunks(content, 4) if kind != b"ISFT"]
    return b"".join([b"INFO", *kept, _chunk(b"ISFT", software.encode() + b"\0")])


def _spoken(date: datetime) -> bytes:
    """A date as cameras write it: "MON SEP 10 20:52:00 2012"."""
    day, month = _DAYS[date.weekday()], _MONTHS[date.month - 1]
    return f"{day} {month} {date.day:02} {date:%H:%M:%S} {date.year:04}\n\0".encode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)


def _chunks(data: bytes, position: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind, content and end of each whole chunk."""
    while position + 8 <= len(data):
        kind, (size,) = data[position : position + 4], struct.unpack("<I", data[position + 4 : position + 8])
        end = position + 8 + size + (size & 1)
        content = data[position + 8 : position + 8 + size]
        if len(content) < size:
            yield kind, content, len(data)
            return
        yield kind, content, end
        position = end
