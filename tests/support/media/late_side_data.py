"""Streams in which side data of pictures begin late: captions and format descriptions put in by hand."""

from __future__ import annotations

import re
from pathlib import Path

from support.media.clips import ffmpeg
from support.media.dynamic_hdr import PICTURE, dolby_vision, hdr10_plus

#: CEA-608 captions (ATSC A/53, 4.4): one pair of bytes.
CAPTIONS = b"GA94\x03" + bytes((0x41, 0xFF, 0xFC, 0x94, 0x20)) + b"\xff"
#: Active format description (ATSC A/53, 6.2.4): 16:9.
FORMAT = b"DTG1\x41\xfa"
FRAMES, BEFORE = 8, 5


def _h264(folder: Path, message: bytes) -> Path:
    """Pictures without B-frames; those behind the fifth have a message."""
    path = folder / "late.h264"
    coding = "-c:v libx264 -preset ultrafast -bf 0 -threads 1 -pix_fmt yuv420p"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", str(FRAMES), *coding.split(), str(path))
    made, pictures = bytearray(), 0
    for unit in re.split(b"\0\0\0\1|\0\0\1", path.read_bytes())[1:]:
        if unit[0] & 31 in (1, 5):
            pictures += 1
            if pictures > BEFORE:
                load = b"\xb5\x00\x31" + message
                made += b"\0\0\0\1\x06\x04" + bytes((len(load),)) + load + b"\x80"
        made += b"\0\0\0\1" + unit
    path.write_bytes(made)
    return path


def captions(folder: Path) -> Path:
    return _h264(folder, CAPTIONS)


def active_format(folder: Path) -> Path:
    return _h264(folder, FORMAT)


def mpeg2_captions(folder: Path) -> Path:
    """User data in front of the first slice of each late picture."""
    path = folder / "late.m2v"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", str(FRAMES), "-c:v", "mpeg2video", "-bf", "0", str(path))
    parts = path.read_bytes().split(b"\0\0\1\x01")
    made = bytearray(parts[0])
    for number, part in enumerate(parts[1:], start=1):
        made += (b"\0\0\1\xb2" + CAPTIONS if number > BEFORE else b"") + b"\0\0\1\x01" + part
    path.write_bytes(made)
    return path


def _behind_plain(folder: Path, late: Path) -> Path:
    """A stream behind five pictures without anything."""
    coding = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none:pools=1:bframes=0"
    path = folder / "late_after_plain.hevc"
    ffmpeg("-f", "lavfi", "-i", PICTURE, "-frames:v", str(BEFORE), *coding.split(), str(path))
    path.write_bytes(path.read_bytes() + late.read_bytes())
    return path


def late_hdr10_plus(folder: Path) -> Path:
    return _behind_plain(folder, hdr10_plus(folder))


def late_dolby_vision(folder: Path) -> Path:
    return _behind_plain(folder, dolby_vision(folder))


def in_container(stream: Path, suffix: str) -> Path:
    """The stream's pictures in another container, 25 a second."""
    if stream.suffix == suffix:
        return stream
    path = stream.with_name(f"{stream.stem}{suffix}")
    tag = ("-tag:v", "hvc1") if stream.suffix == ".hevc" and suffix == ".mp4" else ()
    ffmpeg("-r", "25", "-i", str(stream), "-c", "copy", *tag, str(path))
    return path
