"""Start-up: help comes at once and without PyTorch, and the first frame within seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.cli_fixtures import COMMAND, media, tiny_model  # noqa: F401
from support.wall_clock import patience, processor_slowness

#: Processor seconds; on two cores of 2023 help took 0.14 and a first frame 2.2, of which PyTorch's import 1.2.
HELP_SECONDS, FIRST_FRAME_SECONDS = 0.5, 8.0
HEAVY = ("torch", "onnx", "kornia", "rich", "av", "numpy")


def processor_seconds(command: list[str]) -> float:
    """What a command and its children take of the processor: not more on a busy machine."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    "arguments", [["--help"], ["live", "--help"], ["bench", "--help"], ["export", "--help"], ["--version"]]
)
def test_help_does_not_load_what_takes_long(arguments: list[str]) -> None:
    code = (
        "import sys; from vdeblur.cli.app import run_command_line; "
        f"code = run_command_line({arguments!r}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=patience(60), check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not tell what a child took")
def test_help_comes_at_once() -> None:
    command = [*COMMAND, "--help"]
    assert min(processor_seconds(command) for _ in range(3)) < HELP_SECONDS * processor_slowness()


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not tell what a child took")
def test_the_first_frame_takes_seconds(media: Path, tiny_model: Path, tmp_path: Path) -> None:  # noqa: F811
    command = [
        *COMMAND,
        *(str(media / "clip.mp4"), "-o", str(tmp_path / "out.mp4"), "--quiet"),
        *("--model", str(tiny_model), "--duration", "0.04"),
    ]
    assert processor_seconds(command) < FIRST_FRAME_SECONDS * processor_slowness()


def test_the_first_frame_is_told_before_the_last(media: Path, tiny_model: Path, tmp_path: Path) -> None:  # noqa: F811
    """What `vdeblur bench` calls the first frame is the first thing that JSON says of progress."""
    command = [*COMMAND, str(media / "clip.mp4"), "-o", str(tmp_path / "out.mp4"), "--json"]
    with subprocess.Popen([*command, "--model", str(tiny_model)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        events = [(time.monotonic(), json.loads(line)) for line in process.stdout]
    progress = [(when, event) for when, event in events if event["event"] == "progress"]
    done = next(when for when, event in events if event["event"] == "done")
    assert progress[0][1]["frames"] < 10
    assert progress[0][0] < done
