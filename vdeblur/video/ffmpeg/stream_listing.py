"""Stream listing: the codec of each stream as the FFmpeg program names it, also of those that nothing here decodes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.ffmpeg.process import CREATION_FLAGS, NEW_SESSION

#: "  Stream #0:1[0x2](und): Data: none (mebx / 0x7862656D), 6 kb/s".
_LINE = re.compile(r"^ +Stream #0:(\d+)[^ ]*: (\w+): (\w+)([^,]*)")
_TAG = re.compile(r"\((.{4}) / 0x[0-9A-F]{8}\)")


@dataclass(frozen=True)
class ListedStream:
    """One stream: FFmpeg's name of its codec, ``None`` if it knows none, and its four-character code."""

    codec: str | None
    code: str | None


def list_codecs(url: str, options: Mapping[str, str]) -> dict[int, ListedStream]:
    """Codecs by index of the stream; empty if the program cannot open ``url``."""
    words = [word for name, value in options.items() for word in (f"-{name}", value)]
    try:
        answer = subprocess.run(
            [str(find_ffmpeg()), "-hide_banner", "-nostdin", *words, "-i", url],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            creationflags=CREATION_FLAGS,
            start_new_session=NEW_SESSION,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found: dict[int, ListedStream] = {}
    for line in answer.stderr.decode(errors="replace").splitlines():
        if match := _LINE.match(line):
            tag = _TAG.search(match[4])
            codec = None if match[3] in ("none", "unknown") else match[3]
            found.setdefault(int(match[1]), ListedStream(codec, tag[1] if tag else None))
    return found
