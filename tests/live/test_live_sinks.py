"""Live sinks: pipes that other programs read, windows, virtual cameras and recordings."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.doubles import BT709, FORMATS, YUV420, YUV444, Identity, clip, planes_equal
from support.live_doubles import STILL, Steady
from support.wall_clock import patience, until
from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.live.session import LiveSession
from vdeblur.live.sinks import ComparisonSink, PipeSink, RecordingSink, VirtualCameraSink, WindowSink
from vdeblur.live.types import CapturedFrame, LiveFrame, NobodyWatches
from vdeblur.video.realtime.raw_pipe import PIPE_FORMATS
from vdeblur.video.realtime.uniform_frames import UniformFrames
from vdeblur.video.source.reader import Reader

RGB = PixelFormat("gbrp", "rgb", 8)


def shown(frame: Frame, at: float, *, number: int = 1) -> LiveFrame:
    return LiveFrame(CapturedFrame(frame, number, at), frame, at + 0.01)


def show_until_it_fails(sink: Any, frame: Frame) -> None:
    for _ in range(500):
        sink.show(shown(frame, time.monotonic()))
        time.sleep(0.01)


def read_back(data: bytes) -> list[Frame]:
    with Reader(io.BytesIO(data)) as reader:
        return list(reader)


# --- Uniform frames ---------------------------------------------------------------------------------------------------


def test_a_plain_frame_stays_as_it_is() -> None:
    (frame,) = clip(1)
    plain = UniformFrames()(frame)
    assert plain.planes is frame.planes
    assert plain.colour == replace(BT709)


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_every_format_becomes_a_plain_one(pixel_format: PixelFormat) -> None:
    if pixel_format.is_float:
        pytest.skip("no camera gives floats")
    (frame,) = clip(1, 33, 47, pixel_format=pixel_format, colour=Colour())
    plain = UniformFrames()(frame)
    assert (plain.size, plain.format.family, plain.format.bits, plain.format.alpha) == (frame.size, "yuv", 8, False)
    assert plain.colour.range == "tv"


def test_full_range_becomes_limited() -> None:
    planes = (np.full((4, 4), 255, np.uint8), *(np.full((2, 2), 128, np.uint8),) * 2)
    plain = UniformFrames()(Frame(planes, YUV420, Colour(range="pc"), 0, Fraction(1, 25)))
    assert int(plain.planes[0].mean()) == 235
    red = Frame(tuple(np.full((4, 4), level, np.uint8) for level in (0, 0, 255)), RGB, Colour(), 0, Fraction(1, 25))
    plain = UniformFrames(YUV444)(red)
    assert [round(float(plane.mean())) for plane in plain.planes] == [81, 90, 240], "BT.601, as a small picture has"


def test_another_size_gets_bars() -> None:
    plain = UniformFrames()
    plain(next(clip(1, 48, 64)))
    wide = plain(next(clip(1, 24, 96)))
    assert wide.size == (48, 64)
    assert np.all(wide.planes[0][:8] == 16)
    assert wide.planes[0][24].std() > 5


# --- Pipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PIPE_FORMATS)
def test_a_pipe_holds_what_was_shown(kind: Any) -> None:
    out = io.BytesIO()
    sink = PipeSink(out, kind, rate=lambda: Fraction(25))
    frames = list(clip(6, 48, 64))
    for number, frame in enumerate(frames):
        sink.show(shown(frame, 100 + 0.04 * number + (0.5 if number > 3 else 0)))
    sink.close()
    back = read_back(out.getvalue())
    assert len(back) == 6
    times = [frame.time_seconds - back[0].time_seconds for frame in back]
    if kind == "y4m":
        assert times == pytest.approx([n / 25 for n in range(6)])
    else:
        assert times == pytest.approx([0, 0.04, 0.08, 0.12, 0.66, 0.70], abs=1e-3)
    if kind != "mpegts":
        assert all(planes_equal(one, other) for one, other in zip(frames, back, strict=True))


@pytest.mark.parametrize("kind", PIPE_FORMATS)
def test_every_frame_has_left_when_show_returns(kind: Any) -> None:
    """Another program can show a frame before the next one comes."""
    ends = os.pipe()
    with open(ends[0], "rb", buffering=0) as reading, open(ends[1], "wb", buffering=0) as writing:
        os.set_blocking(ends[0], False)
        sink = PipeSink(writing, kind)
        sizes = []
        for number, frame in enumerate(clip(5, 48, 64)):
            sink.show(shown(frame, 0.04 * number))
            sizes.append(len(reading.read() or b""))
        sink.close()
    least = 48 * 64 * 3 // 2 if kind != "mpegts" else 188
    assert all(size >= least for size in sizes)


@pytest.mark.parametrize("pixel_format", [YUV420, YUV444, RGB, PixelFormat("yuv422p10le", "yuv", 10, (1, 0)),
                                          PixelFormat("gray", "gray", 8)], ids=lambda f: f.name)  # fmt: skip
@pytest.mark.parametrize("kind", PIPE_FORMATS)
def test_pipes_take_any_frame_and_any_change_of_size(kind: Any, pixel_format: PixelFormat) -> None:
    out = io.BytesIO()
    sink = PipeSink(out, kind)
    sizes = [(48, 64), (48, 64), (96, 128), (33, 47)]
    for number, size in enumerate(sizes):
        sink.show(shown(next(clip(1, *size, pixel_format=pixel_format, colour=Colour())), number / 25))
    sink.close()
    assert [frame.size for frame in read_back(out.getvalue())] == [(48, 64)] * 4


@pytest.mark.parametrize("kind", PIPE_FORMATS)
def test_a_reader_that_goes_away_is_noticed_and_closing_is_quiet(kind: Any) -> None:
    ends = os.pipe()
    os.close(ends[0])
    with open(ends[1], "wb", buffering=0) as writing:
        sink = PipeSink(writing, kind)
        with pytest.raises(BrokenPipeError):
            show_until_it_fails(sink, next(clip(1, 48, 64)))
        sink.close()


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="nut, y4m, mpegts"):
        PipeSink(io.BytesIO(), "avi")  # type: ignore[arg-type]


# --- Before and after -------------------------------------------------------------------------------------------------


def test_before_and_after_side_by_side() -> None:
    out = io.BytesIO()
    sink = ComparisonSink(PipeSink(out), "side")
    assert (sink.name, sink.vital, sink.every) == ("standard output", True, False)
    (frame,) = clip(1, 48, 64)
    sharp = frame.with_planes([plane ^ 1 for plane in frame.planes])
    sink.show(LiveFrame(CapturedFrame(frame, 1, 0.0), sharp, 0.01))
    sink.close()
    (back,) = read_back(out.getvalue())
    assert np.array_equal(back.planes[0], np.concatenate([frame.planes[0], sharp.planes[0]], axis=1))


# --- Recordings -------------------------------------------------------------------------------------------------------


def test_a_recording_has_every_frame_at_the_time_it_came(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    sink = RecordingSink(path)
    for number, frame in enumerate(clip(5, 48, 64)):
        sink.show(shown(frame, 7.0 + 0.1 * number + (1 if number == 4 else 0), number=number))
    assert not path.exists(), "it appears when it is whole"
    sink.close()
    with Reader(path) as reader:
        times = [frame.time_seconds for frame in reader]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 1.4], abs=2e-3)


def test_another_size_is_recorded_into_another_file(tmp_path: Path) -> None:
    sink = RecordingSink(tmp_path / "out.mp4")
    for number, frame in enumerate([*clip(3, 48, 64), *clip(4, 96, 128)]):
        sink.show(shown(frame, number / 25))
    assert sink.name.endswith("out-2.mp4")
    sink.close()
    found = []
    for name in ("out.mp4", "out-2.mp4"):
        with Reader(tmp_path / name) as reader:
            found.append((reader.info.video.width, len(list(reader))))
    assert found == [(64, 3), (128, 4)]


def test_a_recording_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "there.mp4").touch()
    with pytest.raises(UsageError, match="exists"):
        RecordingSink(tmp_path / "there.mp4")
    with pytest.raises(UsageError, match="no folder"):
        RecordingSink(tmp_path / "nowhere" / "out.mp4")


def test_a_session_records_while_it_shows(tmp_path: Path) -> None:
    out, path = io.BytesIO(), tmp_path / "out.mp4"
    recording = RecordingSink(path)
    with LiveSession(Steady(25, count=30, height=48, width=64), STILL, [PipeSink(out), recording],
                 networks={"double": Identity()}) as session:  # fmt: skip
        until(lambda: session.status().recording == str(path))
        assert session.wait(patience(30))
        dropped = session.status().dropped
    with Reader(path) as reader:
        frames = list(reader)
    assert len(frames) == 30 - dropped
    assert frames[-1].time_seconds == pytest.approx(29 / 25, abs=0.06)


# --- Virtual cameras --------------------------------------------------------------------------------------------------


class FakeCamera:
    def __init__(self, **options: Any) -> None:
        if options["device"] == "/dev/video99":
            raise RuntimeError("'v4l2loopback' backend: No such device\nmore")
        self.options = options
        self.sent: list[Any] = []
        self.closed = False
        FakeCamera.last = self

    last: FakeCamera

    def send(self, picture: Any) -> None:
        self.sent.append(picture)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("pyvirtualcam")
    module.Camera = FakeCamera
    module.PixelFormat = types.SimpleNamespace(I420="I420")
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)


@pytest.mark.usefixtures("virtual")
def test_a_virtual_camera_gets_even_pictures_of_one_size() -> None:
    sink = VirtualCameraSink(None)
    for frame in (*clip(2, 49, 65, pixel_format=RGB, colour=Colour()), *clip(1, 96, 128)):
        sink.show(shown(frame, 0.0))
    sink.close()
    camera = FakeCamera.last
    assert (camera.options["width"], camera.options["height"], camera.options["fmt"]) == (64, 48, "I420")
    assert [picture.shape for picture in camera.sent] == [(48 * 64 * 3 // 2,)] * 3
    assert camera.closed


@pytest.mark.usefixtures("virtual")
def test_a_missing_device_says_what_to_do() -> None:
    sink = VirtualCameraSink("/dev/video99")
    with pytest.raises(TargetError, match=r"No such device; .*(v4l2loopback|OBS)"):
        sink.show(shown(next(clip(1)), 0.0))


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UsageError, match=r"vdeblur\[camera\]"):
        VirtualCameraSink()


# --- Windows ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server without a screen."""
    server = shutil.which("Xvfb")
    if server is None or shutil.which("ffplay") is None:
        pytest.skip("no Xvfb or no ffplay")
    process = subprocess.Popen(
        [server, "-displayfd", "1", "-screen", "0", "320x240x24"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    yield f":{process.stdout.readline().decode().strip()}"
    process.terminate()
    process.wait()
    process.stdout.close()


def screenshot(display: str) -> Any:
    from vdeblur.video.realtime.capture import Capture
    from vdeblur.video.realtime.inputs import screen_inlet

    capture = Capture(screen_inlet(f"screen:{display}", platform="linux"))
    frames = capture.frames()
    try:
        return np.stack([np.asarray(plane) for plane in next(frames).planes])
    finally:
        capture.close()
        frames.close()  # type: ignore[attr-defined]


def test_a_window_shows_the_picture_and_closing_it_is_no_failure(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    sink = WindowSink("a title")
    green = Frame(
        tuple(np.full((96, 128), level, np.uint8) for level in (255, 0, 0)), RGB, Colour(), 0, Fraction(1, 25)
    )

    def is_seen() -> bool:
        sink.show(shown(green, time.monotonic()))
        picture = screenshot(display)
        return bool(picture[0].mean() > 30 and picture[1].mean() < 30)

    until(is_seen)
    sink._process.terminate()  # as the window manager does
    with pytest.raises(NobodyWatches):
        show_until_it_fails(sink, green)
    sink.close()


def test_without_a_screen_the_window_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ffplay") is None:
        pytest.skip("no ffplay")
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    sink = WindowSink()
    with pytest.raises(TargetError, match="window"):
        show_until_it_fails(sink, next(clip(1, 240, 320)))
    sink.close()


def test_a_missing_player_is_said_at_once() -> None:
    with pytest.raises(UsageError, match="comes with FFmpeg"):
        WindowSink(program="no-such-player")
