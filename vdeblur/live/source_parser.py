"""Live source parser: opens a camera, screen, stream, pipe, test pattern or file from its command-line name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vdeblur.errors import UsageError
from vdeblur.live.sources import CaptureSource, FileSource, Source
from vdeblur.video.realtime.cameras import Camera, find_camera, list_cameras
from vdeblur.video.realtime.inputs import LiveInput, camera_inlet, pattern_inlet, pipe_inlet, screen_inlet, stream_inlet
from vdeblur.video.source.access import NETWORK_SCHEMES, scheme_of
from vdeblur.video.source.location import locate, no_such_file

_CAMERA = re.compile(r"\d{1,3}|camera(?::(?P<name>.+))?|/dev/video\d+")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Capture options: picture size, frame rate, pixel or codec format, pacing.

    Raises:
        UsageError: a number is out of its range.
    """

    #: (width, height) of a camera's or screen's pictures.
    size: tuple[int, int] | None = None
    #: Frames a second of a camera or screen.
    rate: float | None = None
    #: A camera's format: "mjpeg", "yuyv" or another of FFmpeg's names.
    input_format: str | None = None
    #: Streams and pipes of stored video are played at their own pace; files always are.
    realtime: bool = False
    #: Files begin again at their end.
    loop: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and not all(0 < side <= 16384 for side in self.size):
            raise UsageError(f"size cannot be {self.size[0]}x{self.size[1]}; it is like 640x480")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise UsageError(f"rate cannot be {self.rate:g}; it is frames a second, like 30")


def open_source(
    word: str, wishes: SourceOptions | None = None, *, cameras: Callable[[], Sequence[Camera]] = list_cameras
) -> Source:
    """Open the source of a name: a camera ("0", "/dev/video0", "camera:NAME"), "screen", an address on the network, "-"
    (standard input), a FIFO, "lavfi:PATTERN" or a file. An existing file goes before everything but a number.

    Raises:
        UsageError: there is no such source, or an option does not apply to it.
        SourceError: a file cannot be read.
    """
    wishes = wishes or SourceOptions()
    if (match := _CAMERA.fullmatch(word)) is not None:
        return CaptureSource(_camera(match["name"] or ("0" if word == "camera" else word), wishes, cameras))
    _refuse(wishes, "size", "rate", "input_format", but_for=word == "screen" or word.startswith("screen:"))
    if word == "-" or _is_fifo(word):
        return CaptureSource(_pipe(word), realtime=wishes.realtime)
    if os.path.exists(word):
        return FileSource(word, loop=wishes.loop)
    if word == "screen" or word.startswith("screen:"):
        return CaptureSource(screen_inlet(word, size=wishes.size, rate=wishes.rate))
    if word.startswith("lavfi:"):
        return CaptureSource(pattern_inlet(word))
    if scheme_of(word) in NETWORK_SCHEMES:
        return CaptureSource(stream_inlet(word, endless=not wishes.realtime), realtime=wishes.realtime)
    raise no_such_file(word)


def _camera(word: str, wishes: SourceOptions, cameras: Callable[[], Sequence[Camera]]) -> LiveInput:
    camera = find_camera(word, cameras())
    return camera_inlet(camera, size=wishes.size, rate=wishes.rate, input_format=wishes.input_format)


def _refuse(wishes: SourceOptions, *names: str, but_for: bool) -> None:
    given = [name.replace("_", "-") for name in names if getattr(wishes, name) is not None]
    if given and not but_for:
        raise UsageError(f"--{given[0]} is for cameras and screens; this source has its own")


def _is_fifo(word: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(word).st_mode)
    except (OSError, ValueError):
        return False


def _pipe(word: str) -> LiveInput:
    return pipe_inlet("standard input", locate("-").pipe) if word == "-" else pipe_inlet(word)
