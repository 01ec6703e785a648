"""Choosing a model: difficulties add up to all clips, and one mean of three kinds of data decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from kornia.io import write_image

from support.cli_fixtures import Call, call
from support.media import clips
from support.pairs import write_clip
from vdeblur.evaluation import Evaluation, evaluate
from vdeblur.evaluation.selection import difficulty_of

__all__ = ["call"]

SET = """
seed: 5
synthesis: {size_px: 32, frames: 2, static_share: 0.0, sharp_share: 0.0, layer_share: 0.0, compressed_share: 0.0}
mild: {clips: 1, motion_px: [1.0, 4.0], synthesis: {speed_px: [2.0, 6.0], exposure: [0.5, 1.0]}}
strong: {clips: 1, motion_px: [5.0, 20.0], synthesis: {speed_px: [8.0, 24.0], exposure: [0.8, 1.0]}}
sharp: {clips: 1, motion_px: [0.0, 0.5], synthesis: {speed_px: [1.0, 4.0], exposure: [0.01, 0.05]}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs, a high-rate clip, a synthetic set and a photograph for it."""
    folder = tmp_path_factory.mktemp("three kinds")
    (folder / "pairs").mkdir()
    for name, error in (("near", 2), ("far", 10), ("lost", 40)):
        write_clip(folder / "pairs" / f"{name}.blur.y4m", [error] * 3)
        write_clip(folder / "pairs" / f"{name}.sharp.y4m", [0] * 3)
    clips.ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=240,scroll=h=0.02", "-frames:v", "15", "-c:v", "ffv1",
        str(folder / "court.mkv"),
    )  # fmt: skip
    (folder / "set.yaml").write_text(SET, encoding="utf-8")
    (folder / "stills").mkdir()
    picture = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    large = picture.repeat_interleave(5, 1).repeat_interleave(5, 2)
    write_image(folder / "stills" / "0.png", (large * 255).to(torch.uint8).contiguous())
    return folder


@pytest.fixture(scope="module")
def found(data: Path) -> Evaluation:
    return evaluate(
        ["identity"],
        [data / "pairs", data / "set.yaml"],
        stills=data / "stills",
        ladders=[data / "court.mkv"],
        ladder_step=5,
        baselines=["unsharp"],
        device="cpu",
    )


def test_difficulties_are_those_of_the_input() -> None:
    limits = {100.0: "easy", 30.0: "easy", 29.99: "medium", 24.0: "medium", 23.99: "hard", 5.0: "hard"}
    assert {value: difficulty_of(value) for value in limits} == limits


def test_difficulties_add_up_to_all_clips_with_a_gain(found: Evaluation) -> None:
    for method in found.methods:
        here = [each for each in found.difficulties() if each.method == method]
        gains = [clip.gain_db for clip in found.clips if clip.method == method and clip.gain_db is not None]
        assert sum(each.clips for each in here) == len(gains) == 3 + 2 + 3
        assert sum(each.clips * each.gain_db for each in here) == pytest.approx(sum(gains), abs=1e-9)
        assert min(each.worst_gain_db for each in here) == min(gains)
    pairs = {clip.clip: clip.psnr_input for clip in found.clips if clip.kind == "pairs"}
    assert {name: difficulty_of(value) for name, value in pairs.items()} == {
        "near": "easy",
        "far": "medium",
        "lost": "hard",
    }


def test_the_selection_is_the_mean_of_three_kinds(found: Evaluation) -> None:
    unsharp, identity = found.selections()
    assert (unsharp.method, identity.method) == ("unsharp", "identity")
    assert identity.mean_db == 0
    means = {(mean.dataset, mean.stratum): mean for mean in found.summaries() if mean.method == "unsharp"}
    assert unsharp.pairs_db == pytest.approx(means["pairs", "videos"].gain_db)
    assert unsharp.ladder_db == pytest.approx(means["court", "rungs"].gain_db)
    assert unsharp.synthetic_db == pytest.approx(means["set", "blurred"].gain_db)
    assert unsharp.mean_db == pytest.approx((unsharp.pairs_db + unsharp.ladder_db + unsharp.synthetic_db) / 3)
    assert len({unsharp.pairs_db, unsharp.ladder_db, unsharp.synthetic_db}) == 3


def test_there_is_no_selection_without_all_three(data: Path) -> None:
    found = evaluate(["identity"], [data / "pairs"], ladders=[data / "court.mkv"], ladder_step=5, baselines=())
    assert found.selections() == []
    assert found.as_dict()["selection"] is None


def test_the_report_names_the_clips_that_choose(call: Call, data: Path) -> None:
    words = ["eval", "identity", data / "pairs", data / "set.yaml", "--stills", data / "stills"]
    result = call(
        *words, "--ladder", data / "court.mkv", "--ladder-step", 5, "--baselines", "unsharp", "--json", data / "s.json"
    )
    assert (result.code, result.errors) == (0, [])
    report = json.loads((data / "s.json").read_text(encoding="utf-8"))
    selection = report["selection"]
    assert "never by one of them" in selection["protocol"]
    assert selection["clips"] == {
        "pairs": ["pairs/far", "pairs/lost", "pairs/near"],
        "ladder": ["court/3 of 5", "court/5 of 5"],
        "synthetic": ["set/mild00", "set/strong00"],
    }
    assert [score["method"] for score in selection["scores"]] == ["unsharp", "identity"]
    assert {(each["difficulty"], each["method"]) for each in report["difficulties"]} >= {
        ("easy", "identity"),
        ("medium", "unsharp"),
        ("hard", "identity"),
    }
    assert report["conditions"]["ladders"] == {"court": {"step": 5, "frames": 12}}
    rung = next(clip for clip in report["clips"] if clip["clip"] == "5 of 5" and clip["method"] == "unsharp")
    assert rung["kind"] == "ladder"
    assert rung["exposure"] == {"true": 1.0, "read": None, "error": None}
    assert set(rung["aligned"]) == {"shift_x_px", "shift_y_px", "psnr_input", "psnr"}
    assert rung["aligned_gain_db"] == pytest.approx(rung["aligned"]["psnr"] - rung["aligned"]["psnr_input"])
    assert rung["worst_frame_gain_db"] <= rung["gain_db"]
    first = next(clip for clip in report["clips"] if clip["clip"] == "1 of 5")
    assert first["gain_db"] is None
    rows = [line.split() for line in result.out.splitlines()]
    assert ["identity", "+0.00", "+0.00", "+0.00", "+0.00"] in rows
    assert any(row[:2] == ["hard", "unsharp"] for row in rows)
