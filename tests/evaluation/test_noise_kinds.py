"""Kinds of noise: each has the strength that its name says, is the same each time, and comes as from a file."""

from __future__ import annotations

import pytest
import torch

from support.pairs import case, moving
from vdeblur.errors import UsageError
from vdeblur.evaluation.noise.clips import MOST_FRAMES, mean_psnr, rgb_pictures, true_clip
from vdeblur.evaluation.noise.kinds import READ, SHOT, USUAL, noise_kinds

GREY = [torch.full((3, 64, 96), 0.5)] * 2


@pytest.mark.parametrize("sigma", [5, 20])
def test_white_noise_has_its_deviation_and_is_the_same_each_time(sigma: int) -> None:
    (kind,) = noise_kinds(f"white{sigma}")
    first, second = rgb_pictures(kind.frames(GREY))
    assert 255 * float(first.std()) == pytest.approx(sigma, rel=0.03)
    assert not torch.equal(first, second)
    assert torch.equal(first, rgb_pictures(kind.frames(GREY))[0])
    assert not torch.equal(first, rgb_pictures(kind.frames(GREY, seed=9))[0])


def test_photons_make_noise_that_grows_with_light() -> None:
    (kind,) = noise_kinds("poisson")
    for light in (0.2, 0.6):
        noisy = kind.uncoded(torch.full((3, 128, 128), light ** (1 / 2.2)), 0) ** 2.2
        assert float(noisy.var()) == pytest.approx(SHOT * light + READ**2, rel=0.05)


def test_a_codec_gets_the_noise_and_leaves_less_of_it_the_coarser_it_is() -> None:
    pictures = moving(3, speed=2, size=96)
    clips = {kind.name: kind.frames(pictures) for kind in noise_kinds("crf18,crf32,white20,white20+crf32")}
    assert {frame.format.name for frame in clips["crf18"]} == {"yuv420p"}
    assert [frame.format.name for frame in clips["white20"]] == ["gbrp"] * 3
    fine, coarse, white, both = (mean_psnr(rgb_pictures(frames), pictures) for frames in clips.values())
    assert fine > coarse > both > white


@pytest.mark.parametrize(
    "words", ["", "gauss5", "white", "white0", "white101", "crf52", "crf23+white8", "white5+white5", "white5,white5"]
)
def test_what_is_no_kind_of_noise_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="--add-noise"):
        noise_kinds(words)


def test_all_are_the_usual_kinds() -> None:
    kinds = noise_kinds("all")
    assert tuple(kind.name for kind in kinds) == USUAL
    assert (kinds[-1].white, kinds[-1].crf) == (8, 32)


def test_clips_are_cut_to_even_sides_and_to_frames_that_fit_into_memory() -> None:
    odd = [torch.rand(3, 41, 53, generator=torch.Generator().manual_seed(1))] * (MOST_FRAMES + 1)
    clip = true_clip(case(odd, odd))
    assert len(clip.blurred) == len(clip.sharp) == MOST_FRAMES
    assert clip.blurred[0].shape == (3, 40, 52)
    small = [torch.zeros(3, 16, 64)]
    with pytest.raises(UsageError, match="64×16"):
        true_clip(case(small, small))
