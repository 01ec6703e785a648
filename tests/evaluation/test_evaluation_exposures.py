"""Exposure readings: what the engine used is what is reported, and the truth is what is known of a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from support.cli_fixtures import Call, call, tiny_model
from support.doubles import Identity
from support.networks import luma_nets
from support.pairs import case, frames, moving, write_clip
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import UsageError
from vdeblur.evaluation import evaluate
from vdeblur.evaluation.cases import TrueMotion
from vdeblur.evaluation.exposure_readings import exposure_score, restored_and_read, true_exposures
from vdeblur.model.checkpoint import load_network
from vdeblur.model.exposure import Reading, profile_ahead
from vdeblur.model.network import RestorationNetwork

__all__ = ["call", "tiny_model"]


@pytest.fixture(params=["luma", "trunk"])
def network(request: pytest.FixtureRequest, tiny_model: Path) -> RestorationNetwork:
    return luma_nets.tiny() if request.param == "luma" else load_network(str(tiny_model)).float()


@pytest.mark.parametrize("lookahead", [0, 1])
def test_the_reading_is_that_of_the_whole_shot(network: RestorationNetwork, lookahead: int) -> None:
    """Frame by frame by hand, with the profiles of all later ones."""
    net: Any = network
    shown = frames(moving(5, speed=5.0, blur=2.5, size=96))
    engine = Deblurrer(network, device="cpu", precision="float32", lookahead=lookahead)
    readings: list[float] = []
    restored = list(restored_and_read(engine, shown, readings))
    assert [frame.pts for frame in restored] == [frame.pts for frame in shown]
    step = engine.device_step
    with torch.inference_mode():
        features = [step.encode([frame])[0].features for frame in shown]
        following = [*features[1:], None] if lookahead else [None] * 5
        sides = list(zip([None, *features[:-1]], features, following, strict=True))
        matched = [net.match_motion(*window) for window in sides]
        state, expected = None, []
        for number, window in enumerate(sides):
            later = [each.profile for each in matched[number + 1 :]]
            _, state = net.residual(*window, state, None, matched[number], profile_ahead(later) if later else None)
            expected.append(float(state.reading[0, Reading._fields.index("middle")]))
    assert readings == pytest.approx(expected, abs=2e-3)


def test_a_method_without_a_reader_reads_nothing() -> None:
    readings: list[float] = []
    assert len(list(restored_and_read(Deblurrer(Identity(), device="cpu"), frames(moving(3)), readings))) == 3
    assert readings == []


def known(exposures: list[float]) -> TrueMotion:
    """Motion to the right at 4 px a frame, with these exposures; unknown in the left half."""
    velocity = torch.zeros(len(exposures), 2, 8, 8)
    velocity[:, 0] = 4.0
    motion = velocity * torch.tensor(exposures).view(-1, 1, 1, 1)
    velocity[..., :4] = motion[..., :4] = torch.nan
    return TrueMotion(velocity, motion)


def test_the_truth_of_a_synthetic_clip_is_its_motion() -> None:
    pair = case([], [], truth=known([0.2, 0.4, 0.5, 0.9]))
    assert true_exposures(pair, 4) == pytest.approx([0.2, 0.4, 0.5, 0.9])
    score = exposure_score(pair, [0.0, 0.0, 0.6, 0.7])
    assert (score.true, score.read, score.error) == pytest.approx((0.7, 0.65, 0.15))


def test_frames_before_the_third_do_not_count() -> None:
    score = exposure_score(case([], []), [0.1, 0.2, 0.6, 0.7])
    assert score.true is score.error is None
    assert score.read == pytest.approx(0.65)
    assert exposure_score(case([], []), [0.1, 0.2]).read is None


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("walk", "yard"):
        write_clip(folder / f"{name}.blur.y4m", [0, 3, 3, 3], width=96, height=64)
        write_clip(folder / f"{name}.sharp.y4m", [0] * 4, width=96, height=64)
    return folder


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [None, None]),
        ({"": 0.5}, [0.5, 0.5]),
        ({"": 0.5, "pairs/yard": 0.25}, [0.5, 0.25]),
        ({"pairs": 0.75, "": 0.5}, [0.75, 0.75]),
    ],
)
def test_the_user_may_know_the_exposure_of_pairs(
    pairs: Path, given: dict[str, float], expected: list[float | None]
) -> None:
    found = evaluate(["identity"], [pairs], baselines=(), true_exposures=given)
    assert [clip.exposure.true for clip in found.clips] == expected
    assert {clip.exposure.read for clip in found.clips} == {None}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"": 1.5}, "cannot be 1.5; it is a share of the frame interval"),
        ({"": 0.0}, "cannot be 0;"),
        ({"pairs/barn": 0.5}, "0.5 for no pairs 'pairs/barn': name a folder of DATA"),
    ],
)
def test_an_exposure_that_cannot_be_is_named(pairs: Path, given: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        evaluate(["identity"], [pairs], true_exposures=given)


def test_the_command_shows_what_was_read(call: Call, pairs: Path, tiny_model: Path) -> None:
    words = ["eval", tiny_model, pairs, "--baselines", "none"]
    result = call(*words, "--true-exposure", "pairs/walk=0.25")
    rows = [line.split() for line in result.out.partition("Exposure fraction")[2].splitlines()]
    assert rows[1] == ["data", "clip", "true", "fast", "read", "error"]
    walk, yard = (next(row for row in rows if row[:2] == ["pairs", name]) for name in ("walk", "yard"))
    assert walk[2] == "0.25"
    assert float(walk[4]) == pytest.approx(abs(float(walk[3]) - 0.25), abs=0.011)
    assert len(yard) == 3  # a reading alone
    assert ["pairs", "mean", "of", "videos", walk[4]] in rows
    wrong = call(*words, "--true-exposure", "half")
    assert (wrong.code, "give a share of the frame interval like 0.5" in wrong.errors[0]) == (2, True)
