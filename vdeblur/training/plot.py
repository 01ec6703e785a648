"""Training curves: a run's log as one SVG drawing, with a chart for each kind of figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vdeblur.atomic_files import write_atomically
from vdeblur.plotting.chart import Chart, Curve, stacked_svg
from vdeblur.training.log import read_log
from vdeblur.training.validation import EQUAL_DB

PLOT_FILE = "log.svg"
PANEL_HEIGHT = 300
COLOURS = ("#1f6fb4", "#d1603d", "#2f8f5b", "#8a5fb0")


@dataclass(frozen=True)
class Panel:
    """A chart of the plot: its title, and (column, legend) of its curves."""

    title: str
    curves: tuple[tuple[str, str], ...]
    logarithmic: bool = False
    zero_line: bool = False

    def chart(self, rows: Sequence[dict[str, float]], run: str) -> Chart | None:
        """The panel with the figures of a log, None where it has none of them; ``run`` goes before the title."""
        drawn = [
            Curve(legend, colour, [value for _, value in points], [step for step, _ in points])
            for (column, legend), colour in zip(self.curves, COLOURS, strict=False)
            if (points := _points(rows, column))
        ]
        if not drawn:
            return None
        steps = [0.0, max(row["step"] for row in rows)]
        return Chart(
            f"{run}: {self.title}", "", "step", "", steps, tuple(drawn),
            height=PANEL_HEIGHT, logarithmic=self.logarithmic, zero_line=self.zero_line, dots=True,
        )  # fmt: skip


PANELS = (
    Panel("loss", (("loss", "whole"), ("pixels", "Charbonnier")), logarithmic=True),
    Panel(
        "gain over the blurred input, dB",
        (("gain_db", "average"), ("raw_gain_db", "last weights"), ("gain_blurred_db", "on blurred clips"),
         ("worst_gain_db", "worst clip")),
        zero_line=True,
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
    write_atomically(path, drawing(read_log(folder), title))
    return path


def drawing(rows: Sequence[dict[str, float]], title: str) -> str:
    """The rows of a log as SVG: panels below each other, steps along the bottom."""
    charts = [chart for panel in PANELS if (chart := panel.chart(rows, title)) is not None]
    return stacked_svg(charts or [Chart(title, "no figures yet", "step", "", [], ())])


def _points(rows: Sequence[dict[str, float]], column: str) -> list[tuple[float, float]]:
    """(step, value) of a column; scores of unchanged clips are left out, for they would only squeeze the curve."""
    values = [(row["step"], row.get(column, math.nan)) for row in rows]
    return [(step, value) for step, value in values if math.isfinite(value) and value < EQUAL_DB]
