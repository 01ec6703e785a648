"""Clock scan: reads the times of all packets of a file once, to know its one time line before work starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.clock.derived_times import DerivedTimes
from vdeblur.video.clock.shared_clock import Line, SharedClock
from vdeblur.video.clock.wrapping import Unwrapping
from vdeblur.video.info import TimeScan

#: Containers made to be cut and joined as bytes.
TRANSPORTS = frozenset({"mpegts", "mpeg", "flv"})
#: Others whose demuxer reads on behind the end of a piece.
_APPENDED = frozenset({"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})
_MOST_BOXES = 100_000
#: A larger Matroska is not read twice: such files are written by one program in one go.
_MOST_BYTES = 1 << 30

_DENSE = ("audio", "video")
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


def may_be_joined(container: str, path: Path | None) -> bool:
    """Whether times in a container of this name may start again; of a file it is found out where that is cheap."""
    if container not in TRANSPORTS | _APPENDED:
        return False
    if container in TRANSPORTS or path is None:
        return True
    return _is_small(path) if container == "matroska,webm" else has_fragments(path)


def _is_small(path: Path) -> bool:
    try:
        return path.stat().st_size <= _MOST_BYTES
    except OSError:
        return False


def has_fragments(path: Path) -> bool:
    """Whether an MP4 has fragments; without, one index has all times, and they rise (ISO/IEC 14496-12)."""
    try:
        with path.open("rb") as file:
            for _ in range(_MOST_BOXES):
                head = file.read(16)
                size, kind = int.from_bytes(head[:4], "big"), head[4:8]
                if size == 1:
                    size = int.from_bytes(head[8:16], "big")
                if kind == b"moof":
                    return True
                if size < 8:
                    return False
                file.seek(size - len(head), os.SEEK_CUR)
    except (OSError, ValueError):
        pass
    return False


def clock_of(container: InputContainer, main: int, *, waits_forward: bool = True) -> SharedClock:
    """The clock of a container that is read from its start; ``main`` = index of its video."""
    lines = {stream.index: _line(stream) for stream in container.streams}
    name = container.format.name
    unwrapping, derived = Unwrapping.of(name), DerivedTimes.of(name)
    return SharedClock(lines, main, unwrapping=unwrapping, derived=derived, waits_forward=waits_forward)


def _line(stream: Stream) -> Line:
    dense = stream.type in _DENSE and not stream.disposition & _COVER
    return Line(fraction_or_none(stream.time_base) or Fraction(1, av.time_base), dense)


def packets_of(container: InputContainer) -> Iterator[av.Packet[Any]]:
    """All packets that hold something, to the last that can be read."""
    try:
        yield from (packet for packet in container.demux() if packet.size)
    except (av.error.FFmpegError, IndexError):
        # PyAV stumbles at the end over streams that begin in mid-file; a failure is told by whoever decodes.
        return


def scan(container: InputContainer, main: int) -> TimeScan:
    """Read all packets of a file from its start."""
    clock = clock_of(container, main)
    spans: dict[int, tuple[Fraction, Fraction]] = {}
    keys: list[int] = []
    for packet in clock.mended(packets_of(container)):
        _extend(spans, packet)
        if packet.stream.index == main and packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)
    return result_of(clock, main, spans, tuple(keys))


def result_of(
    clock: SharedClock,
    main: int,
    spans: dict[int, tuple[Fraction, Fraction]] | None = None,
    keys: tuple[int, ...] = (),
) -> TimeScan:
    """What a clock has seen so far."""
    others = sum(count for index, count in clock.strays.items() if index != main)
    return TimeScan(clock.pieces, (clock.strays.get(main, 0), others), clock.moves_others, spans or {}, keys)


def spans_of(packets: Iterable[av.Packet[Any]]) -> dict[int, tuple[Fraction, Fraction]]:
    """First second and end of each stream, by index."""
    spans: dict[int, tuple[Fraction, Fraction]] = {}
    for packet in packets:
        _extend(spans, packet)
    return spans


def _extend(spans: dict[int, tuple[Fraction, Fraction]], packet: av.Packet[Any]) -> None:
    tick = packet.pts if packet.pts is not None else packet.dts
    base = fraction_or_none(packet.time_base)
    if tick is None or base is None:
        return
    start, end = tick * base, (tick + (packet.duration or 0)) * base
    known = spans.get(packet.stream.index, (start, end))
    spans[packet.stream.index] = (min(known[0], start), max(known[1], end))
