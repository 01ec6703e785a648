"""HEVC with alpha: a second layer of the same stream, which not every FFmpeg decodes.

Source: ITU-T H.265, annexes D.2.38 (alpha channel information) and F; Apple, HEVC Video with Alpha.
"""

from __future__ import annotations

from pathlib import Path

from av.video.stream import VideoStream

#: A prefix SEI message of the base layer that begins with alpha channel information (payload 165).
_ALPHA_MESSAGE = b"\x4e\x01\xa5"
_START_CODE = b"\0\0\1"
#: Where a raw stream or a transport stream says it, it does so in front.
_HEAD_BYTES = 1 << 20


def says_hevc_alpha(stream: VideoStream, path: Path | None) -> bool:
    """Whether an HEVC stream says that it has a layer of alpha: in its header, or at the beginning of its file."""
    context = stream.codec_context
    if context.name != "hevc":
        return False
    extradata = context.extradata or b""
    if _ALPHA_MESSAGE in extradata:
        return True
    if path is None or extradata[:1] == b"\1":  # a header of MP4 and Matroska says all there is
        return False
    try:
        with path.open("rb") as file:
            return _START_CODE + _ALPHA_MESSAGE in file.read(_HEAD_BYTES)
    except OSError:
        return False
