"""The plot: a run's log as one SVG picture, drawn by hand, that any browser shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from vdeblur.plotting.chart import nice_ticks
from vdeblur.training.log import read_log
from vdeblur.training.validation import EQUAL_DB

PLOT_FILE = "log.svg"
WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 170, 64, 190, 44, 46
COLOURS = ("#1f6fb4", "#d1603d", "#2f8f5b", "#8a5fb0")


@dataclass(frozen=True)
class Panel:
    """A diagram: title and (column, words) of its curves; ``zero`` draws a line at 0."""

    title: str
    curves: tuple[tuple[str, str], ...]
    logarithmic: bool = False
    zero: bool = False


PANELS = (
    Panel("loss", (("loss", "whole"), ("pixels", "Charbonnier")), logarithmic=True),
    Panel(
        "gain over the blurred input, dB",
        (("gain_db", "average"), ("raw_gain_db", "last weights"), ("gain_blurred_db", "on blurred clips"),
         ("worst_gain_db", "worst clip")),
        zero=True,
    ),
    Panel("near-sharp clips: output against input, dB", (("kept_db", "kept"),)),
    Panel(
        "motion errors, pixels",
        (("velocity_error_px", "velocity"), ("exposure_error_px", "during the exposure")),
    ),
)  # fmt: skip


def write_plot(folder: Path, title: str) -> Path:
    """Draw the folder's log; panels without a figure are left out."""
    path = folder / PLOT_FILE
    part = path.with_name(path.name + ".part")
    part.write_text(drawing(read_log(folder), title), encoding="utf-8")
    part.replace(path)
    return path


def drawing(rows: Sequence[dict[str, float]], title: str) -> str:
    """The log's rows as SVG: a panel below the other, steps along the bottom."""
    panels = [panel for panel in PANELS if any(_points(rows, column) for column, _ in panel.curves)]
    height = TOP + max(1, len(panels)) * (PANEL + GAP)
    last = max([row["step"] for row in rows], default=1.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, rows, TOP + number * (PANEL + GAP), last)
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, rows: Sequence[dict[str, float]], top: float, last: float) -> list[str]:
    curves = [(words, _points(rows, column)) for column, words in panel.curves]
    curves = [(words, points) for words, points in curves if points]
    if panel.logarithmic:
        curves = [(words, [(x, math.log10(max(y, 1e-9))) for x, y in points]) for words, points in curves]
    values = [y for _, points in curves for _, y in points] + ([0.0] if panel.zero else [])
    ticks = (log_ticks if panel.logarithmic else nice_ticks)(min(values), max(values))
    low, high = min(ticks[0], min(values)), max(ticks[-1], max(values))

    def x_at(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y_at(value: float) -> float:
        return top + 14 + (PANEL - 14) * (1 - (value - low) / (high - low))

    parts = [f'<text x="{LEFT}" y="{top + 4:.0f}" font-weight="bold" fill="#333333">{escape(panel.title)}</text>']
    for tick in ticks:
        strong = panel.zero and abs(tick) < 1e-12
        parts.append(_line(LEFT, y_at(tick), WIDTH - RIGHT, y_at(tick), "#777777" if strong else "#e3e3e3"))
        words = f"{10**tick:.3g}" if panel.logarithmic else f"{tick:g}"
        parts.append(f'<text x="{LEFT - 6}" y="{y_at(tick) + 4:.1f}" text-anchor="end" fill="#555555">{words}</text>')
    for tick in nice_ticks(0, last):
        if tick <= last:
            parts.append(
                f'<text x="{x_at(tick):.1f}" y="{top + PANEL + 16:.0f}" text-anchor="middle" '
                f'fill="#555555">{tick:g}</text>'
            )
    for number, (words, points) in enumerate(curves):
        parts += _curve(words, [(x_at(x), y_at(y)) for x, y in points], number, top)
    return parts


def _curve(words: str, points: list[tuple[float, float]], number: int, top: float) -> list[str]:
    colour, legend = COLOURS[number], top + 26 + 18 * number
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in points if len(points) <= 40]
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>',
        *marks,
        f'<line x1="{WIDTH - RIGHT + 14}" x2="{WIDTH - RIGHT + 34}" y1="{legend}" y2="{legend}" stroke="{colour}" '
        'stroke-width="2"/>',
        f'<text x="{WIDTH - RIGHT + 40}" y="{legend + 4}">{escape(words)}</text>',
    ]


def log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten that enclose ``low`` and ``high``, themselves logarithms."""
    powers = range(math.floor(low) - 1, math.ceil(high) + 2)
    ticks = [power + math.log10(factor) for power in powers for factor in (1, 2, 5)]
    below = [tick for tick in ticks if tick <= low + 1e-9][-1]
    above = next(tick for tick in ticks if tick >= high - 1e-9 and tick > below)
    return [tick for tick in ticks if below <= tick <= above]


def _points(rows: Sequence[dict[str, float]], column: str) -> list[tuple[float, float]]:
    """(step, value) where there is one; what has not been changed at all would only squeeze the curve."""
    values = [(row["step"], row.get(column, math.nan)) for row in rows]
    return [(step, value) for step, value in values if math.isfinite(value) and value < EQUAL_DB]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
