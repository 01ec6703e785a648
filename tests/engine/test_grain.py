"""Film grain: as strong as asked in the mid-tones, none in black and white, correlated, and one grain for each seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support.doubles import FORMATS, YUV420, YUV444
from vdeblur.engine.grain import CHROMA_SHARE, TILE_PX, add_film_grain, grain_filter
from vdeblur.engine.pixels import luma_from_planes, rgb_from_planes, sample_range
from vdeblur.frames import Colour, PixelFormat, dtype_for
from vdeblur.kernels.dispatch import without_kernels

GREY16 = PixelFormat("gray16le", "gray", 16)
FLOAT = PixelFormat("grayf32le", "gray", 32)
GBRP16 = PixelFormat("gbrp16le", "rgb", 16)


def flat(pixel_format: PixelFormat, value: float, height: int = 240, width: int = 320) -> list[torch.Tensor]:
    """A picture without colour of brightness ``value`` in [0, 1]."""
    levels = sample_range(pixel_format, Colour())
    planes = []
    for index in range(pixel_format.plane_count):
        chroma = pixel_format.family == "yuv" and index in (1, 2)
        code = levels.chroma_offset if chroma else levels.offset + value * levels.scale
        code = code if pixel_format.is_float else round(code)
        shape = pixel_format.plane_shape(index, height, width)
        planes.append(torch.from_numpy(np.full(shape, code, dtype_for(pixel_format))))
    return planes


def grainy(pixel_format: PixelFormat, value: float, *, level: float = 8, seed: int = 5) -> list[torch.Tensor]:
    return list(add_film_grain(flat(pixel_format, value), pixel_format, Colour(), level=level, seed=seed))


def noise(pixel_format: PixelFormat, value: float, *, level: float = 8, seed: int = 5) -> torch.Tensor:
    """What was added to luma, in levels of 8 bits."""

    def luma(planes: list[torch.Tensor]) -> torch.Tensor:
        return 255 * luma_from_planes(planes, pixel_format, Colour(), height=planes[0].shape[0])[0, 0].double()

    return luma(grainy(pixel_format, value, level=level, seed=seed)) - luma(flat(pixel_format, value))


@pytest.mark.parametrize("level", [1.5, 8, 20])
@pytest.mark.parametrize("pixel_format", [GREY16, FLOAT, GBRP16, YUV420], ids=lambda f: f.name)
def test_the_deviation_is_the_one_asked_for_and_the_mean_stays(pixel_format: PixelFormat, level: float) -> None:
    # In 8 bits, rounding adds the variance of an even spread over one code.
    rounding = (255 / 219) ** 2 / 12 if pixel_format.bits == 8 else 0
    found = noise(pixel_format, 0.5, level=level)
    assert found.std() == pytest.approx((level**2 + rounding) ** 0.5, rel=0.05)
    assert abs(found.mean()) < 0.05 * level


@pytest.mark.parametrize("value", [0.0, 0.1, 0.25, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("pixel_format", [GREY16, GBRP16], ids=lambda f: f.name)
def test_it_fades_to_black_and_white(pixel_format: PixelFormat, value: float) -> None:
    found = noise(pixel_format, value, level=4)
    assert found.std() == pytest.approx(4 * 4 * value * (1 - value), rel=0.05, abs=1e-3)
    assert abs(found.mean()) < 0.2


def test_footroom_and_headroom_have_none() -> None:
    limited = torch.arange(256, dtype=torch.uint8).repeat(64, 1)
    planes = [limited, torch.full((32, 128), 128, dtype=torch.uint8), torch.full((32, 128), 128, dtype=torch.uint8)]
    for seed in range(4):
        after = add_film_grain(planes, YUV420, Colour(range="tv"), level=20, seed=seed)[0]
        assert torch.equal(after[:, :17], limited[:, :17])
        assert torch.equal(after[:, 235:], limited[:, 235:])
        assert not torch.equal(after, limited)


def test_chroma_has_a_little_and_follows_luma() -> None:
    wide = PixelFormat("yuv444p16le", "yuv", 16)
    for value in (0.5, 0.1):
        scale = sample_range(wide, Colour()).chroma_scale / 255
        for plane in grainy(wide, value)[1:]:
            assert plane.double().std() / scale == pytest.approx(8 * CHROMA_SHARE * 4 * value * (1 - value), rel=0.05)
    luma, cb, cr = (plane.double().flatten() for plane in grainy(wide, 0.5))
    assert torch.corrcoef(torch.stack((luma, cb, cr))).triu(1).abs().max() < 0.03
    rgb = rgb_from_planes(grainy(GBRP16, 0.5), GBRP16, Colour(), height=240, width=320)[0]
    assert torch.corrcoef(rgb.flatten(1).double()).amin() > 0.75  # mostly luma
    assert not torch.equal(rgb[0], rgb[2])


@pytest.mark.parametrize("height", [480, 1080])
def test_neighbours_are_alike_as_far_as_the_grain_is_large(height: int) -> None:
    planes = flat(GREY16, 0.5, height, 600)
    found = add_film_grain(planes, GREY16, Colour(), level=8, seed=1)[0].double() - planes[0].double()
    found /= found.std()
    weights = np.array(grain_filter({480: 0.35, 1080: 0.4}[height]), float)
    expected = float((weights[1:] * weights[:-1]).sum() / (weights**2).sum())
    assert (found[1:] * found[:-1]).mean() == pytest.approx(expected, abs=0.03)
    assert (found[:, 1:] * found[:, :-1]).mean() == pytest.approx(expected, abs=0.03)
    assert (found[4:] * found[:-4]).mean().abs() < 0.03


def test_larger_pictures_have_coarser_grain_and_no_seam() -> None:
    correlations = []
    for size in (480, 720, 1080, 2160):
        planes = flat(GREY16, 0.5, size, size)
        found = add_film_grain(planes, GREY16, Colour(), level=8, seed=3)[0].double() - planes[0].double()
        rows = (found[1:] * found[:-1]).mean(1) / found.var()
        correlations.append(float(rows.mean()))
        # Where the tile repeats, rows are as like each other as elsewhere.
        assert rows.min() > rows.mean() - 6 * rows.std()
    assert correlations == sorted(correlations)
    assert correlations[0] < 0.2
    assert 0.8 < correlations[-1] < 0.95


def test_each_seed_has_its_grain() -> None:
    first, second = (noise(GREY16, 0.5, seed=seed).flatten() for seed in (1, 2))
    assert torch.equal(first, noise(GREY16, 0.5, seed=1).flatten())
    assert torch.corrcoef(torch.stack((first, second)))[0, 1].abs() < 0.03
    before, after = (noise(GREY16, 0.5, seed=seed) for seed in (-1, 1))
    assert not torch.equal(before, after)


def test_the_grain_is_the_same_everywhere() -> None:
    # A job that goes on with another version or on another machine has the same grain.
    assert grainy(GREY16, 0.5, seed=7)[0][:2, :3].tolist() == [[35286, 33411, 32653], [33003, 33165, 38364]]


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_every_format_and_kernels_change_nothing(pixel_format: PixelFormat) -> None:
    planes = flat(pixel_format, 0.4, 37, TILE_PX + 41)
    kept = [plane.clone() for plane in planes]
    with torch.inference_mode():
        fast = add_film_grain(planes, pixel_format, Colour(), level=6, seed=9)
        with without_kernels():
            plain = add_film_grain(planes, pixel_format, Colour(), level=6, seed=9)
    assert len(fast) == len(planes)
    for index, (before, kept_plane, after, twin) in enumerate(zip(planes, kept, fast, plain, strict=True)):
        assert torch.equal(before, kept_plane)
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert torch.equal(after, twin)
        if index < pixel_format.colour_planes:
            assert not torch.equal(after, before)
        else:
            assert after is before


def test_no_level_gives_the_planes_back() -> None:
    planes = flat(YUV444, 0.5)
    for before, after in zip(planes, add_film_grain(planes, YUV444, Colour(), level=0, seed=1), strict=True):
        assert after is before


@pytest.mark.cuda
def test_a_gpu_adds_the_same_grain() -> None:
    for pixel_format in (YUV420, GBRP16, FLOAT):
        planes = flat(pixel_format, 0.4)
        here = add_film_grain(planes, pixel_format, Colour(), level=8, seed=11)
        there = add_film_grain([plane.cuda() for plane in planes], pixel_format, Colour(), level=8, seed=11)
        for one, other in zip(here, there, strict=True):
            assert torch.equal(one, other.cpu())
