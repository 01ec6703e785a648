"""Codec round trip: frames encoded with H.264 or HEVC in memory and decoded again, for synthetic footage."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt

from vdeblur.errors import TargetError, UsageError

Codec = Literal["h264", "hevc"]

#: As a camera encodes: without lookahead. x264's lookahead and weighted prediction also made one encoding in a hundred
#: differ from the others.
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": (
        "libx264",
        {"preset": "veryfast", "x264-params": "rc-lookahead=0:sync-lookahead=0:mbtree=0:weightp=0:bframes=0"},
    ),
    "hevc": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"}),
}
_RATE = Fraction(30)
#: BT.709 and limited range, as FFmpeg numbers and names them.
_BT709, _LIMITED = 1, 1


def recompress(
    frames: npt.NDArray[np.uint8], *, codec: Codec | str, crf: float, lead: int = 2
) -> npt.NDArray[np.uint8]:
    """Encode frames as H.264 or HEVC in 4:2:0, BT.709, limited range, and decode them.

    Args:
        frames: (T, H, W, 3) R'G'B'; odd sizes are padded for the encoder.
        crf: constant rate factor, 0 to 51, smaller is better.
        lead: so many frames are mirrored in front and dropped again, so that a clip need not begin with a key frame.

    Raises:
        UsageError: the codec is neither, or the frames have another shape.
        TargetError: the encoder fails.
    """
    if codec not in _ENCODERS:
        raise UsageError(f"codec cannot be {codec!r}; it is {' or '.join(_ENCODERS)}")
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise UsageError(f"frames are {frames.dtype} {frames.shape}; give uint8 (T, H, W, 3)")
    count, height, width = frames.shape[:3]
    lead = min(lead, count - 1)
    padded = np.concatenate((frames[lead:0:-1], frames)) if lead else frames
    if height % 2 or width % 2:
        padded = np.pad(padded, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    try:
        back = _decode(_encode(padded, codec, crf), codec)
    except av.error.FFmpegError as exc:
        raise TargetError(f"{codec} cannot be encoded in memory: {exc}") from exc
    if len(back) != len(padded):
        raise TargetError(f"{codec} gave {len(back)} frames for {len(padded)}")
    return np.stack(back[lead:])[:, :height, :width]


def _encode(frames: npt.NDArray[np.uint8], codec: str, crf: float) -> list[av.Packet[Any]]:
    name, options = _ENCODERS[codec]
    context: Any = av.CodecContext.create(name, "w")
    context.height, context.width = frames.shape[1:3]
    context.pix_fmt = "yuv420p"
    context.time_base = 1 / _RATE
    context.framerate = _RATE
    context.thread_count = 1
    context.colorspace, context.color_range = _BT709, _LIMITED
    context.options = {**options, "crf": f"{crf:.2f}"}
    packets: list[av.Packet[Any]] = []
    for index, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        picture.pts, picture.time_base = index, context.time_base
        packets += context.encode(picture)
    return packets + list(context.encode(None))


def _decode(packets: list[av.Packet[Any]], codec: str) -> list[npt.NDArray[np.uint8]]:
    context: Any = av.CodecContext.create(codec, "r")
    context.thread_count = 1
    pictures = [picture for packet in [*packets, None] for picture in context.decode(packet)]
    return [_rgb(picture) for picture in pictures]


def _rgb(picture: av.VideoFrame) -> npt.NDArray[np.uint8]:
    shown = picture.reformat(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG")
    return shown.to_ndarray().astype(np.uint8, copy=False)
