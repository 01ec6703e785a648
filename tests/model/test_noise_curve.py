"""The noise that is read from a picture, by brightness."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.guide.noise_curve import (
    HISTOGRAM_SIZE,
    LEVELS,
    accumulate_histogram,
    noise_at,
    noise_curve,
    noise_histogram,
)


def slope(height: int = 360, width: int = 640) -> Tensor:
    return torch.linspace(0.05, 0.95, width).expand(1, 1, height, width)


def noisy(picture: Tensor, deviation: Tensor | float, seed: int = 0) -> Tensor:
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
    return ((picture + noise * deviation).clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("level", [2.0, 5.0, 10.0, 20.0])
def test_white_noise_is_read(level: float) -> None:
    curve = noise_curve(noise_histogram(noisy(slope(), level / 255)))[0] * 255
    assert curve.shape == (len(LEVELS),)
    assert (curve[1:-1] - level).abs().max() < 0.08 * level
    assert (curve - level).abs().max() < 0.15 * level, "near black and white, too"


def test_noise_that_grows_with_the_light() -> None:
    deviation = (0.01 + 0.05 * slope()) / 2
    curve = noise_curve(noise_histogram(noisy(slope(), deviation)))[0]
    right = (0.01 + 0.05 * torch.tensor(LEVELS)) / 2
    assert ((curve - right).abs() / right).max() < 0.2
    found = noise_at(noise_curve(noise_histogram(noisy(slope(), deviation))), slope())
    assert ((found - deviation).abs() / deviation).max() < 0.3


def test_texture_is_not_taken_for_noise() -> None:
    """Half of the picture has texture, the other half is flat."""
    texture = F.interpolate(torch.rand(1, 1, 90, 80, generator=torch.Generator().manual_seed(3)), (360, 320))
    picture = torch.cat((0.2 + 0.6 * texture, slope(width=320)), -1)
    clean = noise_curve(noise_histogram(noisy(picture, 0)))
    assert clean.median() * 255 < 0.6, "what rounding to 8 bits leaves"
    assert abs(noise_curve(noise_histogram(noisy(picture, 6 / 255))).median() * 255 - 6) < 0.9


def test_clipped_and_flat_pictures_have_none() -> None:
    for level in (0.0, 0.5, 1.0):
        assert noise_curve(noise_histogram(torch.full((1, 1, 64, 64), level))).max() * 255 < 0.06


def test_readings_add_up() -> None:
    total = None
    for seed in range(8):
        total = accumulate_histogram(noise_histogram(noisy(slope(64, 96), 6 / 255, seed)), total)
    assert total is not None
    assert total.shape == (1, HISTOGRAM_SIZE)
    assert abs(noise_curve(total).median() * 255 - 6) < 0.4
