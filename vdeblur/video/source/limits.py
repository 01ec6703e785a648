"""Header limits: reject picture sizes and stream counts that a file of this size cannot hold.

Decoders allocate whole pictures before they look at the data, so a file of a kilobyte could cost gigabytes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable

import av
import av.logging

from vdeblur.errors import VdeblurError

#: Pictures up to this are decoded whatever the file's length; it is 4096×4096.
ALWAYS_PX = 1 << 24
#: Larger ones need a byte for so many pixels. The emptiest real pictures have 26,000 a byte (black, lossless WebP).
PX_A_BYTE = 1 << 15
#: FFmpeg's own limit is near this: 16384×16384.
MOST_PX = 1 << 28
#: Streams of a file; each costs memory and time before the first frame.
MOST_STREAMS = 500

_SIZE = re.compile(r"Picture size (\d+)x(\d+) (?:is invalid|exceeds)")
_STREAMS = re.compile(r"exceeds max_streams")


def pixel_limit(file_bytes: int | None) -> int:
    """Pixels that one picture of a file may have; ``None`` = nobody knows its length."""
    return MOST_PX if file_bytes is None else min(MOST_PX, max(ALWAYS_PX, file_bytes * PX_A_BYTE))


def claim_options(file_bytes: int | None) -> dict[str, str]:
    """FFmpeg's options for the limits, for opening a source."""
    return {"max_pixels": str(pixel_limit(file_bytes)), "max_streams": str(MOST_STREAMS)}


def refused_claim(attempt: Callable[[], object], file_bytes: int | None) -> str | None:
    """What a file claimed that was refused, in words; ``None`` if it was nothing of the kind.

    ``attempt`` opens the file once more; FFmpeg says why it fails only in its messages.
    """
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    # Else a message would be held back, and come when the next file is opened.
    av.logging.set_skip_repeated(False)
    try:
        with (
            av.logging.Capture(local=False) as messages,
            contextlib.suppress(VdeblurError, av.error.FFmpegError, ValueError),
        ):
            attempt()
    finally:
        av.logging.set_skip_repeated(skips)
        av.logging.set_level(level)
    return _in_words((text for _, _, text in messages), file_bytes)


def _in_words(messages: Iterable[str], file_bytes: int | None) -> str | None:
    for text in messages:
        if _STREAMS.search(text):
            return f"it says that it holds more than {MOST_STREAMS} streams"
        if found := _SIZE.search(text):
            width, height = int(found[1]), int(found[2])
            if width * height <= ALWAYS_PX:
                continue
            held = file_bytes is not None and width * height <= MOST_PX
            why = f"which {file_bytes} bytes cannot hold" if held else "more than can be decoded"
            return f"it says that its picture is {width}×{height}, {why}"
    return None
