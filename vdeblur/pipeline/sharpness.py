"""Sharpness measure (variance of the Laplacian) of each frame before and after, and its plot over time."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from vdeblur.atomic_files import write_atomically
from vdeblur.engine.pixels import sample_range
from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Frame
from vdeblur.plotting.chart import Chart, Curve
from vdeblur.video.photo.png import encode_png

#: Orange and blue of Okabe and Ito (2008), which all people tell apart.
BEFORE, AFTER = "#e69f00", "#0072b2"
_NAME_LETTERS = 60
#: Rows of a strip, so that intermediate results stay in the processor's cache.
_ROWS = 64


def sharpness(frame: Frame, *, field: bool = False) -> float:
    """Variance of the Laplacian of luma (green for RGB), in squared 8-bit levels; nan where it is under 3×3.

    The usual measure of focus (Pech-Pacheco et al. 2000). It grows with detail and with noise, so it compares a frame
    with its restoration, not one scene with another.

    Args:
        field: only the even rows, for interlaced frames.
    """
    plane = np.asarray(frame.planes[0].cpu() if hasattr(frame.planes[0], "cpu") else frame.planes[0])
    plane = plane[::2] if field else plane
    rows, columns = plane.shape
    if rows < 3 or columns < 3:
        return math.nan
    count, total, squares = (rows - 2) * (columns - 2), 0.0, 0.0
    for top in range(0, rows - 2, _ROWS):
        change = laplacian(plane[top : top + _ROWS + 2])
        total += float(change.sum(dtype=np.float64))
        squares += float(np.vdot(change, change))
    scale = 255 / sample_range(frame.format, frame.colour).scale
    return float((squares / count - (total / count) ** 2) * scale * scale)


def laplacian(part: Any) -> Any:
    """The four neighbours of each inner sample less four times itself, float32, in one line."""
    samples = part.astype(np.float32)
    change = samples[1:-1, 1:-1] * np.float32(-4)
    for neighbour in (samples[:-2, 1:-1], samples[2:, 1:-1], samples[1:-1, :-2], samples[1:-1, 2:]):
        change += neighbour
    return change.reshape(-1)


class SharpnessPlot:
    """Measures every frame before and after restoration, and plots both over time.

    Args:
        path: .png or .svg; it appears when it is complete.
        name: of the video, for the title.
        field: frames are interlaced.
        overwrite: replace an existing file.

    Raises:
        UsageError: the path cannot be.
    """

    def __init__(self, path: str | Path, name: str, *, field: bool = False, overwrite: bool = False) -> None:
        self.path = check_plot_path(path, overwrite=overwrite)
        self._name = name
        self._field = field
        #: Time at which the video begins; None: that of the first frame.
        self.start_seconds: float | None = None
        self._times, self._before, self._after = array("d"), array("d"), array("d")

    def add(self, before: Frame, after: Frame) -> None:
        """Measure a frame and its restoration; in the order of time."""
        self._times.append(before.time_seconds)
        self._before.append(sharpness(before, field=self._field))
        self._after.append(sharpness(after, field=self._field))

    @property
    def means(self) -> tuple[float, float] | None:
        """Mean sharpness before and after; None if no frame could be measured."""
        before, after = (np.asarray(values) for values in (self._before, self._after))
        if not np.isfinite(before).any():
            return None
        return float(np.nanmean(before)), float(np.nanmean(after))

    @property
    def words(self) -> str:
        """Summary of the means."""
        if self.means is None:
            return "no frame was large enough to measure"
        before, after = self.means
        more = f" ({(after / before - 1) * 100:+.0f} %)" if before > 0 else ""
        return f"mean {_short(before)} before, {_short(after)} after{more}"

    def write(self) -> None:
        """Write the plot.

        Raises:
            TargetError: it cannot be written.
        """
        first = self._times[0] if self._times else 0.0
        start = first if self.start_seconds is None else self.start_seconds
        chart = Chart(
            "Sharpness of each frame", f"{_shortened(self._name)}: {self.words}", "time in seconds",
            "sharpness (variance of the Laplacian)",
            [time - start for time in self._times],
            (Curve("before", BEFORE, self._before), Curve("after", AFTER, self._after)),
        )  # fmt: skip
        svg = self.path.suffix.lower() == ".svg"
        try:
            write_atomically(self.path, chart.svg() if svg else encode_png(chart.pixels()))
        except TargetError as exc:
            raise TargetError(str(exc).replace("write", "write the plot", 1)) from exc


def check_plot_path(path: str | Path, *, overwrite: bool) -> Path:
    """Validate the path of a plot.

    Raises:
        UsageError: its ending is another, there is no such folder, or it exists.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"the plot cannot be {path}: end it in .png or .svg")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for the plot {path.name}")
    if path.is_dir():
        raise UsageError(f"the plot cannot be {path}: that is a folder")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; overwrite=True replaces it")
    return path


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 3]}..."


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
