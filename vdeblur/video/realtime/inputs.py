"""Live inputs: FFmpeg options that open a camera, a screen, a stream or a test pattern with the least latency."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field

import av

from vdeblur.errors import UsageError
from vdeblur.video.realtime.cameras import USUAL_FPS, Camera, Mode, choose_mode
from vdeblur.video.source.access import NETWORK_SCHEMES, opening_options, scheme_of
from vdeblur.video.source.location import PipeSource

#: Only as much is looked at in front as a header needs.
_EAGER = {"fpsprobesize": "0"}
#: A stream on the network may send its header every now and then: so much is waited for it.
_STREAM_PROBE = {"analyzeduration": "500000", "probesize": "500000"}
_PIPE_PROBE = {"analyzeduration": "200000", "probesize": "65536"}
_RTSP = {"rtsp_flags": "prefer_tcp", "reorder_queue_size": "0", "max_delay": "100000"}
_PATTERN = "lavfi:"
_SCREEN = re.compile(r"screen(?::(.*))?")


@dataclass(frozen=True)
class LiveInput:
    """What is opened, and how."""

    #: For people.
    name: str
    url: str
    #: FFmpeg's demuxer, where its guess is not wanted.
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    #: Its end is a loss: cameras and streams do not end by themselves.
    endless: bool = True
    #: It makes pictures as fast as they are asked for, so somebody must keep time.
    unpaced: bool = False
    #: What is read instead of the URL, or the FIFO that is.
    pipe: PipeSource | None = None
    fifo: str | None = None


def camera_inlet(
    camera: Camera,
    *,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    input_format: str | None = None,
) -> LiveInput:
    """A camera in its best mode, or in one that was asked for.

    Raises:
        UsageError: it has no such mode, or this FFmpeg cannot open cameras.
    """
    _check_format(camera.system)
    mode = choose_mode(camera.modes, size=size, rate=rate, input_format=input_format)
    if mode is None and size is not None:
        mode = Mode(input_format or "", input_format == "mjpeg", *size, None)
    options = dict(_EAGER)
    if mode is not None:
        fps = rate or min(mode.expected_fps, USUAL_FPS)
        options |= {"video_size": f"{mode.width}x{mode.height}", "framerate": f"{fps:g}"}
        options |= _format_option(camera.system, mode)
    elif rate is not None:
        options["framerate"] = f"{rate:g}"
    words = "" if mode is None else f" ({mode.words})"
    url = f"{camera.address}:none" if camera.system == "avfoundation" else camera.address
    return LiveInput(f"camera {camera.number}{words}", url, camera.system, options)


def _format_option(system: str, mode: Mode) -> dict[str, str]:
    """How the system is told of a mode's format."""
    if not mode.input_format:
        return {}
    if system == "v4l2":
        return {"input_format": mode.input_format}
    return {"vcodec" if mode.compressed else "pixel_format": mode.input_format}


def screen_inlet(
    word: str, *, size: tuple[int, int] | None = None, rate: float | None = None, platform: str = sys.platform
) -> LiveInput:
    """The screen, or another one: "screen", "screen:1" (macOS) or "screen::1.0" (X11).

    Raises:
        UsageError: there is none, or this FFmpeg cannot open it.
    """
    match = _SCREEN.fullmatch(word)
    which = "" if match is None else match[1] or ""
    options = {**_EAGER, "framerate": f"{rate or USUAL_FPS:g}"}
    if size is not None:
        options["video_size"] = f"{size[0]}x{size[1]}"
    if platform == "darwin":
        _check_format("avfoundation")
        return LiveInput(f"screen {which or 0}", f"Capture screen {which or 0}:none", "avfoundation", options)
    if platform == "win32":
        _check_format("gdigrab")
        return LiveInput("the screen", "desktop", "gdigrab", options)
    display = which or os.environ.get("DISPLAY", "")
    if not display:
        raise UsageError(
            "no X screen to take pictures of: DISPLAY is not set; on Wayland use its portal's PipeWire camera"
        )
    _check_format("x11grab")
    return LiveInput(f"screen {display}", display, "x11grab", options)


def stream_inlet(url: str, *, endless: bool = True) -> LiveInput:
    """A stream on the network: RTSP, SRT, HTTP, UDP, TCP and what else FFmpeg opens.

    Raises:
        UsageError: that is none.
    """
    scheme = scheme_of(url)
    if scheme not in NETWORK_SCHEMES:
        raise UsageError(f"no protocol that vdeblur opens: {url}")
    options = {**_EAGER, **_STREAM_PROBE, **opening_options(network=True, file=False)}
    if scheme in ("rtsp", "rtsps"):
        options |= _RTSP
    return LiveInput(_without_password(url), url, None, options, endless=endless)


def pipe_inlet(name: str, pipe: PipeSource | None = None) -> LiveInput:
    """A pipe, or the FIFO of that name; its end is the end."""
    options = {**_EAGER, **_PIPE_PROBE, **opening_options(network=False, file=False)}
    return LiveInput(name, "", None, options, endless=False, pipe=pipe, fifo=None if pipe is not None else name)


def pattern_inlet(word: str) -> LiveInput:
    """A picture FFmpeg makes itself: "lavfi:testsrc2=size=640x480:rate=30"."""
    graph = word.removeprefix(_PATTERN)
    return LiveInput(word, graph, "lavfi", dict(_EAGER), endless=False, unpaced=True)


def _check_format(name: str) -> None:
    if not any(name in names.split(",") for names in av.formats_available):
        raise UsageError(f"the FFmpeg inside PyAV {av.__version__} was built without {name}; install another PyAV")


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
