"""What the shipped reader says of blur that it has never seen: exposures, changes of them, stripes, and its doubt."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vdeblur.model.checkpoint import load_network
from vdeblur.model.exposure import (
    READING_SIZE,
    STEP,
    STEPS,
    TAKEN_QUANTILE,
    Reading,
    accumulate_profile,
    exposure_quantile,
    profile_ahead,
    read_exposure,
)
from vdeblur.model.luma_net import LumaNet

HEIGHT, WIDTH, SPEED_PX, SUBFRAMES = 160, 256, 14, 28


def texture(width: int) -> Tensor:
    """Soft random blobs of many sizes, (1, 1, HEIGHT, width), as detailed one way as the other."""
    generator = torch.Generator().manual_seed(7)
    whole = torch.zeros(1, 1, HEIGHT, width)
    for cell in (3, 6, 14):
        noise = torch.rand(1, 1, HEIGHT // cell + 2, width // cell + 2, generator=generator)
        fine = torch.nn.functional.interpolate(noise, scale_factor=cell, mode="bilinear")
        whole += (fine[..., :HEIGHT, :width] > 0.5).float() / 3
    return whole


def panned(exposures: list[float]) -> Tensor:
    """A pan over the texture, one frame for each exposure: (T, 1, HEIGHT, WIDTH), 8 bits."""
    wide = texture(WIDTH + SPEED_PX * (len(exposures) + 2))
    frames = []
    for number, exposure in enumerate(exposures):
        middle = SPEED_PX * (number + 1)
        steps = [middle + SPEED_PX * exposure * (n / (SUBFRAMES - 1) - 0.5) for n in range(SUBFRAMES)]
        frames.append(torch.stack([shifted(wide, step) for step in steps]).mean(0))
    return torch.cat(frames).mul(255).round().div(255)


def shifted(wide: Tensor, pixels: float) -> Tensor:
    whole, part = int(pixels), pixels - int(pixels)
    return wide[..., whole : whole + WIDTH] * (1 - part) + wide[..., whole + 1 : whole + 1 + WIDTH] * part


@torch.inference_mode()
def readings(frames: Tensor, *, ahead: bool) -> list[Reading]:
    """What `fast` reads for each frame, from those before it, and from all behind it, too."""
    network = load_network("fast")
    assert isinstance(network, LumaNet)
    features = [network.encode(frame[None]) for frame in frames]
    sides = [None, *features, None]
    profiles = [network.match_motion(sides[t], sides[t + 1], sides[t + 2]).profile for t in range(len(features))]  # type: ignore[arg-type]
    accumulated, found = None, []
    for number, profile in enumerate(profiles):
        accumulated = accumulate_profile(profile, accumulated)
        later = profiles[number + 1 :] if ahead else []
        evidence = accumulated + profile_ahead(later) if later else accumulated
        found.append(read_exposure(network.fraction(evidence)))
    return found


@pytest.mark.parametrize("exposure", [0.0, 0.3, 0.6, 0.9])
def test_an_exposure_is_read(exposure: float) -> None:
    found = readings(panned([exposure] * 6), ahead=True)
    assert float(found[0].middle) == pytest.approx(exposure, abs=0.12), "the first frame's as well"
    for reading in found:
        assert 0 <= float(reading.low) <= float(reading.taken) <= float(reading.middle) <= float(reading.high) <= 1


def test_an_exposure_that_changes_within_a_shot_is_followed() -> None:
    """Auto-exposure: from 0.2 to 0.8 in a frame. Far from the step either is read, and between them it rises."""
    found = [float(one.middle) for one in readings(panned([0.2] * 20 + [0.8] * 20), ahead=True)]
    assert found[2] == pytest.approx(0.2, abs=0.12)
    assert found[-3] == pytest.approx(0.8, abs=0.12)
    assert found[10] < 0.5 < found[30]


def test_later_frames_tell_of_the_first_one() -> None:
    alone, with_later = (readings(panned([0.7] * 8), ahead=ahead) for ahead in (False, True))
    assert abs(float(with_later[0].middle) - 0.7) <= abs(float(alone[0].middle) - 0.7) + 0.02
    assert float(with_later[0].high - with_later[0].low) < float(alone[0].high - alone[0].low)


def test_without_motion_nothing_is_known() -> None:
    found = readings(texture(WIDTH).expand(4, -1, -1, -1), ahead=False)[-1]
    assert float(found.high - found.low) > 0.3


@pytest.mark.parametrize("share", [0.1, TAKEN_QUANTILE, 0.5, 0.9])
def test_quantiles_of_known_distributions(share: float) -> None:
    even = exposure_quantile(torch.zeros(2, STEPS), share)
    torch.testing.assert_close(even, torch.full((2,), share * STEPS * STEP))
    certain = torch.full((1, STEPS), -30.0)
    certain[:, 7] = 30.0
    assert float(exposure_quantile(certain, share)) == pytest.approx((7 + share) * STEP, abs=1e-4)


def test_a_reading_never_exceeds_the_interval() -> None:
    certain = torch.full((1, STEPS), -30.0)
    certain[:, -1] = 30.0
    reading = read_exposure(certain)
    assert all(float(part) == 1.0 for part in reading)
    assert reading.packed().shape == (1, READING_SIZE)
    assert math.isfinite(float(reading.packed().sum()))
