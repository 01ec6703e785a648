"""Lengths of streams: does each copied stream last as long in the result as in the source, without being squeezed?

Headers are asked first. Only where they differ, or FFmpeg had to change times, are the packets of both files read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer

from vdeblur.errors import SourceError
from vdeblur.video.av_compat import fraction_or_none, open_input
from vdeblur.video.clock.scan import packets_of
from vdeblur.video.info import SourceInfo
from vdeblur.video.source.demuxer import header_seconds
from vdeblur.video.source.opening import open_again

#: Less than this is not missed, and rounding explains it: cutting at packets takes 0.1 s at most at either end, sound
#: has up to 0.1 s of preroll that one container counts and another does not, and Matroska counts milliseconds.
TOLERANCE_SECONDS = 0.5
#: So many packets within so short a time are heard as silence and a click.
_SQUEEZED_PACKETS = 8
_SQUEEZED_SECONDS = Fraction(1, 1000)
#: Kinds of streams that last; a subtitle or a record comes and goes.
_LASTING = ("audio", "video")


@dataclass(frozen=True)
class Extent:
    """From the first to the last packet of a stream."""

    start: Fraction
    end: Fraction
    #: Most packets that follow one another at once.
    together: int = 1

    @property
    def seconds(self) -> float:
        return float(self.end - self.start)


def shortened_streams(info: SourceInfo, path: Path, pairs: Mapping[int, int], *, suspicious: bool) -> dict[int, str]:
    """Streams that the finished file holds, but not all of, or squeezed: what is wrong, by index in the source.

    Args:
        pairs: index in the result of each copied stream, by its index in the source.
        suspicious: FFmpeg has warned of times, so headers are not believed.
    """
    wanted = {index: place for index, place in pairs.items() if info.streams[index].kind in _LASTING}
    if not wanted:
        return {}
    try:
        if not suspicious and not _differ(info, path, wanted):
            return {}
        after = _extents(path)
        before = _source_extents(info)
    except (av.error.FFmpegError, ValueError, OSError, SourceError):
        return {}
    found = {}
    for index, place in wanted.items():
        words = _wrong(before.get(index), after.get(place))
        if words is not None:
            found[index] = words
    return found


def _wrong(before: Extent | None, after: Extent | None) -> str | None:
    """What is wrong with a stream, in words."""
    if after is None:
        return None
    if before is not None and after.seconds < before.seconds - TOLERANCE_SECONDS:
        return f"it lasts {after.seconds:.2f} s and {before.seconds:.2f} s in the source"
    if after.together >= _SQUEEZED_PACKETS and after.together > 2 * (1 if before is None else before.together):
        return f"{after.together} packets are squeezed into an instant"
    return None


def _differ(info: SourceInfo, path: Path, pairs: Mapping[int, int]) -> bool:
    """Whether headers say that a stream is shorter than it was, or say nothing."""
    spans = {} if info.scan is None else info.scan.spans
    known: dict[int, float | None] = {index: float(end - start) for index, (start, end) in spans.items()}
    with open_input(str(path)) as result:
        after = {stream.index: header_seconds(stream) for stream in result.streams}
    if info.input_url is not None and any(index not in known for index in pairs):
        with open_again(info) as source:
            known = {stream.index: header_seconds(stream) for stream in source.streams} | known
    for index, place in pairs.items():
        old, new = known.get(index), after.get(place)
        if old is not None and new is not None and new < old - TOLERANCE_SECONDS:
            return True
    return False


def _source_extents(info: SourceInfo) -> dict[int, Extent]:
    if info.scan is not None:
        return {index: Extent(start, end) for index, (start, end) in info.scan.spans.items()}
    if info.input_url is None:
        return {}
    with open_again(info) as container:
        return _all_extents(container)


def _extents(path: Path) -> dict[int, Extent]:
    with open_input(str(path)) as container:
        return _all_extents(container)


def _all_extents(container: InputContainer) -> dict[int, Extent]:
    """Extents of all streams, by their packets."""
    found: dict[int, Extent] = {}
    recent: dict[int, tuple[Fraction, int]] = defaultdict(lambda: (Fraction(-1), 0))
    for packet in packets_of(container):
        tick, base = packet.pts if packet.pts is not None else packet.dts, fraction_or_none(packet.time_base)
        if tick is None or base is None or packet.is_discard:
            continue
        index, start, end = packet.stream.index, tick * base, (tick + (packet.duration or 0)) * base
        since, count = recent[index]
        recent[index] = (since, count + 1) if count and start - since <= _SQUEEZED_SECONDS else (start, 1)
        known = found.get(index, Extent(start, end))
        together = max(known.together, recent[index][1])
        found[index] = Extent(min(known.start, start), max(known.end, end), together)
    return found
