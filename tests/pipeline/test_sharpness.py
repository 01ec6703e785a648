"""Sharpness over time: the measure is what it says, and the picture of it is whole, true and labelled."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from support import interruptions
from support.cli_fixtures import Call, call, media, tiny_model
from support.doubles import FORMATS, YUV420, YUV420P10, Constant, Failing, Identity
from support.doubles import clip as frames_of
from support.engines import QUICK
from support.media.clips import clip
from vdeblur import TargetError, UsageError, deblur_video
from vdeblur.frames import Colour, Frame
from vdeblur.pipeline import resume as pipeline_resume
from vdeblur.pipeline import sharpness as module
from vdeblur.pipeline.sharpness import SharpnessPlot, sharpness
from vdeblur.video.ffmpeg.executable import run_ffmpeg

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]

FULL = Colour(range="pc")


def grey(plane: np.ndarray, colour: Colour = FULL, pixel_format: Any = YUV420) -> Frame:
    return Frame((plane, plane, plane), pixel_format, colour, 0, Fraction(1, 25))


def noise(rows: int = 150, columns: int = 61) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns), np.uint8)


# --- The measure ------------------------------------------------------------------------------------------------------


def test_it_is_the_variance_of_opencvs_laplacian() -> None:
    plane = noise()
    expected = cv2.Laplacian(plane, cv2.CV_64F)[1:-1, 1:-1].var()
    assert sharpness(grey(plane)) == pytest.approx(expected, rel=1e-5)
    tensor = replace(grey(plane), planes=(torch.from_numpy(plane),) * 3)
    assert sharpness(tensor) == pytest.approx(expected, rel=1e-5)


def test_depth_and_range_do_not_matter() -> None:
    plane = noise()
    deep = plane.astype(np.uint16) * 4
    limited = grey(plane, Colour(range="tv"))
    assert sharpness(grey(deep, Colour(range="tv"), YUV420P10)) == pytest.approx(sharpness(limited), rel=1e-5)
    assert sharpness(limited) == pytest.approx(sharpness(grey(plane)) * (255 / 219) ** 2, rel=1e-5)


def test_blur_lowers_it_and_flat_pictures_have_none() -> None:
    plane = noise()
    assert sharpness(grey(cv2.GaussianBlur(plane, (3, 3), 0))) < 0.2 * sharpness(grey(plane))
    assert sharpness(grey(np.full((9, 9), 77, np.uint8))) == 0
    assert math.isnan(sharpness(grey(noise(2, 50))))


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_every_format_can_be_measured(pixel_format: Any) -> None:
    (frame,) = frames_of(1, pixel_format=pixel_format, colour=FULL)
    assert 0 < sharpness(frame) < 1000


def test_of_interlaced_frames_one_field_is_measured() -> None:
    calm = np.zeros((40, 40), np.uint8)
    combed = calm.copy()
    combed[1::2] = 200
    assert sharpness(grey(combed), field=True) == 0
    assert sharpness(grey(combed)) > 1000


# --- Of a video -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_video_and_its_plot(ending: str, tmp_path: Path) -> None:
    plot = tmp_path / f"sharpness.{ending}"
    seen: list[bool] = []
    report = deblur_video(
        clip("h264"), tmp_path / "out.mp4", model=Identity(), plot=plot, progress=lambda _: seen.append(plot.exists()),
        **QUICK,
    )  # fmt: skip
    assert not any(seen), "it appears at the end"
    assert plot.stat().st_size > 3000
    assert report.sharpness is not None
    assert report.sharpness[0] == report.sharpness[1] > 10
    assert report.notes[-1].startswith(f"{plot} shows the sharpness of each frame: mean ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", plot.name]


def test_times_are_those_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a start the plot begins there; also where the source's own clock begins elsewhere."""
    drawn: list[Any] = []
    monkeypatch.setattr(module.Chart, "svg", lambda self: drawn.append(self) or "")
    source, late = clip("h264", frames=20), tmp_path / "late.ts"
    assert run_ffmpeg(["-i", str(source), "-c", "copy", "-output_ts_offset", "7", str(late)]).returncode == 0
    for path in (source, late):
        for start, first in ((None, 0.0), (0.4, 0.4)):
            deblur_video(
                path, tmp_path / "out.mp4", model=Identity(), plot=tmp_path / "a.svg", start_seconds=start,
                overwrite=True, **QUICK,
            )  # fmt: skip
            assert drawn[-1].x[0] == pytest.approx(first, abs=0.001)
            assert drawn[-1].x[-1] == pytest.approx(19 / 25, abs=0.001)


def test_without_the_option_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any, **__: Any) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(module, "sharpness", measured)
    assert deblur_video(clip("h264"), tmp_path / "out.mp4", model=Identity(), **QUICK).sharpness is None
    with pytest.raises(AssertionError, match="measured"):
        deblur_video(clip("h264"), tmp_path / "b.mp4", model=Identity(), plot=tmp_path / "a.png", **QUICK)


def test_a_failed_job_leaves_no_plot(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="bad"):
        deblur_video(
            clip("h264"), tmp_path / "out.mp4", model=Failing(9, RuntimeError("bad")), plot=tmp_path / "a.png", **QUICK
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    plot = SharpnessPlot(tmp_path / "a.png", "x")
    plot.path = tmp_path / "gone" / "a.png"
    with pytest.raises(TargetError, match=r"cannot write the plot .*a\.png: No such file"):
        plot.write()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.jpg", "end it in .png or .svg"),
        ("nowhere/a.png", "there is no folder"),
        ("there.png", "there.png exists; overwrite=True replaces it"),
        ("folder.png", "that is a folder"),
        ("out.png", "which is the target"),
        ("in.png", "which is the source"),
    ],
)
def test_plots_that_cannot_be_are_refused_before_work_starts(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    source = tmp_path / "in.png" if name == "in.png" else clip("h264")
    with pytest.raises(UsageError) as caught:
        deblur_video(source, tmp_path / "out.png", plot=tmp_path / name, model=Constant(0.1), **QUICK)
    assert words in str(caught.value)
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_where_a_job_goes_on_the_plot_begins_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_resume, "LEAST_FRAMES", 7)
    source, target, plot = clip("h264_audio"), tmp_path / "out.mkv", tmp_path / "a.svg"
    interruptions.stopped(source, target, 20, plot=plot)
    assert not plot.exists()
    report = interruptions.restore(source, target, resume=True, plot=plot)
    root = ElementTree.fromstring(plot.read_text())
    drawn = [node.get("points", "") for node in root.iter("{http://www.w3.org/2000/svg}polyline")]
    longest = max(drawn, key=len).split()
    assert len(longest) == report.frames - report.frames_before > 10
    ticks = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "0.2" not in ticks
    assert "1.2" in ticks


# --- The command ------------------------------------------------------------------------------------------------------


def test_the_command_draws_it_and_says_the_means(call: Call, media: Path, tmp_path: Path, tiny_model: Path) -> None:
    plot = tmp_path / "a.png"
    words = (media / "clip.mp4", "-o", tmp_path / "out.mp4", "--model", tiny_model, "--plot", plot)
    result = call(*words)
    assert result.code == 0
    assert f"{plot} shows the sharpness of each frame: mean" in result.err
    again = call(*words, "-y", "--json")
    done = next(event for event in map(json.loads, again.out.splitlines()) if event["event"] == "done")
    assert done["sharpness_after"] != done["sharpness_before"] > 0


def test_wrong_calls_are_said_at_once(call: Call, media: Path, tmp_path: Path) -> None:
    (tmp_path / "sharp").mkdir()
    several = call(media / "clip.mp4", media / "notes.mp4", "-o", tmp_path / "sharp", "--plot", tmp_path / "a.png")
    assert (several.code, several.errors) == (
        2, ["vdeblur: error: --plot draws one video, but there are 2 inputs; name one"]
    )  # fmt: skip
    wrong = call(media / "clip.mp4", "-o", tmp_path / "out.mp4", "--plot", "a.gif")
    assert (wrong.code, wrong.errors) == (2, ["vdeblur: error: --plot cannot be a.gif: end it in .png or .svg"])
