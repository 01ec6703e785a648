"""Pixels: the matrices are the standards', chroma lies where it should, and a zero residual changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support.doubles import FORMATS, YUV444
from vdeblur.engine.pixels import (
    add_residual,
    colour_matrix,
    crop,
    luma_from_planes,
    pad_to_multiple,
    rgb_from_planes,
)
from vdeblur.frames import Colour, PixelFormat

COLOURS = [
    Colour(),
    Colour(matrix="bt709", range="tv", chroma_location="left"),
    Colour(matrix="smpte170m", range="pc", chroma_location="center"),
    Colour(matrix="bt2020nc", range="tv", chroma_location="topleft"),
    Colour(matrix="ycgco", range="pc", chroma_location="bottom"),
    Colour(matrix="smpte240m", chroma_location="bottomleft"),
    Colour(matrix="fcc", chroma_location="top"),
]


def random_planes(pixel_format: PixelFormat, height: int, width: int, seed: int = 0) -> list[torch.Tensor]:
    """Every code a format can hold, head- and footroom too; float samples also beyond [0, 1]."""
    rng = np.random.default_rng(seed)
    planes = []
    for index in range(pixel_format.plane_count):
        shape = pixel_format.plane_shape(index, height, width)
        if pixel_format.is_float:
            planes.append(torch.from_numpy(rng.uniform(-0.5, 1.5, shape).astype(np.float32)))
        else:
            dtype = np.uint8 if pixel_format.bits <= 8 else np.uint16
            planes.append(torch.from_numpy(rng.integers(0, 1 << pixel_format.bits, shape).astype(dtype)))
    return planes


def flat(pixel_format: PixelFormat, *codes: int) -> list[torch.Tensor]:
    dtype = torch.uint8 if pixel_format.bits <= 8 else torch.uint16
    return [torch.full(pixel_format.plane_shape(i, 4, 4), code, dtype=dtype) for i, code in enumerate(codes)]


@pytest.mark.parametrize("colour", COLOURS, ids=lambda c: f"{c.matrix}-{c.chroma_location}")
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_zero_residual_returns_every_bit(pixel_format: PixelFormat, colour: Colour) -> None:
    for height, width in ((9, 13), (8, 8), (1, 1)):
        planes = random_planes(pixel_format, height, width)
        kept = [plane.clone() for plane in planes]
        for residual, strength in ((torch.zeros(1, 3, height, width), 1.0), (torch.randn(1, 3, height, width), 0.0)):
            result = add_residual(planes, residual, pixel_format, colour, strength=strength)
            for before, kept_plane, after in zip(planes, kept, result, strict=True):
                assert after.dtype == before.dtype
                assert torch.equal(after, kept_plane)
                assert torch.equal(before, kept_plane), "the source's planes must not be written to"
        if pixel_format.alpha:
            assert result[-1] is planes[-1]


#: Published codes of the primaries: BT.601 and BT.709 in 8 bit limited range, JFIF, BT.2020 in 10 bit.
KNOWN_CODES = [
    (8, Colour("smpte170m", "tv"), (1, 0, 0), (81, 90, 240)),
    (8, Colour("bt470bg", "tv"), (0, 0, 1), (41, 240, 110)),
    (8, Colour("bt709", "tv"), (1, 0, 0), (63, 102, 240)),
    (8, Colour("bt709", "tv"), (0, 1, 0), (173, 42, 26)),
    (8, Colour("bt709", "tv"), (1, 1, 1), (235, 128, 128)),
    (8, Colour("smpte170m", "pc"), (1, 0, 0), (76, 85, 255)),
    (8, Colour("smpte170m", "pc"), (0, 0, 0), (0, 128, 128)),
    (10, Colour("bt2020nc", "tv"), (1, 0, 0), (294, 387, 960)),
    (10, Colour("bt2020nc", "tv"), (0, 0, 0), (64, 512, 512)),
    (8, Colour("ycgco", "pc"), (0, 1, 0), (128, 255, 128)),
]


@pytest.mark.parametrize(("bits", "colour", "rgb", "codes"), KNOWN_CODES)
def test_known_colours(bits: int, colour: Colour, rgb: tuple[int, ...], codes: tuple[int, ...]) -> None:
    pixel_format = PixelFormat(f"yuv444p{bits}", "yuv", bits)
    found = rgb_from_planes(flat(pixel_format, *codes), pixel_format, colour, height=4, width=4)
    assert found.shape == (1, 3, 4, 4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor(rgb, dtype=torch.float32), atol=0.006, rtol=0)
    black = flat(pixel_format, *codes_of_black(bits, colour))
    back = add_residual(black, torch.tensor(rgb).float().view(1, 3, 1, 1).expand(1, 3, 4, 4), pixel_format, colour)
    assert [abs(int(plane[0, 0]) - code) <= 1 for plane, code in zip(back, codes, strict=True)] == [True] * 3


def codes_of_black(bits: int, colour: Colour) -> tuple[int, int, int]:
    middle = 1 << (bits - 1)
    return (16 << (bits - 8) if colour.range == "tv" else 0), middle, middle


@pytest.mark.parametrize(
    ("colour", "lines", "like"),
    [
        (Colour(), 576, Colour("smpte170m", "tv")),
        (Colour(), 720, Colour("bt709", "tv")),
        (Colour("unknown"), 1080, Colour("bt709", "tv")),
    ],
)
def test_untagged_pictures_go_by_their_size(colour: Colour, lines: int, like: Colour) -> None:
    planes = random_planes(YUV444, lines, 2)
    found = rgb_from_planes(planes, YUV444, colour, height=lines, width=2)
    assert torch.equal(found, rgb_from_planes(planes, YUV444, like, height=lines, width=2))


def test_untagged_grey_and_rgb_are_full_range() -> None:
    gray, gbrp = PixelFormat("gray", "gray", 8), PixelFormat("gbrp", "rgb", 8)
    assert rgb_from_planes(flat(gray, 255), gray, Colour(), height=4, width=4).min() == 1.0
    red = rgb_from_planes(flat(gbrp, 0, 51, 255), gbrp, Colour(), height=4, width=4)
    torch.testing.assert_close(red[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.2]))
    limited = rgb_from_planes(flat(gray, 16), gray, Colour(range="tv"), height=4, width=4)
    assert limited.max() == 0.0


def test_rgb_residual_lands_in_its_own_plane() -> None:
    gbrp = PixelFormat("gbrp", "rgb", 8)
    residual = torch.tensor([10.0, 20.0, 30.0]).div(255).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    green, blue, red = add_residual(flat(gbrp, 100, 100, 100), residual, gbrp, Colour())
    assert (int(red[0, 0]), int(green[0, 0]), int(blue[0, 0])) == (110, 120, 130)


def test_codes_are_clipped_at_the_bit_depth_not_at_the_nominal_range() -> None:
    pixel_format = PixelFormat("yuv444p10le", "yuv", 10)
    for sign, luma in ((1, 1023), (-1, 0)):
        result = add_residual(
            flat(pixel_format, 500, 512, 512), torch.full((1, 3, 4, 4), 5.0 * sign), pixel_format, Colour()
        )
        assert int(result[0][0, 0]) == luma
        assert int(result[1][0, 0]) == 512, "a grey correction leaves chroma alone"


@pytest.mark.parametrize("pixel_format", [f for f in FORMATS if not f.is_float], ids=lambda f: f.name)
def test_residual_and_its_opposite_cancel(pixel_format: PixelFormat) -> None:
    """Far from clipping, + r and - r meet within the rounding of one code."""
    middle = [
        p // 4 + int(pixel_format.peak * 3 / 8) for p in (x.to(torch.int32) for x in random_planes(pixel_format, 9, 13))
    ]
    dtype = torch.uint8 if pixel_format.bits <= 8 else torch.uint16
    planes = [p.to(dtype) for p in middle]
    residual = torch.randn(1, 3, 9, 13, generator=torch.Generator().manual_seed(1)) * 0.03
    there = add_residual(planes, residual, pixel_format, Colour())
    back = add_residual(there, -residual, pixel_format, Colour())
    assert any(not torch.equal(a, b) for a, b in zip(planes, there, strict=True))
    for before, after in zip(middle, back, strict=True):
        assert (before - after.to(torch.int32)).abs().max() <= 1


@pytest.mark.parametrize("location", ["left", "center", "topleft", "top", "bottomleft", "bottom"])
@pytest.mark.parametrize("shift", [(1, 1), (1, 0), (2, 0), (0, 1)])
def test_chroma_lies_where_the_stream_says(location: str, shift: tuple[int, int]) -> None:
    """A ramp of Cr that is sampled at its true positions comes up as that ramp, and its residual goes down to it."""
    height, width = 16, 24
    pixel_format = PixelFormat("ramp", "yuv", 16, shift)
    colour = Colour("bt709", "pc", chroma_location=location)
    factor_x, factor_y = 1 << shift[0], 1 << shift[1]
    x0 = 0.0 if "left" in location else (factor_x - 1) / 2
    y0 = 0.0 if "top" in location else factor_y - 1.0 if "bottom" in location else (factor_y - 1) / 2
    rows, columns = pixel_format.plane_shape(1, height, width)
    ys, xs = np.mgrid[0:rows, 0:columns]

    def ramp(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return 0.004 * x + 0.003 * y - 0.08

    samples = np.round(32768 + 65535 * ramp(ys * factor_y + y0, xs * factor_x + x0)).astype(np.uint16)
    luma = torch.full((height, width), 32768, dtype=torch.uint16)
    neutral = torch.full((rows, columns), 32768, dtype=torch.uint16)
    rgb = rgb_from_planes([luma, neutral, torch.from_numpy(samples)], pixel_format, colour, height=height, width=width)
    full = torch.from_numpy(ramp(*np.mgrid[0:height, 0:width])).float()
    inner = (slice(factor_y, -factor_y), slice(factor_x, -factor_x))
    torch.testing.assert_close((rgb[0, 0] - 0.5)[inner], (full * 2 * (1 - 0.2126))[inner], atol=1e-4, rtol=0)

    residual = torch.zeros(1, 3, height, width)
    residual[0, 0] = full * 2 * (1 - 0.2126)  # a change of Cr alone, written as R'G'B'
    residual[0, 1] = full * -2 * (1 - 0.2126) * 0.2126 / 0.7152
    result = add_residual([luma, neutral, neutral], residual, pixel_format, colour)
    inner = (slice(1, -1), slice(1, -1))
    assert (result[2].int() - torch.from_numpy(samples).int())[inner].abs().max() <= 2
    assert (result[0].int() - 32768).abs().max() <= 1


def test_layouts_of_the_residual_do_not_matter() -> None:
    pixel_format = PixelFormat("yuv420p", "yuv", 8, (1, 1))
    planes = random_planes(pixel_format, 9, 13)
    padded = torch.randn(1, 3, 16, 32) * 0.1
    plain = add_residual(planes, padded[:, :, :9, :13].contiguous(), pixel_format, Colour())
    for other in (crop(padded, 9, 13), crop(padded.to(memory_format=torch.channels_last), 9, 13)):
        for a, b in zip(plain, add_residual(planes, other, pixel_format, Colour()), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 16), (17, 31), (45, 33)])
def test_padding_repeats_the_edge_and_comes_off_again(size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size)
    padded = pad_to_multiple(x, 16, minimum=32)
    assert all(n % 16 == 0 and n >= 32 for n in padded.shape[-2:])
    assert torch.equal(crop(padded, *size), x)
    assert torch.equal(padded[..., size[0] :, 0], x[..., -1:, 0].expand(1, 3, padded.shape[-2] - size[0]))
    assert pad_to_multiple(padded, 16, minimum=32) is padded


@pytest.mark.parametrize(
    ("change", "code"), [(0.6, 101), (0.4, 100), (-0.4, 100), (-0.6, 99), (400.0, 255), (-400.0, 0)]
)
def test_sums_are_rounded_to_the_nearest_code(change: float, code: int) -> None:
    gray = PixelFormat("gray", "gray", 8)
    (result,) = add_residual(flat(gray, 100), torch.full((1, 3, 4, 4), change / 255), gray, Colour())
    assert int(result[0, 0]) == code


@pytest.mark.parametrize("reduce", [2, 3, 4])
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_a_reduced_picture_is_the_mean_of_blocks(pixel_format: PixelFormat, reduce: int) -> None:
    """Of a smooth picture; where blocks of chroma do not fit, it may lie a pixel aside."""
    height, width = 48, 72
    planes = []
    for index in range(pixel_format.plane_count):
        rows, columns = pixel_format.plane_shape(index, height, width)
        slope = torch.linspace(0.35, 0.6, rows)[:, None] + torch.linspace(-0.1, 0.1, columns)[None]
        plane = slope if pixel_format.is_float else (slope * pixel_format.peak).round()
        kind = torch.float32 if pixel_format.is_float else torch.uint8 if pixel_format.bits <= 8 else torch.int32
        planes.append(plane.to(kind) if kind != torch.int32 else plane.to(kind).to(torch.uint16))
    whole = rgb_from_planes(planes, pixel_format, Colour(), height=height, width=width)
    small = rgb_from_planes(planes, pixel_format, Colour(), height=height, width=width, reduce=reduce)
    means = torch.nn.functional.avg_pool2d(whole, reduce)
    assert small.shape == means.shape
    fits = all(reduce % (1 << shift) == 0 for shift in pixel_format.chroma_shift)
    assert (small - means).abs().max() < (0.02 if fits else 0.06)


@pytest.mark.parametrize("colour", COLOURS, ids=lambda c: f"{c.matrix}-{c.chroma_location}")
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_a_grey_residual_is_the_same_in_red_green_and_blue(pixel_format: PixelFormat, colour: Colour) -> None:
    """The result is that of three equal channels, to the bit but for a rounding of a half; chroma is not touched."""
    planes = random_planes(pixel_format, 9, 13)
    grey = 0.1 * torch.randn(1, 1, 9, 13, generator=torch.Generator().manual_seed(1))
    short = add_residual(planes, grey, pixel_format, colour)
    full = add_residual(planes, grey.expand(1, 3, 9, 13), pixel_format, colour)
    assert len(short) == len(planes)
    for one, other in zip(short, full, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.double(), other.double(), atol=1 if not pixel_format.is_float else 1e-5, rtol=0)
        assert (one.double() - other.double()).abs().mean() < 0.05
    if pixel_format.family == "yuv":
        assert all(one is plane for one, plane in zip(short[1:], planes[1:], strict=True))


@pytest.mark.parametrize("colour", COLOURS, ids=lambda c: f"{c.matrix}-{c.chroma_location}")
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_luma_is_that_of_the_pictures_matrix(pixel_format: PixelFormat, colour: Colour) -> None:
    """Of grey pictures luma is R' = G' = B'; of others, where nothing is clipped, the matrix's sum of them."""
    planes = random_planes(pixel_format, 9, 13)
    luma = luma_from_planes(planes, pixel_format, colour, height=9)
    assert luma.shape == (1, 1, 9, 13)
    assert 0 <= float(luma.min()) <= float(luma.max()) <= 1
    rgb = rgb_from_planes(planes, pixel_format, colour, height=9, width=13)
    weights = torch.tensor(colour_matrix(colour, 9).luma).view(1, 3, 1, 1)
    plain = ((rgb > 0.001) & (rgb < 0.999)).all(1, keepdim=True)
    torch.testing.assert_close(luma[plain], (rgb * weights).sum(1, keepdim=True)[plain], atol=1e-4, rtol=0)
