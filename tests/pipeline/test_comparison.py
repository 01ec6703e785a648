"""Compare: both pictures are exact, and before is left of after as the viewer sees them."""

from __future__ import annotations

import numpy as np
import pytest

from support.doubles import FORMATS, clip
from vdeblur.errors import UsageError
from vdeblur.frames import Frame, PixelFormat
from vdeblur.pipeline.comparison import Comparison


def two(pixel_format: PixelFormat, height: int, width: int) -> tuple[Frame, Frame]:
    before, after = clip(2, height, width, pixel_format=pixel_format)
    return before, after


def turned(plane: np.ndarray, degrees: int) -> np.ndarray:
    """As a player shows it: counter-clockwise."""
    return np.rot90(plane, degrees // 90)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90, -180, 270])
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_side_by_side_is_exact_after_the_players_turn(pixel_format: PixelFormat, rotation: int) -> None:
    before, after = two(pixel_format, 21, 35)
    comparison = Comparison("side", pixel_format, rotation_degrees=rotation)
    shown = comparison.draw(before, after)
    assert comparison.size(21, 35) == shown.size
    assert (shown.pts, shown.format) == (before.pts, pixel_format)
    for index, plane in enumerate(shown.planes):
        assert plane.shape == pixel_format.plane_shape(index, *shown.size)
        seen = turned(plane, rotation)
        first, second = (turned(frame.planes[index], rotation) for frame in (before, after))
        half = seen.shape[1] // 2
        rows, columns = first.shape
        # a turn by 180° puts the repeated edge on the outer side
        skip = half - columns if rotation % 360 in (180, 270) else 0
        assert np.array_equal(seen[-rows:, skip : skip + columns], first)
        assert np.array_equal(seen[-rows:, half + skip : half + skip + columns], second)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
def test_split_shows_one_half_of_each_and_a_line(pixel_format: PixelFormat, rotation: int) -> None:
    before, after = two(pixel_format, 44, 60)
    kept = [plane.copy() for plane in after.planes]
    comparison = Comparison("split", pixel_format, rotation_degrees=rotation)
    shown = comparison.draw(before, after)
    assert comparison.size(44, 60) == shown.size == (44, 60)
    for index, plane in enumerate(shown.planes):
        seen = turned(plane, rotation)
        first, second = (turned(frame.planes[index], rotation) for frame in (before, after))
        left = np.flatnonzero((seen != first).any(axis=0))[0]
        right = np.flatnonzero((seen != second).any(axis=0))[-1] + 1
        columns = seen.shape[1]
        assert columns * 0.35 <= left <= columns // 2 <= right <= columns * 0.65
        line = seen[:, left:right] if index == 0 else seen[:, columns // 2 : columns // 2]
        assert np.all(line >= first.max()), "the line is white"
        assert np.array_equal(after.planes[index], kept[index]), "the restored frame is not drawn on"


def test_a_line_is_two_pixels_wide() -> None:
    gray = PixelFormat("gray", "gray", 8)
    before, after = two(gray, 8, 20)
    shown = Comparison("split", gray).draw(before, after).planes[0]
    assert np.all(shown[:, 10:12] == 235), "limited range, as the frames are tagged"
    assert np.array_equal(shown[:, :10], before.planes[0][:, :10])
    assert np.array_equal(shown[:, 12:], after.planes[0][:, 12:])


def test_other_modes_are_refused() -> None:
    with pytest.raises(UsageError, match="compare cannot be 'top'; it is side or split"):
        Comparison("top", FORMATS[0])  # type: ignore[arg-type]
