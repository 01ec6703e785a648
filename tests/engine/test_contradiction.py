"""Contradiction: the blur overrules a camera that it contradicts for long enough, and never what the user said."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import torch

from support.doubles import Exposed, clip
from support.engines import on_cpu
from support.watched_transfer import WatchedTransfer
from vdeblur.engine.exposure import (
    CONFIDENT,
    PATIENCE_FRAMES,
    FrameShutter,
    contradicts,
    count_contradictions,
)
from vdeblur.engine.stream_state import RestoredFrame
from vdeblur.frames import CameraExposure, Frame

WRONG = CameraExposure("GoPro GPMF", fraction=0.75)
RIGHT = CameraExposure("GoPro GPMF", fraction=0.3)
NOTE = (
    "GoPro GPMF says 0.75 of the frame interval, the blur 0.25 (0.20 to 0.30): the blur is believed; "
    "give shutter=… to decide"
)
PATIENCE = PATIENCE_FRAMES


def filmed(*exposures: CameraExposure | None, cuts: tuple[int, ...] = ()) -> list[Frame]:
    frames = clip(len(exposures), 20, 24, cuts=cuts)
    return [replace(frame, exposure=own) for frame, own in zip(frames, exposures, strict=True)]


def shutters(frames: list[Frame], network: Any = None, *, ahead: int = 0, **options: Any) -> list[FrameShutter]:
    with closing(on_cpu(network or Exposed(), **options).restorations(frames, read_ahead=ahead)) as restorations:
        return [each.shutter for each in restorations if each.shutter is not None]


def overruled(frames: list[Frame], network: Any = None, **options: Any) -> list[bool]:
    return [each.overruled for each in shutters(frames, network, **options)]


@pytest.mark.parametrize(
    ("camera", "low", "high", "expected"),
    [
        (0.12, 0.44, 0.56, True),
        (0.5, 0.44, 0.56, False),
        (0.2, 0.44, 0.56, False),
        (0.18, 0.44, 0.56, True),
        (0.82, 0.44, 0.56, True),
        (0.8, 0.44, 0.56, False),
        (1.0, 0.1, 0.7, True),
    ],
)
def test_a_camera_far_outside_of_what_the_blur_allows_is_contradicted(
    camera: float, low: float, high: float, expected: bool
) -> None:
    assert contradicts(camera, low, high) is expected
    assert contradicts(camera, torch.tensor([low]), torch.tensor([high])).tolist() == [expected]


def test_frames_in_a_row_are_counted() -> None:
    count, sure, unsure = torch.zeros(1), (0.5, 0.5, 0.45, 0.55), (0.5, 0.5, 0.35, 0.36 + CONFIDENT)
    found = []
    for camera, reading in [(0.1, sure)] * 3 + [(0.5, sure)] + [(0.1, sure)] * 2 + [(0.1, unsure)] + [(0.1, sure)] * 9:
        count = count_contradictions(camera, torch.tensor([reading]), count)
        found.append(count.item())
    assert found == [1, 2, 3, 0, 1, 2, 0, *range(1, PATIENCE + 1), PATIENCE]
    assert count_contradictions(0.5, torch.tensor([sure]), count).item() == PATIENCE, "it stays so"


@pytest.mark.parametrize("ahead", [0, 5])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_the_blur_wins_after_eight_frames_and_it_is_told_once(lookahead: int, ahead: int) -> None:
    frames = filmed(*[WRONG] * 14)
    deblurrer = on_cpu(Exposed(), lookahead=lookahead)
    with closing(deblurrer.restorations(frames, read_ahead=ahead)) as restorations:
        found = [each.shutter for each in restorations]
    used = [each.used for each in found if each is not None]
    assert used == pytest.approx([0.75] * PATIENCE + [Exposed.READ] * 6)
    told: list[float] = deblurrer.network.told  # type: ignore[attr-defined]
    assert told == pytest.approx([0.75] * PATIENCE + [math.nan] * 6, nan_ok=True)
    assert deblurrer.notes == (NOTE,)


def test_seven_are_not_enough() -> None:
    assert not any(overruled(filmed(*[WRONG] * 7, RIGHT, *[WRONG] * 7)))
    assert overruled(filmed(*[WRONG] * 8, RIGHT, RIGHT)) == [False] * 8 + [True] * 2, "it stays so for the shot"


def test_a_doubtful_reading_contradicts_nobody() -> None:
    assert not any(overruled(filmed(*[WRONG] * 14), Exposed(doubt=0.35)))
    assert any(overruled(filmed(*[WRONG] * 14), Exposed(doubt=0.25)))


def test_a_camera_that_is_right_is_believed() -> None:
    deblurrer = on_cpu(Exposed())
    assert len(list(deblurrer.run(filmed(*[RIGHT] * 14)))) == 14
    assert deblurrer.notes == ()


def test_frames_without_a_word_of_the_camera_change_nothing() -> None:
    found = overruled(filmed(*[WRONG] * 4, None, None, *[WRONG] * 4, None, WRONG))
    assert found == [False] * 11 + [True]


@pytest.mark.parametrize("ahead", [0, 3])
def test_every_shot_is_judged_by_itself(ahead: int) -> None:
    found = overruled(filmed(*[WRONG] * 22, cuts=(11,)), ahead=ahead)
    assert found == ([False] * PATIENCE + [True] * 3) * 2


def test_what_the_user_says_is_never_questioned() -> None:
    deblurrer = on_cpu(Exposed(), shutter=0.9)
    assert len(list(deblurrer.run(filmed(*[WRONG] * 14)))) == 14
    assert deblurrer.network.told == pytest.approx([0.9] * 14)  # type: ignore[attr-defined]
    assert deblurrer.notes == ()


def test_it_does_not_depend_on_how_many_downloads_are_in_flight() -> None:
    frames = filmed(*[WRONG] * 14)
    deblurrer = on_cpu(Exposed())
    deblurrer.device_step.transfer = WatchedTransfer()
    assert deblurrer.device_step.in_flight > 1
    with closing(deblurrer.restorations(frames)) as restorations:
        found = [each.shutter for each in restorations]
    assert found == shutters(frames)


def test_streams_of_one_batch_are_judged_each_by_itself() -> None:
    sources = [filmed(*[camera] * 12) for camera in (WRONG, RIGHT, None)]
    deblurrer = on_cpu(Exposed())
    assert len(list(deblurrer.run_many(sources))) == 12
    told: list[float] = deblurrer.network.told  # type: ignore[attr-defined]
    assert [told[n::3] for n in range(2)] == [
        pytest.approx([0.75] * PATIENCE + [math.nan] * 4, nan_ok=True),
        pytest.approx([0.3] * 12),
    ]
    assert deblurrer.notes == (NOTE,)


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_resumed_job_goes_on_counting(ahead: int) -> None:
    frames = filmed(*[WRONG] * 14)
    with closing(on_cpu(Exposed()).restorations(frames, read_ahead=ahead)) as restorations:
        whole: list[RestoredFrame] = list(restorations)
    for done in (3, PATIENCE, 11):
        kept = whole[done - 1].snapshot
        assert kept.contradictions is not None
        after = replace(kept, state=kept.tensors())
        rest = list(on_cpu(Exposed()).restorations(frames[done - 1 :], after=after, read_ahead=ahead))
        assert [each.shutter for each in rest] == [each.shutter for each in whole[done:]]
    lost = replace(whole[10].snapshot, contradictions=None)
    (first, *_) = on_cpu(Exposed()).restorations(frames[10:], after=lost)
    assert first.shutter is not None
    assert not first.shutter.overruled, "this test can fail"


@pytest.mark.parametrize("name", ["swift", "balanced"])
def test_the_real_networks_learn_that_they_are_told_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sure of a short exposure, told a long one: from the ninth frame on they restore as if nothing had been said."""
    monkeypatch.setattr("vdeblur.engine.exposure.CONFIDENT", 2.0)
    monkeypatch.setattr("vdeblur.engine.exposure.CONTRADICTION", -2.0)
    frames = filmed(*[WRONG] * 11)
    found = shutters(frames, name)
    unsaid = shutters([replace(frame, exposure=None) for frame in frames], name)
    assert [each.used for each in found[:PATIENCE]] == [0.75] * PATIENCE
    assert [each.used for each in found[PATIENCE:]] == [each.used for each in unsaid[PATIENCE:]]
    assert [each.middle for each in found] == [each.middle for each in unsaid], "what is said changes no reading"
