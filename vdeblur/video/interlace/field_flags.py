"""The field order that FFmpeg has flagged a decoded picture with."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import av.filter
from av.video.stream import VideoStream

from vdeblur.frames import FieldOrder

#: Codecs of whole pictures that have no flags of their own; the container speaks for them.
_FLAGLESS = frozenset({"ffvhuff", "huffyuv", "utvideo", "magicyuv", "jpeg2000", "libopenjpeg", "cfhd", "png", "mjpeg"})
#: FFmpeg's AVFieldOrder as its raw decoder understands it: which field is shown first.
_HEADER_ORDERS: dict[int, FieldOrder] = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}


def header_order(stream: VideoStream) -> FieldOrder | None:
    """Field order in the stream's header, where the pictures cannot say it themselves."""
    context = stream.codec_context
    return _HEADER_ORDERS.get(context.field_order) if context.name in _FLAGLESS else None


class FieldFlags:
    """Reads the flags of pictures. PyAV tells whether one is interlaced; the order comes from FFmpeg's ``select``."""

    def __init__(self) -> None:
        self._layout: tuple[int, int, str] | None = None
        self._graph: Any = None

    def order_of(self, picture: av.VideoFrame) -> FieldOrder | None:
        """Which field comes first, ``None`` for whole frames."""
        if not picture.interlaced_frame:
            return None
        layout = (picture.width, picture.height, picture.format.name)
        if layout != self._layout:
            self._graph, self._layout = graph_of(picture, "select", "eq(interlace_type,TOPFIRST)"), layout
        self._graph.push(picture)
        return "tff" if pulled(self._graph) else "bff"


def graph_of(picture: av.VideoFrame, *filters: str, time_base: Fraction = Fraction(1, 1000)) -> Any:
    """A filter graph for pictures like this one: names of filters and their arguments in turn."""
    graph = av.filter.Graph()
    buffer = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=time_base)
    nodes = [buffer]
    nodes += [graph.add(name, words) for name, words in zip(filters[0::2], filters[1::2], strict=True)]
    nodes.append(graph.add("buffersink"))
    for one, other in pairwise(nodes):
        one.link_to(other)
    graph.configure()
    return graph


def pulled(graph: Any) -> list[av.VideoFrame]:
    """All pictures that a graph has ready."""
    pictures = []
    while True:
        try:
            pictures.append(graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return pictures
