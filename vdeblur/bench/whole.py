"""End-to-end benchmark: the command in its own process, with start-up time, peak memory and CPU time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vdeblur.bench.settings import BenchCase
from vdeblur.errors import VdeblurError


@dataclass(frozen=True)
class CommandTiming:
    """One run of ``vdeblur CLIP -o OUTPUT``."""

    frames: int
    #: Frames a second from the first one asked for to the finished file.
    frames_per_second: float
    #: From the call of the command until it says that a frame is restored, which is one frame late at most.
    first_frame_seconds: float
    #: Of the whole command, start and end included.
    seconds: float
    #: Most memory of the process or of one of its children (resident set); None where the system does not tell.
    peak_bytes: int | None


def measure_command(case: BenchCase, clip: Path, target: Path, *, device: str, preset: str, runs: int) -> CommandTiming:
    """The median of several runs, each number for itself.

    Raises:
        VdeblurError: the command failed; with what it said.
    """
    found = [_run_once(case, clip, target, device=device, preset=preset) for _ in range(runs)]
    peaks = [one.peak_bytes for one in found if one.peak_bytes is not None]
    return CommandTiming(
        found[0].frames,
        median(one.frames_per_second for one in found),
        median(one.first_frame_seconds for one in found),
        median(one.seconds for one in found),
        int(median(peaks)) if peaks else None,
    )


def command_line(case: BenchCase, clip: Path, target: Path, *, device: str, preset: str) -> list[str]:
    """The command that is measured."""
    options = ["-m", case.model, "--precision", case.precision, "--lookahead", str(case.lookahead)]
    files = [str(clip), "-o", str(target), "-y", "--json"]
    return [sys.executable, "-m", "vdeblur", *files, *options, "--device", device, "--preset", preset]


def _run_once(case: BenchCase, clip: Path, target: Path, *, device: str, preset: str) -> CommandTiming:
    command = command_line(case, clip, target, device=device, preset=preset)
    first: float | None = None
    done: dict[str, Any] = {}
    said = ""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, encoding="utf-8")
    try:
        assert process.stdout is not None
        with process.stdout as events:
            for line in events:
                event = json.loads(line)
                if event["event"] == "progress" and first is None:
                    first = time.perf_counter() - began
                done = event if event["event"] == "done" else done
                said = event.get("message", said)
        peak = _wait(process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    seconds = time.perf_counter() - began
    if process.returncode or not done:
        raise VdeblurError(f"{case.name}: the run ended with exit code {process.returncode}: {said}")
    elapsed = float(done["elapsed_seconds"])
    return CommandTiming(
        int(done["frames"]), done["frames"] / elapsed, seconds if first is None else first, seconds, peak
    )


def _wait(process: subprocess.Popen[str]) -> int | None:
    """Wait for the end; the most memory it or a child of it had at a time."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
