"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vdeblur.metrics import capped, psnr, ssim, temporal_psnr


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 16, 16), 100 / 255)
    assert psnr(truth, truth) == math.inf
    assert psnr(truth + 10 / 255, truth) == pytest.approx(10 * math.log10(255**2 / 100), abs=1e-9)


def test_psnr_sees_what_a_viewer_sees() -> None:
    truth = torch.full((1, 3, 16, 16), 100 / 255)
    assert psnr(truth + 0.4 / 255, truth) == math.inf
    assert psnr(truth * 0 + 2.0, truth * 0 + 1.0) == math.inf


def test_ssim_is_one_for_equal_and_lower_for_blurred() -> None:
    truth = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    soft = torch.nn.functional.avg_pool2d(truth, 3, stride=1, padding=1)
    assert ssim(truth, truth) == pytest.approx(1.0, abs=1e-4)
    assert ssim(soft, truth) < 0.9


def test_a_constant_error_does_not_flicker_and_a_changing_one_does() -> None:
    first, second = (torch.full((1, 3, 16, 16), level / 255) for level in (100, 120))
    wrong = 4 / 255
    assert temporal_psnr(first, second, first, second) == math.inf
    assert temporal_psnr(first + wrong, second + wrong, first, second) == math.inf
    changing = temporal_psnr(first, second + wrong, first, second)
    assert changing == pytest.approx(10 * math.log10(255**2 / 16), abs=1e-9)


def test_equal_pictures_count_as_100_db() -> None:
    assert capped(math.inf) == 100
    assert capped(31.5) == 31.5
