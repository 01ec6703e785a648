"""Scenes: cuts, gaps and changes of format break; pans, fades, flicker and variable rates do not."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support.media import shots
from vdeblur.engine.scene_cuts import SceneCutDetector, dissimilarity, thumbnail
from vdeblur.frames import Colour, Frame, PixelFormat

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


def broken_at(frames: list[Frame], breaks: SceneCutDetector | None = None) -> list[int]:
    breaks = breaks or SceneCutDetector()
    return [n for n in range(1, len(frames)) if breaks(frames[n - 1], frames[n])]


def test_cells_are_means_to_the_last_bit() -> None:
    one = thumbnail(frame(texture(1, 384, 768), 0))
    samples = np.round(texture(1, 384, 768) * 255).astype(np.uint8)[1::2, 2::4].astype(np.float32) / np.float32(255)
    assert np.array_equal(one.cells, samples.reshape(48, 4, 48, 4).mean((1, 3)))


def cut_clip() -> list[Picture]:
    return [texture(1)] * 5 + [texture(2)] * 5 + [1 - texture(2)] * 5


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
        a, b = thumbnail(one), thumbnail(other)
        assert np.array_equal(a.cells, b.cells)
        assert a.noise == b.noise
        assert a.cells.shape == (48, 48)
        assert abs(a.cells.mean() - texture(3, 720, 1280).mean()) < 0.01


@pytest.mark.parametrize("speed", [1, 4, 12, 18])
def test_pans_are_no_cuts(speed: int) -> None:
    wide = texture(4, 96, 160 + 24 * 20)
    assert broken_at([frame(wide[:, n * speed : n * speed + 160], n) for n in range(20)]) == []


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


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0])
def test_light_alone_is_no_cut(factor: float) -> None:
    dim = 0.2 + 0.3 * texture(8)
    assert dissimilarity(thumbnail(frame(dim, 0)), thumbnail(frame(dim * factor, 1))) < 0.1


@pytest.mark.parametrize("gain", [1.5, 1 / 1.5])
@pytest.mark.parametrize("kind", [shots.pan, shots.shaking, shots.night, shots.grain])
def test_a_step_of_the_exposure_is_no_cut(kind: Any, gain: float) -> None:
    """Auto-exposure that follows the light in one step; bright places clip."""
    for seed in range(3):
        pictures = kind(seed).pictures
        stepped = [np.clip(one * (gain if n >= len(pictures) // 2 else 1), 0, 1) for n, one in enumerate(pictures)]
        assert broken_at(shots.frames([one.astype(np.float32) for one in stepped])) == []


def test_unlikeness_is_the_same_both_ways_and_bounded() -> None:
    small = [thumbnail(frame(texture(seed), seed)) for seed in range(6)]
    for one, other in itertools.combinations(small, 2):
        assert 0.92 < dissimilarity(one, other) == dissimilarity(other, one) <= 1.5
    assert all(dissimilarity(one, one) == pytest.approx(0, abs=1e-6) for one in small)


def test_a_frame_that_was_not_the_last_is_measured_anew() -> None:
    a, b, c = (frame(texture(seed), n) for n, seed in enumerate((1, 2, 1)))
    breaks = SceneCutDetector()
    assert breaks(a, b)
    assert not breaks(a, c)


# --- What hides and comes back ----------------------------------------------------------------------------------------


def test_a_flash_hides_a_shot_and_light_that_stays_ends_it() -> None:
    shot, other, white = texture(1), texture(2), np.ones((96, 160))
    for length in (1, 2, 3):
        assert broken_at(listed([shot] * 3 + [white] * length + [shot] * 3)) == []
        assert broken_at(listed([shot] * 3 + [white] * length + [other] * 3)) == [3 + length]
    assert broken_at(listed([shot] * 3 + [white] * 8)) == [6], "one frame after the longest flash"


def test_a_fade_hides_a_shot_however_long() -> None:
    shot, other, dark = texture(1), texture(2), [np.zeros((96, 160))] * 30
    out = [shot * (1 - n / 12) for n in range(13)]
    assert broken_at(listed([*out, *dark])) == []
    assert broken_at(listed([*out, *dark, other])) == [43]
    [start] = broken_at(listed([*out, *dark, *(other * n / 12 for n in range(13))]))
    assert 43 < start <= 46, "as soon as the other shot can be seen"


def test_black_in_one_step_is_a_cut() -> None:
    shot, dark = texture(1), np.zeros((96, 160))
    assert broken_at(listed([shot, shot, dark, dark, shot, shot])) == [2, 4]


# --- Memory -----------------------------------------------------------------------------------------------------------


def test_memory_goes_on_bit_for_bit() -> None:
    """Suspended before every frame, through arrays, the decisions are those of one that was never suspended."""
    frames_ = every_kind()
    breaks, broken, sizes = SceneCutDetector(), [], []
    for n in range(1, len(frames_)):
        fresh = SceneCutDetector()
        written = json.dumps(breaks.state_dict())
        fresh.load_state_dict(json.loads(written))
        copied = copy.copy(breaks)
        answer = breaks(frames_[n - 1], frames_[n])
        assert fresh(frames_[n - 1], frames_[n]) == copied(frames_[n - 1], frames_[n]) == answer
        assert fresh.state_dict() == copied.state_dict() == breaks.state_dict()
        broken.append(answer)
        sizes.append(len(written))
    assert any(broken)
    assert not all(broken)
    assert 10_000 < max(sizes) < 15_000, "a flash was among them"
    assert sorted(sizes)[len(sizes) // 2] < 100


@pytest.mark.parametrize("cells", ["", "no base64", "AAAA"])
def test_a_damaged_memory_is_refused(cells: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SceneCutDetector().load_state_dict({"step": "1/25", "hidden": {"cells": cells, "noise": 0.0, "flash": 1}})


def every_kind() -> list[Frame]:
    kinds = (*shots.CUTS[:7], shots.white_flash, shots.flash, shots.fade_to_white)
    pictures = [picture for kind in kinds for picture in kind(1).pictures]
    light_that_stays = [np.ones_like(pictures[0])] * 6
    return shots.frames([*pictures, *shots.still(2).pictures[:3], *light_that_stays])


def listed(pictures: Sequence[Picture]) -> list[Frame]:
    return [frame(picture, n) for n, picture in enumerate(pictures)]


# --- Time and layout --------------------------------------------------------------------------------------------------


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
    assert white.cells.shape == (48, 48)
    assert np.all(white.cells == 1.0)
    assert white.blank
