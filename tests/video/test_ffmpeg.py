"""Finding the FFmpeg program, running it, and understanding why it failed."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path

import pytest

from support.wall_clock import patience, scaled
from vdeblur.errors import TargetError, UsageError
from vdeblur.video.ffmpeg.executable import (
    ENVIRONMENT_VARIABLE,
    encoder_details,
    encoder_opens,
    ffmpeg_version,
    find_ffmpeg,
    has_option,
    run_ffmpeg,
    video_encoders,
)
from vdeblur.video.ffmpeg.process import FFmpegProcess

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs scripts that run by their first line")
RAW = ("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", "64x64", "-i", "pipe:0")
FRAMES = bytes(64 * 64 * 3 // 2 * 2)


def python(code: str, **arguments: object) -> FFmpegProcess:
    """Any program serves where only the handling of a process is meant."""
    return FFmpegProcess([sys.executable, "-c", code], **arguments)  # type: ignore[arg-type]


def script(folder: Path, text: str) -> Path:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# Finding it.


def test_it_is_found_and_says_its_version() -> None:
    assert find_ffmpeg().is_file()
    assert ffmpeg_version() != "unknown"


@POSIX
def test_the_variable_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = script(tmp_path, f'exec "{find_ffmpeg()}" "$@"')
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(wrapper))
    assert find_ffmpeg() == wrapper
    assert run_ffmpeg([*RAW, "-f", "null", "-"], data=FRAMES).returncode == 0


@POSIX
def test_a_program_on_the_path_is_taken_if_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_ffmpeg()
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    script(tmp_path, 'echo "-vsync  the old way"')
    assert find_ffmpeg() != tmp_path / "ffmpeg"
    (tmp_path / "new").mkdir()
    wrapper = script(tmp_path / "new", f'exec "{real}" "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "new"))
    assert find_ffmpeg() == wrapper


@POSIX
def test_a_variable_that_names_nothing_useful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(UsageError, match="is no program; give the path of ffmpeg"):
        find_ffmpeg()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(script(tmp_path, "echo hello")))
    with pytest.raises(UsageError, match=r"lacks -fps_mode; FFmpeg 6\.0 or newer is needed"):
        find_ffmpeg()


def test_no_ffmpeg_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", none)
    with pytest.raises(UsageError, match="install one or name it in VDEBLUR_FFMPEG"):
        find_ffmpeg()


# Asking it.


def test_encoders_are_tried_and_not_believed() -> None:
    assert encoder_opens("libx264", "yuv420p")
    assert not encoder_opens("libx264", "yuv420p12le")
    assert not encoder_opens("nonsense", "yuv420p")
    listed = [name for name in video_encoders() if name.endswith(("_nvenc", "_amf", "_qsv", "_v4l2m2m"))]
    if not listed:
        pytest.skip("this FFmpeg has no hardware encoders to lie about")
    assert not all(encoder_opens(name, "yuv420p") for name in listed)


def test_what_an_encoder_takes() -> None:
    details = encoder_details("libx264")
    assert details is not None
    assert {"crf", "preset"} <= details.options
    assert "yuv422p10le" in details.pixel_formats
    assert encoder_details("nonsense") is None
    assert encoder_details("aac") is None
    assert has_option("fps_mode")
    assert not has_option("nonsense")


# Understanding it.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-c:v", "libx264", "-preset", "quick", "-f", "null", "-"), "preset 'quick'"),
        (("-c:v", "libx264", "-f", "webm", "OUT"), "Only VP8 or VP9 or AV1"),
        (("-c:v", "libx265", "-x265-params", "crf=99", "-f", "null", "-"), "quality based range"),
        (("-f", "null", "-", "-i", "nothing.mp4"), "No such file"),
        (("-nonsense", "1", "-f", "null", "-"), "Unrecognized option 'nonsense'"),
        (("-f", "mp4", "/nowhere/out.mp4"), "No such file or directory"),
    ],
)
def test_the_reason_is_one_line_with_the_cause(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    words_at_end = [str(tmp_path / "out.webm") if word == "OUT" else word for word in arguments]
    finished = run_ffmpeg([*RAW, *words_at_end], data=FRAMES)
    assert finished.returncode != 0
    assert re.search(words, finished.reason), finished.reason
    assert "\n" not in finished.reason
    assert "@ 0x" not in finished.reason
    assert "Task finished" not in finished.reason


def test_a_program_that_talks_without_end_is_listened_to() -> None:
    """A pipe nobody reads is full after 64 KiB; the process would wait for ever."""
    process = python("import sys; [sys.stderr.write('word ' * 20 + chr(10)) for _ in range(10_000)]; sys.exit(3)")
    assert process.wait_for(patience(60)) == 3
    process.kill()


def test_output_is_copied_while_input_is_fed() -> None:
    chunks: list[bytes] = []

    class Sink:
        def write(self, data: memoryview) -> int:
            taken = bytes(data[:1000])
            chunks.append(taken)
            return len(taken)

    code = "import sys\nwhile data := sys.stdin.buffer.read(65536): sys.stdout.buffer.write(data)"
    process = python(code, sink=Sink())
    data = bytes(range(256)) * 20_000
    process.feed(data)
    assert process.wait() == 0
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= 1000


def test_a_sink_that_fails_ends_the_process() -> None:
    class Sink:
        def write(self, data: bytes) -> int:
            raise OSError("no room")

    process = python("import sys\nwhile True: sys.stdout.write('x' * 1000)", sink=Sink())
    process.wait()
    assert str(process.sink_failure) == "no room"
    process.kill()


@POSIX
def test_how_it_was_ended_is_said() -> None:
    process = python("import time; time.sleep(60)")
    process.interrupt()
    process.wait()
    assert process.reason() == "FFmpeg was ended by SIGKILL"
    process.kill()
    process.kill()


def test_a_question_that_takes_too_long_is_given_up() -> None:
    before = time.monotonic()
    finished = run_ffmpeg(["-re", "-f", "lavfi", "-i", "color=red", "-t", "60", "-f", "null", "-"], timeout_seconds=0.5)
    assert finished.returncode != 0
    assert time.monotonic() - before < scaled(10, below=60)


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot start"):
        FFmpegProcess([str(tmp_path / "none")])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vdeblur")]
