"""FFmpeg's filters on pictures in memory, as others would use them: by its program, for its libraries may lack some."""

from __future__ import annotations

import subprocess

import numpy as np
import numpy.typing as npt

from vdeblur.errors import TargetError, UsageError
from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.ffmpeg.process import CREATION_FLAGS, NEW_SESSION, QUIET

#: Y'CbCr of BT.709 in 16 bits, so that neither a conversion nor a rounding is laid to the filter. From 8 bits, or in
#: full range, swscale's conversion there and back is off by up to a level (FFmpeg 9.0); from 16 bits it is right.
_TO_YCC = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p16le"
_TO_RGB = "scale=in_color_matrix=bt709:in_range=tv,format=gbrp16le"
#: Order of the planes in a picture of the format gbrp, and back.
_GBR, _RGB = (1, 2, 0), (2, 0, 1)


def filter_pictures(pictures: npt.NDArray[np.uint8], filters: str, *, threads: int = 1) -> npt.NDArray[np.float32]:
    """Pictures (T, 3, H, W), R'G'B', after a chain of FFmpeg's filters; float32 in [0, 1], of the same shape.

    The filters see Y'CbCr (yuv444p16le); one that cannot take it gets what FFmpeg converts to.

    Args:
        filters: the chain, as in FFmpeg's ``-vf``; it must give as many frames as it takes.
        threads: of the filters.

    Raises:
        UsageError: the pictures have another shape.
        TargetError: FFmpeg has no such filter, refuses its options, or gives other frames.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.dtype != np.uint8 or not pictures.size:
        raise UsageError(f"pictures are {pictures.dtype} {pictures.shape}; give uint8 (T, 3, H, W)")
    count, _, height, width = pictures.shape
    raw = ("-f", "rawvideo", "-pix_fmt", "gbrp16le", "-video_size", f"{width}x{height}", "-framerate", "25")
    chain = ",".join((_TO_YCC, filters, _TO_RGB))
    command = [
        str(find_ffmpeg()), *QUIET[:1], *QUIET[2:], *raw, "-i", "pipe:0", "-vf", chain, "-filter_threads", str(threads),
        "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gbrp16le", "pipe:1",
    ]  # fmt: skip
    run = subprocess.run(
        command,
        input=(pictures[:, _GBR].astype("<u2") * np.uint16(257)).tobytes(),
        capture_output=True,
        check=False,
        creationflags=CREATION_FLAGS,
        start_new_session=NEW_SESSION,
    )
    if run.returncode:
        told = run.stderr.decode(errors="replace").strip().splitlines()
        raise TargetError(f"FFmpeg's filter {filters!r} fails: {told[0] if told else run.returncode}")
    found = np.frombuffer(run.stdout, "<u2")
    if found.size != pictures.size:
        raise TargetError(f"FFmpeg's filter {filters!r} gave {found.size} samples for {pictures.size}")
    return found.reshape(count, 3, height, width)[:, _RGB].astype(np.float32) / np.float32(65535)
