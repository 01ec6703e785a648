"""Resume by command line: Ctrl-C once and twice, kill -9 at any moment, and the same result in the end."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.cli_fixtures import COMMAND, Call, call, tiny_model
from support.media.clips import ffmpeg
from support.media.writing import packets, read_all, same_samples, ticks
from support.wall_clock import patience
from vdeblur.video.segments.journal import Journal

#: Fixtures.
__all__ = ["call", "tiny_model"]

#: The pieces' least number of frames is 24, so this is five of them.
FRAMES = 120

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resume") / "in.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"),
        *("-frames:v", str(FRAMES), "-shortest", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)),
    )
    return path


@pytest.fixture(scope="module")
def whole(source: Path, tiny_model: Path) -> Path:
    """What comes out without a stop and without pieces."""
    path = source.with_name("whole.mkv")
    done = subprocess.run(
        arguments(source, path, tiny_model, "--segments", "off"), capture_output=True, timeout=patience(120)
    )
    assert done.returncode == 0, done.stderr
    return path


def arguments(source: Path, target: Path, model: Path, *more: str) -> list[str]:
    return [*COMMAND, str(source), "-o", str(target), "--codec", "ffv1", "--model", str(model), *more]


def check(target: Path, whole: Path) -> None:
    """Frame for frame the same, with the same times and the same sound, and nothing beside it."""
    assert same_samples(read_all(target), read_all(whole))
    assert ticks(target) == ticks(whole)
    assert packets(target, 1) == packets(whole, 1)
    assert not Journal(target).folder.exists()


def wait_for_pieces(target: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    folder = Journal(target).folder
    while len(list(folder.glob("segment-*"))) < count:
        assert process.poll() is None, "it ended before that"
        time.sleep(0.005)


def test_ctrl_c_once_keeps_what_is_done_and_says_how_to_go_on(
    source: Path, whole: Path, tiny_model: Path, tmp_path: Path, call: Call
) -> None:
    target = tmp_path / "out.mkv"
    command = arguments(source, target, tiny_model, "--segments", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for_pieces(target, 1, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=patience(60))
    assert process.returncode == 130
    lines = err.decode().splitlines()
    assert "vdeblur: stopping after this frame, to keep what is done; once more stops at once" in lines
    assert lines[-1].startswith(f"vdeblur: error: interrupted; {target} was not written; ")
    assert lines[-1].endswith("frames are kept: the same again with --resume goes on")
    assert not target.exists()

    refused = call(*command[len(COMMAND) :])
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "--resume goes on with it, -y begins anew" in refused.err
    for change, said in (
        (
            ("--model", "swift"),
            f"--model was {tiny_model} when the job began and is swift now; give --model {tiny_model} again",
        ),
        (
            ("--pix-fmt", "gbrp"),
            "--pix-fmt was not given when the job began and is gbrp now; leave out --pix-fmt gbrp",
        ),
        (("--start", "0:01"), "--start was not given when the job began and is 1.0 now; leave out --start 1.0"),
        (("--strength", "0.5"), "--strength was 1.0 when the job began and is 0.5 now; give --strength 1.0 again"),
    ):
        other = call(*command[len(COMMAND) :], "--resume", *change)
        assert other.errors == [f"vdeblur: error: cannot go on with {target}: {said}, or begin anew with -y"]
    resumed = call(*command[len(COMMAND) :], "--resume")
    assert resumed.code == 0
    new, pace = map(float, re.search(rf"{FRAMES} frames, (\d+) of them in .* s, (.*) fps", resumed.err).groups())
    assert 0 < new < FRAMES
    assert pace > 0
    check(target, whole)


def test_ctrl_c_twice_stops_at_once(source: Path, tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    command = [*arguments(source, target, tiny_model, "--segments", "0"), "-v"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for_pieces(target, 1, process)
        process.send_signal(signal.SIGSTOP)  # so that both are there before it can end of itself
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.6)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=patience(60))
    assert process.returncode == 130
    assert not target.exists()


def test_resume_without_an_interrupted_job_begins_one(
    source: Path, whole: Path, tiny_model: Path, tmp_path: Path, call: Call
) -> None:
    """So the same line can be repeated until it is done; what is done already is left alone."""
    command = arguments(source, tmp_path / "out.mkv", tiny_model, "--resume")[len(COMMAND) :]
    assert call(*command).code == 0
    check(tmp_path / "out.mkv", whole)
    before = (tmp_path / "out.mkv").stat()
    again = call(*command)
    assert (again.code, "is skipped" in again.err) == (0, True)
    assert (tmp_path / "out.mkv").stat().st_mtime_ns == before.st_mtime_ns


def test_resume_and_no_pieces_exclude_each_other(call: Call, source: Path, tmp_path: Path) -> None:
    result = call(source, "-o", tmp_path / "out.mkv", "--resume", "--segments", "off")
    assert (result.code, result.errors) == (
        2, ["vdeblur: error: --resume and --segments off exclude each other; choose one"],
    )  # fmt: skip
    assert call(source, "-o", tmp_path / "out.mkv", "--segments", "often").code == 2


def kill_until_done(source: Path, target: Path, model: Path, rounds: int, seed: int) -> int:
    """Kill the job at random moments and go on with it, until it is done; how often it was killed."""
    random_seconds = random.Random(seed)
    kills = 0
    command = arguments(source, target, model, "--segments", "0", "--resume", "-q")
    while True:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            if kills < rounds:
                began = Journal(target).folder / "job.json"
                while not began.exists() and process.poll() is None:
                    time.sleep(0.005)
                time.sleep(random_seconds.uniform(0, 0.6))
                os.kill(process.pid, signal.SIGKILL)
            _, err = process.communicate(timeout=patience(120))
        if process.returncode == 0:
            return kills
        assert process.returncode == -signal.SIGKILL, err
        assert not target.exists(), "under its final name only when it is whole"
        kills += 1


def test_killed_at_random_moments(source: Path, whole: Path, tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    kill_until_done(source, target, tiny_model, 2, seed=1)
    check(target, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_fifty_times(source: Path, whole: Path, tiny_model: Path, tmp_path: Path) -> None:
    """VDEBLUR_KILLS says how often; many jobs, each killed up to four times."""
    wanted, kills, jobs = int(os.environ.get("VDEBLUR_KILLS", "50")), 0, 0
    while kills < wanted:
        target = tmp_path / f"out_{jobs}.mkv"
        kills += kill_until_done(source, target, tiny_model, min(4, wanted - kills), seed=jobs)
        check(target, whole)
        jobs += 1
    print(f"{kills} kills, {jobs} jobs, all as without a stop")
    assert len(list(tmp_path.iterdir())) == jobs
