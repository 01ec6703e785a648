"""The motion profile: as many cells at a time as a vector has lanes, without leaving the first cache."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from vdeblur.kernels.cpu.jit.registers import (
    alternate,
    fill_row,
    floor,
    from_zero_to,
    least,
    load,
    load_like,
    root,
    store_place,
    total,
    whole,
)  # fmt: skip
from vdeblur.kernels.cpu.jit.vectors import number, part, put, store
from vdeblur.kernels.cpu.motion_profile import BLOCK, POINTS, STEP_X, STEP_Y, X, Y
from vdeblur.kernels.cpu.simd import STEP

#: Before a product of so many logarithms' arguments would overflow, its own is taken.
LARGE = 1e200
ZERO, HALF, ONE, FAINT = (np.float32(number) for number in (0, 0.5, 1, 1e-5))


@part
def _look(grey, offsets, line, width, right, bottom, points):  # type: ignore[no-untyped-def]
    """Luma along the motion of some cells, the border repeated; two columns of pixels that are not yet joined."""
    x, y, step_x, step_y = load(line, X), load(line, Y), load(line, STEP_X), load(line, STEP_Y)
    part_y = POINTS + points * STEP
    corners, pairs = part_y + points * STEP, part_y + 2 * points * STEP
    for k in range(points):
        offset = number(offsets, k)
        at_x, at_y = from_zero_to(step_x * offset + x, right), from_zero_to(step_y * offset + y, bottom)
        whole_x, whole_y = least(floor(at_x), right - ONE), least(floor(at_y), bottom - ONE)
        store(line, POINTS + k * STEP, at_x - whole_x)
        store(line, part_y + k * STEP, at_y - whole_y)
        store_place(line, corners + k * STEP, whole_x, whole_y, width)
    for n in range(points * STEP):
        at, part_of = whole(line, corners + n), number(line, part_y + n)
        upper = load_like(grey, at, (0, 0))
        store(line, pairs + 2 * n, upper + (load_like(grey, at + width, (0, 0)) - upper) * part_of)


@part
def _differences(line, changes, points):  # type: ignore[no-untyped-def]
    """Differences along the motion of what :func:`_look` saw, and their mean square; ``BLOCK`` zeros behind them."""
    before = energy = load(line, changes + (points - 1) * STEP)
    pairs = POINTS + 3 * points * STEP
    for k in range(points):
        one, other = load(line, pairs + 2 * k * STEP), load(line, pairs + (2 * k + 1) * STEP)
        left = alternate(one, other, 0)
        seen = left + (alternate(one, other, 1) - left) * load(line, POINTS + k * STEP)
        if k:
            change = seen - before
            store(line, changes + (k - 1) * STEP, change)
            energy = energy + change * change
        before = seen
    return energy * (ONE / np.float32(points - 1))


@part
def _add_products(line, changes, sums, points, lags, weight):  # type: ignore[no-untyped-def]
    """Add the sums of weighted products of two differences, by how far apart they are."""
    for lag in range(0, lags, BLOCK):
        a = b = c = d = e = f = g = h = load(line, changes + (points - 1) * STEP)
        for k in range(changes, changes + (points - 2 - lag) * STEP, STEP):
            first, at = load(line, k), k + (lag + 1) * STEP
            a, b = a + first * load(line, at), b + first * load(line, at + STEP)
            c, d = c + first * load(line, at + 2 * STEP), d + first * load(line, at + 3 * STEP)
            e, f = e + first * load(line, at + 4 * STEP), f + first * load(line, at + 5 * STEP)
            g, h = g + first * load(line, at + 6 * STEP), h + first * load(line, at + 7 * STEP)
        at = lag * STEP
        for one in (a, b, c, d, e, f, g, h):
            store(sums, at, load(sums, at) + one * weight)
            at += STEP


@part
def _within(place, step, first, last, end):  # type: ignore[no-untyped-def]
    one, other = place + first * step, place + last * step
    return one > -HALF and other > -HALF and one < end + HALF and other < end + HALF


def correlate(  # type: ignore[no-untyped-def]
    grey, velocity, offsets, line, sums, result,
    height, width, rows, columns, down, across, points, lags, least_speed,
):  # fmt: skip
    """Find what :func:`vdeblur.kernels.cpu.motion_profile.correlated` returns, of one picture."""
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    size_x, size_y = np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows)
    changes, turns_across = POINTS + 5 * points * STEP, (columns + across - 1) // across
    first, last = number(offsets, 0), number(offsets, points - 1)
    for n in range(lags + BLOCK):
        store(sums, n * STEP, fill_row(ZERO))
    for n in range(points - 1, points - 1 + BLOCK):
        store(line, changes + n * STEP, fill_row(ZERO))
    product, speeds, used = 1.0, 0.0, 0
    turns = (rows + down - 1) // down * turns_across
    lane = 0
    for turn in range(turns + STEP):
        if turn < turns:
            row, column = turn // turns_across * down, turn % turns_across * across
            cell = row * columns + column
            x, y = (np.float32(column) + HALF) * size_x - HALF, (np.float32(row) + HALF) * size_y - HALF
            step_x, step_y = number(velocity, cell), number(velocity, cell + rows * columns)
            speed = sqrt(step_x * step_x + step_y * step_y)
            inside = _within(x, step_x, first, last, right)
            inside &= _within(y, step_y, first, last, bottom)
            if not (inside and speed > least_speed):
                speeds += speed * 0.0  # not a number remains what it is
                continue
            used += 1
            product *= 1.0 + speed
            if product > LARGE:
                speeds, product = speeds + log(product), 1.0
        elif lane == 0:
            break
        else:
            step_x = step_y = ZERO  # nothing changes along no motion
        put(line, X + lane, x)
        put(line, Y + lane, y)
        put(line, STEP_X + lane, step_x)
        put(line, STEP_Y + lane, step_y)
        lane = (lane + 1) % STEP
        if lane == 0:
            _look(grey, offsets, line, width, right, bottom, points)
            energy = _differences(line, changes, points)
            weight = ONE / root(energy + FAINT)
            _add_products(line, changes, sums, points, lags, weight)
            store(sums, (lags + BLOCK - 1) * STEP, load(sums, (lags + BLOCK - 1) * STEP) + energy * weight)
    for lag in range(lags):
        put(result, lag, total(load(sums, lag * STEP)))
    put(result, lags, total(load(sums, (lags + BLOCK - 1) * STEP)))
    put(result, lags + 1, np.float32(speeds + log(product)))
    put(result, lags + 2, np.float32(used))
