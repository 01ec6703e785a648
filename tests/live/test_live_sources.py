"""Live sources: pipes, FIFOs and streams as they come, streams that die and return with another size."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.doubles import Identity
from support.live_doubles import STILL, KeepsEvery
from support.wall_clock import patience, scaled, until
from vdeblur.errors import SourceError, UsageError
from vdeblur.live.session import LiveSession
from vdeblur.live.source_parser import SourceOptions, open_source
from vdeblur.live.sources import CaptureSource
from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.realtime.cameras import Camera, Mode
from vdeblur.video.realtime.capture import Capture
from vdeblur.video.realtime.inputs import stream_inlet

#: What a camera on the network sends.
MPEGTS = "-c:v libx264 -preset ultrafast -tune zerolatency -flush_packets 1 -f mpegts"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ffmpeg(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(find_ffmpeg()), "-v", "error", "-nostdin", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def serve(url: str, size: str, *, seconds: int = 60) -> subprocess.Popen[bytes]:
    picture = ["-re", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-t", str(seconds)]
    return ffmpeg(
        *picture, *["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "12", "-f", "mpegts"], url
    )


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def wait_for_listener(port: int) -> None:
    """Wait until somebody listens on the port, without being the one connection that is taken."""
    table = Path("/proc/net/tcp")
    if table.exists():
        until(lambda: f":{port:04X} 00000000:0000 0A " in table.read_text())
    else:
        time.sleep(patience(1.0))


# --- Streams on the network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_stream_that_dies_comes_back_with_another_size(transport: str) -> None:
    port = free_port()
    ours = f"{transport}://127.0.0.1:{port}"
    theirs = f"{ours}?listen=1" if transport == "tcp" else f"{ours}?pkt_size=1316"
    source, sink, notes = CaptureSource(stream_inlet(ours), silence_seconds=1.0), KeepsEvery(), []
    server = serve(theirs, "160x96")
    try:
        if transport == "tcp":
            wait_for_listener(port)
        with LiveSession(source, STILL, [sink], networks={"double": Identity()}, note=notes.append) as session:
            until(lambda: len(sink.shown) > 10)
            assert sink.shown[-1].sharp.size == (96, 160)
            end(server)
            until(lambda: session.status().state == "lost")
            count = len(sink.shown)
            server = serve(theirs, "192x128")
            until(lambda: session.status().state == "running")
            until(lambda: len(sink.shown) > count + 10)
            assert sink.shown[-1].sharp.size == (128, 192)
            first = next(one for one in sink.shown if one.sharp.size == (128, 192))
            assert first.taken.frame.cut, "the memory starts anew"
            assert session.status().restarts == 1
            assert session.status().width == 192
    finally:
        end(server)
    assert [words.split()[0] for words in notes] == ["lost", ours.split()[0]]


def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        next(Capture(stream_inlet(f"tcp://127.0.0.1:{free_port()}")).frames())


def test_a_silent_stream_is_noticed_and_closing_does_not_wait_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        capture = Capture(stream_inlet(f"tcp://127.0.0.1:{server.getsockname()[1]}"), opening_seconds=0.5)
        begun = time.monotonic()
        with pytest.raises(SourceError, match="silent"):
            next(capture.frames())
        assert time.monotonic() - begun < scaled(3)


def test_passwords_are_not_shown() -> None:
    assert stream_inlet("rtsp://me:secret@10.0.0.7/stream").name == "rtsp://10.0.0.7/stream"


# --- Pipes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.y4m"
    os.mkfifo(path)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
@pytest.mark.parametrize(
    ("options", "frames_held"),
    [("-f yuv4mpegpipe", 0), ("-c:v rawvideo -f nut", 0), ("-c:v mjpeg -q:v 3 -f nut", 0),
     (MPEGTS, 10)],
    ids=["y4m", "nut", "mjpeg", "mpegts"],
)  # fmt: skip
def test_the_first_frame_of_a_pipe_is_not_held_back(fifo: Path, options: str, frames_held: int) -> None:
    """At four frames a second, each frame that is held back would cost a quarter of a second."""
    source = open_source(str(fifo))
    picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x96:rate=4", "-t", "20"]
    writer = ffmpeg("-y", *picture, *options.split(), str(fifo))
    try:
        frames = source.frames()
        begun = time.monotonic()
        first = next(frames)
        seconds = time.monotonic() - begun
        assert first.time_seconds < 0.01 or "mpegts" in options, "it is the first"
        assert seconds < scaled(1.5) + frames_held / 4
        arrivals = []
        for _ in range(6):
            next(frames)
            arrivals.append(time.monotonic())
        assert arrivals[5] - arrivals[3] == pytest.approx(0.5, abs=scaled(0.25, below=0.5)), "as they come"
    finally:
        source.close()
        end(writer)


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_a_pipe_nobody_writes_to_can_be_closed(fifo: Path) -> None:
    source = open_source(str(fifo))
    ended = threading.Event()

    def read() -> None:
        assert list(source.frames()) == []
        ended.set()

    thread = threading.Thread(target=read, name="vdeblur-test")
    thread.start()
    time.sleep(0.3)
    source.close()
    assert ended.wait(patience(2))
    thread.join()


# --- By name ----------------------------------------------------------------------------------------------------------

CAMERA = Camera(
    0, "Test camera", "v4l2", "/dev/video0", (Mode("mjpeg", True, 1280, 720), Mode("yuyv422", False, 640, 480))
)


def test_a_pattern_is_paced() -> None:
    source = open_source("lavfi:testsrc2=size=96x64:rate=25")
    frames = source.frames()
    begun = [(time.monotonic(), next(frames).time_seconds) for _ in range(11)]
    source.close()
    assert [round(at, 3) for _, at in begun] == [n / 25 for n in range(11)]
    assert begun[-1][0] - begun[0][0] == pytest.approx(0.4, abs=scaled(0.1, below=0.4))
    assert next(frames, None) is None


@pytest.mark.parametrize(
    ("word", "name"),
    [("0", "camera 0 (1280×720 mjpeg)"), ("/dev/video0", "camera 0 (1280×720 mjpeg)"),
     ("camera", "camera 0 (1280×720 mjpeg)"), ("camera:test", "camera 0 (1280×720 mjpeg)")],
)  # fmt: skip
def test_cameras_go_by_number_path_and_name(word: str, name: str) -> None:
    assert open_source(word, cameras=lambda: [CAMERA]).name == name


@pytest.mark.parametrize(
    ("word", "wishes", "message"),
    [
        ("7", SourceOptions(), "no camera 7; there is 0"),
        ("0", SourceOptions(size=(800, 600)), "1280×720 mjpeg; 640×480 yuyv422"),
        ("nosuch.mp4", SourceOptions(), "no such file"),
        ("gopher://x", SourceOptions(), "no such file"),
        ("lavfi:testsrc2", SourceOptions(size=(640, 480)), "--size is for cameras"),
        ("lavfi:testsrc2", SourceOptions(input_format="mjpeg"), "--input-format is for cameras"),
    ],
)
def test_what_cannot_be_is_refused(word: str, wishes: SourceOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(word, wishes, cameras=lambda: [CAMERA])


def test_a_screen_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UsageError, match="DISPLAY"):
        open_source("screen")


@pytest.mark.parametrize("wrong", [{"size": (0, 5)}, {"rate": 0}, {"rate": float("nan")}])
def test_wishes_have_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        SourceOptions(**wrong)  # type: ignore[arg-type]
