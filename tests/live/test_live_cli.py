"""`vdeblur live` as people type it: pipes with the real ffmpeg on both ends, Ctrl-C, a consumer that quits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli_fixtures import COMMAND, Call, call, tiny_model
from support.wall_clock import patience, scaled, slowness
from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.source.reader import Reader

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells and signals of Unix")

#: Fixtures.
__all__ = ["call", "tiny_model"]
LIVE = [*COMMAND, "live", "--no-auto"]
PATTERN = "lavfi:testsrc2=size=96x64:rate=25"


def shell(command: str, *, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
    """Run a pipeline as a person would type it; ``ffmpeg`` and ``vdeblur`` are the ones under test."""
    functions = f'ffmpeg() {{ "{find_ffmpeg()}" -v error "$@"; }}; vdeblur() {{ "{sys.executable}" -m vdeblur "$@"; }};'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {functions} {command}"], capture_output=True, timeout=patience(seconds)
    )


@contextlib.contextmanager
def started(*arguments: str, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*LIVE, *arguments], stderr=subprocess.PIPE, **more)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# --- Pipes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "told"), [("nut", "-f nut"), ("y4m", ""), ("mpegts", "-f mpegts")])
def test_a_pipe_between_two_ffmpegs(kind: str, told: str, tmp_path: Path, tiny_model: Path) -> None:
    done = shell(
        "ffmpeg -re -f lavfi -i testsrc2=size=96x64:rate=25 -t 5 -f yuv4mpegpipe - "
        f"| vdeblur live - -m {tiny_model} -o - -f {kind} | ffmpeg {told} -i - -c:v ffv1 {tmp_path}/out.mkv"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"", "everything went through the pipe"
    assert b"Traceback" not in done.stderr
    with Reader(tmp_path / "out.mkv") as reader:
        assert len(list(reader)) >= 4, "what comes in bursts is left out"


def test_the_pipe_of_the_help_page_plays(tmp_path: Path, tiny_model: Path) -> None:
    """As `ffmpeg … | vdeblur - -o - | ffplay -`, with a player that counts."""
    done = shell(
        "ffmpeg -f lavfi -i testsrc2=size=96x64:rate=25 -t 1 -f yuv4mpegpipe - "
        f"| vdeblur - -m {tiny_model} -o - | ffmpeg -i - -c:v ffv1 {tmp_path}/out.mkv"
    )
    assert done.returncode == 0, done.stderr
    with Reader(tmp_path / "out.mkv") as reader:
        assert len(list(reader)) == 25


@pytest.mark.parametrize("command", ["live - -o -", "live - -o - -f y4m", "- -o -"])
def test_a_consumer_that_quits_is_no_crash(command: str, tiny_model: Path) -> None:
    done = shell(
        "ffmpeg -re -f lavfi -i testsrc2=size=192x128:rate=25 -t 40 -f yuv4mpegpipe - 2>/dev/null "
        f"| (vdeblur {command} -q -m {tiny_model}; echo code $? >&2) | head -c 100000 | wc -c",
        seconds=50,
    )
    assert done.stdout.strip() == b"100000"
    assert done.stderr.strip() == b"code 141"


@pytest.mark.parametrize("command", ["live - -o - -f y4m", "- -o - --lookahead 0"])
def test_the_first_frame_comes_out_before_the_second_goes_in(command: str, tiny_model: Path) -> None:
    vdeblur = subprocess.Popen(
        [*COMMAND, *command.split(), "-q", "-m", str(tiny_model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert vdeblur.stdin is not None
    assert vdeblur.stdout is not None
    guard = threading.Timer(patience(60), vdeblur.kill)
    guard.start()
    try:
        vdeblur.stdin.write(b"YUV4MPEG2 W96 H64 F25:1 Ip A1:1 C420mpeg2\nFRAME\n" + bytes(range(96)) * 96)
        vdeblur.stdin.flush()
        head = vdeblur.stdout.readline()
        assert head.startswith(b"YUV4MPEG2 W96 H64 F25:1")
        assert vdeblur.stdout.readline() == b"FRAME\n"
        assert len(vdeblur.stdout.read(96 * 96)) == 96 * 96
        vdeblur.stdin.close()
        assert vdeblur.stdout.read() == b""
        assert vdeblur.wait(patience(30)) == 0
    finally:
        guard.cancel()
        guard.join()
        vdeblur.kill()
        vdeblur.wait()
        vdeblur.stdout.close()


# --- Ends -------------------------------------------------------------------------------------------------------------


def test_ctrl_c_finishes_the_recording(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "out.mp4"
    with started(PATTERN, "-m", str(tiny_model), "-o", str(path), "-o", "-", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(500_000)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=patience(30))
    assert process.returncode == 0, messages
    assert b"left out" in messages
    assert b"Traceback" not in messages
    with Reader(path) as reader:
        assert len(list(reader)) > 10


def test_a_recording_needs_neither_page_nor_window(tmp_path: Path, tiny_model: Path) -> None:
    """Nor the packages of the page: they are hidden from this process."""
    path = tmp_path / "out.mp4"
    code = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'websockets', 'cryptography'): sys.modules[name] = None\n"
        "from vdeblur.cli.app import run_command_line\n"
        "sys.exit(run_command_line(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "live", PATTERN, "-m", str(tiny_model), "--no-auto"]
    done = subprocess.run(
        [*command, "-o", str(path), "--duration", "2"], capture_output=True, text=True, timeout=patience(60)
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    size = path.stat().st_size / 1024
    told = f"vdeblur: {path}: recorded, h264 yuv420p, 96x64, {size:.{1 if size < 100 else 0}f} KiB"
    assert told in done.stderr.splitlines()
    with Reader(path) as reader:
        assert len(list(reader)) > 5
    page = subprocess.run([*command, "--page"], capture_output=True, text=True, timeout=patience(60))
    assert page.returncode == 2
    assert "pip install 'vdeblur[live]'; or use --window or -o FILE" in page.stderr


@pytest.mark.parametrize("option", [["--port", "8080"], ["--no-browser"], ["--host", "0.0.0.0"], ["--cameras", "3"]])
def test_options_of_the_page_without_one_are_refused(option: list[str], call: Call, tmp_path: Path) -> None:
    result = call("live", PATTERN, "-o", tmp_path / "out.mp4", *option)
    assert result.errors == [f"vdeblur: error: {option[0]} is for the page, which is not served here; add --page"]
    assert result.code == 2


def test_it_ends_after_its_duration_and_says_how_it_went(tmp_path: Path, tiny_model: Path) -> None:
    with open(os.devnull, "wb") as nothing, started(
        PATTERN, "-m", str(tiny_model), "-o", "-", "--json", "--duration", "3.5", stdout=nothing
    ) as process:  # fmt: skip
        _, messages = process.communicate(timeout=patience(30))
    assert process.returncode == 0
    events = [json.loads(line) for line in messages.splitlines()]
    statuses = [event for event in events if event["event"] == "status"]
    assert len(statuses) >= 2
    assert statuses[-1]["state"] == "running"
    assert (statuses[-1]["width"], statuses[-1]["height"]) == (96, 64)
    assert events[-1]["event"] == "end"
    assert events[-1]["frames"] >= 25 / slowness()


def test_a_picture_too_large_is_worked_at_a_smaller_size_and_that_is_said(tiny_model: Path) -> None:
    command = [*LIVE[:-1], "lavfi:testsrc2=size=1280x720:rate=25", "-m", str(tiny_model), "-o", "-", "--duration", "8"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=patience(60), check=True)
    assert b"is too much for " in done.stderr, done.stderr
    assert b"1280\xc3\x97720 at 2" in done.stderr


# --- Wrong calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("nosuch.mp4 --window", 2, "no such file"),
        ("0 --window", 2, "no camera"),
        (f"{PATTERN} -o -  --size 640", 2, "like 640x480"),
        (f"{PATTERN} -o x.mp4 -m nosuch", 2, "no network"),
        (f"{PATTERN} -o nowhere/x.mp4 --window", 2, "no folder"),
        ("-o x.mp4", 2, "name what is to be recorded"),
        (f"{PATTERN} --window --strength 3", 2, "strength"),
        (f"{PATTERN} --window --reduce 99", 2, "reduce"),
        ("tcp://127.0.0.1:9 -o x.mp4 --virtual-camera", 2, "vdeblur[camera]"),
        (f"{PATTERN} -q -v", 2, "exclude"),
        (f"{PATTERN} --duration 3", 2, "page"),
    ],
)
def test_wrong_calls_say_what_is_right(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.setattr("vdeblur.video.realtime.cameras._LINUX_CLASS", Path("/nowhere"))
    result = call("live", *arguments.split())
    assert result.code == code, result.err
    assert words in result.errors[0]


def test_no_camera_is_explained(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("vdeblur.video.realtime.cameras._LINUX_CLASS", Path("/nowhere"))
    result = call("live", "--list")
    assert (result.code, result.out) == (0, "")
    assert "no camera was found" in result.err
    assert call("live", "--list", "--json").out == "[]\n"


def test_the_list_names_modes_and_marks_the_best(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from vdeblur.video.realtime.cameras import Camera, Mode

    modes = (Mode("mjpeg", True, 1280, 720), Mode("yuyv422", False, 640, 480))
    cameras = (
        Camera(0, "Test", "v4l2", "/dev/video0", modes),
        Camera(2, "Shut", "v4l2", "/dev/video2", (), "no way in"),
    )
    monkeypatch.setattr("vdeblur.video.realtime.cameras.list_cameras", lambda: cameras)
    assert call("live", "--list").out.splitlines() == [
        "0  Test  (/dev/video0)", "   1280×720 mjpeg  *", "   640×480 yuyv422", "2  Shut  (/dev/video2)",
        "   cannot be opened: no way in",
    ]  # fmt: skip
    assert json.loads(call("live", "--list", "--json").out)[0]["modes"][1]["input_format"] == "yuyv422"


def test_help_needs_no_pytorch() -> None:
    begun = time.perf_counter()
    code = "import sys; from vdeblur.cli.app import run_command_line as run; run(['live', '--help']); "
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"--virtual-camera" in done.stdout
    assert time.perf_counter() - begun < scaled(20)
