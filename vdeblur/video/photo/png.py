"""PNG encoder: an 8-bit R'G'B' array as a PNG file in memory (ISO/IEC 15948), by FFmpeg's encoder."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vdeblur.errors import TargetError


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG.

    Args:
        picture: (H, W, 3), 8-bit R'G'B'.

    Raises:
        TargetError: FFmpeg cannot encode it.
    """
    height, width, _ = picture.shape
    try:
        context: Any = av.CodecContext.create("png", "w")
        context.width, context.height, context.pix_fmt, context.framerate = width, height, "rgb24", 25
        context.thread_count = 1
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))
    except av.error.FFmpegError as exc:
        raise TargetError(f"a picture of {width}×{height} cannot become a PNG: {exc}") from exc
