"""`vdeblur info` says how noisy and how strongly compressed a source is, and what becomes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.cli_fixtures import Call, call
from support.media.interlaced import FFV1, X264, made
from support.wall_clock import patience

#: Fixtures.
__all__ = ["call"]

NOISE = "noise=c0s=30:c0f=t+u"


def test_noise_and_compression_are_said(call: Call) -> None:
    path = made(NOISE, f"{X264} -crf 28", ".mp4", frames=60, source="gradients=s=192x128:n=2:speed=0.01")
    page = call("info", path).out
    assert "\n  noise        " in page
    assert " of 255" in page
    assert "as H.264 counts (0 to 51), by its slice headers\n" in page
    assert "It works from a cleaner picture" in page
    told: dict[str, Any] = json.loads(call("info", "--json", path).out)
    assert 20 < told["compression"]["quantiser"] < 36
    assert told["compression"]["known_by"] == "its slice headers"
    assert len(told["noise"]["by_brightness"]) == 6
    assert told["guide_share"] > 0.9


def test_a_lossless_source_tells_its_noise_alone(call: Call) -> None:
    noisy = made(NOISE, FFV1, ".mkv", frames=12, source="gradients=s=192x128:n=2:speed=0.01")
    told: dict[str, Any] = json.loads(call("info", "--json", noisy).out)
    assert told["compression"] is None
    assert 5 < told["noise"]["level"] < 20
    assert "(noise)" in call("info", noisy).out
    clean = made("null", FFV1, ".mkv", frames=12, source="gradients=s=192x128:n=2:speed=0.01")
    page = call("info", clean).out
    assert "compression" not in page
    assert "The picture is clean" in page


def test_one_picture_and_a_pipe_are_read(call: Call, tmp_path: Path) -> None:
    picture = made(
        NOISE, "-c:v mjpeg -qscale:v 3 -pix_fmt yuvj420p", ".jpg", frames=1, source="gradients=s=192x128:n=2"
    )
    told: dict[str, Any] = json.loads(call("info", "--json", picture).out)
    assert told["compression"]["known_by"] == "its quantisation tables"
    done = subprocess.run(
        [sys.executable, "-m", "vdeblur", "info", "-", "--json"],
        input=made(NOISE, FFV1, ".mkv", frames=12, source="gradients=s=192x128:n=2:speed=0.01").read_bytes(),
        capture_output=True,
        timeout=patience(60),
    )
    assert json.loads(done.stdout)["noise"]["level"] > 5


def test_nobody_waits_for_pytorch() -> None:
    code = "import sys, vdeblur.pipeline.source_quality; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=patience(60)).returncode == 0
