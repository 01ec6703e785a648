"""Interlaced clips made by FFmpeg, and what the FFmpeg program itself says of a file's fields."""

from __future__ import annotations

import functools
from pathlib import Path

from support.media.clips import FOLDER, ffmpeg

#: Tall enough to be looked at, narrow enough to be quick; testsrc2 this large shows its fields clearly.
SOURCE = "testsrc2=size=160x480:rate=50"
TINTERLACE = {"tff": "tinterlace=interleave_top,setfield=tff", "bff": "tinterlace=interleave_bottom,setfield=bff"}
FLAGS = "-flags +ildct+ilme"
X264 = f"-c:v libx264 -preset ultrafast -crf 20 -bf 2 {FLAGS} -pix_fmt yuv420p"
FFV1 = "-c:v ffv1 -level 3 -pix_fmt yuv420p"


@functools.cache
def made(filters: str, encode: str, suffix: str, *, frames: int = 10, source: str = SOURCE) -> Path:
    """A clip of a lavfi source through filters and an encoder."""
    path = FOLDER / f"interlaced_{abs(hash((filters, encode, suffix, frames, source)))}{suffix}"
    words = [*encode.split(), "-frames:v", str(frames)]
    ffmpeg("-f", "lavfi", "-i", source, "-vf", filters, *words, str(path))
    return path


def interlaced(order: str = "tff", encode: str = X264, suffix: str = ".mp4", **options: object) -> Path:
    """A clip of 25 interlaced frames a second, its fields 1/50 s apart and flagged."""
    return made(TINTERLACE[order], encode, suffix, **options)  # type: ignore[arg-type]


def ffmpeg_says(path: Path) -> set[str]:
    """Field order of every frame as FFmpeg's ``showinfo`` prints it: "T", "B" or "P" for whole frames."""
    words = ("-v", "info", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-vf", "showinfo=checksum=0")
    printed = ffmpeg(*words, "-f", "null", "-", stderr=True).decode(errors="replace")
    return {line.split(" i:")[1][0] for line in printed.splitlines() if "showinfo" in line and " i:" in line}
