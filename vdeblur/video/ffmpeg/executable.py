"""FFmpeg executable: discovery of a capable one, and its capabilities."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import imageio_ffmpeg

from vdeblur.errors import UsageError
from vdeblur.video.ffmpeg.process import CREATION_FLAGS, NEW_SESSION, QUIET, FFmpegProcess, PacketCounts

_log = logging.getLogger(__name__)

#: Names the program to use, before PATH and the one that came with imageio-ffmpeg.
ENVIRONMENT_VARIABLE = "VDEBLUR_FFMPEG"
#: Options the writer cannot do without; FFmpeg 6.0 was the first to have them all.
NEEDED_OPTIONS = ("fps_mode", "enc_time_base", "display_rotation", "copypriorss")


def find_ffmpeg() -> Path:
    """Path of the FFmpeg program: ``VDEBLUR_FFMPEG``, else the one on PATH, else the one of imageio-ffmpeg.

    A program on PATH that lacks an option we need is passed over.

    Raises:
        UsageError: ``VDEBLUR_FFMPEG`` names no usable program, or none is found anywhere.
    """
    return _find(os.environ.get(ENVIRONMENT_VARIABLE), os.environ.get("PATH"))


@lru_cache(maxsize=8)
def _find(wanted: str | None, search_path: str | None) -> Path:
    if wanted:
        program = shutil.which(wanted, path=search_path)
        if program is None:
            raise UsageError(f"{ENVIRONMENT_VARIABLE}={wanted!r} is no program; give the path of ffmpeg")
        missing = _missing_options(Path(program))
        if missing:
            raise UsageError(f"{ENVIRONMENT_VARIABLE}={wanted!r} lacks -{missing[0]}; FFmpeg 6.0 or newer is needed")
        return Path(program)
    on_path = shutil.which("ffmpeg", path=search_path)
    if on_path and not _missing_options(Path(on_path)):
        return Path(on_path)
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as exc:
        raise UsageError(
            f"no FFmpeg 6.0 or newer is installed; install one or name it in {ENVIRONMENT_VARIABLE}"
        ) from exc


def _missing_options(program: Path) -> list[str]:
    known = _known_options(program)
    return [name for name in NEEDED_OPTIONS if name not in known]


@lru_cache(maxsize=8)
def _known_options(program: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^-(\w+)", _ask(program, "-h", "long"), flags=re.MULTILINE))


def _ask(program: Path, *arguments: str) -> str:
    """What the program prints to standard output; empty if it cannot be run."""
    try:
        command = [str(program), "-hide_banner", *arguments]
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            creationflags=CREATION_FLAGS,
            start_new_session=NEW_SESSION,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        _log.warning("cannot run %s: %s", program, exc)
        return ""
    return answer.stdout.decode(errors="replace")


def has_option(name: str) -> bool:
    """Whether the program knows a main option, e.g. "mastering_display" (new in FFmpeg 9)."""
    return name in _known_options(find_ffmpeg())


def ffmpeg_version() -> str:
    """Version as the program says it, e.g. "7.1.1"; "unknown" if it says nothing."""
    found = re.search(r"ffmpeg version (\S+)", _ask(find_ffmpeg(), "-version"))
    return found.group(1) if found else "unknown"


@dataclass(frozen=True)
class EncoderDetails:
    """What ``ffmpeg -h encoder=NAME`` says."""

    name: str
    pixel_formats: tuple[str, ...]
    #: Its own options, e.g. "crf", "preset".
    options: frozenset[str]


def video_encoders() -> tuple[str, ...]:
    """Names of all video encoders built into the program; whether one opens is another question."""
    return _video_encoders(find_ffmpeg())


@lru_cache(maxsize=8)
def _video_encoders(program: Path) -> tuple[str, ...]:
    return tuple(re.findall(r"^ V\S{5} (\w[\w-]*)", _ask(program, "-encoders"), flags=re.MULTILINE))


def encoder_details(name: str) -> EncoderDetails | None:
    """Pixel formats and options of an encoder, ``None`` if the program has no such video encoder."""
    return _encoder_details(find_ffmpeg(), name)


@lru_cache(maxsize=64)
def _encoder_details(program: Path, name: str) -> EncoderDetails | None:
    if name not in _video_encoders(program):
        return None
    text = _ask(program, "-h", f"encoder={name}")
    formats = re.search(r"Supported pixel formats: (.*)", text)
    options = frozenset(re.findall(r"^\s+-([\w-]+)\s+<", text, flags=re.MULTILINE))
    return EncoderDetails(name, tuple(formats.group(1).split()) if formats else (), options)


def encoder_opens(codec: str, pix_fmt: str) -> bool:
    """Whether an encoder really works here, found by encoding two 256 × 256 frames; remembered.

    A build may list an encoder whose driver or device is missing (NVENC on a machine without a GPU).
    """
    return _encoder_opens(find_ffmpeg(), codec, pix_fmt)


@lru_cache(maxsize=128)
def _encoder_opens(program: Path, codec: str, pix_fmt: str) -> bool:
    details = _encoder_details(program, codec)
    if details is None or (details.pixel_formats and pix_fmt not in details.pixel_formats):
        return False
    source = ["-f", "rawvideo", "-pixel_format", pix_fmt, "-video_size", "256x256", "-i", "pipe:0"]
    # Eight bytes a pixel are enough for two frames of any format with up to four bytes, and for one of any other.
    result = run_ffmpeg([*source, "-frames:v", "2", "-c:v", codec, "-f", "null", "-"], data=bytes(256 * 256 * 8))
    return result.returncode == 0


@dataclass(frozen=True)
class CompletedRun:
    """A process that has ended: its exit status and, in one line, why it failed."""

    returncode: int
    reason: str
    #: Its last messages, errors and warnings.
    messages: tuple[str, ...] = ()
    #: Packets it has counted, where the arguments ask for :data:`vdeblur.video.ffmpeg.process.COUNTS`.
    tally: PacketCounts = field(default_factory=PacketCounts)


def run_ffmpeg(arguments: Sequence[str], *, data: bytes = b"", timeout_seconds: float = 120.0) -> CompletedRun:
    """Run FFmpeg to its end with ``data`` on its standard input; for questions, not for work.

    Raises:
        TargetError: the program cannot be started.
    """
    process = FFmpegProcess([str(find_ffmpeg()), *QUIET, *arguments], stdout=subprocess.DEVNULL)
    timer = threading.Timer(timeout_seconds, process.kill)
    timer.name = "vdeblur-ffmpeg-timeout"
    timer.start()
    try:
        process.feed(data)
        returncode = process.wait()
    finally:
        timer.cancel()
        timer.join()
        process.kill()
    return CompletedRun(returncode, process.reason(), process.messages(), process.tally)
