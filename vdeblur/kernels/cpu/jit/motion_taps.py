"""Motion taps, row by row: deconvolution with one bilinearly interpolated motion vector per pixel.

The twin of ``MotionTaps``' plain operators. The features and hidden units of a vector of pixels stay in the L1 cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.kernels.cpu.block_operands import CELL
from vdeblur.kernels.cpu.jit.bilinear import fetch, find, sample
from vdeblur.kernels.cpu.jit.linear_layers import block, last_block, last_paired_block, paired_block, store_pairs
from vdeblur.kernels.cpu.jit.pixel_shuffle import write_fours, write_rounded_fours
from vdeblur.kernels.cpu.jit.registers import root
from vdeblur.kernels.cpu.jit.scanlines import copy_line, enlarge_lines, place_line
from vdeblur.kernels.cpu.jit.vectors import exponent, fill, load, mantissa, number, part, store
from vdeblur.kernels.cpu.motion_taps import BEFORE, LENGTH, LUMA, MAPS, NOTES, PLACES, TRUST, X, Y
from vdeblur.kernels.cpu.scanlines import MARGIN, NOTED
from vdeblur.kernels.cpu.simd import LANES, SUMS

HALF, ONE, TWO, FOUR = (np.float32(value) for value in (0.5, 1, 2, 4))
FAINT, LOG_2 = np.float32(1e-3), np.float32(np.log(2))
THIRD, FIFTH, SEVENTH, NINTH, ELEVENTH = (np.float32(1 / value) for value in (3, 5, 7, 9, 11))


@part
def _look(  # type: ignore[no-untyped-def]
    picture, height, width, x, y, step_x, step_y, offsets, count, here, weight, note, seen
):  # fmt: skip
    """What pixels see of a picture at their place + each offset · step: differences to ``here``, weighted."""
    to = NOTED * count * LANES
    find(height, width, x, y, step_x, step_y, offsets, count, note)
    fetch(picture, height, width, count, note, to, to + count * LANES)
    for k in range(count):
        store(seen, k * LANES, (sample(note, to, k) - here) * weight)


@part
def _logarithm(x):  # type: ignore[no-untyped-def]
    """Of numbers from 1 on."""
    part = mantissa(x)
    ratio = (part - ONE) / (part + ONE)
    square = ratio * ratio
    series = square * (square * (square * (square * ELEVENTH + NINTH) + SEVENTH) + FIFTH) + THIRD
    return exponent(x) * LOG_2 + ratio * TWO * (series * square + ONE)


@part
def _see(  # type: ignore[no-untyped-def]
    own, before, after, height, width, row, lines, span, offsets, count, around, points, aside, beside, guides,
    contrast, note, seen,
):  # fmt: skip
    """All that pixels see, in the order in which the filters expect it."""
    x, y, here = load(lines, PLACES * span), fill(np.float32(row)), load(lines, LUMA * span)
    step_x, step_y = load(lines, (MAPS + X) * span), load(lines, (MAPS + Y) * span)
    weight = fill(contrast)
    _look(own, height, width, x, y, step_x, step_y, offsets, count, here, weight, note, seen)
    seen += 4 * count * LANES
    store(seen, 0, _logarithm(load(lines, (MAPS + LENGTH) * span) + ONE) / FOUR)
    store(seen, LANES, here - HALF)
    seen += 8 * LANES
    if points:
        for side in range(2):
            picture = after if side else before
            if picture:
                trust = load(lines, (MAPS + TRUST + side) * span)
                there_x = x + load(lines, (MAPS + BEFORE + 2 * side) * span)
                there_y = y + load(lines, (MAPS + BEFORE + 2 * side + 1) * span)
                _look(
                    picture, height, width, there_x, there_y, step_x, step_y, around, points,
                    here, weight * trust, note, seen,
                )  # fmt: skip
                store(seen, points * LANES, trust)
            seen += 4 * (points + 1) * LANES
    if beside:
        length = ONE / (root(step_x * step_x + step_y * step_y) + FAINT)
        across_x, across_y = step_y * length, step_x * length
        _look(own, height, width, x + across_x, y - across_y, step_x, step_y, aside, beside, here, weight, note, seen)
        seen += 4 * beside * LANES
        _look(own, height, width, x - across_x, y + across_y, step_x, step_y, aside, beside, here, weight, note, seen)
        seen += 4 * beside * LANES
    for guide in range(guides):
        store(seen, guide * LANES, load(lines, (MAPS + NOTES + guide) * span))


@part
def _think(seen, weights, biases, inputs, hidden, depth, outputs, one, other):  # type: ignore[no-untyped-def]
    """The layers: (inputs) vectors from ``seen`` on → (outputs) vectors from the address on that is returned."""
    x, y = seen, one
    for _ in range(depth + 1):
        for n in range(0, hidden, SUMS):
            block(x, weights, biases, inputs, y + 4 * n * LANES)
            weights, biases = weights + 4 * SUMS * inputs, biases + 4 * SUMS
        x, y, inputs = y, other if y == one else one, hidden
    for n in range(0, outputs, SUMS):
        last_block(x, weights, biases, inputs, y + 4 * n * LANES)
        weights, biases = weights + 4 * SUMS * inputs, biases + 4 * SUMS
    return y


@part
def _think_in_pairs(seen, weights, biases, inputs, hidden, depth, outputs, one, other):  # type: ignore[no-untyped-def]
    """The same with bfloat16 numbers, two by two."""
    inputs = (inputs + 1) // 2
    for k in range(inputs):
        store_pairs(other, k * LANES, load(seen, 2 * k * LANES), load(seen, (2 * k + 1) * LANES))
    x, y = other, one
    for _ in range(depth + 1):
        for n in range(0, hidden, SUMS):
            paired_block(x, weights, biases, inputs, y + 2 * n * LANES)
            weights, biases = weights + 4 * SUMS * inputs, biases + 4 * SUMS
        x, y, inputs = y, other if y == one else one, hidden // 2
    for n in range(0, outputs, SUMS):
        last_paired_block(x, weights, biases, inputs, y + 4 * n * LANES)
        weights, biases = weights + 4 * SUMS * inputs, biases + 4 * SUMS
    return y


@part
def _spread(  # type: ignore[no-untyped-def]
    made, first, count, own, gate, result, high, wide, row, column, numbers, spare
):  # fmt: skip
    """``count`` of what was made of some pixels, from number ``first`` on, as pictures."""
    for n in range(count):
        value = load(made, (first + n) * LANES) * gate + fill(number(own, first + n))
        write_fours(value, spare, result, (n * high + row) * wide + column, 4, numbers)


def _kernel(think: Callable[..., Any], write: Callable[..., Any]) -> Callable[..., None]:
    """A kernel with one of the ways to go through the layers, and to write texture."""

    def rows(  # type: ignore[no-untyped-def]
        correction, texture, details, own, before, after, maps,
        offsets, count, around, points, aside, beside, weights, biases, own_biases,
        inputs, hidden, depth, outputs, features, more, guides, contrast,
        height, width, area_top, area_bottom, left, right, top, bottom, span, scratch, ramp, note, seen, one, other,
    ):  # fmt: skip
        place_line(scratch + 4 * PLACES * span, span, left, ramp)
        for row in range(top, bottom):
            copy_line(own, width, row, left, right, scratch + 4 * LUMA * span)
            enlarge_lines(
                maps, NOTES + guides, height, width, row, left, right, ramp, scratch + 4 * MAPS * span, span
            )  # fmt: skip
            for column in range(left, right, LANES):
                lines = scratch + 4 * (column - (left // CELL - MARGIN) * CELL)
                _see(
                    own, before, after, height, width, row, lines, span, offsets, count, around, points,
                    aside, beside, guides, contrast, note, seen,
                )  # fmt: skip
                made = think(seen, weights, biases, inputs, hidden, depth, outputs, one, other)
                length = load(lines, (MAPS + LENGTH) * span)
                square = length * length
                gate = square / (square + ONE)
                high, wide, y, x = area_bottom - area_top, right - left, row - area_top, column - left
                numbers = min(LANES, right - column)
                _spread(made, 0, 1, own_biases, gate, correction, high, wide, y, x, numbers, note)
                at = (y // 4 * (wide // 4) + x // 4) * features * 16 + y % 4 * 4
                for n in range(features):
                    value = load(made, (n + 1) * LANES) * gate + fill(number(own_biases, n + 1))
                    write(value, note, texture, at + n * 16, features * 16, numbers)
                _spread(made, features + 1, more, own_biases, gate, details, high, wide, y, x, numbers, note)

    return rows


rows, rows_in_pairs = _kernel(_think, write_fours), _kernel(_think_in_pairs, write_rounded_fours)
