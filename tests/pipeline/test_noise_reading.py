"""Noise reading in NumPy: what its twin in PyTorch reads, and what `info` says of it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from support.doubles import YUV420
from vdeblur.engine.quantiser_mean import rate_factor_of
from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for
from vdeblur.model.guide import guide_net, noise_curve
from vdeblur.pipeline import noise_reading
from vdeblur.pipeline.noise_reading import NoiseReading, curve_of, guide_share, histogram_of, luma_of, read_noise
from vdeblur.pipeline.source_quality import SourceQuality


def noisy(size: tuple[int, int], deviation: float, seed: int = 0) -> np.ndarray:
    """Luma: a ramp with noise."""
    draw = np.random.default_rng(seed)
    ramp = np.linspace(0.05, 0.95, size[1], dtype=np.float32)
    luma = ramp + draw.normal(0, deviation / 255, size)
    return luma.clip(0, 1).astype(np.float32)


def frame(luma: np.ndarray, pixel_format: PixelFormat) -> Frame:
    step = 2.0 ** (pixel_format.bits - 8)
    scaled = luma * 219 * step + 16 * step if pixel_format.family == "yuv" else luma * pixel_format.peak
    codes = (scaled if pixel_format.is_float else scaled.round()).astype(dtype_for(pixel_format))
    height, width = luma.shape
    chroma = [
        np.zeros(pixel_format.plane_shape(i, height, width), codes.dtype) for i in range(1, pixel_format.plane_count)
    ]
    planes = (codes, codes, codes) if pixel_format.family == "rgb" else (codes, *chroma)
    return Frame(planes, pixel_format, Colour(), 0, Fraction(1, 25))


@pytest.mark.parametrize("size", [(120, 200), (720, 1280), (8, 8)])
@pytest.mark.parametrize("deviation", [0, 1.5, 9])
def test_it_reads_what_its_twin_reads(size: tuple[int, int], deviation: float) -> None:
    luma = noisy(size, deviation)
    expected = noise_curve.noise_histogram(torch.from_numpy(luma)[None, None])
    found = histogram_of(luma)
    assert found.flatten() == pytest.approx(expected[0].numpy(), abs=2e-4)
    assert curve_of(found) == pytest.approx(noise_curve.noise_curve(expected)[0].numpy(), rel=0.02, abs=1e-5)


def test_it_has_the_numbers_of_its_twin() -> None:
    for name in ("LEVELS", "BINS", "LEAST", "MOST", "FLAT_SHARE", "BLOCK_PX", "MOST_BLOCKS"):
        assert getattr(noise_reading, name) == getattr(noise_curve, name)
    for level, quantiser in ((0, 0), (1, 10), (1.8, 5), (2, 19), (8, 0), (0.5, 31), (0.7, 24), (0.2, 20)):
        curve = torch.full((1, 6), level / 255)
        reading = NoiseReading((level,) * 6)
        for removes in (False, True):
            told = guide_net.Told(torch.tensor([float(quantiser)]), curve[:, 0], torch.tensor([float(removes)]))
            expected = float(guide_net.trust(curve, told))
            assert guide_share(reading, quantiser, removes=removes) == pytest.approx(expected, abs=1e-5)
    assert guide_share(None, None) == 0


def test_the_plan_names_what_disturbs() -> None:
    for level, quantiser, causes in (
        (8, None, "(noise)"), (0.8, 25, "(noise)"), (0.1, 37, "(compression)"), (8, 37, "(noise and compression)"),
        (0.1, 25, "clean"),
    ):  # fmt: skip
        reading = NoiseReading((float(level),) * 6)
        used = guide_share(reading, None if quantiser is None else rate_factor_of(quantiser))
        assert causes in SourceQuality(reading, quantiser, None, used).plan


@pytest.mark.parametrize(
    "pixel_format",
    [
        YUV420,
        PixelFormat("yuv444p10le", "yuv", 10),
        PixelFormat("gbrp", "rgb", 8),
        PixelFormat("grayf32le", "gray", 32),
    ],
    ids=lambda each: each.name,
)
def test_every_format_is_read_alike(pixel_format: PixelFormat) -> None:
    frames = [frame(noisy((240, 320), 6, seed), pixel_format) for seed in range(3)]
    assert np.abs(luma_of(frames[0]) - noisy((240, 320), 6)).max() < 0.003
    found = read_noise(frames)
    assert found is not None
    assert found.level == pytest.approx(6, rel=0.12)
    assert " (" not in found.words


def test_noise_in_the_dark_is_told() -> None:
    luma, draw = noisy((240, 320), 0), np.random.default_rng(3)
    luma += draw.normal(0, 1, luma.shape).astype(np.float32) * np.linspace(8, 2, 320, dtype=np.float32) / 255
    found = read_noise([frame(luma.clip(0, 1), YUV420)])
    assert found is not None
    assert "in the dark" in found.words


def test_there_may_be_nothing_to_read() -> None:
    assert read_noise([]) is None
    assert read_noise([frame(noisy((4, 4), 3), YUV420)]) is None
