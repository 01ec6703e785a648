"""Pixels in squares, the pixels of a square one after the other for each channel: what convolutions at a half or a
quarter of the resolution read in channels_last. Each kernel stands twice: it writes float32, or bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.kernels.cpu.block_operands import CELL
from vdeblur.kernels.cpu.jit.linear_layers import store_rounded
from vdeblur.kernels.cpu.jit.registers import load_like
from vdeblur.kernels.cpu.jit.scanlines import copy_line
from vdeblur.kernels.cpu.jit.vectors import load, load_four, load_four_rounded, number, part, put, store
from vdeblur.kernels.cpu.scanlines import MARGIN
from vdeblur.kernels.cpu.simd import LANES

FOUR, TWO = np.float32(4), np.float32(2)


@part
def write_twos(vector, spare, result, at, step, count):  # type: ignore[no-untyped-def]
    """A vector's first ``count`` numbers, two by two, which are ``step`` numbers apart there."""
    store(spare, 0, vector)
    for n in range(0, count, 2):
        store(result, at, load_like(spare, n, (0, 0)))
        at += step


@part
def write_rounded_twos(vector, spare, result, at, step, count):  # type: ignore[no-untyped-def]
    """The same in bfloat16."""
    store_rounded(spare, 0, vector)
    at, step = at // 2, step // 2
    for n in range(count // 2):
        put(result, at, number(spare, n))
        at += step


@part
def write_fours(vector, spare, result, at, step, count):  # type: ignore[no-untyped-def]
    """A vector's first ``count`` numbers, four by four, which are ``step`` numbers apart there."""
    store(spare, 0, vector)
    for n in range(0, count, 4):
        store(result, at, load_like(spare, n, (0, 0, 0, 0)))
        at += step


@part
def write_rounded_fours(vector, spare, result, at, step, count):  # type: ignore[no-untyped-def]
    """The same in bfloat16."""
    store_rounded(spare, 0, vector)
    at, step = at // 2, step // 2
    for n in range(0, count // 2, 2):
        store(result, at, load_like(spare, n, (0, 0)))
        at += step


def _apart(write: Callable[..., Any]) -> Callable[..., None]:
    """A kernel with one of the ways to write."""

    def quarters(result, frame, channels, height, width, top, bottom, span, line, spare):  # type: ignore[no-untyped-def]
        """Rows of a picture · 4 − 2, in squares of 4 × 4."""
        for row in range(top, bottom):
            for n in range(channels):
                copy_line(frame + 4 * n * height * width, width, row, 0, width, line)
                for column in range(0, width, LANES):
                    value = load(line, MARGIN * CELL + column) * FOUR - TWO
                    square = row // 4 * (width // 4) + column // 4
                    at = (square * channels + n) * 16 + row % 4 * 4
                    write(value, spare, result, at, 16 * channels, min(LANES, width - column))

    return quarters


def _together(load: Callable[..., Any], words: int) -> Callable[..., None]:
    """A kernel with one of the ways to read; so many numbers have the room of two in float32."""

    def corrected(result, squares, correction, channels, height, width, top, bottom):  # type: ignore[no-untyped-def]
        """Rows of a picture that lies in squares of 4 × 4, and a correction of all channels."""
        step = 16 * channels * 2 // words
        for row in range(top, bottom):
            for n in range(channels):
                at = (row // 4 * (width // 4) * channels + n) * 16 + row % 4 * 4
                at = at * 2 // words
                line = (n * height + row) * width
                for column in range(0, width, 4):
                    change = load_like(correction, row * width + column, (0, 0, 0, 0))
                    store(result, line + column, load(squares, at) + change)
                    at += step

    return corrected


quarters, quarters_rounded = _apart(write_fours), _apart(write_rounded_fours)
corrected, corrected_rounded = _together(load_four, 2), _together(load_four_rounded, 4)
