"""Chart: curves over time with labelled axes, as PNG or SVG, drawn by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vdeblur.plotting.canvas import Point, Sheet
from vdeblur.plotting.hershey_font import text_width

WIDTH, HEIGHT = 900, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 28, 84, 64
_INK, _SOFT, _GRID = "#1f2933", "#52606d", "#dfe4ea"
#: Heights of capitals.
_TITLE, _WORDS, _SMALL = 13.0, 9.5, 8.5
#: Points of a curve at most; of more, neighbours are averaged.
_MOST_POINTS = 700


@dataclass(frozen=True)
class Curve:
    """A name for the legend, a colour, and a value at each x; nan leaves a gap."""

    name: str
    colour: str
    values: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """Curves over the same ``x``, which does not go down."""

    title: str
    subtitle: str
    x_label: str
    y_label: str
    x: Sequence[float]
    curves: tuple[Curve, ...]

    def png(self) -> bytes:
        """1800×840 pixels."""
        sheet = Sheet(WIDTH, HEIGHT)
        _draw(self, sheet)
        return sheet.png()

    def svg(self) -> bytes:
        drawing = _Svg()
        _draw(self, drawing)
        return drawing.svg().encode()


class _Surface(Protocol):
    def line(self, points: Sequence[Point], colour: str, width: float) -> None: ...

    def text(self, x: float, y: float, words: str, size: float, colour: str, *, upright: bool = False) -> None: ...


class _Svg:
    """The same as a :class:`Sheet`, in words."""

    def __init__(self) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        ]

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def text(self, x: float, y: float, words: str, size: float, colour: str, *, upright: bool = False) -> None:
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if upright else ""
        # The width is that of the strokes, so that all stands where it does in the PNG.
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size * 1.38:.1f}" fill="{colour}" '
            f'textLength="{text_width(words, size):.1f}" lengthAdjust="spacingAndGlyphs"{turn}>{escape(words)}</text>'
        )

    def svg(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def _draw(chart: Chart, surface: _Surface) -> None:
    values = [value for curve in chart.curves for value in curve.values if math.isfinite(value)] or [0.0]
    low = 0.0 if min(values) < 0.6 * max(values) else min(values)
    y_ticks = nice_ticks(low, max(values))
    first, last = (chart.x[0], chart.x[-1]) if len(chart.x) else (0.0, 1.0)
    last = max(last, first + 1e-3)
    x_ticks = [tick for tick in nice_ticks(first, last, 8) if first <= tick <= last]

    def place(x: float, y: float) -> Point:
        across, up = (x - first) / (last - first), (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * across, HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * up

    _draw_axes(chart, surface, place, x_ticks, y_ticks)
    surface.text(_LEFT, 36, chart.title, _TITLE, _INK)
    surface.text(_LEFT, 60, chart.subtitle, _SMALL, _SOFT)
    _draw_legend(chart, surface)
    for curve in chart.curves:
        for run in _runs(chart.x, curve.values):
            points = [place(x, y) for x, y in run]
            surface.line(points if len(points) > 1 else [*points, *points], curve.colour, 2.0 if len(run) > 1 else 5.0)


def _draw_axes(chart: Chart, surface: _Surface, place: Any, x_ticks: list[float], y_ticks: list[float]) -> None:
    bottom = HEIGHT - _BOTTOM
    for tick in y_ticks:
        y = place(chart.x[0] if len(chart.x) else 0.0, tick)[1]
        surface.line([(_LEFT, y), (WIDTH - _RIGHT, y)], _GRID, 1.0)
        words = f"{tick:g}"
        surface.text(_LEFT - 10 - text_width(words, _SMALL), y + _SMALL / 2, words, _SMALL, _SOFT)
    surface.line([(_LEFT, bottom), (WIDTH - _RIGHT, bottom)], _SOFT, 1.2)
    for tick in x_ticks:
        x = place(tick, y_ticks[0])[0]
        surface.line([(x, bottom), (x, bottom + 5)], _SOFT, 1.2)
        words = f"{tick:g}"
        surface.text(x - text_width(words, _SMALL) / 2, bottom + 9 + _SMALL, words, _SMALL, _SOFT)
    middle = (_LEFT + WIDTH - _RIGHT - text_width(chart.x_label, _WORDS)) / 2
    surface.text(middle, HEIGHT - 18, chart.x_label, _WORDS, _INK)
    middle = (_TOP + bottom + text_width(chart.y_label, _WORDS)) / 2
    surface.text(26, middle, chart.y_label, _WORDS, _INK, upright=True)


def _draw_legend(chart: Chart, surface: _Surface) -> None:
    """At the right edge, in the line of the title."""
    x = float(WIDTH - _RIGHT)
    for curve in reversed(chart.curves):
        x -= text_width(curve.name, _WORDS)
        surface.text(x, 36, curve.name, _WORDS, _INK)
        x -= 38
        surface.line([(x, 36 - _WORDS / 2), (x + 28, 36 - _WORDS / 2)], curve.colour, 3.0)
        x -= 22


def _runs(x: Sequence[float], values: Sequence[float]) -> list[list[Point]]:
    """The points of a curve, in parts between its gaps; of many, neighbours are averaged."""
    xs, ys = np.asarray(x, np.float64), np.asarray(values, np.float64)
    known = np.isfinite(ys)
    edges = np.flatnonzero(np.diff(known.astype(np.int8), prepend=0, append=0))
    step = math.ceil(len(xs) / _MOST_POINTS)
    runs = []
    for start, end in zip(edges[0::2], edges[1::2], strict=True):
        pairs = zip(_thinned(xs[start:end], step), _thinned(ys[start:end], step), strict=True)
        runs.append([(float(a), float(b)) for a, b in pairs])
    return runs


def _thinned(values: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """The mean of each ``step`` neighbours."""
    starts = np.arange(0, len(values), step)
    means: NDArray[np.float64] = np.add.reduceat(values, starts) / np.diff(starts, append=len(values))
    return means


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers that enclose ``low`` and ``high``."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, final = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, final + 1)]
