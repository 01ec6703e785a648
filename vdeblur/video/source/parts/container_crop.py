"""Crop by the container (Matroska's PixelCrop, ``clap`` of MP4 and QuickTime), applied as players and FFmpeg do.

What the codec itself cuts off (the conformance window of H.264 and HEVC) its decoder has cut off already.

Source: RFC 9559, PixelCropTop and its kin; ISO/IEC 14496-12, clean aperture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.video.stream import VideoStream

from vdeblur.video import ebml
from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.filter_graph import FilterGraph
from vdeblur.video.formats.colour_tags import stream_header
from vdeblur.video.info import Crop

_TOP, _BOTTOM, _LEFT, _RIGHT = 0x54BB, 0x54AA, 0x54CC, 0x54DD


def container_crop(stream: VideoStream) -> Crop | None:
    """The crop that a stream's container asks for; ``None`` = none, or one that leaves nothing.

    PyAV does not tell it: it is read from a header of Matroska that is made of the stream.
    """
    header = stream_header(stream, "matroska")
    tracks = ebml.tracks_of(header)
    entry = tracks[1][0] if tracks is not None and tracks[1] else None
    video = None if entry is None else ebml.child(header, entry.body, entry.end, ebml.VIDEO)
    if video is None:
        return None
    sides = {each.kind: ebml.number(header, each) for each in ebml.elements(header, video.body, video.end)}
    top, bottom, left, right = (sides.get(name, 0) for name in (_TOP, _BOTTOM, _LEFT, _RIGHT))
    context = stream.codec_context
    if not (top or bottom or left or right):
        return None
    if left + right >= context.width or top + bottom >= context.height:
        return None
    return Crop(top, bottom, left, right)


def cropped(pictures: Iterable[av.VideoFrame], crop: Crop) -> Iterator[av.VideoFrame]:
    """Pictures without what the container cuts off; their memory is shared, and everything said of them stays."""
    graph: FilterGraph | None = None
    known: tuple[int, int, str] | None = None
    for picture in pictures:
        shape = picture.width, picture.height, picture.format.name
        if graph is None or shape != known:
            graph, known = _graph(picture, crop), shape
        graph.push(picture)
        for shown in graph.pull():
            shown.pts, shown.dts, shown.duration = picture.pts, picture.dts, picture.duration
            yield shown


def _graph(like: av.VideoFrame, crop: Crop) -> FilterGraph:
    # A picture that changes its size in mid-stream may be too small for it.
    width = max(1, like.width - crop.left - crop.right)
    height = max(1, like.height - crop.top - crop.bottom)
    left, top = min(crop.left, like.width - width), min(crop.top, like.height - height)
    time_base = fraction_or_none(like.time_base) or Fraction(1, 1000)
    return FilterGraph(like, "crop", f"{width}:{height}:{left}:{top}:exact=1", time_base=time_base)
