"""HEVC with alpha: a second layer of the same stream, which not every FFmpeg decodes.

Source: ITU-T H.265, annexes D.2.38 (alpha channel information) and F; Apple, HEVC Video with Alpha.
"""

from __future__ import annotations

import re
from pathlib import Path

from av.video.stream import VideoStream

#: A prefix SEI message of the base layer that begins with alpha channel information (payload 165).
_ALPHA_MESSAGE = b"\x4e\x01\xa5"
#: The same among the packets: behind a start code, or the length of a message.
_IN_PACKETS = re.compile(rb"\x00\x00(?:\x01|\x00[\x08-\x40])\x4e\x01\xa5")
#: Where the header does not say it, the first picture does.
_HEAD_BYTES = 1 << 20


def says_hevc_alpha(stream: VideoStream, path: Path | None) -> bool:
    """Whether an HEVC stream says that it has a layer of alpha: in its header, or at the beginning of its file."""
    context = stream.codec_context
    if context.name != "hevc":
        return False
    if _ALPHA_MESSAGE in (context.extradata or b""):
        return True
    if path is None:
        return False
    try:
        with path.open("rb") as file:
            return _IN_PACKETS.search(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
