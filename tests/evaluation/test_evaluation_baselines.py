"""Baselines: each does what its name says, and nothing where there is nothing to do."""

from __future__ import annotations

import pytest
import torch

from support.pairs import case, moving
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.evaluation.baselines import BASELINES, UnsharpMask, baseline_names
from vdeblur.evaluation.cases import Case
from vdeblur.evaluation.scoring import alteration_of, restored_frames
from vdeblur.evaluation.scoring import mean as mean_of
from vdeblur.evaluation.wiener import Wiener, WienerSettings, inverse_filter, phase_correlation
from vdeblur.metrics import capped, psnr

#: Without a camera's response, so that blur in frequency is exact.
LINEAR = WienerSettings(exposure=0.5, smoothness=0.003, gamma=1.0)


def gain(network: object, pair: Case) -> float:
    """Mean gain in PSNR over a case."""
    deblurrer = Deblurrer(network, device="cpu", precision="float32")  # type: ignore[arg-type]
    return mean_of(
        capped(psnr(rgb_of(after), rgb_of(truth))) - capped(psnr(rgb_of(before), rgb_of(truth)))
        for before, after, truth in restored_frames(deblurrer, pair)
    )


def test_phase_correlation_finds_a_shift_to_a_part_of_a_pixel() -> None:
    one, other = (picture.mean(dim=0)[None, :128, :128] for picture in moving(2, speed=5.5, size=256))
    shift, height = phase_correlation(one, other)
    assert shift[0].tolist() == pytest.approx([5.5, 0.0], abs=0.2)
    assert 0.2 < float(height[0]) <= 1.0


def test_a_line_without_length_is_undone_by_nothing() -> None:
    filters = inverse_filter(torch.tensor([[0.0, 0.0], [6.0, 0.0]]), 32, 0.1)
    torch.testing.assert_close(filters[0], torch.ones(32, 17))
    assert float(filters[1].max()) > 1.5


def test_wiener_undoes_a_blur_it_must_find_itself() -> None:
    pair = case(moving(4, speed=12, blur=6), moving(4, speed=12))
    assert gain(Wiener(LINEAR), pair) > 6
    assert gain(Wiener(WienerSettings(exposure=0.05, smoothness=0.003, gamma=1.0)), pair) < 1


def test_wiener_leaves_what_stands_still_and_what_stands_alone() -> None:
    deblurrer = Deblurrer(Wiener(), device="cpu")
    still, alone = case(moving(3), moving(3)), case(moving(1), moving(1))
    for pair in (still, alone):
        with pair.blurry() as frames:
            assert alteration_of(deblurrer, frames).worst_frame_psnr > 60


def test_wiener_takes_pictures_of_any_size() -> None:
    for size in (40, 128, 200):
        pair = case(moving(2, speed=6, blur=3, size=size), moving(2, speed=6, size=size))
        assert gain(Wiener(LINEAR), pair) > 0.5


def test_unsharp_mask_leaves_flat_pictures_and_raises_contrast_elsewhere() -> None:
    flat = torch.full((1, 3, 32, 32), 0.4)
    step = torch.cat((flat[..., :16], flat[..., :16] + 0.2), dim=-1)
    mask = UnsharpMask()
    assert float(mask.residual(None, flat, None, None)[0].abs().max()) < 1e-6
    correction = mask.residual(None, step, None, None)[0][0, 0, 16]
    assert float(correction[15]) < -0.01
    assert float(correction[16]) > 0.01


def test_baselines_are_chosen_by_name() -> None:
    assert baseline_names("all") == list(BASELINES)
    assert baseline_names("none") == []
    assert baseline_names("wiener, unsharp") == ["wiener", "unsharp"]
    with pytest.raises(UsageError, match=r"no baseline 'viener': choose all, none, or some of unsharp, wiener"):
        baseline_names("viener")
