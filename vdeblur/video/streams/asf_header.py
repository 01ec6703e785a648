"""ASF header: the date of creation, which PyAV's FFmpeg does not read.

Source: Microsoft, Advanced Systems Format Specification 01.20.03, section 3.2 (File Properties Object).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
#: Behind its identifier: size of the object, identifier and size of the file.
_DATE_AT = 16 + 8 + 16 + 8
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
#: What FFmpeg writes where it knows no date.
_UNSAID = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD_BYTES = 1 << 16


def asf_date(path: Path) -> datetime | None:
    """The date of creation of a Windows Media file, to the second; ``None`` for other files, or where none is said."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEADER))
            head += file.read(_HEAD_BYTES) if head == _HEADER else b""
    except OSError:
        return None
    place = head.find(_FILE_PROPERTIES)
    date = head[place + _DATE_AT : place + _DATE_AT + 8]
    if place < 0 or len(date) < 8 or not any(date):
        return None
    try:
        said = _EPOCH + timedelta(seconds=int.from_bytes(date, "little") // 10_000_000)
    except OverflowError:
        return None
    return said if said != _UNSAID else None
