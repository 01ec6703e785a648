"""Colour tags of a frame in FFmpeg's names, with those of its stream as the fallback."""

from __future__ import annotations

import io
from functools import lru_cache

import av
from av.video.stream import VideoStream

from vdeblur.frames import Colour

# Names by the numbers of ITU-T H.273, as FFmpeg writes and reads them; 0, 2 and 3 are reserved or "not said".
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 11: "smpte2085", 12: "chroma-derived-nc", 13: "chroma-derived-c", 14: "ictcp", 15: "ipt-c2",
    16: "ycgco-re", 17: "ycgco-ro",
}  # fmt: skip
_RANGES = {1: "tv", 2: "pc"}
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
#: Where codecs put chroma that Matroska does not hold, and thus cannot tell us of (H.263, IEC 61834).
_FIXED_LOCATIONS = {"h263": "center", "h263i": "center", "h263p": "center", "dvvideo": "topleft"}
#: What Y4M says in its first line.
_Y4M_LOCATIONS = {"C420jpeg": "center", "C420mpeg2": "left", "C420paldv": "topleft", "C420": "center"}
#: Matroska's ChromaSitingHorz and ChromaSitingVert (1 = on the first sample, 2 = half way).
_SITINGS = {(1, 2): "left", (2, 2): "center", (1, 1): "topleft", (2, 1): "top"}
_COLOUR_ELEMENT, _HORIZONTAL_ELEMENT, _VERTICAL_ELEMENT = b"\x55\xb0", b"\x55\xb7\x81", b"\x55\xb8\x81"


def stream_colour(stream: VideoStream) -> Colour:
    """Colour tags in the stream's header."""
    context = stream.codec_context
    return Colour(
        _MATRICES.get(context.colorspace),
        _RANGES.get(context.color_range),
        _PRIMARIES.get(context.color_primaries),
        _TRANSFERS.get(context.color_trc),
        _chroma_location(stream),
    )


def frame_colour(frame: av.VideoFrame, header: Colour) -> Colour:
    """Colour tags of a decoded frame, completed by its stream's; the "yuvj" formats are full range."""
    full = frame.format.name.startswith("yuvj")
    return _merged(frame.colorspace, 2 if full else frame.color_range, frame.color_primaries, frame.color_trc, header)


@lru_cache(maxsize=64)
def _merged(matrix: int, value_range: int, primaries: int, transfer: int, header: Colour) -> Colour:
    return Colour(
        _MATRICES.get(matrix, header.matrix),
        _RANGES.get(value_range, header.range),
        _PRIMARIES.get(primaries, header.primaries),
        _TRANSFERS.get(transfer, header.transfer),
        header.chroma_location,
    )


def stream_header(stream: VideoStream, muxer: str) -> bytes:
    """Header of a file with just this stream; empty if the container does not take it."""
    header = io.BytesIO()
    try:
        with av.open(header, "w", format=muxer) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return b""
    return header.getvalue()


def _chroma_location(stream: VideoStream) -> str | None:
    """Chroma sample location of a stream, which PyAV does not tell: read from a header that is made of the stream."""
    if stream.codec_context.name in _FIXED_LOCATIONS:
        return _FIXED_LOCATIONS[stream.codec_context.name]
    if stream.container.format.name == "yuv4mpegpipe":
        words = stream_header(stream, "yuv4mpegpipe").decode("ascii", "replace").split()
        return next((_Y4M_LOCATIONS[word] for word in words if word in _Y4M_LOCATIONS), None)
    data = stream_header(stream, "matroska")
    start = data.find(_COLOUR_ELEMENT)
    if start < 0:
        return None
    size = data[start + 2] & 0x7F
    element = data[start + 3 : start + 3 + size]
    horizontal, vertical = element.find(_HORIZONTAL_ELEMENT), element.find(_VERTICAL_ELEMENT)
    if horizontal < 0 or vertical < 0:
        return None
    return _SITINGS.get((element[horizontal + 3], element[vertical + 3]))
