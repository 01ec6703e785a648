"""Camera enumeration: devices and modes as FFmpeg lists them: v4l2 (Linux), avfoundation (macOS), dshow (Windows).

The FFmpeg program is asked, because it writes its lists as messages and leaves nothing open behind it. All reading of
these messages is done by functions without side effects.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vdeblur.errors import UsageError
from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.ffmpeg.process import CREATION_FLAGS, NEW_SESSION

_log = logging.getLogger(__name__)

#: Takes FFmpeg's arguments and gives the messages it writes.
Ask = Callable[[Sequence[str]], str]

#: What is taken where nobody says: the largest picture up to this size that comes at this rate.
LIKED_SIZE, LIKED_FPS, USUAL_FPS = (1280, 720), 25.0, 30.0
#: Raw pictures larger than this come too slowly through USB 2.
_RAW_PIXELS = 640 * 480
_USUAL_SIZES = ((640, 480), (1280, 720), (1920, 1080))
_ASKING_SECONDS = 15.0
_LINUX_CLASS = Path("/sys/class/video4linux")


@dataclass(frozen=True)
class Mode:
    """One way a camera can send pictures."""

    #: FFmpeg's name of the codec or pixel format, e.g. "mjpeg", "yuyv422"; empty where only the size can be chosen.
    input_format: str
    compressed: bool
    width: int
    height: int
    #: Most frames a second; ``None`` where the system does not tell.
    fps: float | None = None

    @property
    def expected_fps(self) -> float:
        """Frames a second that may be counted on."""
        if self.fps is not None:
            return self.fps
        return USUAL_FPS if self.compressed or self.width * self.height <= _RAW_PIXELS else 10.0

    @property
    def words(self) -> str:
        """For people: "1280×720 mjpeg, 30 fps"."""
        rate = "" if self.fps is None else f", {self.fps:g} fps"
        return f"{self.width}×{self.height}{f' {self.input_format}' if self.input_format else ''}{rate}"


@dataclass(frozen=True)
class Camera:
    """A camera of this machine."""

    number: int
    name: str
    #: FFmpeg's device, "v4l2", "avfoundation" or "dshow", and what it opens there.
    system: str
    address: str
    modes: tuple[Mode, ...] = ()
    #: Why it cannot be opened, if that is known.
    problem: str | None = None


def list_cameras(*, platform: str = sys.platform, ask: Ask | None = None) -> tuple[Camera, ...]:
    """All cameras with their modes, in the system's order.

    Raises:
        UsageError: there is no FFmpeg program to ask.
    """
    ask = ask or _ask_ffmpeg
    if platform == "darwin":
        return _mac_cameras(ask)
    return _windows_cameras(ask) if platform == "win32" else _linux_cameras(ask, _LINUX_CLASS, Path("/dev"))


def why_none(platform: str = sys.platform) -> str:
    """Why there may be no camera, in one line."""
    if platform == "darwin":
        return "no camera was found; allow the terminal to use it under System Settings, Privacy & Security, Camera"
    if platform == "win32":
        return "no camera was found; allow desktop apps to use it under Settings, Privacy, Camera"
    if not _LINUX_CLASS.is_dir():
        return "no camera was found: this system has no video devices (in a container, pass --device /dev/video0)"
    return "no camera was found: no video device of this system takes pictures"


def choose_mode(
    modes: Sequence[Mode],
    *,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    input_format: str | None = None,
) -> Mode | None:
    """The best mode, of those that fit what is asked for; ``None`` where no modes are known.

    That is the largest up to 1280×720 with 25 frames a second or more, raw rather than compressed; where there is
    none, the quickest.

    Args:
        size: (width, height) wanted.
        rate: frames a second wanted; a mode may give more.
        input_format: "mjpeg", "yuyv" or another of FFmpeg's names.

    Raises:
        UsageError: no mode fits; the message names those there are.
    """
    fitting = [
        mode
        for mode in modes
        if (size is None or (mode.width, mode.height) == size)
        and (rate is None or mode.fps is None or mode.fps >= rate - 0.5)
        and (input_format is None or mode.input_format.startswith(input_format))
    ]
    if modes and not fitting:
        known = "; ".join(dict.fromkeys(mode.words for mode in modes))
        raise UsageError(f"the camera has no such mode; it has {known}")
    return max(fitting, key=lambda mode: _rank(mode, rate or LIKED_FPS)) if fitting else None


def _rank(mode: Mode, rate: float) -> tuple[bool, float, int, bool]:
    area = mode.width * mode.height
    quick = mode.expected_fps >= rate - 0.5
    small = mode.width <= LIKED_SIZE[0] and mode.height <= LIKED_SIZE[1]
    return quick, 0.0 if quick else mode.expected_fps, area if small else -area, not mode.compressed


def find_camera(word: str, cameras: Sequence[Camera]) -> Camera:
    """The camera of a number, an address or (part of) a name.

    Raises:
        UsageError: there is none, or it cannot be opened.
    """
    found = [one for one in cameras if word == str(one.number) or word == one.address]
    found = found or [one for one in cameras if word.lower() in one.name.lower()]
    if not found:
        there = ", ".join(f"{one.number} ({one.name})" for one in cameras)
        raise UsageError(
            f"no camera {word}; there {'is' if len(cameras) == 1 else 'are'} {there}" if there else why_none()
        )
    if found[0].problem is not None:
        raise UsageError(f"camera {found[0].number} ({found[0].name}) cannot be opened: {found[0].problem}")
    return found[0]


# --- Linux ------------------------------------------------------------------------------------------------------------


def _linux_cameras(ask: Ask, folder: Path, devices: Path) -> tuple[Camera, ...]:
    cameras = []
    for entry in sorted(folder.glob("video*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0)):
        path = devices / entry.name
        number = int(re.sub(r"\D", "", entry.name) or 0)
        camera = Camera(number, _read(entry / "name") or entry.name, "v4l2", str(path))
        if not os.access(path, os.R_OK | os.W_OK):
            denied = (
                f"no permission for {path}; add yourself to its group: sudo usermod -aG video $USER, and log in again"
            )
            cameras.append(replace(camera, problem=denied))
            continue
        messages = ask(["-f", "v4l2", "-list_formats", "all", "-i", str(path)])
        modes = tuple(v4l2_modes(messages))
        if modes:
            cameras.append(replace(camera, modes=modes))
        elif "busy" in messages.lower():
            cameras.append(replace(camera, problem="another program uses it"))
        # Anything else is no camera: cameras have further devices for metadata, and decoders are devices too.
    return tuple(cameras)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def v4l2_modes(messages: str) -> Iterator[Mode]:
    """Modes in what FFmpeg says to ``-list_formats all``; a range of sizes stands for its usual ones."""
    lines = re.findall(r"(Raw|Compressed)\s*:\s*(\S+)\s*:[^:\n]*:\s*(.*)", messages)
    for kind, name, sizes in lines:
        if name == "Unsupported":
            continue
        found = [(int(w), int(h)) for w, h in re.findall(r"(\d+)x(\d+)", sizes)]
        if (steps := re.search(r"\{(\d+)-(\d+), \d+\}x\{(\d+)-(\d+), \d+\}", sizes)) is not None:
            least_w, most_w, least_h, most_h = map(int, steps.groups())
            usual = [(640, 480), (1280, 720), (1920, 1080)]
            found = [(w, h) for w, h in usual if least_w <= w <= most_w and least_h <= h <= most_h] or [
                (most_w, most_h)
            ]
        for width, height in found:
            yield Mode(name, kind == "Compressed", width, height)


# --- macOS ------------------------------------------------------------------------------------------------------------


def _mac_cameras(ask: Ask) -> tuple[Camera, ...]:
    cameras = []
    for number, name in avfoundation_devices(ask(["-f", "avfoundation", "-list_devices", "true", "-i", ""])):
        if name.startswith("Capture screen"):
            continue
        # Asked for a rate that none has, it names those there are.
        messages = ask(["-f", "avfoundation", "-framerate", "0.001", "-i", f"{number}:none"])
        cameras.append(Camera(number, name, "avfoundation", str(number), tuple(avfoundation_modes(messages))))
    return tuple(cameras)


def avfoundation_devices(messages: str) -> list[tuple[int, str]]:
    """Numbers and names of the video devices in what FFmpeg says to ``-list_devices``, screens among them."""
    video = messages.partition("video devices:")[2].partition("audio devices:")[0]
    return [(int(number), name.strip()) for number, name in re.findall(r"\] \[(\d+)\] (.+)", video)]


def avfoundation_modes(messages: str) -> Iterator[Mode]:
    """Modes FFmpeg names when it is asked for one that is not there."""
    for width, height, fps in re.findall(r"(\d+)x(\d+)@\[[\d.]+ ([\d.]+)\]fps", messages):
        yield Mode("", False, int(width), int(height), round(float(fps), 2))


# --- Windows ----------------------------------------------------------------------------------------------------------


def _windows_cameras(ask: Ask) -> tuple[Camera, ...]:
    names = dshow_devices(ask(["-f", "dshow", "-list_devices", "true", "-i", "dummy"]))
    cameras = []
    for number, name in enumerate(names):
        address = f"video={name}"
        modes = tuple(dict.fromkeys(dshow_modes(ask(["-f", "dshow", "-list_options", "true", "-i", address]))))
        cameras.append(Camera(number, name, "dshow", address, modes))
    return tuple(cameras)


def dshow_devices(messages: str) -> list[str]:
    """Names of the cameras in what FFmpeg says to ``-list_devices``, of version 5 and later or before."""
    marked = re.findall(r'\] "(.+)" \([^)]*video[^)]*\)', messages)
    if marked:
        return marked
    video = messages.partition("DirectShow video devices")[2].partition("DirectShow audio devices")[0]
    return re.findall(r'\]\s+"(.+)"', re.sub(r"Alternative name.*", "", video))


def dshow_modes(messages: str) -> Iterator[Mode]:
    """Modes in what FFmpeg says to ``-list_options``, each at its largest size and highest rate."""
    pattern = r"(vcodec|pixel_format)=(\S+)\s+min s=\S+ fps=\S+ max s=(\d+)x(\d+) fps=([\d.]+)"
    for kind, name, width, height, fps in re.findall(pattern, messages):
        yield Mode(name, kind == "vcodec", int(width), int(height), float(fps))


def _ask_ffmpeg(arguments: Sequence[str]) -> str:
    command = [str(find_ffmpeg()), "-hide_banner", "-nostdin", *arguments]
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASKING_SECONDS,
            creationflags=CREATION_FLAGS,
            start_new_session=NEW_SESSION,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        _log.warning("cannot ask FFmpeg for cameras: %s", exc)
        return ""
    return answer.stderr.decode(errors="replace")
