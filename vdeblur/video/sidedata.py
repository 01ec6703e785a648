"""What a decoded frame carries beside its samples, also where PyAV does not know every kind of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import cast

import av
from av.filter import Graph
from av.sidedata.sidedata import SideData

#: Kinds that FFmpeg has (libavutil/frame.h) and PyAV has no word for, by their numbers.
_FURTHER_KINDS = {
    28: "LCEVC",
    29: "VIEW_ID",
    30: "REFERENCE_DISPLAYS_3D",
    31: "EXIF",
    32: "DYNAMIC_HDR_SMPTE_2094_APP5",
}
_UNKNOWN_KIND = re.compile(r"^(\d+) is not a valid Type")


def side_data_of(frame: av.VideoFrame) -> Mapping[str, bytes]:
    """Side data by FFmpeg's names, in the frame's order; kinds PyAV does not know come last and are empty."""
    further: dict[str, bytes] = {}
    while (number := _unknown_kind(frame)) is not None:
        name = _FURTHER_KINDS.get(number, f"kind {number}")
        if name in further:
            return further
        further[name] = b""
        frame = _without(frame, number)
    known = {item.type.name: bytes(item) for item in cast(Iterable[SideData], frame.side_data)}
    return known | further


def _unknown_kind(frame: av.VideoFrame) -> int | None:
    """Number of the first kind that keeps PyAV from reading any."""
    try:
        cast(object, frame.side_data)
    except ValueError as exc:
        found = _UNKNOWN_KIND.match(str(exc))
        if found is None:
            raise
        return int(found[1])
    return None


def _without(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    """The same frame without one kind of side data."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    remove, sink = graph.add("sidedata", f"mode=delete:type={number}"), graph.add("buffersink")
    source.link_to(remove)
    remove.link_to(sink)
    graph.configure()
    graph.push(frame)
    return cast(av.VideoFrame, graph.pull())
