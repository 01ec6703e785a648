"""Cameras: what FFmpeg says about them on each system, as it was recorded, and which mode is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdeblur.errors import UsageError
from vdeblur.video.realtime import cameras as camera_module
from vdeblur.video.realtime.cameras import (
    Camera,
    Mode,
    avfoundation_devices,
    avfoundation_modes,
    choose_mode,
    dshow_devices,
    dshow_modes,
    find_camera,
    list_cameras,
    v4l2_modes,
    why_none,
)
from vdeblur.video.realtime.inputs import camera_inlet, screen_inlet

V4L2 = """\
[video4linux2,v4l2 @ 0x55d0c2a3e740] Compressed:       mjpeg :          Motion-JPEG : 1920x1080 1280x720 640x480 320x240
[video4linux2,v4l2 @ 0x55d0c2a3e740] Raw       :     yuyv422 :           YUYV 4:2:2 : 640x480 1280x720 320x240
[video4linux2,v4l2 @ 0x55d0c2a3e740] Compressed: Unsupported :                 H.265 : 640x480
/dev/video0: Immediate exit requested
"""
V4L2_STEPS = """\
[video4linux2,v4l2 @ 0x561] Raw       :     yuv420p :     Planar YUV 4:2:0 : {32-2592, 2}x{32-1944, 2}
"""
MAC_LIST = """\
[AVFoundation indev @ 0x7fb1d9f04a80] AVFoundation video devices:
[AVFoundation indev @ 0x7fb1d9f04a80] [0] FaceTime HD Camera
[AVFoundation indev @ 0x7fb1d9f04a80] [1] Capture screen 0
[AVFoundation indev @ 0x7fb1d9f04a80] AVFoundation audio devices:
[AVFoundation indev @ 0x7fb1d9f04a80] [0] MacBook Pro Microphone
: Input/output error
"""
MAC_MODES = """\
[avfoundation @ 0x7f8] Selected framerate (0.001000) is not supported by the device.
[avfoundation @ 0x7f8] Supported modes:
[avfoundation @ 0x7f8]   640x480@[1.000000 30.000030]fps
[avfoundation @ 0x7f8]   1280x720@[1.000000 30.000030]fps
[avfoundation @ 0x7f8]   1920x1080@[15.000000 30.000030]fps
0:none: Input/output error
"""
WINDOWS_LIST = """\
[dshow @ 000001d2f5c0e980] "Integrated Camera" (video)
[dshow @ 000001d2f5c0e980]   Alternative name "@device_pnp_\\\\?\\usb#vid_04f2&pid_b6d0&mi_00#6&2f5&0&0000#{65e8}"
[dshow @ 000001d2f5c0e980] "OBS Virtual Camera" (none)
[dshow @ 000001d2f5c0e980]   Alternative name "@device_sw_{860BB310-5D01-11D0-BD3B-00A0C911CE86}"
[dshow @ 000001d2f5c0e980] "Cam Link 4K" (audio, video)
[dshow @ 000001d2f5c0e980] "Microphone (Realtek Audio)" (audio)
dummy: Immediate exit requested
"""
WINDOWS_LIST_4 = """\
[dshow @ 0000020a] DirectShow video devices (some may be both video and audio devices)
[dshow @ 0000020a]  "Integrated Camera"
[dshow @ 0000020a]     Alternative name "@device_pnp_\\\\?\\usb#vid_04f2"
[dshow @ 0000020a] DirectShow audio devices
[dshow @ 0000020a]  "Microphone (Realtek Audio)"
"""
WINDOWS_MODES = """\
[dshow @ 00000247] DirectShow video device options (from video devices)
[dshow @ 00000247]  Pin "Capture" (alternative pin name "0")
[dshow @ 00000247]   vcodec=mjpeg  min s=1280x720 fps=30 max s=1280x720 fps=30
[dshow @ 00000247]   vcodec=mjpeg  min s=1280x720 fps=30 max s=1280x720 fps=30 (pc, bt470bg/bt709/unknown, center)
[dshow @ 00000247]   pixel_format=yuyv422  min s=640x480 fps=30 max s=640x480 fps=30
[dshow @ 00000247]   pixel_format=yuyv422  min s=1280x720 fps=10 max s=1280x720 fps=10
"""


def test_v4l2_modes() -> None:
    modes = list(v4l2_modes(V4L2))
    assert modes[:2] == [Mode("mjpeg", True, 1920, 1080), Mode("mjpeg", True, 1280, 720)]
    assert [mode.width for mode in modes if mode.input_format == "yuyv422"] == [640, 1280, 320]
    assert len(modes) == 7
    assert [mode.width for mode in v4l2_modes(V4L2_STEPS)] == [640, 1280, 1920]
    assert list(v4l2_modes("/dev/video1: Inappropriate ioctl for device")) == []


def test_avfoundation_lists() -> None:
    assert avfoundation_devices(MAC_LIST) == [(0, "FaceTime HD Camera"), (1, "Capture screen 0")]
    assert list(avfoundation_modes(MAC_MODES))[1] == Mode("", False, 1280, 720, 30.0)
    assert avfoundation_devices("") == []


def test_dshow_lists() -> None:
    assert dshow_devices(WINDOWS_LIST) == ["Integrated Camera", "Cam Link 4K"]
    assert dshow_devices(WINDOWS_LIST_4) == ["Integrated Camera"]
    assert list(dict.fromkeys(dshow_modes(WINDOWS_MODES))) == [
        Mode("mjpeg", True, 1280, 720, 30.0),
        Mode("yuyv422", False, 640, 480, 30.0),
        Mode("yuyv422", False, 1280, 720, 10.0),
    ]


def test_cameras_of_windows_and_macos() -> None:
    def windows(arguments: object) -> str:
        return WINDOWS_MODES if "-list_options" in arguments else WINDOWS_LIST  # type: ignore[operator]

    def mac(arguments: object) -> str:
        return MAC_LIST if "-list_devices" in arguments else MAC_MODES  # type: ignore[operator]

    first, second = list_cameras(platform="win32", ask=windows)
    assert (first.address, second.number, len(first.modes)) == ("video=Integrated Camera", 1, 3)
    (only,) = list_cameras(platform="darwin", ask=mac)
    assert (only.name, len(only.modes)) == ("FaceTime HD Camera", 3)


def test_cameras_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = tmp_path / "dev"
    nodes.mkdir()
    for number, name in enumerate(("Integrated Camera", "Integrated Camera: metadata", "Used", "Closed")):
        folder = tmp_path / "class" / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (nodes / f"video{number}").touch()
    answers = {"video0": V4L2, "video1": "Inappropriate ioctl for device", "video2": "Device or resource busy"}
    monkeypatch.setattr(camera_module.os, "access", lambda path, mode: Path(path).name != "video3")
    cameras = camera_module._linux_cameras(lambda a: answers[Path(a[-1]).name], tmp_path / "class", nodes)
    assert [(one.number, one.name, len(one.modes)) for one in cameras] == [
        (0, "Integrated Camera", 7), (2, "Used", 0), (3, "Closed", 0),
    ]  # fmt: skip
    assert cameras[1].problem == "another program uses it"
    assert "usermod -aG video" in str(cameras[2].problem)
    with pytest.raises(UsageError, match="another program"):
        find_camera("2", cameras)


def test_no_camera_is_explained() -> None:
    assert "Privacy" in why_none("darwin")
    assert "Privacy" in why_none("win32")
    assert why_none("linux").startswith("no camera was found")


MODES = tuple(v4l2_modes(V4L2))


@pytest.mark.parametrize(
    ("modes", "wishes", "chosen"),
    [
        (MODES, {}, "1280×720 mjpeg"),
        (MODES, {"size": (640, 480)}, "640×480 yuyv422"),
        (MODES, {"size": (1280, 720), "input_format": "yuyv"}, "1280×720 yuyv422"),
        (MODES, {"input_format": "yuyv"}, "640×480 yuyv422"),
        (MODES, {"size": (1920, 1080)}, "1920×1080 mjpeg"),
        (tuple(dshow_modes(WINDOWS_MODES)), {}, "1280×720 mjpeg, 30 fps"),
        (tuple(avfoundation_modes(MAC_MODES)), {}, "1280×720, 30 fps"),
        (
            (Mode("yuyv422", False, 1280, 720, 5.0), Mode("yuyv422", False, 640, 480, 15.0)),
            {}, "640×480 yuyv422, 15 fps",
        ),
        ((Mode("mjpeg", True, 1920, 1080, 30.0), Mode("mjpeg", True, 3840, 2160, 30.0)), {}, "1920×1080 mjpeg, 30 fps"),
        (
            (Mode("mjpeg", True, 640, 480, 120.0), Mode("mjpeg", True, 1280, 720, 30.0)),
            {"rate": 60}, "640×480 mjpeg, 120 fps",
        ),
    ],
)  # fmt: skip
def test_the_best_mode(modes: tuple[Mode, ...], wishes: dict[str, object], chosen: str) -> None:
    best = choose_mode(modes, **wishes)  # type: ignore[arg-type]
    assert best is not None
    assert best.words == chosen


def test_a_mode_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="it has 1920×1080 mjpeg; "):
        choose_mode(MODES, size=(800, 600))
    assert choose_mode(()) is None


def test_what_ffmpeg_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.video.realtime.inputs._check_format", lambda name: None)
    linux = camera_inlet(Camera(0, "a", "v4l2", "/dev/video0", MODES))
    told = {name: linux.options[name] for name in ("video_size", "framerate", "input_format")}
    assert told == {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"}
    assert (linux.url, linux.format, linux.endless) == ("/dev/video0", "v4l2", True)
    windows = camera_inlet(Camera(1, "b", "dshow", "video=b", tuple(dshow_modes(WINDOWS_MODES))), size=(640, 480))
    assert windows.options["pixel_format"] == "yuyv422"
    mac = camera_inlet(Camera(0, "c", "avfoundation", "0", tuple(avfoundation_modes(MAC_MODES))), rate=15)
    assert (mac.url, mac.options["framerate"], "input_format" in mac.options) == ("0:none", "15", False)
    unknown = camera_inlet(Camera(0, "d", "v4l2", "/dev/video0"), size=(320, 240), rate=5)
    assert (unknown.options["video_size"], unknown.options["framerate"]) == ("320x240", "5")
    assert screen_inlet("screen:1", platform="darwin").url == "Capture screen 1:none"
    assert screen_inlet("screen", platform="win32", rate=20).options["framerate"] == "20"
    assert screen_inlet("screen::7", platform="linux", size=(640, 480)).url == ":7"
