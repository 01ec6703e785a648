"""Streams whose picture size changes."""

from __future__ import annotations

import functools
from pathlib import Path

from support.media.clips import FOLDER, ffmpeg

X264 = "-c:v libx264 -preset ultrafast -crf 20 -bf 0 -pix_fmt yuv420p"


@functools.cache
def part(size: str, start: str, encode: str = X264, suffix: str = ".ts", filters: str = "null") -> Path:
    """Five frames that begin at ``start`` seconds."""
    path = FOLDER / f"part_{abs(hash((size, start, encode, suffix, filters)))}{suffix}"
    words = [*encode.split(), "-frames:v", "5", "-output_ts_offset", start]
    source = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-vf", filters)
    ffmpeg(*source, *words, *(("-muxdelay", "0", "-muxpreload", "0") if suffix == ".ts" else ()), str(path))
    return path


def joined(folder: Path, *parts: Path) -> Path:
    path = folder / f"joined{parts[0].suffix}"
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    return path


SMALL_THEN_LARGE = (("160x96", "0"), ("192x192", "0.2"))
