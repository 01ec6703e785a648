"""Alignment: a known shift of a part of a pixel is found and undone, and what lies right stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from support.pairs import frames, moving
from vdeblur.engine.pixels import rgb_of
from vdeblur.evaluation.alignment import LEAST_PX, REACH_PX, Shift, ShiftSearch, aligned_psnr, shifted
from vdeblur.evaluation.clip_tally import ClipTally
from vdeblur.metrics import psnr

SIZE = 256


def picture(x_px: float = 0.0, y_px: float = 0.0, *, blur: float = 0.0, seed: int = 1) -> Tensor:
    """The middle (1, 3, 192, 192), of 8 bits, of a texture that was moved in frequency and blurred along x."""
    (still,) = moving(1, blur=blur, size=SIZE, seed=seed)
    y, x = torch.fft.fftfreq(SIZE)[:, None], torch.fft.rfftfreq(SIZE)[None]
    spectrum = torch.fft.rfft2(still) * torch.exp(-2j * torch.pi * (x * x_px + y * y_px))
    moved = torch.fft.irfft2(spectrum, s=(SIZE, SIZE))[:, 32:-32, 32:-32]
    (frame,) = frames([moved.clamp(0, 1)])
    return rgb_of(frame)


def found(*pairs: tuple[Tensor, Tensor]) -> Shift:
    search = ShiftSearch()
    for blurry, truth in pairs:
        search.add(blurry, truth)
    return search.result()


@pytest.mark.parametrize("shift", [(0.5, -0.25), (-0.9, 0.1), (0.0, 0.6)])
@pytest.mark.parametrize("blur", [0.0, 7.0])
def test_a_known_shift_is_found_and_undone(shift: tuple[float, float], blur: float) -> None:
    truth, moved, right = picture(), picture(*shift, blur=blur), picture(blur=blur)
    search = found((moved, truth))
    assert (search.x_px, search.y_px) == pytest.approx(shift, abs=0.03)
    after = aligned_psnr(moved, shifted(truth, search))
    if blur:
        assert after == pytest.approx(aligned_psnr(right, truth), abs=0.05)
    else:
        assert after > 50  # rounding is all that is left
    assert after > psnr(moved, truth) + 0.1


@pytest.mark.parametrize("blur", [0.0, 3.0, 9.0])
def test_an_aligned_pair_is_left_as_it_is(blur: float) -> None:
    truth = picture()
    shift = found((picture(blur=blur), truth))
    assert shift.is_none
    assert shifted(truth, shift) is truth


def test_a_flat_picture_has_no_shift() -> None:
    flat = torch.full((1, 3, 40, 48), 0.5)
    assert found((flat, flat)).is_none
    assert found((flat, picture()[..., :40, :48])).is_none


def test_no_shift_goes_beyond_a_pixel() -> None:
    shift = found((picture(2.5, 0.0), picture()))
    assert shift.x_px == REACH_PX
    assert abs(shift.y_px) < LEAST_PX


def test_the_frames_of_a_clip_have_one_shift() -> None:
    pairs = [(picture(0.4, 0.2, seed=seed), picture(seed=seed)) for seed in (1, 2, 3)]
    flat = torch.full_like(pairs[0][0], 0.5)
    shift = found(*pairs, (flat, flat))
    assert (shift.x_px, shift.y_px) == pytest.approx((0.4, 0.2), abs=0.02)


def test_the_moved_truth_keeps_its_detail() -> None:
    (texture,) = moving(1, size=SIZE)
    sharp = (texture[None] + 0.1 * torch.sin(torch.arange(SIZE) * 2 * torch.pi * 0.4)).clamp(0, 1)  # near the limit
    there = shifted(sharp, Shift(0.5, 0.5))
    back = shifted(there, Shift(-0.5, -0.5))
    assert psnr(back[..., 16:-16, 16:-16], sharp[..., 16:-16, 16:-16]) > 45
    bilinear = (sharp[..., 1:] + sharp[..., :-1]) / 2
    assert float(there.std()) > 1.05 * float(bilinear.std())


def test_input_and_output_are_judged_by_the_same_moved_truth() -> None:
    truth, blurry = picture(), picture(0.5, 0.0, blur=5.0)
    perfect = picture(0.5, 0.0)  # restored without fault, where the blurred clip lies
    tally = ClipTally(found((blurry, truth)))
    tally.add(blurry, perfect, truth)
    aligned = tally.aligned()
    assert aligned.shift_x_px == pytest.approx(0.5, abs=0.03)
    assert aligned.psnr_input == pytest.approx(aligned_psnr(picture(blur=5.0), truth), abs=0.05)
    assert aligned.psnr > 50 > 42 > tally.output.result().psnr
