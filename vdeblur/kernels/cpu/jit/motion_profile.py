"""Motion profile: autocorrelations of luma's derivative along and across it, a register of blocks at a time."""

from __future__ import annotations

from math import log, nan, pi, tan

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
    store_int32,
    store_pixel_index,
)  # fmt: skip
from vdeblur.kernels.cpu.jit.vectors import load_scalar, store, store_scalar, subroutine
from vdeblur.kernels.cpu.motion_profile import DIRECTIONS, LAGS_PER_PASS, POINTS, STEP_X, STEP_Y, X, Y
from vdeblur.kernels.cpu.simd import REGISTER

#: Tangent of half a class of direction, 22.5°.
NARROW = np.float32(tan(pi / 8))
ZERO, HALF, ONE, NAN = (np.float32(number) for number in (0, 0.5, 1, nan))


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


@subroutine
def _class_of(step_x, step_y, least, speeds):  # type: ignore[no-untyped-def]
    """Class of a velocity: by speed, then direction; as many as there are classes if it is too slow."""
    square = step_x * step_x + step_y * step_y
    if not square >= load_scalar(least, 0):
        return speeds * DIRECTIONS
    number = 0
    for n in range(1, speeds):
        if square >= load_scalar(least, n):
            number = n
    across, down = abs(step_x), abs(step_y)
    direction = 1 if step_x * step_y > ZERO else 3
    if across <= NARROW * down:
        direction = 2
    if down <= NARROW * across:
        direction = 0
    return number * DIRECTIONS + direction


@subroutine
def _sort_blocks(  # type: ignore[no-untyped-def]
    velocity, least, offsets, order, height, width, rows, columns, row_step, column_step, points, speeds
):
    """List the blocks of each class: ``order`` holds each visited block's class, the blocks by class, and where each
    class begins. Returns how many blocks have a velocity of nan.
    """
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    block_width, block_height = np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows)
    first, last = load_scalar(offsets, 0), load_scalar(offsets, points - 1)
    classes, visits_across = speeds * DIRECTIONS, (columns + column_step - 1) // column_step
    visits = (rows + row_step - 1) // row_step * visits_across
    starts, unknown = 2 * visits, 0
    for number in range(classes + 2):
        store_int32(order, starts + number, 0)
    for visit in range(visits):
        row, column = visit // visits_across * row_step, visit % visits_across * column_step
        x, y = (np.float32(column) + HALF) * block_width - HALF, (np.float32(row) + HALF) * block_height - HALF
        block = row * columns + column
        step_x, step_y = load_scalar(velocity, block), load_scalar(velocity, block + rows * columns)
        number = _class_of(step_x, step_y, least, speeds)
        if step_x != step_x or step_y != step_y:
            unknown += 1
        inside = _within(x, step_x, first, last, right)
        inside &= _within(y, step_y, first, last, bottom)
        inside &= _within(x, -step_y, first, last, right)
        inside &= _within(y, step_x, first, last, bottom)
        if not inside:
            number = classes
        store_int32(order, visit, number)
        store_int32(order, starts + number + 1, load_int32(order, starts + number + 1) + 1)
    for number in range(classes + 1):  # counts become the ends of the classes before
        store_int32(
            order, starts + number + 1, load_int32(order, starts + number + 1) + load_int32(order, starts + number)
        )
    for visit in range(visits - 1, -1, -1):  # each class is filled from its end, which becomes its beginning
        number = load_int32(order, visit)
        at = load_int32(order, starts + number + 1) - 1
        store_int32(order, starts + number + 1, at)
        store_int32(order, visits + at, visit)
    return unknown


@subroutine
def _clear(sums, count):  # type: ignore[no-untyped-def]
    for n in range(count):
        store(sums, n * REGISTER, broadcast_register(ZERO))


@subroutine
def _add_register(luma, offsets, scratch, along, across, width, right, bottom, points, lags, noise):  # type: ignore[no-untyped-def]
    """Add a register of blocks to the sums of their class, along and across the motion."""
    first = POINTS + 5 * points * REGISTER
    second, energy_at = first + (points + LAGS_PER_PASS) * REGISTER, (lags + LAGS_PER_PASS - 1) * REGISTER
    _sample_along_motion(luma, offsets, scratch, width, right, bottom, points)
    energy_along = _differences(scratch, first, points)
    step_x, step_y = load(scratch, STEP_X), load(scratch, STEP_Y)
    store(scratch, STEP_X, step_y * -ONE)
    store(scratch, STEP_Y, step_x)
    _sample_along_motion(luma, offsets, scratch, width, right, bottom, points)
    energy_across = _differences(scratch, second, points)
    weight = ONE / square_root(energy_along + energy_across + noise)
    _add_products(scratch, first, along, points, lags, weight)
    _add_products(scratch, second, across, points, lags, weight)
    store(along, energy_at, load(along, energy_at) + energy_along * weight)
    store(across, energy_at, load(across, energy_at) + energy_across * weight)


def correlate(  # type: ignore[no-untyped-def]
    luma, velocity, offsets, least, scratch, order, sums, result,
    height, width, rows, columns, row_step, column_step, points, lags, speeds, noise,
):  # fmt: skip
    """:func:`vdeblur.kernels.cpu.motion_profile.motion_autocorrelation` of one frame, not yet normalised."""
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    block_width, block_height = np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows)
    visits_across = (columns + column_step - 1) // column_step
    visits = (rows + row_step - 1) // row_step * visits_across
    classes, size, stride = speeds * DIRECTIONS, 2 * lags + 4, (lags + LAGS_PER_PASS) * REGISTER
    unknown = _sort_blocks(
        velocity, least, offsets, order, height, width, rows, columns, row_step, column_step, points, speeds
    )
    across = sums + 4 * stride
    for n in range(2 * (points + LAGS_PER_PASS)):  # zeros behind the differences
        store(scratch, POINTS + (5 * points + n) * REGISTER, broadcast_register(ZERO))
    for number in range(classes):
        begin, end = load_int32(order, 2 * visits + number + 1), load_int32(order, 2 * visits + number + 2)
        _clear(sums, 2 * (lags + LAGS_PER_PASS))
        speeds_logged = 0.0
        for visited in range(begin, end, REGISTER):
            for lane in range(REGISTER):
                x = y = step_x = step_y = ZERO  # padding lanes: no motion, zero differences
                if visited + lane < end:
                    visit = load_int32(order, visits + visited + lane)
                    row, column = visit // visits_across * row_step, visit % visits_across * column_step
                    x = (np.float32(column) + HALF) * block_width - HALF
                    y = (np.float32(row) + HALF) * block_height - HALF
                    block = row * columns + column
                    step_x, step_y = load_scalar(velocity, block), load_scalar(velocity, block + rows * columns)
                    speeds_logged += log(step_x * step_x + step_y * step_y)
                store_scalar(scratch, X + lane, x)
                store_scalar(scratch, Y + lane, y)
                store_scalar(scratch, STEP_X + lane, step_x)
                store_scalar(scratch, STEP_Y + lane, step_y)
            _add_register(luma, offsets, scratch, sums, across, width, right, bottom, points, lags, noise)
        row_at = number * size
        for lag in range(lags):
            store_scalar(result, row_at + lag, horizontal_sum(load(sums, lag * REGISTER)))
            store_scalar(result, row_at + lags + lag, horizontal_sum(load(across, lag * REGISTER)))
        energy_at = (lags + LAGS_PER_PASS - 1) * REGISTER
        store_scalar(result, row_at + 2 * lags, horizontal_sum(load(sums, energy_at)))
        store_scalar(result, row_at + 2 * lags + 1, horizontal_sum(load(across, energy_at)))
        store_scalar(result, row_at + 2 * lags + 2, np.float32(speeds_logged * 0.5))
        store_scalar(result, row_at + 2 * lags + 3, np.float32(end - begin))
    if unknown:
        store_scalar(result, 2 * lags + 2, NAN)
