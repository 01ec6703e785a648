"""The motion profile on a CPU: luma along the motion of a cell, and its correlations, without leaving the first cache."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from numba import njit
from torch import Tensor, tensor

from vdeblur.model.native.rows import (
    SETTINGS, STEP, alternate, floor, from_zero_to, least, load, load_like, store_place, total,
)  # fmt: skip
from vdeblur.model.native.vectors import store

#: Points along the motion at most, and as many lags: whole vectors of any processor.
MOST = 48
#: Parts of what is noted of a cell: of its points, parts of pixels across and down, luma; two columns of it before they
#: are joined; differences, with as many zeros behind them as lags reach.
PART_X, PART_Y, SEEN, PAIRS, CHANGE, END = 0, MOST, 2 * MOST, 4 * MOST, 6 * MOST, 9 * MOST
#: Before a product of so many logarithms' arguments would overflow, its own is taken.
LARGE = 1e200
ZERO, HALF, ONE, FAINT = (np.float32(number) for number in (0, 0.5, 1, 1e-5))


def correlated(
    grey: Tensor, velocity: Tensor, *, offsets: Tensor, lags: int, least_speed: float, down: int, across: int
) -> Tensor | None:
    """Sums over cells of what :func:`vdeblur.model.exposure._profile` sums up.

    Args:
        grey: luma (B, 1, H, W); ``velocity`` (B, 2, h, w) in pixels.
        offsets: (K,), in units of the velocity, where luma is looked at; K − 1 is a multiple of 4.
        lags: correlations are those of differences 1, 2, … ``lags`` apart.
        down, across: only every so many-th row and column of cells is looked at.

    Returns:
        (B, lags + 4), float32: correlations, energy, logarithms of the speed, cells used, all cells. None where there
        are more points than :data:`MOST`.
    """
    points, (height, width), (rows, columns) = len(offsets), grey.shape[-2:], velocity.shape[-2:]
    if points > MOST or lags > MOST or (points - 1) % 4:
        return None
    places = np.resize(offsets.numpy(), MOST)
    places[points:] = places[points - 1]  # nothing changes from there on
    line, sums = np.zeros(END, np.float32), np.zeros((len(grey), MOST + 3))
    corners, row_sums = np.zeros(MOST, np.int32), np.zeros(MOST + 3, np.float32)
    for picture, steps, result in zip(grey, velocity, sums, strict=True):
        _correlate(
            picture.flatten().numpy(), steps.flatten().numpy(), places, line, corners, row_sums, result,
            height, width, rows, columns, down, across, points, MOST, np.float32(least_speed),
        )  # fmt: skip
    cells = len(range(0, rows, down)) * len(range(0, columns, across))
    pairs = points - 1 - np.arange(1, lags + 1)
    rest = np.full((len(grey), 1), cells, np.float64)
    return tensor(np.concatenate((sums[:, :lags] / pairs, sums[:, MOST:], rest), 1), dtype=grey.dtype)


@njit(**SETTINGS)
def _look(grey, offsets, line, corners, width, x, y, step_x, step_y, right, bottom, most):  # type: ignore[no-untyped-def]
    """Luma at each offset along the motion from (x, y), the border repeated; two columns that are not yet joined."""
    for k in range(0, most, STEP):
        at_x = from_zero_to(load(offsets, k) * step_x + x, right)
        at_y = from_zero_to(load(offsets, k) * step_y + y, bottom)
        whole_x, whole_y = least(floor(at_x), right - ONE), least(floor(at_y), bottom - ONE)
        store(line, PART_X + k, at_x - whole_x)
        store(line, PART_Y + k, at_y - whole_y)
        store_place(corners, k, whole_x, whole_y, width)
    for k in range(most):
        upper = load_like(grey, corners[k], (0, 0))
        part = line[PART_Y + k]
        store(line, PAIRS + 2 * k, upper + (load_like(grey, corners[k] + width, (0, 0)) - upper) * part)


@njit(**SETTINGS)
def _change(line, points, most):  # type: ignore[no-untyped-def]
    """Differences along the motion, of what :func:`_look` saw, and their mean square."""
    for k in range(0, most, STEP):
        one, other = load(line, PAIRS + 2 * k), load(line, PAIRS + 2 * k + STEP)
        left = alternate(one, other, 0)
        store(line, SEEN + k, left + (alternate(one, other, 1) - left) * load(line, PART_X + k))
    line[SEEN + most] = line[SEEN + most - 1]
    energies = load(line, END - STEP)
    for k in range(0, points - 1, STEP):
        change = load(line, SEEN + k + 1) - load(line, SEEN + k)
        store(line, CHANGE + k, change)
        energies = energies + change * change
    return total(energies) / np.float32(points - 1)


@njit(**SETTINGS)
def _add_products(line, sums, points, most, weight):  # type: ignore[no-untyped-def]
    """Add the sums of weighted products of two differences, by how far apart they are."""
    for lag in range(0, most, STEP):
        a = b = c = d = load(line, END - STEP)
        for k in range(CHANGE, CHANGE + points - 1 - lag, 4):
            a = a + load(line, k + lag + 1) * line[k]
            b = b + load(line, k + lag + 2) * line[k + 1]
            c = c + load(line, k + lag + 3) * line[k + 2]
            d = d + load(line, k + lag + 4) * line[k + 3]
        store(sums, lag, load(sums, lag) + ((a + b) + (c + d)) * weight)


@njit(**SETTINGS)
def _within(place, step, first, last, end):  # type: ignore[no-untyped-def]
    one, other = place + first * step, place + last * step
    return one > -HALF and other > -HALF and one < end + HALF and other < end + HALF


@njit(cache=True, **SETTINGS)
def _correlate(  # type: ignore[no-untyped-def]
    grey, velocity, offsets, line, corners, row_sums, sums,
    height, width, rows, columns, down, across, points, most, least_speed,
):  # fmt: skip
    """Add up what :func:`correlated` returns, of one picture.

    The sums of a row of cells are short enough for float32. The products of a cell come after the next one has been
    looked at: what is read is then in the cache, and not on its way there.
    """
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    size_x, size_y = np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows)
    first, last, weight = offsets[0], offsets[most - 1], ZERO
    product = 1.0
    for turn in range((rows + down - 1) // down):
        row = turn * down
        y = (np.float32(row) + HALF) * size_y - HALF
        for turn_across in range((columns + across - 1) // across):
            column = turn_across * across
            x, cell = (np.float32(column) + HALF) * size_x - HALF, row * columns + column
            step_x, step_y = velocity[cell], velocity[cell + rows * columns]
            speed = sqrt(step_x * step_x + step_y * step_y)
            inside = _within(x, step_x, first, last, right) and _within(y, step_y, first, last, bottom)
            if not (inside and speed > least_speed):
                row_sums[most + 1] += speed * ZERO  # not a number remains what it is
                continue
            _look(grey, offsets, line, corners, width, x, y, step_x, step_y, right, bottom, most)
            _add_products(line, row_sums, points, most, weight)
            energy = _change(line, points, most)
            weight = ONE / np.float32(sqrt(energy + FAINT))
            row_sums[most] += energy * weight
            row_sums[most + 2] += ONE
            product *= ONE + speed
            if product > LARGE:
                sums[most + 1] += log(product)
                product = 1.0
        for n in range(most + 3):
            sums[n] += row_sums[n]
            row_sums[n] = ZERO
    _add_products(line, row_sums, points, most, weight)
    for n in range(most):
        sums[n] += row_sums[n]
        row_sums[n] = ZERO
    sums[most + 1] += log(product)
