"""Motion profile: autocorrelation of luma's derivative along the motion, a register of blocks at a time."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

from vdeblur.kernels.cpu.jit.registers import (
    broadcast_register,
    clamp_from_zero,
    clamp_max,
    deinterleave,
    floor,
    horizontal_sum,
    load,
    load_int32,
    load_like,
    square_root,
    store_pixel_index,
)  # fmt: skip
from vdeblur.kernels.cpu.jit.vectors import load_scalar, store, store_scalar, subroutine
from vdeblur.kernels.cpu.motion_profile import LAGS_PER_PASS, POINTS, STEP_X, STEP_Y, X, Y
from vdeblur.kernels.cpu.simd import REGISTER

#: Logarithms are summed as one logarithm of a product, which is taken before it would overflow float64.
OVERFLOW_LIMIT = 1e200
ZERO, HALF, ONE, EPSILON = (np.float32(number) for number in (0, 0.5, 1, 1e-5))


@subroutine
def _sample_along_motion(luma, offsets, scratch, width, right, bottom, points):  # type: ignore[no-untyped-def]
    """Sample luma along the motion of a register of blocks, border replicated; interpolated vertically only."""
    x, y, step_x, step_y = load(scratch, X), load(scratch, Y), load(scratch, STEP_X), load(scratch, STEP_Y)
    fraction_y = POINTS + points * REGISTER
    indices, columns = fraction_y + points * REGISTER, fraction_y + 2 * points * REGISTER
    for k in range(points):
        offset = load_scalar(offsets, k)
        at_x, at_y = clamp_from_zero(step_x * offset + x, right), clamp_from_zero(step_y * offset + y, bottom)
        floor_x, floor_y = clamp_max(floor(at_x), right - ONE), clamp_max(floor(at_y), bottom - ONE)
        store(scratch, POINTS + k * REGISTER, at_x - floor_x)
        store(scratch, fraction_y + k * REGISTER, at_y - floor_y)
        store_pixel_index(scratch, indices + k * REGISTER, floor_x, floor_y, width)
    for n in range(points * REGISTER):
        at, fraction = load_int32(scratch, indices + n), load_scalar(scratch, fraction_y + n)
        upper = load_like(luma, at, (0, 0))
        store(scratch, columns + 2 * n, upper + (load_like(luma, at + width, (0, 0)) - upper) * fraction)


@subroutine
def _differences(scratch, differences, points):  # type: ignore[no-untyped-def]
    """Interpolate the samples horizontally, store their differences, return the mean square of those.

    ``LAGS_PER_PASS`` zeros follow the differences.
    """
    before = energy = load(scratch, differences + (points - 1) * REGISTER)
    columns = POINTS + 3 * points * REGISTER
    for k in range(points):
        one, other = load(scratch, columns + 2 * k * REGISTER), load(scratch, columns + (2 * k + 1) * REGISTER)
        left = deinterleave(one, other, 0)
        sample = left + (deinterleave(one, other, 1) - left) * load(scratch, POINTS + k * REGISTER)
        if k:
            difference = sample - before
            store(scratch, differences + (k - 1) * REGISTER, difference)
            energy = energy + difference * difference
        before = sample
    return energy * (ONE / np.float32(points - 1))


@subroutine
def _add_products(scratch, differences, sums, points, lags, weight):  # type: ignore[no-untyped-def]
    """Accumulate the weighted autocorrelation of the differences at every lag."""
    for lag in range(0, lags, LAGS_PER_PASS):
        a = b = c = d = e = f = g = h = load(scratch, differences + (points - 1) * REGISTER)
        for k in range(differences, differences + (points - 2 - lag) * REGISTER, REGISTER):
            first, at = load(scratch, k), k + (lag + 1) * REGISTER
            a, b = a + first * load(scratch, at), b + first * load(scratch, at + REGISTER)
            c, d = c + first * load(scratch, at + 2 * REGISTER), d + first * load(scratch, at + 3 * REGISTER)
            e, f = e + first * load(scratch, at + 4 * REGISTER), f + first * load(scratch, at + 5 * REGISTER)
            g, h = g + first * load(scratch, at + 6 * REGISTER), h + first * load(scratch, at + 7 * REGISTER)
        at = lag * REGISTER
        for one in (a, b, c, d, e, f, g, h):
            store(sums, at, load(sums, at) + one * weight)
            at += REGISTER


@subroutine
def _within(position, step, first, last, end):  # type: ignore[no-untyped-def]
    one, other = position + first * step, position + last * step
    return one > -HALF and other > -HALF and one < end + HALF and other < end + HALF


def correlate(  # type: ignore[no-untyped-def]
    luma, velocity, offsets, scratch, sums, result,
    height, width, rows, columns, row_step, column_step, points, lags, min_speed,
):  # fmt: skip
    """:func:`vdeblur.kernels.cpu.motion_profile.motion_autocorrelation` of one frame, not yet normalised."""
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    block_width, block_height = np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows)
    differences, visits_across = POINTS + 5 * points * REGISTER, (columns + column_step - 1) // column_step
    first, last = load_scalar(offsets, 0), load_scalar(offsets, points - 1)
    for n in range(lags + LAGS_PER_PASS):
        store(sums, n * REGISTER, broadcast_register(ZERO))
    for n in range(points - 1, points - 1 + LAGS_PER_PASS):
        store(scratch, differences + n * REGISTER, broadcast_register(ZERO))
    product, speeds, used = 1.0, 0.0, 0
    visits = (rows + row_step - 1) // row_step * visits_across
    lane, energy_at = 0, (lags + LAGS_PER_PASS - 1) * REGISTER
    for visit in range(visits + REGISTER):
        if visit < visits:
            row, column = visit // visits_across * row_step, visit % visits_across * column_step
            block = row * columns + column
            x, y = (np.float32(column) + HALF) * block_width - HALF, (np.float32(row) + HALF) * block_height - HALF
            step_x, step_y = load_scalar(velocity, block), load_scalar(velocity, block + rows * columns)
            speed = sqrt(step_x * step_x + step_y * step_y)
            inside = _within(x, step_x, first, last, right)
            inside &= _within(y, step_y, first, last, bottom)
            if not (inside and speed > min_speed):
                speeds += speed * 0.0  # propagates nan
                continue
            used += 1
            product *= 1.0 + speed
            if product > OVERFLOW_LIMIT:
                speeds, product = speeds + log(product), 1.0
        elif lane == 0:
            break
        else:
            step_x = step_y = ZERO  # padding lanes: no motion, zero differences
        store_scalar(scratch, X + lane, x)
        store_scalar(scratch, Y + lane, y)
        store_scalar(scratch, STEP_X + lane, step_x)
        store_scalar(scratch, STEP_Y + lane, step_y)
        lane = (lane + 1) % REGISTER
        if lane == 0:
            _sample_along_motion(luma, offsets, scratch, width, right, bottom, points)
            energy = _differences(scratch, differences, points)
            weight = ONE / square_root(energy + EPSILON)
            _add_products(scratch, differences, sums, points, lags, weight)
            store(sums, energy_at, load(sums, energy_at) + energy * weight)
    for lag in range(lags):
        store_scalar(result, lag, horizontal_sum(load(sums, lag * REGISTER)))
    store_scalar(result, lags, horizontal_sum(load(sums, energy_at)))
    store_scalar(result, lags + 1, np.float32(speeds + log(product)))
    store_scalar(result, lags + 2, np.float32(used))
