"""`vdeblur info` names the shutter that the camera wrote down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import Call, call
from support.media.camera_metadata import gpmf, with_track
from support.media.clips import clip
from vdeblur.cli.info import source_lines
from vdeblur.video.info import ExposureRange
from vdeblur.video.source.reader import probe

__all__ = ["call"]


def gopro(folder: Path, times: list[float], clock_us: int = 1_000_000) -> Path:
    packets = [gpmf(times, clock_us=second * clock_us) for second in range(2)]
    return with_track(clip("h264"), folder / "GH010001.MP4", packets, kind=b"gpmd")


def test_info_names_the_shutter(call: Call, tmp_path: Path) -> None:
    page = call("info", gopro(tmp_path, [1 / 200] * 25)).out
    assert "  shutter      1/200 s (0.12 of the frame interval), GoPro GPMF\n" in page


def test_info_names_a_range(call: Call, tmp_path: Path) -> None:
    path = gopro(tmp_path, [1 / (100 + 10 * number) for number in range(25)])
    assert (
        "  shutter      1/340 to 1/100 s (0.074 to 0.25 of the frame interval), GoPro GPMF\n" in call("info", path).out
    )
    told: dict[str, Any] = json.loads(call("info", "--json", path).out)["shutter"]
    assert told["source"] == "GoPro GPMF"
    assert told["seconds"] == pytest.approx([1 / 340, 1 / 100])
    assert told["fractions"] == pytest.approx([25 / 340, 25 / 100])
    assert told["first_frame_only"] is False


def test_info_of_slow_motion(call: Call, tmp_path: Path) -> None:
    path = gopro(tmp_path, [1 / 200] * 25, clock_us=250_000)
    assert "  shutter      0.5 of the frame interval, GoPro GPMF\n" in call("info", path).out


def test_info_of_a_video_that_says_nothing(call: Call) -> None:
    assert "shutter" not in call("info", clip("h264")).out
    assert json.loads(call("info", "--json", clip("h264")).out)["shutter"] is None


def test_words_of_the_first_frame_alone() -> None:
    lines = source_lines(probe(clip("h264")), ExposureRange("AVCHD MDPM", (0.5, 0.5), None, first_frame_only=True))
    assert "  shutter      0.5 s, AVCHD MDPM of the first frame" in lines
