"""Side data of decoded frames, also of kinds that PyAV does not know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, cast

import av

from vdeblur.video.av_compat import fraction_or_none, side_data_container, side_data_items
from vdeblur.video.filter_graph import FilterGraph

#: Kinds that FFmpeg has (libavutil/frame.h) and PyAV 18 has no word for, by their numbers.
_FURTHER_KINDS = {
    28: "LCEVC",
    29: "VIEW_ID",
    30: "REFERENCE_DISPLAYS_3D",
    31: "EXIF",
    32: "DYNAMIC_HDR_SMPTE_2094_APP5",
}
#: What is told of the coding, not of the picture: the quantisers that a decoder was asked for.
_OF_THE_CODING = frozenset({"VIDEO_ENC_PARAMS"})
_UNKNOWN_KIND = re.compile(r"^(\d+) is not a valid Type")


def side_data_of(frame: av.VideoFrame) -> Mapping[str, bytes]:
    """Side data by FFmpeg's names, in the frame's order; kinds PyAV 18 does not know come last, and empty there."""
    further: dict[str, bytes] = {}
    if _carries(frame, "ICC_PROFILE"):
        # PyAV frees what this kind says of itself (the name PNG gives it) a second time, and the process with it.
        further["ICC_PROFILE"] = b""
        frame = _without(frame, "ICC_PROFILE")
    while (unknown := unknown_kind(frame)) is not None:
        name = further_name(unknown)
        if name in further:
            return further
        further[name] = b""
        frame = _without(frame, unknown)
    known: dict[str, bytes] = {}
    for item in side_data_items(frame):
        number: Any = item.type.value
        if number in _FURTHER_KINDS or item.type.name.startswith("UNKNOWN_"):  # PyAV 19 reads these too
            further[further_name(number)] = bytes(item)
        elif item.type.name not in _OF_THE_CODING:
            known[item.type.name] = bytes(item)
    return known | further


def further_name(number: int) -> str:
    return _FURTHER_KINDS.get(number, f"kind {number}")


def unknown_kind(frame: av.VideoFrame) -> int | None:
    """Number of the first kind that keeps PyAV from reading any."""
    try:
        side_data_container(frame)
    except ValueError as exc:
        found = _UNKNOWN_KIND.match(str(exc))
        if found is None:
            raise
        return int(found[1])
    return None


def _carries(frame: av.VideoFrame, kind: str) -> bool:
    return _filtered(frame, f"mode=select:type={kind}") is not None


def _without(frame: av.VideoFrame, kind: int | str) -> av.VideoFrame:
    """The same frame without one kind of side data."""
    return cast(av.VideoFrame, _filtered(frame, f"mode=delete:type={kind}"))


def _filtered(frame: av.VideoFrame, options: str) -> av.VideoFrame | None:
    """The frame after FFmpeg's filter for side data, if it lets it pass."""
    graph = FilterGraph(frame, "sidedata", options, time_base=fraction_or_none(frame.time_base) or Fraction(1, 1000))
    graph.push(frame)
    return next(iter(graph.pull()), None)
