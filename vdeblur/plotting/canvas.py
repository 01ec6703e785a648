"""Raster: a sheet to draw smooth lines and letters on, and PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdeblur.plotting.hershey_font import text_lines

Point = tuple[float, float]


class Sheet:
    """A white picture to draw on, in units of which each is ``scale`` pixels.

    Args:
        width, height: in units.
    """

    def __init__(self, width: int, height: int, *, scale: int = 2) -> None:
        self._scale = scale
        #: (rows, columns, 3), R'G'B' from 0 to 255.
        self._ink = np.full((height * scale, width * scale, 3), 255, np.float32)

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        """A line through the points (x, y), with round ends and smooth edges; "#rrggbb"."""
        self._lines([points], colour, width)

    def text(self, x: float, y: float, words: str, size: float, colour: str, *, upright: bool = False) -> None:
        """A text that starts at ``x`` and stands on ``y``, or, ``upright``, that is read from below."""
        lines = text_lines(words, 0, 0, size)
        turned = [[(x + b, y - a) if upright else (x + a, y + b) for a, b in line] for line in lines]
        self._lines(turned, colour, max(0.9, size / 8))

    def png(self) -> bytes:
        return png(np.rint(self._ink).astype(np.uint8))

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
        rgb = np.array([int(colour[digit : digit + 2], 16) for digit in (1, 3, 5)], np.float32)
        self._ink[place] += cover[..., None] * (rgb - self._ink[place])


def _around(points: NDArray[np.float64], radius: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a picture that ink around the points may touch."""
    low, high = points.min(axis=0) - radius - 1, points.max(axis=0) + radius + 2
    (left, top), (right, bottom) = np.maximum(low, 0).astype(int), np.ceil(np.maximum(high, 0)).astype(int)
    return slice(min(top, shape[0]), min(bottom, shape[0])), slice(min(left, shape[1]), min(right, shape[1]))


def _cover_segment(cover: NDArray[np.float32], start: Any, end: Any, radius: float) -> None:
    """What a segment covers of each pixel, by its distance: 1 well inside, 0 well outside."""
    rows, columns = _around(np.stack((start, end)), radius, cover.shape)
    y, x = np.ogrid[rows, columns]
    (x1, y1), (dx, dy) = start, end - start
    length = dx * dx + dy * dy
    along: Any = 0.0 if length == 0 else np.clip(((x - x1) * dx + (y - y1) * dy) / length, 0, 1)
    distance = np.hypot(x - x1 - along * dx, y - y1 - along * dy)
    part = np.clip(radius + 0.5 - distance, 0, 1)
    np.maximum(cover[rows, columns], part, out=cover[rows, columns], casting="same_kind")


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture (rows, columns, 3), R'G'B' of 8 bits, as a PNG file (ISO/IEC 15948)."""
    height, width, _ = picture.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = picture.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
