"""Long clips and static scenes: what drifts and flickers is seen, and what does not is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from support.doubles import Constant, Identity
from support.pairs import case, moving
from support.wall_clock import scaled
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.evaluation.scoring import alteration_of
from vdeblur.evaluation.stability import LATE_FRAME, SETTLING_FRAMES, WINDOW_FRAMES, drift, flicker, seconds_per_frame

PAIR = case(moving(7, speed=1, blur=3, size=48), moving(7, speed=1, size=48))


class Drifting(Identity):
    """Adds a little more with every frame it has seen."""

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        seen = torch.zeros(1) if state is None else state[0]
        return torch.full_like(current[0], 1e-4) * seen, (seen + 1,)


class Flickering(Identity):
    """Adds two levels to every other frame."""

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        seen = 0 if state is None else state[0]
        return torch.full_like(current[0], 2 / 255 * (seen % 2)), (seen + 1,)


class Settling(Identity):
    """Adds a level less with each of its first frames."""

    def correction(self, previous: Any, current: Any, following: Any, state: Any) -> tuple[Tensor, Any]:
        seen = 0 if state is None else state[0]
        return torch.full_like(current[0], max(0, SETTLING_FRAMES - seen) / 255), (seen + 1,)


def engine(network: Any) -> Deblurrer:
    return Deblurrer(network, device="cpu", precision="float32")


def test_identity_does_not_drift() -> None:
    found = drift(engine(Identity()), PAIR)
    assert found.drift_db == 0
    assert found.worst_fall_db == 0
    assert found.late_frame >= LATE_FRAME
    assert (found.late_frame - found.early_frame) % 12 == 0  # seven frames repeat every twelve


def test_a_drift_is_seen() -> None:
    network = Drifting()
    found = drift(engine(network), PAIR)
    assert found.drift_db < -1
    assert found.worst_fall_db >= -found.drift_db
    assert len(network.calls) == 0  # a network that is given is copied
    assert found.late_frame + WINDOW_FRAMES > 500


def test_flicker_is_seen() -> None:
    still = flicker(engine(Identity()), PAIR)
    assert still.clean_output == 0
    assert still.noisy_output == still.noisy_input == pytest.approx(2 * 2**0.5, rel=0.02)
    nervous = flicker(engine(Flickering()), PAIR)
    assert nervous.clean_output == 0  # equal frames are restored once
    assert flicker(engine(Settling()), PAIR).clean_output == 0
    assert nervous.noisy_output > nervous.noisy_input + 0.3


def test_harm_is_measured_against_the_input() -> None:
    with PAIR.sharp() as frames:
        change = alteration_of(engine(Constant(2 / 255)), frames)
    assert change.psnr == pytest.approx(42.11, abs=0.1)
    assert change.worst_frame_psnr <= change.psnr


def test_time_is_that_of_a_step() -> None:
    from support.doubles import Slow

    assert 0.02 <= seconds_per_frame(engine(Slow(0.02)), PAIR) < scaled(1)
