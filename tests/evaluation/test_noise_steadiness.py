"""Long noisy scenes: what flickers, drifts or runs away is seen, and the guide does none of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from support.doubles import Identity
from support.pairs import moving
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.evaluation.noise.clips import TrueClip
from vdeblur.evaluation.noise.kinds import noise_kinds
from vdeblur.evaluation.noise.steadiness import SCENE_FRAMES, SCENES, Scene, Steadiness, scene_pictures, steadiness

(WHITE,) = noise_kinds("white10")


class Brightening(Identity):
    """Adds a hundredth of a level more with every frame, or two levels to every other frame."""

    def __init__(self, *, flickers: bool) -> None:
        super().__init__()
        self.flickers = flickers

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        seen = 0 if state is None else state[0]
        levels = 16.0 * (seen % 2) if self.flickers else 0.1 * seen
        return torch.full_like(current[0], levels / 255), (seen + 1,)


def clip(size: int = 96) -> TrueClip:
    pictures = moving(1, size=size)
    return TrueClip("made", "one", pictures, pictures)


def watch(deblurrer: Deblurrer, scene: Scene = "still", *, frames: int = 60, size: int = 96) -> Steadiness:
    return steadiness(deblurrer, clip(size), WHITE, scene=scene, method="mine", frames=frames)


def engine(network: Any) -> Deblurrer:
    return Deblurrer(network, device="cpu", precision="float32", guide="off")


@pytest.mark.parametrize("scene", SCENES)
def test_who_changes_nothing_flickers_as_the_source_does(scene: Scene) -> None:
    found = watch(engine(Identity()), scene)
    assert found.flicker == found.flicker_input == pytest.approx(10, rel=0.1)
    assert found.drift_levels == 0
    assert found.fall_db == pytest.approx(0, abs=0.1)


def test_what_flickers_and_drifts_is_seen() -> None:
    flickering = watch(engine(Brightening(flickers=True)))
    assert flickering.flicker == pytest.approx((flickering.flicker_input**2 + 8**2) ** 0.5, rel=0.05)
    drifting = watch(engine(Brightening(flickers=False)))
    assert drifting.drift_levels == pytest.approx(0.1 * 60, rel=0.1)
    assert drifting.fall_db > 0.1


def test_a_pan_goes_there_and_back_without_a_jump() -> None:
    (picture,) = moving(1, size=96)
    parts = list(scene_pictures(picture, "pan", 70))
    assert all(torch.equal(one[..., 1:], other[..., :-1]) for one, other in pairwise(parts[:33]))
    assert torch.equal(parts[0], parts[64])
    assert torch.equal(parts[31], parts[33])
    still = list(scene_pictures(picture, "still", 2))
    assert torch.equal(*still)
    assert still[0].shape == parts[0].shape


def check_steady(frames: int, size: int, scene: Scene) -> None:
    kept = watch(Deblurrer("fast", device="cpu"), scene, frames=frames, size=size)
    removed = watch(Deblurrer("fast", device="cpu", remove="noise"), scene, frames=frames, size=size)
    assert kept.flicker < 1.02 * kept.flicker_input
    assert removed.flicker < 0.8 * removed.flicker_input
    for found in (kept, removed):
        assert abs(found.drift_levels) < 0.3
        assert found.fall_db < 0.2


@pytest.mark.parametrize("scene", SCENES)
def test_the_guide_neither_flickers_nor_drifts(scene: Scene) -> None:
    check_steady(40, 96, scene)


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_the_guide_neither_flickers_nor_drifts_over_500_frames(scene: Scene) -> None:
    check_steady(SCENE_FRAMES, 160, scene)
