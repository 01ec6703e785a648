"""Whether a file is as long as it says itself: broken downloads and cameras without power leave less.

Only what cannot be otherwise counts: an index that points behind the end (MP4, QuickTime), or a segment that is larger
than the file (Matroska, WebM). Durations in headers are often wrong and prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

_SEGMENT = 0x18538067
#: An identifier takes four bytes at most and a size eight; what lies before the segment is far smaller than this.
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Cut:
    """A file that has been cut off."""

    file_bytes: int
    #: What it says it has; at least, where only an index tells.
    whole_bytes: int
    #: Decoding time of the first packet of the video that is not there; ``None`` = not known.
    tick: int | None = None


def find_cut(container: InputContainer, stream: VideoStream, path: Path) -> Cut | None:
    """Where a plain file has been cut off; ``None`` if nothing says so."""
    size = container.size
    entries = stream.index_entries
    if len(entries) and (whole := entries[-1].pos + entries[-1].size) > size:
        return Cut(size, whole, next(entry.timestamp for entry in entries if entry.pos + entry.size > size))
    if container.format.name == "matroska,webm":
        with path.open("rb") as file:
            segment_end = _end_of_segment(file.read(_HEAD_BYTES))
        if segment_end is not None and segment_end > size:
            return Cut(size, segment_end)
    return None


def _end_of_segment(head: bytes) -> int | None:
    """Byte at which a Matroska file ends by the size of its segment; ``None`` where it does not say.

    Source: RFC 8794 (EBML), variable-size integers; RFC 9559 (Matroska), Segment.
    """
    position = 0
    while position + 12 <= len(head):
        width = 9 - head[position].bit_length()
        kind = int.from_bytes(head[position : position + width], "big")
        position += width
        width = 9 - head[position].bit_length()
        unknown = (1 << 7 * width) - 1
        size = int.from_bytes(head[position : position + width], "big") & unknown
        position += width
        if kind == _SEGMENT:
            return None if size == unknown else position + size
        position += size
    return None
