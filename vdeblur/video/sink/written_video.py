"""What the finished file is: codec, pixel format and size, as its own head says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Disposition

from vdeblur.video.av_compat import open_input


@dataclass(frozen=True)
class WrittenVideo:
    """The video in a finished file. For what cannot be opened again, a pipe or a device, there is none."""

    #: As FFmpeg calls it, e.g. "h264".
    codec: str
    pixel_format: str
    width: int
    height: int
    #: Size of the whole file.
    bytes: int

    @property
    def words(self) -> str:
        """For people: "h264 yuv420p, 1280x720, 12.3 MiB"."""
        return f"{self.codec} {self.pixel_format}, {self.width}x{self.height}, {_size(self.bytes)}"


def written_video(path: Path) -> WrittenVideo | None:
    """Read the head of a finished file; None where there is no such file, or no video in it."""
    if not os.path.isfile(path):
        return None
    try:
        with open_input(str(path)) as container:
            covers = Disposition.attached_pic
            found = next(
                (stream.codec_context for stream in container.streams.video if not stream.disposition & covers), None
            )
            if found is None:
                return None
            return WrittenVideo(found.name, found.pix_fmt or "", found.width, found.height, path.stat().st_size)
    except (av.error.FFmpegError, ValueError, OSError):
        return None


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f} {unit}"
    return f"{count} bytes"
