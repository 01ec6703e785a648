"""Field flags: the field order with which FFmpeg has flagged a decoded picture."""

from __future__ import annotations

import av
from av.video.stream import VideoStream

from vdeblur.frames import FieldOrder
from vdeblur.video.filter_graph import FilterGraph

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
        self._graph: FilterGraph | None = None

    def order_of(self, picture: av.VideoFrame) -> FieldOrder | None:
        """Which field comes first, ``None`` for whole frames."""
        if not picture.interlaced_frame:
            return None
        layout = (picture.width, picture.height, picture.format.name)
        if self._graph is None or layout != self._layout:
            self._graph, self._layout = FilterGraph(picture, "select", "eq(interlace_type,TOPFIRST)"), layout
        self._graph.push(picture)
        return "tff" if self._graph.pull() else "bff"
