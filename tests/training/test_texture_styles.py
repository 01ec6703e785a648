"""Scenes beside the usual: stretched and striped textures, soft lenses, denoisers; long exposures for the reader."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from support.synthetic import CLEAN, PLAIN, tiles
from vdeblur.errors import UsageError
from vdeblur.training.synthesis.blur import make_levels, synthesise
from vdeblur.training.synthesis.camera import develop
from vdeblur.training.synthesis.clip_plan import draw_plan
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.rng import Draw
from vdeblur.training.synthesis.stills import Textures
from vdeblur.training.synthesis.texture_styles import Stripes, TextureStyle, draw_style, styled


def detail(picture: Tensor) -> tuple[float, float]:
    """Mean size of differences along rows and along columns."""
    grey = picture.float().mean(0)
    return float(grey.diff(dim=1).abs().mean()), float(grey.diff(dim=0).abs().mean())


@pytest.mark.parametrize("axis", [0, 1])
def test_a_stretched_texture_has_its_detail_one_way(axis: int) -> None:
    picture = tiles(3)
    stretch = (1.0, 3.0) if axis else (3.0, 1.0)
    result = styled(picture, TextureStyle(stretch=stretch))
    assert result.shape == picture.shape
    assert result.dtype == torch.uint8
    along, down = detail(result)
    poor, rich = (along, down) if axis else (down, along)
    assert poor < 0.6 * rich


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0])
def test_stripes_have_their_period_and_angle(angle: float) -> None:
    radians = math.radians(angle)
    stripes = Stripes(period=10.0, angle=radians, share=0.5, contrast=1.0)
    result = styled(torch.full((3, 80, 80), 128, dtype=torch.uint8), TextureStyle(stripes=stripes))
    along, across = 2 * math.pi / 10, torch.arange(80.0)
    phase = along * (across * math.cos(radians) + across[:, None] * math.sin(radians))
    wave = result[0].float() - result[0].float().mean()
    strength = (wave * torch.exp(1j * phase)).mean().abs()
    assert strength > 0.25 * 255, "a square wave's first harmonic has an amplitude of 2/pi of half its height"
    assert 0.45 < result.float().mean() / 255 < 0.55


def test_a_plain_style_changes_nothing() -> None:
    picture = tiles(1)
    assert styled(picture, TextureStyle()) is picture
    assert draw_style(CLEAN, Draw.of(1)) == TextureStyle()


def test_new_knobs_leave_older_clips_what_they_were() -> None:
    """They draw from streams of their own: with their shares at 0 or not, everything else is drawn alike."""
    textures = Textures([tiles(1), tiles(2)])
    rich = replace(CLEAN, layer_share=1.0, stretched_share=1.0, striped_share=1.0, soft_share=1.0, cored_share=1.0)
    plain, changed = (draw_plan(textures, config, seed=4, number=2) for config in (replace(rich, **NONE), rich))
    assert plain.exposures == changed.exposures
    assert [layer.cut for layer in plain.layers] == [layer.cut for layer in changed.layers]
    assert plain.electronics == replace(changed.electronics, lens_px=0.0, coring=0.0)
    assert all(layer.style == TextureStyle() for layer in plain.layers)
    assert all(layer.style.stripes is not None for layer in changed.layers)
    assert changed.electronics.lens_px > 0
    assert changed.electronics.coring > 0


NONE = dict.fromkeys(("stretched_share", "striped_share", "soft_share", "cored_share"), 0.0)


def test_a_soft_lens_softens_both_sides() -> None:
    clip = synthesise(Textures([tiles(1)]), replace(CLEAN, static_share=1.0), seed=1, numbers=[0])
    soft = replace(CLEAN, static_share=1.0, soft_share=1.0, lens_px=(3.0, 3.0))
    softened = synthesise(Textures([tiles(1)]), soft, seed=1, numbers=[0])
    for before, after in ((clip.blurry, softened.blurry), (clip.sharp, softened.sharp)):
        assert sum(detail(after[0, 0])) < 0.75 * sum(detail(before[0, 0]))
        assert float(after.mean()) == pytest.approx(float(before.mean()), abs=0.01)
    assert (softened.blurry - softened.sharp).abs().max() < 1.5 / 255, "nothing moves"


def test_a_denoiser_takes_faint_detail_and_leaves_strong() -> None:
    generator = torch.Generator().manual_seed(1)
    faint = 0.5 + 0.004 * torch.randn(1, 1, 3, 64, 64, generator=generator)
    strong = 0.5 + 0.2 * torch.randn(1, 1, 3, 64, 64, generator=generator)
    cored = replace(PLAIN, coring=0.02)
    kept = []
    for light in (faint, strong):
        before, after = (
            develop(light, light, [camera], [torch.Generator()])[0][0, 0].float() for camera in (PLAIN, cored)
        )
        kept.append(float(after.std() / before.std()))
    assert kept[0] < 0.7
    assert kept[1] > 0.95


def test_the_truth_is_not_denoised() -> None:
    light = 0.5 + 0.004 * torch.randn(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    sharp, cored = (
        develop(light, light, [camera], [torch.Generator()])[1] for camera in (PLAIN, replace(PLAIN, coring=0.02))
    )
    assert torch.equal(sharp, cored)


def test_exposures_beyond_an_interval_are_for_the_reader_alone() -> None:
    long = replace(CLEAN, exposure=(1.1, 1.15), exposure_drift=(0.0, 0.0))
    plan = draw_plan(Textures([tiles(1)]), long, seed=1, number=0)
    assert all(1.1 <= exposure <= 1.15 for exposure in plan.exposures)
    most = replace(long, exposure=(0.95, 1.0), exposure_drift=(0.3, 0.3))
    usual = draw_plan(Textures([tiles(1)]), most, seed=1, number=0)
    assert max(usual.exposures) == 1.0
    with pytest.raises(UsageError, match=r"exposure.*1\.2 or less"):
        SynthesisConfig(exposure=(0.1, 1.3))


def test_styles_reach_the_clip() -> None:
    striped = replace(CLEAN, striped_share=1.0, stripe_px=(6.0, 6.0))
    plain, changed = (make_levels(Textures([tiles(1)]), config, seed=1, numbers=[0])[0] for config in (CLEAN, striped))
    assert not torch.equal(plain.pictures, changed.pictures)
