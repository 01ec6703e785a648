"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vdeblur.metrics import psnr, ssim


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
