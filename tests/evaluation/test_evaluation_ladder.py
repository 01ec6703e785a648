"""Exposure ladder: rungs are averages in linear light around the truth, of known exposure and bounded length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.cli_fixtures import Call, call
from support.media import clips
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import SourceError, UsageError
from vdeblur.evaluation import evaluate
from vdeblur.evaluation.cases import Case
from vdeblur.evaluation.ladder import GAMMA, Ladder, averaged

__all__ = ["call"]

WIDTH, HEIGHT = 96, 64


def high_rate(path: Path, frames: int) -> Path:
    """A texture that moves to the right by exactly one pixel a frame, around the edge; lossless."""
    texture = f"color=gray:size={WIDTH}x{HEIGHT}:rate=240,format=gbrp,noise=alls=90:all_seed=7,gblur=1.2"
    moving = f"{texture},trim=end_frame=1,loop=-1:1,setpts=N/240/TB,scroll=h=-1/{WIDTH}"
    clips.ffmpeg("-f", "lavfi", "-i", moving, "-frames:v", str(frames), "-c:v", "ffv1", "-pix_fmt", "gbrp", str(path))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return high_rate(tmp_path_factory.mktemp("high rate") / "court.mkv", 26)


def pictures(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Blurred and true frames (T, H, W, 3) of 8 bits."""
    sides = []
    for side in (case.blurry, case.sharp):
        with side() as shown:
            sides.append([(rgb_of(frame)[0] * 255).round().permute(1, 2, 0).numpy() for frame in shown])
    return np.stack(sides[0]), np.stack(sides[1])


def test_a_rung_is_the_mean_in_linear_light_around_its_truth(clip: Path) -> None:
    ladder = Ladder(clip, step=5)
    assert ladder.counts == [1, 3, 5]
    rungs = list(ladder.cases())
    assert [(rung.name, rung.stratum, rung.kind, rung.exposure) for rung in rungs] == [
        ("1 of 5", "sharp", "ladder", 0.2),
        ("3 of 5", "rungs", "ladder", 0.6),
        ("5 of 5", "rungs", "ladder", 1.0),
    ]
    first, truths = pictures(rungs[0])
    assert len(truths) == 5  # whole steps of 26 frames
    assert truths[0].std() > 10
    for number, truth in enumerate(truths):
        assert np.array_equal(truth, np.roll(truths[0], 5 * number, axis=1)), "the motion is known"
    assert np.array_equal(first, truths)
    for rung, count in zip(rungs[1:], (3, 5), strict=True):
        blurry, same = pictures(rung)
        assert np.array_equal(same, truths)
        moves = range(-(count // 2), count // 2 + 1)
        light = np.mean([(np.roll(truths, move, axis=2) / 255) ** GAMMA for move in moves], axis=0)
        assert np.abs(blurry - 255 * light ** (1 / GAMMA)).max() <= 0.51


def test_an_even_step_has_odd_rungs(clip: Path) -> None:
    assert Ladder(clip, step=8).counts == [1, 3, 5, 7]


def test_light_is_averaged_not_levels() -> None:
    black, white = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.full((3, 2, 2), 255, dtype=torch.uint8)
    assert averaged([black, white]).unique().tolist() == [round(255 * 0.5 ** (1 / 2.2))]
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 256)
    assert torch.equal(averaged([every]), every)


def test_a_ladder_is_no_longer_than_it_has_to_be(clip: Path) -> None:
    assert [len(pictures(rung)[0]) for rung in Ladder(clip, step=3, frames=4).cases()] == [4, 4]


def test_a_ladder_that_cannot_be_is_named(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"court\.mkv has 26 frames; a ladder of 11 needs 33 at least"):
        Ladder(clip)
    with pytest.raises(UsageError, match="step cannot be 2"):
        Ladder(clip, step=2)
    (tmp_path / "no.mkv").write_text("no video")
    with pytest.raises(SourceError, match=r"no\.mkv"):
        Ladder(tmp_path / "no.mkv", step=5)


def test_rungs_are_scored_and_the_first_has_no_gain(clip: Path) -> None:
    found = evaluate(["identity"], ladders=[clip], ladder_step=5, baselines=["unsharp"], device="cpu")
    mine = {each.clip: each for each in found.clips if each.method == "unsharp"}
    assert list(mine) == ["1 of 5", "3 of 5", "5 of 5"]
    assert [round(each.exposure.true or 0, 3) for each in mine.values()] == [0.2, 0.6, 1.0]
    first = mine["1 of 5"]
    assert first.gain_db is first.aligned_gain_db is first.worst_frame_gain_db is None
    assert first.harm == first.change
    assert mine["3 of 5"].input.psnr > mine["5 of 5"].input.psnr
    for rung in ("3 of 5", "5 of 5"):
        each = mine[rung]
        assert each.gain_db is not None
        assert each.worst_frame_gain_db is not None
        assert each.worst_frame_gain_db <= each.gain_db
        assert each.harm == first.harm
    rungs, sharp = ([s for s in found.summaries() if s.stratum == stratum] for stratum in ("rungs", "sharp"))
    assert [(each.method, each.clips) for each in rungs] == [("unsharp", 2), ("identity", 2)]
    assert rungs[0].worst_frame_gain_db == min(mine[rung].worst_frame_gain_db or 0 for rung in ("3 of 5", "5 of 5"))
    assert {each.gain_db for each in sharp} == {None}


def test_the_command_climbs_a_ladder(call: Call, clip: Path) -> None:
    result = call("eval", "identity", "--ladder", clip, "--ladder-step", 5, "--baselines", "none")
    assert (result.code, result.errors) == (0, [])
    rows = [line.split() for line in result.out.splitlines()]
    assert any(row[:6] == ["court", "1", "of", "5", "5", f"{WIDTH}×{HEIGHT}"] and row[-1] == "–" for row in rows)
    assert any(row[:4] == ["court", "3", "of", "5"] and row[-1] == "+0.00" for row in rows)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "at least one model and one folder of pairs, synthetic set or --ladder"),
        (["--ladder-step", 5], "--ladder-step 5 without a ladder: add --ladder CLIP"),
        (["--ladder", "CLIP", "--ladder-step", 1], "step cannot be 1"),
        (["--ladder", "CLIP"], "needs 33 at least"),
        (["--ladder", "CLIP", "--ladder-step", 5, "--true-exposure", "0.5"], "a true exposure of 0.5 for no pairs"),
    ],
)
def test_the_command_names_a_wrong_ladder(call: Call, clip: Path, options: list[object], words: str) -> None:
    result = call("eval", "identity", *(clip if word == "CLIP" else word for word in options))
    assert result.code == 2
    assert words in result.errors[0]
