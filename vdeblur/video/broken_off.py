"""Broken-off recordings: does a file or pipe end inside an element, or in zeros, as after a crash or a power cut?

Containers that are written as they come (Matroska, fragmented MP4, AVI, FLV, MPEG-TS) are rows of elements that say how
long they are. Whoever goes from one to the next sees whether the last is whole; durations in headers prove nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

#: Enough for the header of any element.
_HEAD_BYTES = 16
#: So many elements are looked at; a crafted file may have more, and then nothing is said.
_MOST_ELEMENTS = 2_000_000
#: Zeros of a hole at the end; what a frame ends in is shorter.
_ZERO_BYTES = 1024
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
#: Bytes of a packet of MPEG-TS and where in it its mark lies: plain, and with a time in front.
_TRANSPORT = ((188, 0), (192, 4))
_SYNC = 0x47

IN_ELEMENT = "in the middle of a packet"
IN_ZEROS = "only zeros follow"
BEFORE_ANOTHER = "another file follows that FFmpeg does not read"

#: Whole files one behind the other, of which FFmpeg's demuxers read so many: by the bytes at which each begins.
_READ_ON = {b"\x1a\x45\xdf\xa3": 2, b"FLV\x01": 1}

#: Bytes from the start of an element, of which the first are given, to the next one; None = that is not known.
Step = Callable[[bytes], int | None]


class ElementWalk:
    """Goes from element to element of a stream of bytes that comes in pieces of any size."""

    def __init__(self) -> None:
        self._step: Step | None = None
        self._known = True
        #: Bytes of a packet, where all have the same.
        self._unit = 0
        self._waiting = b""
        self._elements = 0
        #: Bytes seen, and where the next element begins.
        self.count = self.next = 0
        #: Names of the elements of an MP4 that have been seen.
        self.boxes: set[bytes] = set()
        self._tail = b""
        #: Heads of files that have been seen, and how many may be.
        self._files, self._readable = 0, 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._tail = (self._tail + data)[-_ZERO_BYTES:] if len(data) < _ZERO_BYTES else data[-_ZERO_BYTES:]
        begin, self.count = self.count, self.count + len(data)
        if not self._known:
            return
        if self._waiting:
            begin, data, self._waiting = begin - len(self._waiting), self._waiting + data, b""
        while self._known and self.next < self.count:
            head = data[self.next - begin : self.next - begin + _HEAD_BYTES]
            if len(head) < _HEAD_BYTES:
                self._waiting = head
                return
            self.advance(head)

    def advance(self, head: bytes) -> bool:
        """Go to the next element behind the one that begins so; False where that is not known."""
        if self._step is None:
            self._step, self._unit = _step_of(head), _unit_of(head)
        self._elements += 1
        if head[:4] in _READ_ON:
            self._files, self._readable = self._files + 1, _READ_ON[head[:4]]
        length = None if self._step is None or self._elements > _MOST_ELEMENTS else self._step(head)
        if length is None or length < 1:
            self._known = False
            return False
        if self._step is _box_step:
            self.boxes.add(head[4:8])
        self.next += length
        return True

    def finish(self, count: int, tail: bytes, *, cut_head: bool) -> None:
        """Say how many bytes there are, and the last of them, where they were not fed."""
        self.count, self._tail = count, tail
        self._waiting = tail if cut_head and self._known else b""

    @property
    def verdict(self) -> str | None:
        """How the bytes break off, in words; ``None`` if they do not, or nobody can tell."""
        if self._files > self._readable:
            return BEFORE_ANOTHER
        if len(self._tail) == _ZERO_BYTES and not any(self._tail):
            return IN_ZEROS if (self._step or self._unit) and (not self.boxes or b"moof" in self.boxes) else None
        if self._unit:
            return IN_ELEMENT if self.count % self._unit else None
        if not self._known:
            return None
        return IN_ELEMENT if self.next > self.count or self._waiting else None

    @property
    def lacks_index(self) -> bool:
        """Whether it is an MP4 with media and no index of it."""
        return bool(self.boxes) and b"mdat" in self.boxes and not self.boxes & {b"moov", b"moof"}


def walk_file(file: BinaryIO) -> ElementWalk:
    """Walk through a file that can be sought in, without reading it all."""
    walk = ElementWalk()
    size = file.seek(0, os.SEEK_END)
    while walk.next < size:
        file.seek(walk.next)
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES or not walk.advance(head):
            break
    else:
        head = bytes(_HEAD_BYTES)
    file.seek(max(0, size - _ZERO_BYTES))
    walk.finish(size, file.read(_ZERO_BYTES), cut_head=len(head) < _HEAD_BYTES)
    return walk


def walk_path(path: Path) -> ElementWalk | None:
    """Walk through a file; ``None`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return walk_file(file)
    except (OSError, ValueError):
        return None


def _step_of(head: bytes) -> Step | None:
    """How a container with such a beginning says the lengths of its elements."""
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _ebml_step
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
        return _riff_step
    if head[:3] == b"FLV":
        return _flv_step
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"sidx"):
        return _box_step
    return None


def _unit_of(head: bytes) -> int:
    """Bytes of each packet of a transport stream (ISO/IEC 13818-1); 0 = it is none."""
    units = (size for size, offset in _TRANSPORT if offset < len(head) and head[offset] == _SYNC)
    return next(units, 0)


def _box_step(head: bytes) -> int | None:
    """ISO/IEC 14496-12: size and name, or a name and a larger size behind it; 0 = to the end."""
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return size if size >= 8 and head[4:8].isascii() else None


def _ebml_step(head: bytes) -> int | None:
    """RFC 8794: identifier and size; a segment is entered, and a cluster that does not say where it ends."""
    width = 9 - head[0].bit_length()
    if not 1 <= width <= 4:
        return None
    kind, size_width = int.from_bytes(head[:width], "big"), 9 - head[width].bit_length()
    if not 1 <= size_width <= 8:
        return None
    unknown = (1 << 7 * size_width) - 1
    size = int.from_bytes(head[width : width + size_width], "big") & unknown
    if kind == _SEGMENT or (kind == _CLUSTER and size == unknown):
        return width + size_width
    return None if size == unknown else width + size_width + size


def _riff_step(head: bytes) -> int | None:
    """RIFF: name and size; the file and a list of media that was never finished are entered."""
    name, size = head[:4], int.from_bytes(head[4:8], "little")
    if name == b"RIFF" or (name == b"LIST" and head[8:12] in (b"movi", b"rec ") and size in (0, 0xFFFF_FFFF)):
        return 12
    return 8 + size + size % 2 if name.strip(b"\0") and name.isascii() else None


def _flv_step(head: bytes) -> int | None:
    """Adobe FLV 10.1, annex E: a header of 9 bytes, then tags, each with its size behind it."""
    if head[:3] == b"FLV":
        return int.from_bytes(head[5:9], "big") + 4
    return 15 + int.from_bytes(head[1:4], "big") if head[0] & 0x1F in (8, 9, 18) else None
