"""Evaluation: what is scored is what was restored, frame by frame, and false pairs are named before work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.cli_fixtures import Call, call, tiny_model
from support.doubles import Identity
from support.pairs import write_clip
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import NetworkError, UsageError
from vdeblur.evaluation import EvaluationProgress, evaluate, find_pairs, score_pair
from vdeblur.evaluation.methods import split_models

__all__ = ["call", "tiny_model"]

#: PSNR of an error of ten levels everywhere.
TEN_LEVELS = 10 * np.log10(255**2 / 100)


def pictures(folder: Path, count: int, *, add: int = 0, size: tuple[int, int] = (40, 48)) -> str:
    """A sequence of random grey pictures; ``add`` is a constant error. Returns its pattern."""
    folder.mkdir()
    random = np.random.default_rng(4)
    for index in range(count):
        picture = random.integers(20, 200, (*size, 3)) + add
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{index:03d}.png")
    return str(folder / "%03d.png")


def photo(path: Path, *, add: int = 0) -> None:
    picture = np.random.default_rng(5).integers(20, 200, (40, 48, 3)) + add
    Image.fromarray(picture.astype(np.uint8)).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A clip whose last three frames are wrong by three levels, and a photo wrong by ten."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_clip(folder / "walk.blur.y4m", [0, 3, 3, 3])
    write_clip(folder / "walk.sharp.y4m", [0] * 4)
    photo(folder / "wall.blur.png", add=10)
    photo(folder / "wall.sharp.png")
    return folder


def test_scores_of_a_known_error(tmp_path: Path) -> None:
    blurry, sharp = pictures(tmp_path / "b", 4, add=10), pictures(tmp_path / "s", 4)
    scores = score_pair(Deblurrer(Identity(), device="cpu"), blurry, sharp)
    assert scores.frames == 4
    assert scores.psnr_blurry == pytest.approx(TEN_LEVELS, abs=1e-6)
    assert scores.gain_db == 0
    assert scores.psnr_change == 100
    assert scores.ssim_restored == pytest.approx(scores.ssim_blurry)


def test_false_pairs_are_named(tmp_path: Path) -> None:
    deblurrer = Deblurrer(Identity(), device="cpu")
    three, four = pictures(tmp_path / "3", 3), pictures(tmp_path / "4", 4)
    other = pictures(tmp_path / "o", 3, size=(32, 32))
    with pytest.raises(UsageError, match="has fewer frames"):
        score_pair(deblurrer, four, three)
    with pytest.raises(UsageError, match="has more frames"):
        score_pair(deblurrer, three, four)
    with pytest.raises(UsageError, match="32×32"):
        score_pair(deblurrer, three, other)


def test_pairs_are_found_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pairs"):
        find_pairs(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        find_pairs(tmp_path / "nothing")
    (tmp_path / "a.blur.mkv").touch()
    with pytest.raises(UsageError, match=r"add a\.sharp\.mkv"):
        find_pairs(tmp_path)
    (tmp_path / "a.sharp.png").touch()
    assert find_pairs(tmp_path) == [("a", tmp_path / "a.blur.mkv", tmp_path / "a.sharp.png")]


def test_the_identity_gains_and_harms_nothing(data: Path) -> None:
    found = evaluate(["identity"], [data], baselines=(), stability=True)
    clip, wall = found.clips
    assert (clip.stratum, wall.stratum) == ("videos", "photos")
    assert clip.input == clip.output
    assert wall.input.psnr == pytest.approx(TEN_LEVELS, abs=1e-3)
    assert clip.harm.psnr == clip.harm.worst_frame_psnr == clip.change.psnr == 100
    # The change between the first two frames is wrong by three levels, the two others are right.
    wrong = (4 * clip.input.psnr - 100) / 3
    assert clip.input.temporal_psnr == pytest.approx((200 + wrong) / 3, abs=0.1)
    assert wall.input.temporal_psnr is None
    (entry,) = found.stability
    assert (entry.clip, entry.drift.drift_db, entry.flicker.clean_output) == ("walk", 0, 0)
    assert {(speed.width, speed.height) for speed in found.speeds} == {(48, 40)}


def test_methods_stand_side_by_side_with_their_means(data: Path, tiny_model: Path) -> None:
    photo(data / "door.blur.png", add=20)
    photo(data / "door.sharp.png")
    steps: list[EvaluationProgress] = []
    found = evaluate([str(tiny_model), "identity"], [data], progress=steps.append, device="cpu")
    assert found.methods == ("unsharp", "wiener", "fast", "identity")
    photos = {mean.method: mean for mean in found.summaries() if mean.stratum == "photos"}
    assert photos["identity"].clips == 2
    assert photos["identity"].psnr == pytest.approx((TEN_LEVELS + TEN_LEVELS - 20 * np.log10(2)) / 2, abs=1e-3)
    mine = [clip for clip in found.clips if clip.method == "fast" and clip.stratum == "photos"]
    assert photos["fast"].psnr_input == photos["identity"].psnr
    assert photos["fast"].worst_gain_db == min(clip.gain_db for clip in mine) < 0
    assert photos["fast"].harm_worst_frame_psnr < 100
    assert (steps[0].done, steps[-1].done + 1) == (0, steps[0].total) == (0, 15)


def test_harm_is_what_is_done_to_the_truth_and_change_to_the_blurred_clip(tmp_path: Path) -> None:
    Image.new("RGB", (48, 40), (90, 90, 90)).save(tmp_path / "flat.blur.png")
    photo(tmp_path / "flat.sharp.png")
    (clip,) = (c for c in evaluate(["identity"], [tmp_path], baselines=["unsharp"]).clips if c.method == "unsharp")
    assert clip.change.psnr == 100
    assert clip.harm.psnr < 40


def test_every_pair_is_checked_before_a_network_runs(data: Path) -> None:
    write_clip(data / "yard.blur.y4m", [0, 0, 0])
    write_clip(data / "yard.sharp.y4m", [0, 0])
    steps: list[EvaluationProgress] = []
    with pytest.raises(UsageError, match=r"yard\.sharp\.y4m has fewer frames than .*yard\.blur\.y4m"):
        evaluate(["identity"], [data], progress=steps.append)
    assert steps
    assert {step.now.split(": ")[1] for step in steps} == {"as it is"}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"models": ["fasst"]}, UsageError, "no network 'fasst': choose .*fast"),
        ({"models": []}, UsageError, "at least one model"),
        ({"models": ["fast", "fast"]}, UsageError, "fast is given twice"),
        ({"models": ["data/wall.blur.png"]}, NetworkError, "is no safetensors file"),
        ({"data": ["nowhere"]}, UsageError, "no folder of pairs and no synthetic set 'nowhere'"),
        ({"data": ["test_synthetic"]}, UsageError, "--stills; the published numbers use the 24 Kodak"),
        ({"data": ["test_synthetic"], "stills": "nowhere"}, UsageError, "nowhere is no folder"),
        ({"data": ["test_synthetic"], "stills": "empty"}, UsageError, "no photographs"),
        ({"data": ["data", "data"]}, UsageError, "data is given twice"),
        ({"sheet": "data/wall.blur.png"}, UsageError, "would overwrite"),
    ],
)
def test_mistakes_are_named(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.chdir(data.parent)
    Path("empty").mkdir()
    with pytest.raises(error, match=words):
        evaluate(**{"models": ["identity"], "data": ["data"], **change})


def test_networks_of_one_name_are_told_apart(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "unsharp.safetensors"
    other.write_bytes(tiny_model.read_bytes())
    found = evaluate([str(tiny_model), "fast", str(other)], [data], baselines=["unsharp"], device="cpu")
    assert found.methods == ("unsharp", str(tiny_model), "fast", str(other))


def test_models_are_split_at_commas(tmp_path: Path) -> None:
    assert split_models("fast, mine.safetensors") == ["fast", "mine.safetensors"]
    odd = tmp_path / "a,b.safetensors"
    odd.touch()
    assert split_models(str(odd)) == [str(odd)]


def test_the_command_prints_tables_and_writes_a_sheet(call: Call, data: Path, tiny_model: Path) -> None:
    sheet = data.parent / "look.png"
    result = call("eval", f"{tiny_model},identity", data, "--sheet", sheet, "--baselines", "unsharp")
    assert (result.code, result.errors) == (0, [])
    rows = [line.split() for line in result.out.splitlines()]
    wall = next(row for row in rows if row[:2] == ["data", "wall"])
    assert wall[2:5] == ["1", "48×40", "28.13"]
    assert wall[-1] == "+0.00"
    assert ["data", "photos", "identity", "1", "28.13", "+0.00", "+0.00"] in [row[:7] for row in rows]
    with Image.open(sheet) as drawn:
        assert drawn.width > 5 * 224
        assert drawn.height > 4 * 224


def test_the_command_plays_a_long_clip(call: Call, data: Path) -> None:
    result = call("eval", "identity", data, "--baselines", "none", "--drift")
    rows = [line.split() for line in result.out.splitlines()]
    assert any(row[:3] == ["data", "walk", "identity"] and "+0.000" in row for row in rows)


def test_the_command_writes_json(call: Call, data: Path, tmp_path: Path) -> None:
    words = ["eval", "identity", data, "--baselines", "none"]
    here = json.loads(call(*words, "--json", "-").out)
    assert [clip["clip"] for clip in here["clips"]] == ["walk", "wall"]
    assert here["clips"][1]["input"]["psnr"] == pytest.approx(TEN_LEVELS, abs=1e-3)
    target = tmp_path / "scores.json"
    result = call(*words, "--json", target)
    assert "walk" in result.out
    there = json.loads(target.read_text(encoding="utf-8"))
    assert there["summaries"] == here["summaries"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "scores.txt"], "ends in .json"),
        (["--json", "nowhere/scores.json"], "there is no folder nowhere"),
        (["--sheet", "look.gif"], "end it in .png or .jpg"),
        (["--baselines", "sharpest"], "no baseline 'sharpest'"),
    ],
)
def test_the_command_names_wrong_options(call: Call, data: Path, options: list[str], words: str) -> None:
    result = call("eval", "identity", data, *options)
    assert result.code == 2
    assert words in result.errors[0]
