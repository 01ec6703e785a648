"""Memory does not grow with the length of a video: peaks of whole processes are compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.media.clips import ffmpeg
from support.paths import PYTHONPATH

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")

#: What a process may take more for the longer video: pages that happen to be touched.
ALLOWED_KB = 4096

#: Runs one way of restoring on one length; says how many frames came out and the most memory it ever took.
_PROGRAM = """
import json, resource, sys
import numpy as np
from vdeblur import deblur_frames, deblur_video
from support.doubles import Identity
from support.engines import tiny_net

class Stub(Identity):
    def residual(self, previous, current, following, state):  # without a list of its calls
        return self.correction(previous, current, following, state)

way, network, count, source, target = sys.argv[1:]
model = tiny_net() if network == "real" else Stub()
if way == "generator":
    shots = [np.random.default_rng(n).integers(0, 255, (36, 52, 3), dtype=np.uint8) for n in range(5)]
    pictures = (shots[n // 7 % 5] for n in range(int(count)))
    frames = sum(1 for _ in deblur_frames(pictures, model=model, device="cpu"))
elif way == "pipe":
    with open(source, "rb") as file:
        frames = deblur_video(file, target, model=model, device="cpu", overwrite=True).frames
else:
    frames = deblur_video(source, target, model=model, device="cpu", overwrite=True).frames
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([frames, peak // 1024 if sys.platform == "darwin" else peak]))
"""


def video(folder: Path, count: int, *, cuts: bool) -> Path:
    """So many frames with two audio tracks; with ``cuts`` a new shot begins every five frames."""
    path = folder / f"{count}_{cuts}.mkv"
    seconds = str(count / 25)
    noise = "negate=enable='lt(mod(n,10),5)'" if cuts else "null"
    inputs = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d={seconds},{noise}"]
    for tone in ("220", "440"):
        inputs += ["-f", "lavfi", "-i", f"sine={tone}:d={seconds}"]
    maps = ["-map", "0", "-map", "1", "-map", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
    ffmpeg("-y", *inputs, *maps, str(path))
    return path


def peak_kb(way: str, network: str, count: int, folder: Path) -> int:
    source = folder / "none" if way == "generator" else video(folder, count, cuts=way != "file")
    code = [sys.executable, "-c", _PROGRAM, way, network, str(count), str(source), str(folder / "out.mkv")]
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(code, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    frames, peak = json.loads(done.stdout)
    assert frames == count
    return int(peak)


@pytest.mark.parametrize(("way", "network"), [("generator", "real"), ("pipe", "stub")])
def test_300_frames_take_no_more_than_60(way: str, network: str, tmp_path: Path) -> None:
    assert peak_kb(way, network, 300, tmp_path) - peak_kb(way, network, 60, tmp_path) <= ALLOWED_KB


@pytest.mark.slow
@pytest.mark.parametrize("network", ["stub", "real"])
@pytest.mark.parametrize("way", ["generator", "file", "pipe", "cuts"])  # the pipe has cuts, too
def test_2000_frames_take_no_more_than_100(way: str, network: str, tmp_path: Path) -> None:
    assert peak_kb(way, network, 2000, tmp_path) - peak_kb(way, network, 100, tmp_path) <= ALLOWED_KB
