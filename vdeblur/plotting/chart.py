"""Line charts with labelled axes, one or several below each other, as SVG or as an R'G'B' array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from html import escape
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vdeblur.plotting.canvas import Canvas, Point
from vdeblur.plotting.hershey_font import text_width

WIDTH, HEIGHT = 900, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 28, 84, 64
_INK, _SOFT, _GRID = "#1f2933", "#52606d", "#dfe4ea"
#: Heights of capitals.
_TITLE, _WORDS, _SMALL = 13.0, 9.5, 8.5
#: Points of a curve at most; of more, neighbours are averaged.
_MOST_POINTS = 700
#: Points of a curve that are shown as dots, at most.
_MOST_DOTS = 40


@dataclass(frozen=True)
class Curve:
    """A line of a chart: its legend, its colour "#rrggbb", and a value at each x; nan leaves a gap."""

    name: str
    colour: str
    values: Sequence[float]
    #: Positions of its own instead of the chart's.
    x: Sequence[float] | None = None


@dataclass(frozen=True)
class Chart:
    """Curves over one axis ``x``, which does not go down."""

    title: str
    subtitle: str
    x_label: str
    y_label: str
    x: Sequence[float]
    curves: tuple[Curve, ...]
    _: KW_ONLY
    height: int = HEIGHT
    #: The y axis is logarithmic; values must be positive.
    logarithmic: bool = False
    #: The y axis includes 0, and a line marks it.
    zero_line: bool = False
    #: A curve of few points shows them as dots.
    dots: bool = False

    def pixels(self) -> NDArray[np.uint8]:
        """The chart as an image (2 · height, 1800, 3), 8-bit R'G'B'."""
        canvas = Canvas(WIDTH, self.height)
        _draw(self, canvas)
        return canvas.pixels

    def svg(self) -> str:
        return stacked_svg([self])


def stacked_svg(charts: Sequence[Chart]) -> str:
    """Charts below each other in one SVG drawing."""
    drawing = _Svg(sum(chart.height for chart in charts))
    for chart in charts:
        _draw(chart, drawing)
        drawing.top += chart.height
    return drawing.svg()


class _Surface(Protocol):
    def line(self, points: Sequence[Point], colour: str, width: float) -> None: ...

    def text(self, x: float, y: float, words: str, size: float, colour: str, *, upright: bool = False) -> None: ...


class _Svg:
    """The drawing operations of a :class:`Canvas` as SVG elements."""

    def __init__(self, height: int) -> None:
        #: Added to every y.
        self.top = 0
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="sans-serif">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        ]

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        path = " ".join(f"{x:.1f},{y + self.top:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def text(self, x: float, y: float, words: str, size: float, colour: str, *, upright: bool = False) -> None:
        y += self.top
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if upright else ""
        # The width is that of the strokes, so that all stands where it does in the PNG.
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size * 1.38:.1f}" fill="{colour}" '
            f'textLength="{text_width(words, size):.1f}" lengthAdjust="spacingAndGlyphs"{turn}>{escape(words)}</text>'
        )

    def svg(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def _draw(chart: Chart, surface: _Surface) -> None:
    axis = _y_axis(chart)
    first, last = (chart.x[0], chart.x[-1]) if len(chart.x) else (0.0, 1.0)
    last = max(last, first + 1e-3)
    x_ticks = [tick for tick in nice_ticks(first, last, 8) if first <= tick <= last]

    def place(x: float, y: float) -> Point:
        across, up = (x - first) / (last - first), (y - axis[0]) / (axis[-1] - axis[0])
        bottom = chart.height - _BOTTOM
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * across, bottom - (bottom - _TOP) * up

    _draw_axes(chart, surface, place, x_ticks, axis)
    surface.text(_LEFT, 36, chart.title, _TITLE, _INK)
    surface.text(_LEFT, 60, chart.subtitle, _SMALL, _SOFT)
    _draw_legend(chart, surface)
    for curve in chart.curves:
        for run in _runs(chart.x if curve.x is None else curve.x, _scaled(chart, curve.values)):
            points = [place(x, y) for x, y in run]
            surface.line(points if len(points) > 1 else [*points, *points], curve.colour, 2.0 if len(run) > 1 else 5.0)
            if chart.dots and 1 < len(points) <= _MOST_DOTS:
                for point in points:
                    surface.line([point, point], curve.colour, 5.0)


def _scaled(chart: Chart, values: Sequence[float]) -> Sequence[float]:
    """Values as the y axis counts them: themselves, or their decimal logarithms."""
    return [math.log10(max(value, 1e-9)) for value in values] if chart.logarithmic else values


def _y_axis(chart: Chart) -> list[float]:
    """Ticks that enclose the curves' scaled values."""
    scaled = [value for curve in chart.curves for value in _scaled(chart, curve.values) if math.isfinite(value)]
    if chart.logarithmic:
        return log_ticks(min(scaled, default=0.0), max(scaled, default=1.0))
    values = scaled or [0.0]
    low = 0.0 if chart.zero_line or 0 <= min(values) < 0.6 * max(values) else min(values)
    return nice_ticks(min(low, *values), max(low, *values))


def _draw_axes(chart: Chart, surface: _Surface, place: Any, x_ticks: list[float], y_ticks: list[float]) -> None:
    bottom = chart.height - _BOTTOM
    for tick in y_ticks:
        y = place(chart.x[0] if len(chart.x) else 0.0, tick)[1]
        zero = chart.zero_line and abs(tick) < 1e-12
        surface.line([(_LEFT, y), (WIDTH - _RIGHT, y)], _SOFT if zero else _GRID, 1.0)
        words = f"{10**tick:.3g}" if chart.logarithmic else f"{tick:g}"
        surface.text(_LEFT - 10 - text_width(words, _SMALL), y + _SMALL / 2, words, _SMALL, _SOFT)
    surface.line([(_LEFT, bottom), (WIDTH - _RIGHT, bottom)], _SOFT, 1.2)
    for tick in x_ticks:
        x = place(tick, y_ticks[0])[0]
        surface.line([(x, bottom), (x, bottom + 5)], _SOFT, 1.2)
        words = f"{tick:g}"
        surface.text(x - text_width(words, _SMALL) / 2, bottom + 9 + _SMALL, words, _SMALL, _SOFT)
    middle = (_LEFT + WIDTH - _RIGHT - text_width(chart.x_label, _WORDS)) / 2
    surface.text(middle, chart.height - 18, chart.x_label, _WORDS, _INK)
    middle = (_TOP + bottom + text_width(chart.y_label, _WORDS)) / 2
    surface.text(26, middle, chart.y_label, _WORDS, _INK, upright=True)


def _draw_legend(chart: Chart, surface: _Surface) -> None:
    """At the right edge, beside the title, or below it where there is no subtitle."""
    x, y = float(WIDTH - _RIGHT), 36 if chart.subtitle else 60
    for curve in reversed(chart.curves):
        x -= text_width(curve.name, _WORDS)
        surface.text(x, y, curve.name, _WORDS, _INK)
        x -= 38
        surface.line([(x, y - _WORDS / 2), (x + 28, y - _WORDS / 2)], curve.colour, 3.0)
        x -= 22


def _runs(x: Sequence[float], values: Sequence[float]) -> list[list[Point]]:
    """The points of a curve as polylines between its gaps; of many, neighbours are averaged."""
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


def log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten that enclose ``low`` and ``high``, themselves logarithms."""
    powers = range(math.floor(low) - 1, math.ceil(high) + 2)
    ticks = [power + math.log10(factor) for power in powers for factor in (1, 2, 5)]
    below = [tick for tick in ticks if tick <= low + 1e-9][-1]
    above = next(tick for tick in ticks if tick >= high - 1e-9 and tick > below)
    return [tick for tick in ticks if below <= tick <= above]
