"""Whole runs of the command line, in this process and in ones of their own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import COMMAND, Call, call, media, tiny_model
from support.wall_clock import patience, until
from vdeblur.cli.help import JSON_EVENTS
from vdeblur.cli.io_plan import RunJob
from vdeblur.cli.progress_bar import BarReporter
from vdeblur.cli.report import LineReporter
from vdeblur.model.checkpoint import available_models, read_provenance
from vdeblur.pipeline.deblur_video import Progress, Report
from vdeblur.video.ffmpeg.executable import run_ffmpeg
from vdeblur.video.info import SourceInfo
from vdeblur.video.source.reader import Reader, probe

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]


def planes(path: Path) -> list[bytes]:
    with Reader(path, threads=1) as reader:
        return [b"".join(plane.tobytes() for plane in frame.planes) for frame in reader]


def kinds(info: SourceInfo) -> list[str]:
    return [stream.kind for stream in info.streams]


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def test_one_file_keeps_its_sound_and_becomes_another(
    call: Call, media: Path, tmp_path: Path, tiny_model: Path
) -> None:
    target = tmp_path / "out.mkv"
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model, "--codec", "ffv1")
    assert (result.code, result.out) == (0, "")
    said = result.err.splitlines()
    assert said[0] == "vdeblur: note: copied: audio 1 (aac)", "before the work"
    assert said[-3].startswith(f"vdeblur: {target}: 10 frames")
    assert said[-2].startswith("vdeblur: shutter: ")
    assert said[-2].endswith(" of the frame interval, read from the blur") or said[-2].endswith("), read from the blur")
    assert said[-1] == "vdeblur: kept: 1 audio"
    assert len(said) == len(set(said)), "once"
    assert kinds(probe(target)) == ["video", "audio"]
    before, after = planes(media / "clip.mp4"), planes(target)
    assert len(after) == len(before) == 10
    assert after != before


def test_strength_0_changes_no_sample(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.mkv"
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model, "--codec", "ffv1", "--strength", 0, "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert planes(target) == planes(media / "clip.mp4")


def test_options_reach_the_encoder(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.mkv"
    arguments = ["--codec", "hevc", "--crf", 30, "--preset", "ultrafast", "--pix-fmt", "yuv420p10le", "--drop", "audio"]
    more = ["--ffmpeg-args", "-metadata title='a title'", "--start", "0:00.1", "--duration", "0.2", "--lookahead", "0"]
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model, *arguments, *more)
    assert result.code == 0, result.err
    info = probe(target)
    assert (info.video.codec, info.video.pixel_format) == ("hevc", "yuv420p10le")
    assert kinds(info) == ["video"]
    assert info.metadata["title"] == "a title"
    assert len(planes(target)) == 5


def test_codec_and_size_are_said_at_the_end(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Of the file as it is, whatever made it so; of pipes and pictures nothing."""
    target = tmp_path / "out.mkv"
    scaled = ["--codec", "ffv1", "--ffmpeg-args", "-vf scale=48:32", "--compare", "side"]
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model, *scaled)
    assert result.code == 0, result.err
    size = f"{target.stat().st_size / 1024:.{1 if target.stat().st_size < 102400 else 0}f} KiB"
    (line,) = [line for line in result.err.splitlines() if line.startswith(f"vdeblur: {target}: ")]
    assert line.endswith(f" fps; ffv1 yuv420p, 48x32, {size}")
    pictures = call(media / "clip.mp4", "-o", tmp_path / "p_%03d.png", "--model", tiny_model, "--json")
    assert json.loads(pictures.out.splitlines()[-2])["video"] is None


@pytest.mark.parametrize("kind", ["side", "split"])
def test_compare(kind: str, call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.mkv"
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model, "--compare", kind, "--codec", "ffv1")
    assert result.code == 0, result.err
    before, video = probe(media / "clip.mp4").video, probe(target).video
    assert (video.width, video.height) == (before.width * (2 if kind == "side" else 1), before.height)
    assert len(planes(target)) == 10


def test_several_inputs_go_on_after_a_failure(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for name in ("a.mp4", "c.mkv"):
        (clips / name).write_bytes((media / "clip.mp4").read_bytes())
    (clips / "b.mp4").write_text("no video at all")
    (clips / "d.txt").write_text("ignored")
    result = call(clips, "-o", out, "--model", tiny_model, "--preset", "ultrafast")
    assert result.code == 3
    assert len(result.errors) == 1
    assert "b.mp4" in result.errors[0]
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "c.mkv"]
    assert "[2/3]" in result.err
    assert "2 restored, 0 skipped, 1 failed" in result.err

    again = call(clips, "-o", out, "--model", tiny_model, "-n", "--json")
    events = [json.loads(line) for line in again.out.splitlines()]
    assert [event["event"] for event in events if event["event"] not in ("note", "progress")] == [
        "skipped", "start", "error", "skipped", "end",
    ]  # fmt: skip
    error = next(event for event in events if event["event"] == "error")
    assert (error["exit_code"], error["kind"], Path(error["source"]).name) == (3, "SourceError", "b.mp4")
    assert events[-1] == {"event": "end", "done": 0, "skipped": 2, "failed": 1}
    for event in events:
        (documented,) = [line for line in JSON_EVENTS.splitlines() if line.split()[0] == event["event"]]
        for name in set(event) - {"event", "source", "target"}:
            assert name in documented


def test_a_folder_that_stays_empty_is_not_left_behind(
    call: Call, media: Path, tmp_path: Path, tiny_model: Path
) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    (clips / "b.mp4").write_text("no video at all")
    assert call(clips, "-o", out, "--model", tiny_model).code == 3
    assert not out.exists()


def test_a_source_cut_off_in_the_middle(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    """An MP4 whose index stands in front: known before work starts; what is there can still be had."""
    source, target = tmp_path / "clip.mp4", tmp_path / "out.mkv"
    words = ["-i", str(media / "clip.mp4"), "-c", "copy", "-movflags", "+faststart", str(source)]
    assert run_ffmpeg(words).returncode == 0
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 7 // 10])
    target.write_text("old")
    arguments = (source, "-o", target, "-y", "--codec", "ffv1", "--model", tiny_model)
    refused = call(*arguments)
    assert refused.code == 3
    assert refused.errors == refused.err.splitlines()
    assert "it is cut off; a shorter duration restores what is there" in refused.err
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mkv"]
    assert call(*arguments, "--duration", "0.08").code == 0
    assert len(planes(target)) == 2


def test_yes_no_and_the_question(
    call: Call, media: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("old")
    arguments = (media / "clip.mp4", "-o", target, "--model", tiny_model, "--preset", "ultrafast")
    skipped = call(*arguments, "-n")
    assert skipped.code == 0
    assert "exists" in skipped.err

    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    refused = call(*arguments)
    assert refused.code == 0
    assert "Replace it?" in refused.err
    assert target.read_text() == "old"
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert call(*arguments).code == 0
    assert probe(target).video.width == 96
    target.write_text("old")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert call(*arguments, "-y").code == 0
    assert probe(target).video.width == 96


def test_pictures_become_pictures(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    assert run_ffmpeg(["-i", str(media / "clip.mp4"), "-frames:v", "3", str(tmp_path / "in_%03d.png")]).returncode == 0
    result = call(tmp_path / "in_%03d.png", "-o", tmp_path / "out_%03d.png", "--frame-rate", 24, "--model", tiny_model)
    assert result.code == 0, result.err
    assert sorted(path.name for path in tmp_path.glob("out_*")) == ["out_001.png", "out_002.png", "out_003.png"]


def test_a_moment_of_a_video_becomes_one_picture(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    video, target = media / "clip.mp4", tmp_path / "moment.png"
    refused = call(video, "-o", target, "--model", tiny_model)
    assert (refused.code, "write to a pattern like moment_%05d.png" in refused.err) == (2, True)
    taken = call(video, "-o", target, "--model", tiny_model, "--start", "0.1", "--duration", "0.04")
    assert taken.code == 0
    with Reader(target) as reader:
        assert len(list(reader)) == 1


def test_json_events(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.mp4"
    result = call(media / "clip.mp4", "-o", target, "--model", tiny_model, "--json")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [events[0]["event"], *[event["event"] for event in events[-2:]]] == ["start", "done", "end"]
    assert (events[1]["event"], events[1]["words"]) == ("note", "copied: audio 1 (aac)")
    assert events[-2]["notes"][0] == events[1]["words"]
    assert {event["event"] for event in events[2:-2]} <= {"note", "progress"}
    assert events[0]["target"] == str(target)
    assert (events[-2]["frames"], events[-2]["skipped_packets"]) == (10, 0)
    assert events[-2]["video"] == {
        "codec": "h264", "pixel_format": "yuv420p", "width": 96, "height": 64, "bytes": target.stat().st_size
    }  # fmt: skip
    progress: dict[str, Any] = next(event for event in events if event["event"] == "progress")
    assert 1 <= progress["frames"] <= 10
    assert progress["frames_total"] == 10
    assert {"fps", "speed", "eta_seconds", "media_seconds", "elapsed_seconds"} <= set(progress)
    assert result.err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar(tmp_path: Path) -> None:
    screen, job = Terminal(), RunJob("a/clip.mp4", str(tmp_path / "out.mp4"))
    reporter = BarReporter(screen)
    with reporter.running():
        reporter.start(job, 1, 2)
        reporter.note("an early note")
        reporter.progress(Progress(frames=5, frames_total=10, media_seconds=0.2, elapsed_seconds=0.4))
        until(lambda: "5/10" in screen.getvalue())  # the bar is drawn five times a second
        reporter.skipped(job, "it exists")
        reporter.done(job, Report(10, 1, 2.0, ("an early note", "a late note"), job.target))
        reporter.end(1, 1, 0)
    shown = screen.getvalue()
    for words in (
        "[1/2] clip.mp4",
        "5/10",
        "12.5 fps",
        "0.50x",
        "0:00 left",
        "it exists",
        "10 frames in 2.0 s, 5.0 fps, 1 packet of the source",
    ):
        assert words in shown
    assert shown.count("note: an early note") == shown.count("note: a late note") == 1
    assert "1 restored, 1 skipped, 0 failed" in shown


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("vdeblur.cli.report.time.monotonic", lambda: now)
    log, job = io.StringIO(), RunJob("clip.mp4", "out.mp4")
    reporter = LineReporter(log)
    reporter.start(job, 1, 1)
    for second in range(21):
        now = 100.0 + second
        reporter.progress(Progress(second, 4000, second / 25, float(second)))
    assert log.getvalue().splitlines() == [
        "vdeblur: clip.mp4: 10/4000 frames, 1.0 fps, 0.04x real time, 1:06:30 left",
        "vdeblur: clip.mp4: 20/4000 frames, 1.0 fps, 0.04x real time, 1:06:20 left",
    ]


def test_video_is_not_written_to_a_terminal(
    call: Call, media: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    result = call(media / "clip.mp4", "-o", "-", "--model", tiny_model)
    assert result.code == 2
    assert "terminal" in result.errors[0]
    assert screen.getvalue() == ""


def test_json_speaks_of_wrong_calls_too(call: Call, tmp_path: Path) -> None:
    result = call(tmp_path / "missing.mp4", "-o", tmp_path / "out.mp4", "--json")
    assert [json.loads(line)["event"] for line in result.out.splitlines()] == ["error"]
    assert len(result.errors) == 1


def test_a_fault_of_our_own_is_said_in_one_line(
    call: Call, media: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("vdeblur.pipeline.deblur_video.deblur_video", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    arguments = (media / "clip.mp4", "-o", tmp_path / "out.mp4", "--model", tiny_model)
    result = call(*arguments)
    assert result.code == 1
    assert result.errors == result.err.splitlines()
    assert "unexpected ZeroDivisionError: inside" in result.err
    monkeypatch.setenv("VDEBLUR_DEBUG", "1")
    assert "Traceback (most recent call last)" in call(*arguments).err


def test_info(call: Call, media: Path) -> None:
    page = call("info", media / "clip.mp4")
    assert page.code == 0
    for words in ("h264", "96x64", "8-bit 4:2:0", "25 frames/s", "#1 audio aac", "libx264", "clip.sharp.mp4"):
        assert words in page.out
    found = json.loads(call("info", media / "clip.mp4", "--json").out)
    assert found["video"]["width"] == 96
    assert found["video"]["time_base"].startswith("1/")
    assert [stream["kind"] for stream in found["streams"]] == ["video", "audio"]
    assert list(media.glob("*.sharp.*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_a_file_may_have_any_name(media: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\n.mp4"
    Path(os.fsdecode(odd)).write_bytes((media / "clip.mp4").read_bytes())
    done = subprocess.run([*COMMAND, "info", odd], capture_output=True, timeout=patience(60))
    assert done.returncode == 0, done.stderr
    assert b"\\udcff" in done.stdout
    wrong = subprocess.run([*COMMAND, b"\xff\n.mkv", "-o", "out.mp4"], capture_output=True, timeout=patience(60))
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines() == [b"vdeblur: error: no such file: \\udcff .mkv"]


def test_doctor(call: Call, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.cli.doctor.ENCODERS", {"libx264": "yuv420p", "h264_nvenc": "yuv420p"})
    monkeypatch.setattr("vdeblur.config.WEIGHTS_FOLDER", tiny_model.parent)
    monkeypatch.setattr("vdeblur.model.checkpoint.WEIGHTS_FOLDER", tiny_model.parent)
    healthy = call("doctor", "--json")
    found = json.loads(healthy.out)
    assert found["problems"] == []
    assert healthy.code == 0
    assert found["encoders"]["libx264"] == "opens"
    assert found["versions"]["torch"]
    assert found["self-test"]["decode, restore, encode"].startswith("works")
    assert "made for tests" in json.dumps(found["networks"])

    monkeypatch.setenv("VDEBLUR_FFMPEG", "/no/such/ffmpeg")
    ill = call("doctor")
    assert ill.code == 1
    assert "problem: FFmpeg: VDEBLUR_FFMPEG" in ill.out
    assert "bfloat16" in ill.out or "float32" in ill.out


def test_doctor_tells_what_each_network_gains(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.cli.doctor.ENCODERS", {"libx264": "yuv420p"})
    lines = call("doctor").out.splitlines()
    for name in available_models():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert f"synthetic blurred {read_provenance(name)['scores']['synthetic_blurred_gain_db']:+.2f} dB" in line


def y4m(frames: int, width: int = 64, height: int = 48) -> bytes:
    header = f"YUV4MPEG2 W{width} H{height} F25:1 Ip C420jpeg\n".encode()
    picture = bytes(index * 7 % 256 for index in range(width * height * 3 // 2))
    return header + b"".join(b"FRAME\n" + picture[i:] + picture[:i] for i in range(frames))


def test_pipes(tmp_path: Path, tiny_model: Path) -> None:
    """Y4M through standard input to standard output, then NUT with JSON beside it, in processes of their own."""
    first = subprocess.run(
        [*COMMAND, "-", "-o", "-", "--model", str(tiny_model), "--strength", "0", "--device", "cpu"],
        input=y4m(5), capture_output=True, timeout=patience(120),
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(b"YUV4MPEG2 W64 H48 F25:1")
    (tmp_path / "in.y4m").write_bytes(y4m(5))
    (tmp_path / "out.y4m").write_bytes(first.stdout)
    assert planes(tmp_path / "out.y4m") == planes(tmp_path / "in.y4m")

    second = subprocess.run(
        [*COMMAND, str(tmp_path / "in.y4m"), "-o", "-", "-f", "nut", "--json", "--model", str(tiny_model)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=patience(120),
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    (tmp_path / "out.nut").write_bytes(second.stdout)
    assert len(planes(tmp_path / "out.nut")) == 5
    events = [json.loads(line)["event"] for line in second.stderr.decode().splitlines()]
    assert (events[0], events[-1]) == ("start", "end")


@contextmanager
def started(*arguments: object, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A vdeblur of its own, ended in any case; ``before`` is a command that runs it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*before, *COMMAND, *map(str, arguments)], **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_with(word: str) -> list[int]:
    """Processes whose command line holds a word (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code", "times"),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 40)],
    ids=["Ctrl-C", "terminated", "impatient"],
)
def test_a_signal_in_the_middle_leaves_nothing(
    number: int, code: int, times: int, tmp_path: Path, tiny_model: Path
) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("old")
    with started("-", "-o", target, "-y", "--json", "--model", tiny_model) as process:
        at_work(process, 30)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.02)
        out, err = process.communicate(timeout=patience(60))
    assert process.returncode == code, err
    assert err.decode().splitlines() == [f"vdeblur: error: interrupted; {target} was not written"]
    assert json.loads(out.splitlines()[-1])["event"] == "error"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert target.read_text() == "old"
    assert processes_with(str(tmp_path)) == []


#: As ``nohup vdeblur … &`` in a script: the shell lets its background jobs ignore Ctrl-C, nohup ignores hang-up.
IN_BACKGROUND = ("sh", "-c", 'trap "" INT HUP; exec "$@"', "sh")


def at_work(process: subprocess.Popen[bytes], frames: int) -> None:
    """Feed it so many frames, and wait until the first is restored."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(y4m(frames))
    process.stdin.flush()
    while b'"progress"' not in process.stdout.readline():
        assert process.poll() is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_that_are_ignored_when_it_starts_do_not_stop_it(tmp_path: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.mkv"
    arguments = ("-", "-o", target, "--json", "--model", tiny_model)
    with started(*arguments, before=IN_BACKGROUND) as process:
        at_work(process, 30)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.02)
        _, err = process.communicate(timeout=patience(60))
    assert process.returncode == 0, err
    assert len(planes(target)) == 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_in_the_background_it_is_ended_by_termination(tmp_path: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.mkv"
    arguments = ("-", "-o", target, "--json", "--model", tiny_model)
    with started(*arguments, before=IN_BACKGROUND) as process:
        at_work(process, 30)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=patience(60))
    assert process.returncode == 143, err
    assert err.decode().splitlines() == [f"vdeblur: error: interrupted; {target} was not written"]
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("output", [["-o", "-"], ["-o", "{folder}/out.mkv", "--json"]], ids=["video", "json"])
def test_a_reader_that_goes_away_ends_it_quietly(output: list[str], tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "in.y4m").write_bytes(y4m(40, 192, 128))
    arguments = [word.format(folder=tmp_path) for word in output]
    with started(tmp_path / "in.y4m", *arguments, "--model", tiny_model) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(60)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=patience(60)) == 141, err
    assert not any(word in err for word in (b"error", b"Traceback", b"warning")), err  # slow machines see progress
    assert [path.name for path in tmp_path.iterdir()] == ["in.y4m"]
