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
from PIL import Image

from support import interruptions
from support.cli_fixtures import Call, call, media, tiny_model
from support.doubles import FORMATS, YUV420, YUV420P10, Constant, Failing, Identity
from support.doubles import clip as frames_of
from support.media.clips import clip
from vdeblur import TargetError, UsageError, deblur_video
from vdeblur.frames import Colour, Frame
from vdeblur.pipeline import resume as pipeline_resume
from vdeblur.pipeline import sharpness as module
from vdeblur.pipeline.sharpness import AFTER, BEFORE, SharpnessPlot, sharpness
from vdeblur.plotting.canvas import Sheet, png
from vdeblur.plotting.chart import HEIGHT, WIDTH, Chart, Curve
from vdeblur.plotting.hershey_font import text_lines, text_width

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]

QUICK: dict[str, Any] = {"device": "cpu", "precision": "float32"}
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


# --- The picture ------------------------------------------------------------------------------------------------------


def chart(values: list[float], other: list[float] | None = None) -> Chart:
    curves = (Curve("before", BEFORE, values), Curve("after", AFTER, other or [2 * value for value in values]))
    return Chart(
        "A title", "a line below", "time in seconds", "sharpness", [n / 25 for n in range(len(values))], curves
    )


def pixels(data: bytes, tmp_path: Path) -> np.ndarray:
    (tmp_path / "a.png").write_bytes(data)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        return np.asarray(image)


def inked(picture: np.ndarray, colour: str) -> np.ndarray:
    rgb = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.argwhere((picture == rgb).all(axis=2))


def test_the_png_shows_both_curves_where_they_are(tmp_path: Path) -> None:
    picture = pixels(chart([100.0] * 50).png(), tmp_path)
    assert picture.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    plot = picture[140:]
    before, after = inked(plot, BEFORE), inked(plot, AFTER)
    assert before[:, 1].min() < 0.12 * 2 * WIDTH < 0.95 * 2 * WIDTH < before[:, 1].max(), "from edge to edge"
    bottom = 2 * (HEIGHT - 64) - 140
    height_of = [bottom - np.median(rows[:, 0]) for rows in (before, after)]
    assert height_of[1] / height_of[0] == pytest.approx(2, abs=0.03), "the axis begins at 0"


def test_the_svg_says_the_same() -> None:
    root = ElementTree.fromstring(chart([1.0, 3.0, 2.0]).svg())
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A title", "a line below", "time in seconds", "sharpness", "before", "after", "0"} <= set(words)
    colours = [node.get("stroke") for node in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert colours.count(BEFORE) == colours.count(AFTER) == 2, "curve and legend"


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0], [math.nan] * 3, [1.0, math.nan, 2.0, 3.0], [7.0] * 5000])
def test_odd_lengths_and_gaps_can_be_drawn(values: list[float], tmp_path: Path) -> None:
    drawn = chart(values, values)
    picture = pixels(drawn.png(), tmp_path)
    known = any(math.isfinite(value) for value in values)
    assert bool(len(inked(picture[140:], AFTER))) == known
    assert len(drawn.svg()) < 60_000, "long videos are thinned"


def test_letters_are_where_they_should_be(tmp_path: Path) -> None:
    sheet = Sheet(200, 40)
    sheet.text(10, 30, "Hg 123", 12, "#000000")
    dark = np.argwhere(pixels(sheet.png(), tmp_path)[..., 0] < 128) / 2
    assert (dark[:, 0].min(), dark[:, 1].min()) == pytest.approx((18, 12), abs=1.5)
    assert dark[:, 1].max() == pytest.approx(10 + text_width("Hg 123", 12), abs=4)
    assert 33 < dark[:, 0].max() < 36, "the g reaches below the line"
    assert text_lines("é", 0, 0, 10) == text_lines("?", 0, 0, 10)


def test_upright_text_is_read_from_below(tmp_path: Path) -> None:
    flat, upright = Sheet(60, 60), Sheet(60, 60)
    flat.text(10, 50, "Rag", 12, "#000000")
    upright.text(50, 50, "Rag", 12, "#000000", upright=True)
    one, other = pixels(flat.png(), tmp_path), pixels(upright.png(), tmp_path)
    assert np.abs(np.rot90(one).astype(int) - other).mean() < 1


def test_a_png_is_what_it_was(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    assert np.array_equal(pixels(png(picture), tmp_path), picture)


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
        ("there.png", "there.png exists; -y (overwrite) replaces it"),
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
    assert (wrong.code, wrong.errors) == (2, ["vdeblur: error: the plot cannot be a.gif: end it in .png or .svg"])
