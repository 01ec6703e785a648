"""Denoisers to compare with: each takes noise out, and what cannot run says why."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from support.pairs import moving
from vdeblur.errors import TargetError, UsageError
from vdeblur.evaluation.noise.clips import mean_psnr, rgb_pictures
from vdeblur.evaluation.noise.denoisers import DENOISERS, denoiser_names, run_denoiser
from vdeblur.evaluation.noise.kinds import noise_kinds
from vdeblur.video.ffmpeg.picture_filters import filter_pictures


@pytest.mark.parametrize("name", [name for name, each in DENOISERS.items() if each.usual])
def test_each_takes_noise_out_at_some_setting(name: str) -> None:
    truth = [torch.nn.functional.avg_pool2d(picture, 5, 1, 2) for picture in moving(6, size=64)]
    (white,) = noise_kinds("white15")
    noisy = torch.stack(rgb_pictures(white.frames(truth)))
    before = mean_psnr(list(noisy), truth)
    found = [run_denoiser(DENOISERS[name], noisy, setting) for setting in DENOISERS[name].settings]
    assert all(each.pictures.shape == noisy.shape and each.seconds > 0 for each in found)
    gains = [mean_psnr(list(each.pictures), truth) - before for each in found]
    assert max(gains) > 1
    assert len(set(gains)) == len(gains)  # every setting counts


def test_the_way_through_ffmpeg_changes_nothing_by_itself() -> None:
    levels = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 48), np.uint8)
    back = filter_pictures(levels, "null")
    assert np.abs(255 * back - levels).max() < 0.02


def test_a_filter_that_cannot_run_is_named() -> None:
    levels = np.zeros((1, 3, 32, 32), np.uint8)
    with pytest.raises(TargetError, match="nosuchfilter"):
        filter_pictures(levels, "nosuchfilter")
    with pytest.raises(TargetError, match="samples for"):
        filter_pictures(levels, "crop=16:16")
    with pytest.raises(UsageError, match="give uint8"):
        filter_pictures(levels[0], "null")


def test_names_are_checked_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "bm3d" not in denoiser_names("all")
    assert denoiser_names("none") == []
    assert denoiser_names("hqdn3d, bilateral") == ["hqdn3d", "bilateral"]
    with pytest.raises(UsageError, match="no denoiser 'wiener': choose all, none, or some of bilateral"):
        denoiser_names("wiener")
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(UsageError, match="needs bm3d: pip install bm3d scipy"):
        denoiser_names("bm3d")
