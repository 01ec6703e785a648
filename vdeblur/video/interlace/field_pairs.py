"""Field pairs: fields coded as separate pictures, as in interlaced HEVC, woven into frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av

from vdeblur.frames import FieldOrder
from vdeblur.video.filter_graph import FilterGraph
from vdeblur.video.interlace.field_flags import FieldFlags


def are_fields(codec: str, picture: av.VideoFrame) -> bool:
    """Whether a picture is one field: H.265 has no other interlaced pictures (pic_struct 1 and 2)."""
    return codec == "hevc" and picture.interlaced_frame


def woven_pictures(fields: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Frames of a top and a bottom field that follow each other, with the time of the first.

    A field is flagged by its parity: "tff" is a top field. One whose other half is missing is woven with itself.
    """
    flags, weaver = FieldFlags(), _Weaver()
    waiting: av.VideoFrame | None = None
    parity: FieldOrder = "tff"
    for field in fields:
        found = flags.order_of(field)
        if waiting is not None and found not in (None, parity) and _alike(waiting, field):
            yield weaver.weave(waiting, field, parity)
            waiting = None
            continue
        if waiting is not None:
            yield weaver.weave(waiting, waiting, parity)
        if found is None:
            waiting = None
            yield field
        else:
            waiting, parity = field, found
    if waiting is not None:
        yield weaver.weave(waiting, waiting, parity)


def _alike(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    return (one.width, one.height, one.format.name) == (other.width, other.height, other.format.name)


class _Weaver:
    """FFmpeg's ``weave``, which keeps colour tags and side data."""

    def __init__(self) -> None:
        self._key: Any = None
        self._graph: FilterGraph | None = None

    def weave(self, first: av.VideoFrame, second: av.VideoFrame, order: FieldOrder) -> av.VideoFrame:
        key = (first.width, first.height, first.format.name, order)
        if self._graph is None or key != self._key:
            self._key = key
            self._graph = FilterGraph(first, "weave", "top" if order == "tff" else "bottom")
        pts, dts, duration = first.pts, first.dts, first.duration
        if second is not first:
            duration += second.duration
        for field in (first, second):
            self._graph.push(field)
        (woven,) = self._graph.pull()
        woven.pts, woven.dts, woven.duration = pts, dts, duration
        return woven
