"""Charts: curves are where their values are, labelled, with gaps, as an image and as SVG."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from vdeblur.plotting.chart import HEIGHT, WIDTH, Chart, Curve, log_ticks, nice_ticks, stacked_svg

BEFORE, AFTER = "#e69f00", "#0072b2"
SVG = "{http://www.w3.org/2000/svg}"


def chart(values: list[float], other: list[float] | None = None) -> Chart:
    curves = (Curve("before", BEFORE, values), Curve("after", AFTER, other or [2 * value for value in values]))
    return Chart(
        "A title", "a line below", "time in seconds", "sharpness", [n / 25 for n in range(len(values))], curves
    )


def inked(picture: np.ndarray, colour: str) -> np.ndarray:
    rgb = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.argwhere((picture == rgb).all(axis=2))


def polylines(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    root = ElementTree.fromstring(svg)
    found = [node.attrib["points"] for node in root.iter(f"{SVG}polyline") if node.get("stroke") == colour]
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())] for points in found]


def words_in(svg: str) -> list[str | None]:
    return [node.text for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_image_shows_both_curves_where_they_are() -> None:
    picture = chart([100.0] * 50).pixels()
    assert picture.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    plot = picture[140:]
    before, after = inked(plot, BEFORE), inked(plot, AFTER)
    assert before[:, 1].min() < 0.12 * 2 * WIDTH < 0.95 * 2 * WIDTH < before[:, 1].max(), "from edge to edge"
    bottom = 2 * (HEIGHT - 64) - 140
    height_of = [bottom - np.median(rows[:, 0]) for rows in (before, after)]
    assert height_of[1] / height_of[0] == pytest.approx(2, abs=0.03), "the axis begins at 0"


def test_the_svg_says_the_same() -> None:
    svg = chart([1.0, 3.0, 2.0]).svg()
    assert {"A title", "a line below", "time in seconds", "sharpness", "before", "after", "0"} <= set(words_in(svg))
    assert len(polylines(svg, BEFORE)) == len(polylines(svg, AFTER)) == 2, "curve and legend"


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0], [math.nan] * 3, [1.0, math.nan, 2.0, 3.0], [7.0] * 5000])
def test_odd_lengths_and_gaps_can_be_drawn(values: list[float]) -> None:
    drawn = chart(values, values)
    known = any(math.isfinite(value) for value in values)
    assert bool(len(inked(drawn.pixels()[140:], AFTER))) == known
    assert len(drawn.svg()) < 60_000, "long videos are thinned"


def test_values_below_zero_stay_inside_the_axes() -> None:
    _legend, curve = polylines(chart([-2.0, 1.0], [math.nan] * 2).svg(), BEFORE)
    assert all(84 <= y <= HEIGHT - 64 for _, y in curve)
    assert curve[0][1] > curve[1][1]


def test_a_zero_line_is_drawn_and_included() -> None:
    plain = replace(chart([-4.0, -3.0], [math.nan] * 2), x=[1.0, 2.0])
    assert "0" not in words_in(plain.svg())
    assert "0" in words_in(replace(plain, zero_line=True).svg())


def test_a_logarithmic_axis_has_equal_steps_for_equal_ratios() -> None:
    _legend, curve = polylines(replace(chart([1.0, 10.0, 100.0], [math.nan] * 3), logarithmic=True).svg(), BEFORE)
    heights = [y for _, y in curve]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert {"1", "10", "100"} <= set(words_in(replace(chart([1.0, 10.0, 100.0]), logarithmic=True).svg()))


def test_a_curve_may_have_positions_of_its_own() -> None:
    own = Chart("t", "", "step", "", [0.0, 100.0], (Curve("a", BEFORE, [1.0, 2.0], [50.0, 100.0]),), dots=True)
    lines = polylines(own.svg(), BEFORE)
    curve = next(line for line in lines if line[0] != line[-1] and line[0][0] < line[-1][0] - 100)
    assert curve[0][0] == pytest.approx((86 + WIDTH - 28) / 2, abs=0.1)
    assert [line for line in lines if line[0] == line[-1]] == [[point, point] for point in curve], "a dot at each point"


def test_charts_stand_below_each_other() -> None:
    first, second = replace(chart([1.0, 2.0]), height=200), replace(chart([1.0, 2.0]), height=300)
    svg = stacked_svg([first, second])
    assert ElementTree.fromstring(svg).get("height") == "500"
    upper, _, lower, _ = polylines(svg, BEFORE)
    assert max(y for _, y in upper) < 200 < min(y for _, y in lower)


def test_ticks_are_round_and_enclose() -> None:
    assert nice_ticks(0.0, 1.0) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(-0.3, 0.9) == [-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1.0]
    low, *_, high = nice_ticks(3.0, 3.0)
    assert low < 3 < high


def test_logarithmic_ticks_are_round_and_enclose() -> None:
    assert [round(10**tick, 6) for tick in log_ticks(math.log10(0.015), math.log10(0.07))] == [0.01, 0.02, 0.05, 0.1]
    assert [round(10**tick, 6) for tick in log_ticks(-1.0, -1.0)] == [0.1, 0.2]
