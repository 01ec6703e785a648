"""Truncation check: does the file reach the length its index promises?

Only what cannot be otherwise counts: an index that points behind the end (MP4, QuickTime), or half a picture at the end
(Y4M). Durations in headers are often wrong and prove nothing. A missing end mark (GIF), a wrong length (Matroska, WebM,
AVI) or a fragment that is not whole (MP4) is only a reason to say so, for recordings break off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from vdeblur.video.av_compat import stored_bytes
from vdeblur.video.clock.scan import has_fragments
from vdeblur.video.formats.pixel_formats import canonical_format

_SEGMENT = 0x18538067
#: An identifier takes four bytes at most and a size eight; what lies before the segment is far smaller than this.
_HEAD_BYTES = 1 << 16
#: Formats that say where they end.
_SELF_MEASURED = frozenset({"avi", "gif", "matroska,webm", "yuv4mpegpipe"})
#: The end of GIF's last block, and its last byte; some programs write a few more.
_GIF_END, _TAIL_BYTES = b"\x00\x3b", 16


@dataclass(frozen=True)
class Truncation:
    """A file that has been cut off."""

    file_bytes: int
    #: What it says it has; at least, where only an index tells.
    whole_bytes: int
    #: Decoding time of the first packet of the video that is not there; ``None`` = not known.
    tick: int | None = None
    #: Programs that write such files may have been careless, too.
    certain: bool = True


def find_cut(container: InputContainer, stream: VideoStream, path: Path) -> Truncation | None:
    """Where a plain file has been cut off; ``None`` if nothing says so."""
    size = stored_bytes(container)
    if size is None:
        return None
    entries = stream.index_entries
    if len(entries) and (whole := entries[-1].pos + entries[-1].size) > size:
        tick = next(entry.timestamp for entry in entries if entry.pos + entry.size > size)
        return Truncation(size, whole, tick, certain=not has_fragments(path))
    name = container.format.name
    if name not in _SELF_MEASURED:
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read(_TAIL_BYTES)
    if name == "gif":
        return None if _GIF_END in tail else Truncation(size, size + 1, certain=False)
    end = {"avi": _end_of_riff, "matroska,webm": _end_of_segment}.get(name, partial(_end_of_frame, stream, size))(head)
    return Truncation(size, end, certain=name == "yuv4mpegpipe") if end is not None and end > size else None


def _end_of_riff(head: bytes) -> int | None:
    """Byte at which the first chunk of an AVI file ends; programs that never finish leave a 0 there, or all ones."""
    length = int.from_bytes(head[4:8], "little")
    return 8 + length if head[:4] == b"RIFF" and 0 < length < 0xFFFF_FFFF else None


def _end_of_frame(stream: VideoStream, size: int, head: bytes) -> int | None:
    """Byte at which the last frame of a Y4M file ends, unless its frames have words of their own."""
    start = head.find(b"\n") + 1
    if not start or not head.startswith(b"FRAME\n", start):
        return None
    pixels = canonical_format(str(stream.codec_context.pix_fmt))
    shapes = [pixels.plane_shape(index, stream.height, stream.width) for index in range(pixels.plane_count)]
    length = len(b"FRAME\n") + sum(rows * columns for rows, columns in shapes) * (2 if pixels.bits > 8 else 1)
    return start + -(-(size - start) // length) * length


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
