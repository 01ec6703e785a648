"""What a finish looks at, row by row: the twin of ``Finish.look``, in squares of 2 × 2 pixels at once.

A vector of pixels writes what it sees to the first cache, and from there to where the convolutions read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.kernels.cpu.block_operands import CELL
from vdeblur.kernels.cpu.image_refiner import BEFORE, COLOURS, MAPS, PASSED, PLACES, TRUST, X, Y
from vdeblur.kernels.cpu.jit.bilinear import fetch, find, sample
from vdeblur.kernels.cpu.jit.pixel_shuffle import write_rounded_twos, write_twos
from vdeblur.kernels.cpu.jit.scanlines import copy_line, enlarge_lines, place_line
from vdeblur.kernels.cpu.jit.vectors import fill, load, part, store
from vdeblur.kernels.cpu.scanlines import MARGIN, NOTED
from vdeblur.kernels.cpu.simd import LANES

HALF = np.float32(0.5)
RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


@part
def _grey(note, to, plane, k):  # type: ignore[no-untyped-def]
    """Luma of the samples at an offset."""
    red, green = sample(note, to, k), sample(note, to + plane, k)
    return red * RED + green * GREEN + sample(note, to + 2 * plane, k) * BLUE


@part
def _along(lines, span, restored, height, width, row, offsets, points, first, last, contrast, note, seen):  # type: ignore[no-untyped-def]
    """The frame less the restored picture blurred again, three vectors; then that picture's luma along the motion."""
    x, y = load(lines, PLACES * span), fill(np.float32(row))
    step_x, step_y = load(lines, (MAPS + X) * span), load(lines, (MAPS + Y) * span)
    to, plane, middle = NOTED * points * LANES, points * LANES, (first + last) // 2
    find(height, width, x, y, step_x, step_y, offsets, points, note)
    for colour in range(COLOURS):
        at = to + colour * plane
        fetch(restored + 4 * colour * height * width, height, width, points, note, at, to + COLOURS * plane)
        total = (sample(note, at, first) + sample(note, at, last)) * HALF
        for k in range(first + 1, last):
            total = total + sample(note, at, k)
        again = total / np.float32(last - first)
        store(seen, colour * LANES, (load(lines, colour * span) - again) * contrast)
    here, at = _grey(note, to, plane, middle), COLOURS
    for k in range(points):
        if k != middle:
            store(seen, at * LANES, (_grey(note, to, plane, k) - here) * contrast)
            at += 1


@part
def _aside(lines, span, picture, side, height, width, row, middle, weight, note, seen):  # type: ignore[no-untyped-def]
    """A neighbour's colours less the frame's own, weighted by the trust in them, and that trust: four vectors."""
    trust = load(lines, (MAPS + TRUST + side) * span)
    x = load(lines, PLACES * span) + load(lines, (MAPS + BEFORE + 2 * side) * span)
    y = load(lines, (MAPS + BEFORE + 2 * side + 1) * span) + fill(np.float32(row))
    find(height, width, x, y, x, y, middle, 1, note)
    for colour in range(COLOURS):
        fetch(picture + 4 * colour * height * width, height, width, 1, note, NOTED * LANES, (NOTED + 1) * LANES)
        there = sample(note, NOTED * LANES, 0)
        store(seen, colour * LANES, (there - load(lines, colour * span)) * (trust * weight))
    store(seen, COLOURS * LANES, trust)


@part
def _see(  # type: ignore[no-untyped-def]
    lines, span, restored, before, after, height, width, row, offsets, points, first, last, passed, details,
    contrast, aside, note, seen,
):  # fmt: skip
    """All that pixels see, in the order in which the convolutions expect it."""
    for colour in range(COLOURS):
        store(seen, colour * LANES, load(lines, colour * span) - HALF)
        store(seen, (COLOURS + colour) * LANES, load(lines, (COLOURS + colour) * span) * contrast)
    seen += 8 * COLOURS * LANES
    _along(lines, span, restored, height, width, row, offsets, points, first, last, contrast, note, seen)
    seen += 4 * (COLOURS + points - 1) * LANES
    middle = offsets + 4 * ((first + last) // 2)
    for side in range(2):
        picture = after if side else before
        if picture:
            _aside(lines, span, picture, side, height, width, row, middle, aside, note, seen)
        seen += 4 * (COLOURS + 1) * LANES
    for n in range(passed + details):
        store(seen, n * LANES, load(lines, (MAPS + PASSED + n) * span))


def _kernel(write: Callable[..., Any]) -> Callable[..., None]:
    """A kernel with one of the ways to write."""

    def rows(  # type: ignore[no-untyped-def]
        result, frame, residual, restored, details, before, after, maps, offsets, points, first, last,
        passed, more, channels, contrast, aside,
        height, width, area_top, left, right, top, bottom, span, scratch, ramp, note, seen,
    ):  # fmt: skip
        plane = 4 * height * width
        place_line(scratch + 4 * PLACES * span, span, left, ramp)
        for row in range(top, bottom):
            for n in range(COLOURS):
                copy_line(frame + n * plane, width, row, left, right, scratch + 4 * n * span)
                copy_line(residual + n * plane, width, row, left, right, scratch + 4 * (COLOURS + n) * span)
            known = scratch + 4 * MAPS * span
            enlarge_lines(maps, PASSED + passed, height, width, row, left, right, ramp, known, span)
            for n in range(more):
                copy_line(details + n * plane, width, row, left, right, known + 4 * (PASSED + passed + n) * span)
            for column in range(left, right, LANES):
                lines = scratch + 4 * (column - (left // CELL - MARGIN) * CELL)
                _see(
                    lines, span, restored, before, after, height, width, row, offsets, points, first, last,
                    passed, more, contrast, aside, note, seen,
                )  # fmt: skip
                square = (row - area_top) // 2 * ((right - left) // 2) + (column - left) // 2
                at = square * channels * 4 + (row - area_top) % 2 * 2
                for n in range(channels):
                    write(load(seen, n * LANES), note, result, at + 4 * n, 4 * channels, min(LANES, right - column))

    return rows


rows, rows_rounded = _kernel(write_twos), _kernel(write_rounded_twos)
