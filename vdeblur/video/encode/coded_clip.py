"""Coded clips: pictures encoded with x264 into a file, to see what a codec does to a clip."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vdeblur.errors import TargetError, UsageError

_RATE = Fraction(25)
#: BT.709 and limited range, as FFmpeg numbers them.
_BT709, _LIMITED = 1, 1


def write_coded_clip(path: Path, pictures: Sequence[npt.NDArray[np.uint8]], *, crf: float) -> None:
    """Encode pictures (H, W, 3), R'G'B', as H.264 in 4:2:0, BT.709, limited range, into a Matroska file.

    x264's usual settings (preset medium), with one thread, so that it is the same file each time.

    Args:
        crf: constant rate factor, 0 to 51, smaller is better.

    Raises:
        UsageError: there are no pictures, or their sides are odd.
        TargetError: there is no x264, or the file cannot be written.
    """
    if not pictures or any(side % 2 for side in pictures[0].shape[:2]):
        shape = "none" if not pictures else f"{pictures[0].shape[1]}×{pictures[0].shape[0]}"
        raise UsageError(f"a clip in 4:2:0 needs pictures with even sides, not {shape}")
    try:
        with av.open(str(path), "w", format="matroska") as container:
            stream: Any = container.add_stream("libx264", rate=_RATE)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt, stream.thread_count = "yuv420p", 1
            context = stream.codec_context
            context.colorspace, context.color_range = _BT709, _LIMITED
            stream.options = {"preset": "medium", "crf": f"{crf:g}", "threads": "1"}
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                frame.pts, frame.time_base = number, 1 / _RATE
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError) as exc:
        raise TargetError(f"x264 cannot write {path.name}: {exc}") from exc
