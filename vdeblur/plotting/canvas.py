"""Canvas: anti-aliased lines and stroke-font text, rasterised into an R'G'B' array."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdeblur.plotting.hershey_font import text_lines

Point = tuple[float, float]


class Canvas:
    """An image to draw on, in units of ``scale`` pixels each.

    Args:
        width, height: size in units.
        scale: pixels a unit.
        paper: background colour, "#rrggbb".
    """

    def __init__(self, width: int, height: int, *, scale: int = 2, paper: str = "#ffffff") -> None:
        self._scale = scale
        #: (H, W, 3), R'G'B' in [0, 255].
        self._ink = np.empty((height * scale, width * scale, 3), np.float32)
        self._ink[:] = _rgb(paper)

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        """Stroke a polyline through the points (x, y), in units, with round caps and anti-aliased edges."""
        self._lines([points], colour, width)

    def text(self, x: float, y: float, words: str, size: float, colour: str, *, upright: bool = False) -> None:
        """Draw text, its capitals ``size`` high, from ``x`` on the baseline ``y``; ``upright`` text reads upwards."""
        lines = text_lines(words, 0, 0, size)
        turned = [[(x + b, y - a) if upright else (x + a, y + b) for a, b in line] for line in lines]
        self._lines(turned, colour, max(0.9, size / 8))

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image: (H · scale, W · scale, 3), 8-bit R'G'B'."""
        return np.rint(self._ink).astype(np.uint8)

    def _lines(self, lines: Sequence[Sequence[Point]], colour: str, width: float) -> None:
        radius = width * self._scale / 2
        drawn = [np.asarray(line, np.float64) * self._scale - 0.5 for line in lines if len(line)]
        if not drawn:
            return
        place = _around(np.concatenate(drawn), radius, self._ink.shape)
        cover = np.zeros((place[0].stop - place[0].start, place[1].stop - place[1].start), np.float32)
        corner = (place[1].start, place[0].start)
        for line in drawn:
            for start, end in pairwise(line - corner):
                _cover_segment(cover, start, end, radius)
        self._ink[place] += cover[..., None] * (_rgb(colour) - self._ink[place])


def _rgb(colour: str) -> NDArray[np.float32]:
    """Red, green and blue, in [0, 255], of "#rrggbb"."""
    return np.array([int(colour[digit : digit + 2], 16) for digit in (1, 3, 5)], np.float32)


def _around(points: NDArray[np.float64], radius: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Bounding box, as slices of rows and columns, of strokes of a radius around the points."""
    low, high = points.min(axis=0) - radius - 1, points.max(axis=0) + radius + 2
    (left, top), (right, bottom) = np.maximum(low, 0).astype(int), np.ceil(np.maximum(high, 0)).astype(int)
    return slice(min(top, shape[0]), min(bottom, shape[0])), slice(min(left, shape[1]), min(right, shape[1]))


def _cover_segment(cover: NDArray[np.float32], start: Any, end: Any, radius: float) -> None:
    """Add a segment's coverage of each pixel, in [0, 1], by the distance of the pixel's centre."""
    rows, columns = _around(np.stack((start, end)), radius, cover.shape)
    y, x = np.ogrid[rows, columns]
    (x1, y1), (dx, dy) = start, end - start
    length = dx * dx + dy * dy
    along: Any = 0.0 if length == 0 else np.clip(((x - x1) * dx + (y - y1) * dy) / length, 0, 1)
    distance = np.hypot(x - x1 - along * dx, y - y1 - along * dy)
    part = np.clip(radius + 0.5 - distance, 0, 1)
    np.maximum(cover[rows, columns], part, out=cover[rows, columns], casting="same_kind")
