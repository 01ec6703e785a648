"""Scenes: cuts, gaps and changes of format break; pans, fades, flicker and variable rates do not."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.scenes import Breaks, thumbnail

GRAY = PixelFormat("gray", "gray", 8)
Picture = NDArray[np.float64]


def texture(seed: int, height: int = 96, width: int = 160) -> Picture:
    """Smooth random picture in [0, 1] with detail at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for scale in (4, 8, 16, 32):
        coarse = rng.normal(size=(-(-height // scale), -(-width // scale)))
        total += np.kron(coarse, np.ones((scale, scale)))[:height, :width] * scale
    total -= total.min()
    return total / total.max()


def frame(picture: Picture, n: int, pixel_format: PixelFormat = GRAY, step: int = 1) -> Frame:
    dtype = np.uint8 if pixel_format.bits == 8 else np.uint16
    plane = np.round(np.clip(picture, 0, 1) * pixel_format.peak).astype(dtype)
    return Frame((plane,) * pixel_format.colour_planes, pixel_format, Colour(), n * step, Fraction(1, 25), step)


def broken_at(frames: list[Frame], breaks: Breaks | None = None) -> list[int]:
    breaks = breaks or Breaks()
    return [n for n in range(1, len(frames)) if breaks(frames[n - 1], frames[n])]


def cut_clip() -> list[Picture]:
    return [texture(1)] * 5 + [texture(2)] * 5 + [1 - texture(1)] * 5


@pytest.mark.parametrize(
    "pixel_format",
    [GRAY, PixelFormat("gray10le", "gray", 10), PixelFormat("gray16le", "gray", 16), PixelFormat("gbrp", "rgb", 8)],
    ids=lambda f: f.name,
)
def test_cuts_are_found_at_any_depth(pixel_format: PixelFormat) -> None:
    assert broken_at([frame(p, n, pixel_format) for n, p in enumerate(cut_clip())]) == [5, 10]


def test_torch_planes_give_the_same_thumbnail() -> None:
    for pixel_format in (GRAY, PixelFormat("gray16le", "gray", 16)):
        one = frame(texture(3, 720, 1280), 0, pixel_format)
        other = one.with_planes([torch.from_numpy(plane) for plane in one.planes])
        assert np.array_equal(thumbnail(one), thumbnail(other))
        assert thumbnail(one).shape == (60, 53)
        assert abs(thumbnail(one).mean() - texture(3, 720, 1280).mean()) < 0.01


@pytest.mark.parametrize(("speed", "allowed"), [(1, []), (4, []), (12, [1]), (24, [1])])
def test_pans_are_no_cuts(speed: int, allowed: list[int]) -> None:
    """A pan of a tenth of the width a frame looks like a cut once, before its steadiness is known."""
    wide = texture(4, 96, 160 + 24 * 20)
    assert broken_at([frame(wide[:, n * speed : n * speed + 160], n) for n in range(20)]) == allowed


def test_fades_are_no_cuts() -> None:
    one, other = texture(5), texture(6)
    cross = [one * (1 - n / 12) + other * n / 12 for n in range(13)]
    black = [one * (1 - n / 12) for n in range(13)]
    assert broken_at([frame(p, n) for n, p in enumerate(cross)]) == []
    assert broken_at([frame(p, n) for n, p in enumerate(black)]) == []


def test_grain_is_no_cut() -> None:
    rng = np.random.default_rng(7)
    clip = [texture(7) + rng.normal(scale=0.15, size=(96, 160)) for _ in range(10)]
    assert broken_at([frame(p, n) for n, p in enumerate(clip)]) == []


def test_scores_are_those_of_ffmpegs_scdet() -> None:
    """On pictures that thumbnails keep whole, the numbers agree with libavfilter's own."""
    blocks = [np.kron(texture(seed, 24, 24), np.ones((8, 8))) for seed in (8, 8, 9, 10, 10, 11)]
    frames = [frame(p, n) for n, p in enumerate(blocks)]
    graph = av.filter.Graph()
    source = graph.add_buffer(width=192, height=192, format="gray", time_base=Fraction(1, 25))
    scdet, sink = graph.add("scdet", "t=10"), graph.add("buffersink")
    source.link_to(scdet)
    scdet.link_to(sink)
    graph.configure()
    expected = []
    for one in frames:
        picture = av.VideoFrame.from_ndarray(one.planes[0], format="gray")
        picture.pts, picture.time_base = one.pts, one.time_base
        graph.push(picture)
        expected.append(float(sink.pull().metadata["lavfi.scd.score"]))
    breaks = Breaks()
    found = [breaks.score(a, b) for a, b in itertools.pairwise(frames)]
    assert found == pytest.approx(expected[1:], rel=0.005)
    assert max(found) > 10


def test_the_score_needs_no_memory_of_the_pictures() -> None:
    """A frame that was not the last seen is measured anew."""
    a, b, c = (frame(texture(seed), seed) for seed in (1, 2, 3))
    breaks = Breaks()
    breaks.score(a, b)
    assert breaks.score(a, c) == pytest.approx(
        min(100 * np.abs(thumbnail(a) - thumbnail(c)).mean(), abs(Breaks().score(a, c) - Breaks().score(a, b)))
    )


def test_a_jump_back_and_a_gap_break() -> None:
    still = texture(1)
    ticks = [0, 1, 2, 3, 40, 41, 42, 10, 11]
    assert broken_at([frame(still, tick) for tick in ticks]) == [4, 7]


def test_variable_and_slow_rates_do_not_break() -> None:
    still = texture(1)
    variable = [0, 1, 3, 4, 8, 9, 12, 13, 24, 25]
    assert broken_at([frame(still, tick) for tick in variable]) == []
    assert broken_at([frame(still, n, step=50) for n in range(8)]) == [], "one frame in two seconds"


@pytest.mark.parametrize(
    "change",
    [
        {"colour": Colour(matrix="bt709")},
        {"format": PixelFormat("gray10le", "gray", 10)},
        {"planes": (np.zeros((48, 80), np.uint8),)},
    ],
    ids=["colour", "format", "size"],
)
def test_another_layout_breaks(change: dict[str, object]) -> None:
    frames = [frame(texture(1), n) for n in range(6)]
    frames[3:] = [dataclasses.replace(f, **change) for f in frames[3:]]  # type: ignore[arg-type]
    assert broken_at(frames) == [3]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3, 5), (17, 33), (1080, 1920)])
def test_thumbnails_of_any_size(size: tuple[int, int]) -> None:
    white = thumbnail(frame(np.ones(size), 0))
    assert white.size <= 10_000
    assert np.all(white == 1.0)
