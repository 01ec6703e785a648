"""Blurred pans with burnt-in letters, made by code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
HEIGHT, WIDTH = 96, 192
#: Where the letters are: rows and columns.
ROWS, COLUMNS = slice(56, 72), slice(24, 168)


def pan(count: int, speed: float, *, shutter: float = 0.8, seed: int = 1) -> list[Picture]:
    """R'G'B' pictures of a texture that moves by so many pixels a frame, each the mean over its exposure."""
    rng = np.random.default_rng(seed)
    wide = WIDTH + int(abs(speed) * (count + 2)) + 8
    cells = ((4, 0.3), (12, 0.4), (40, 0.3))
    grey = np.zeros((HEIGHT, wide))
    for size, gain in cells:
        noise = rng.random((HEIGHT // size + 1, wide // size + 1))
        grey += gain * noise.repeat(size, 0).repeat(size, 1)[:HEIGHT, :wide]
    texture = np.stack([grey, grey**1.2, grey**0.8], 2) * 255

    def at(place: float) -> NDArray[np.float64]:
        whole, part = int(place), place % 1
        shown: NDArray[np.float64] = texture[:, whole : whole + WIDTH] * (1 - part)
        return shown + texture[:, whole + 1 : whole + 1 + WIDTH] * part

    moments = [[speed * (number + moment / 8 * shutter) for moment in range(8)] for number in range(count)]
    return [np.mean([at(place) for place in places], 0).round().astype(np.uint8) for places in moments]


def letters(seed: int = 3) -> NDArray[np.bool_]:
    """(HEIGHT, WIDTH): where seven-segment letters with strokes of two pixels are."""
    rng = np.random.default_rng(seed)
    strokes = ((2, 4, 0, 7), (7, 9, 0, 7), (12, 14, 0, 7), (2, 9, 0, 2), (2, 9, 5, 7), (7, 14, 0, 2), (7, 14, 5, 7))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for left in range(COLUMNS.start, COLUMNS.stop - 8, 10):
        for on, (top, bottom, first, last) in zip(rng.integers(0, 2, 7), strokes, strict=True):
            mask[ROWS.start + top : ROWS.start + bottom, left + first : left + last] |= bool(on)
    return mask


def stamped(picture: Picture, mask: NDArray[np.bool_], *, opacity: float = 1.0) -> Picture:
    """A picture with white letters."""
    result = picture.copy()
    result[mask] = (255 * opacity + picture[mask] * (1 - opacity)).round()
    return result
