"""Optical flow level: each warp and all its Jacobi sweeps in one pass over the rows (temporal blocking).

The normal equations are set up row by row, and every sweep follows the previous one a row behind, so that the rows it
reads are still in the L1 cache.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.flow import BLOCK_FIELDS, SWEEP_FIELDS
from vdeblur.kernels.cpu.jit.registers import (
    broadcast_register,
    clamp,
    clamp_from_zero,
    floor,
    horizontal_sum,
    is_between,
    load,
    load_int32,
    load_like,
    store_pixel_index,
    zeros,
)  # fmt: skip
from vdeblur.kernels.cpu.jit.vectors import absolute, load_scalar, maximum, minimum, store, store_scalar, subroutine
from vdeblur.kernels.cpu.simd import REGISTER

ZERO, HALF, ONE, TWO, FOUR, TWELVE = (np.float32(number) for number in (0, 0.5, 1, 2, 4, 12))
#: Size of a float32.
BYTES = 4
#: Largest change of a vector per warp, in pixels of the level.
MAX_STEP = np.float32(2)

#: Rows of per-block fields: sampling position, whether it lies inside, sums over the block's pixels of the absolute
#: difference, its products with the gradient, and the structure tensor; lane numbers.
FRACTION_X, FRACTION_Y, PIXEL_INDEX, VALID, DIFFERENCE, *_TENSOR, LANE_INDEX = range(BLOCK_FIELDS)
PRODUCT_X, PRODUCT_Y, XX, XY, YY = _TENSOR
#: Rows of per-block coefficients of the Jacobi sweeps.
CONSTANT_X, CONSTANT_Y, FACTOR_X, FACTOR_Y, FACTOR_XY = range(SWEEP_FIELDS)


@subroutine
def _copy(source, at, target, to, count, factor):  # type: ignore[no-untyped-def]
    """Copy numbers, multiplied by a factor."""
    for n in range(count):
        store_scalar(target, to + n, load_scalar(source, at + n) * factor)


@subroutine
def _pad_border(image, padded, margin, height, width):  # type: ignore[no-untyped-def]
    """Pad an image by ``margin`` pixels with border replication, and one more to the right and below."""
    for y in range(-margin, height + margin + 1):
        to = (y + margin) * (width + 2 * margin + 1)
        at = 0 if y < 0 else (y if y < height else height - 1) * width
        # a whole register, although the margin is narrower: the next store overwrites the excess
        store(padded, to, broadcast_register(load_scalar(image, at)))
        _copy(image, at, padded, to + margin, width, ONE)
        store(padded, to + margin + width, broadcast_register(load_scalar(image, at + width - 1)))


@subroutine
def _sample_positions(flow, at, down, work, fields, row, columns, stride, block, width, height):  # type: ignore[no-untyped-def]
    """Sampling positions of a row of blocks; the twin of :func:`vdeblur.model.block_sampling.sample_blocks`."""
    margin = np.float32(block if block > 1 else 0)
    edge, reach = (HALF * margin, margin + ONE) if block > 1 else (-HALF, ZERO)
    right, bottom = np.float32(width) + reach, np.float32(height) + reach
    first_x = load(work, fields + LANE_INDEX * stride) * np.float32(block) + margin
    first_y = np.float32(row * block) + margin
    for c in range(0, columns, REGISTER):
        x = load(flow, at + c) + (first_x + np.float32(c * block))
        y = load(flow, at + down + c) + first_y
        valid = is_between(x, edge, right - edge - ONE) * is_between(y, edge, bottom - edge - ONE)
        x, y = clamp_from_zero(x, right - ONE), clamp_from_zero(y, bottom - ONE)
        floor_x, floor_y = floor(x), floor(y)
        store(work, fields + VALID * stride + c, valid)
        store(work, fields + FRACTION_X * stride + c, x - floor_x)
        store(work, fields + FRACTION_Y * stride + c, y - floor_y)
        pitch = width + 2 * (block if block > 1 else 0) + 1
        store_pixel_index(work, fields + PIXEL_INDEX * stride + c, floor_x, floor_y, pitch)


@subroutine
def _block_sums(luma, gradient, neighbour, work, fields, row, columns, stride, width, count, block):  # type: ignore[no-untyped-def]
    """Sums over the pixels of each block of a row: |difference|, difference · gradient, structure tensor."""
    side, across = len(block), width + (2 * len(block) if len(block) > 1 else 0) + 1
    for c in range(columns):
        x, y = load_scalar(work, fields + FRACTION_X * stride + c), load_scalar(work, fields + FRACTION_Y * stride + c)
        at, pixel = load_int32(work, fields + PIXEL_INDEX * stride + c), row * side * width + c * side
        left = load_like(neighbour, at, block)
        upper = left + (load_like(neighbour, at + 1, block) - left) * x
        sums = zeros(block), zeros(block), zeros(block), zeros(block), zeros(block), zeros(block)
        for _ in range(side):
            at += across
            left = load_like(neighbour, at, block)
            lower = left + (load_like(neighbour, at + 1, block) - left) * x
            difference = upper + (lower - upper) * y - load_like(luma, pixel, block)
            gradient_x, gradient_y = load_like(gradient, pixel, block), load_like(gradient, pixel + count, block)
            sums = (
                sums[0] + absolute(difference), sums[1] + gradient_x * difference, sums[2] + gradient_y * difference,
                sums[3] + gradient_x * gradient_x, sums[4] + gradient_x * gradient_y, sums[5] + gradient_y * gradient_y,
            )  # fmt: skip
            upper = lower
            pixel += width
        to = fields + DIFFERENCE * stride + c
        for each in sums:
            store_scalar(work, to, horizontal_sum(each))
            to += stride


@subroutine
def _normal_equations(flow, at, down, work, fields, to, mismatch, columns, stride, block, robust, smoothness):  # type: ignore[no-untyped-def]
    """Solve a row's 2×2 normal equations; the set-up of :func:`vdeblur.model.optical_flow._solve_smoothness`."""
    pixel_weight = ONE / np.float32(block * block)
    for c in range(0, columns, REGISTER):
        field, factor = fields + c, to + c
        difference, valid = load(work, field + DIFFERENCE * stride) * pixel_weight, load(work, field + VALID * stride)
        store(work, mismatch + c, (difference - ONE) * valid + ONE)
        weight = valid * (robust * pixel_weight) / (difference + robust)
        x_x, x_y = load(work, field + XX * stride) * weight, load(work, field + XY * stride) * weight
        y_y = load(work, field + YY * stride) * weight
        x, y = load(flow, at + c), load(flow, at + down + c)
        target_x = x_x * x + x_y * y - load(work, field + PRODUCT_X * stride) * weight
        target_y = x_y * x + y_y * y - load(work, field + PRODUCT_Y * stride) * weight
        a, d = x_x + smoothness, y_y + smoothness
        inverse = ONE / (a * d - x_y * x_y)
        store(work, factor + CONSTANT_X * stride, (d * target_x - x_y * target_y) * inverse)
        store(work, factor + CONSTANT_Y * stride, (a * target_y - x_y * target_x) * inverse)
        inverse = inverse * (smoothness / TWELVE)
        store(work, factor + FACTOR_X * stride, d * inverse)
        store(work, factor + FACTOR_Y * stride, a * inverse)
        store(work, factor + FACTOR_XY * stride, x_y * inverse)


@subroutine
def _repeat_ends(row, columns):  # type: ignore[no-untyped-def]
    """Replicate both ends of the row at an address."""
    store_scalar(row, 0, load_scalar(row, 1))
    store_scalar(row, columns + 1, load_scalar(row, columns))


@subroutine
def _jacobi_sweep(  # type: ignore[no-untyped-def]
    current, current_at, previous, previous_at, work, to, down, above, here, below, at, sums,
    columns, stride, relaxation,
):  # fmt: skip
    """One over-relaxed Jacobi sweep of a row (second-order Richardson)."""
    for axis in range(2):
        for c in range(0, columns + 2, REGISTER):
            block = current_at + axis * down + c
            both = load(current, block + above) + load(current, block + below)
            store(work, sums + axis * stride + c, both + load(current, block + here) * TWO)
    for c in range(0, columns, REGISTER):
        block, side, factor = here + c + 1, sums + c, at + c
        centre = current_at + block
        # The order of operations decides which of them are fused (FMA), and so the last bit of the result.
        x = load(work, side) + load(work, side + 2) + load(work, side + 1) * TWO - load(current, centre) * FOUR
        side, centre = side + stride, centre + down
        y = load(work, side) + load(work, side + 2) + load(work, side + 1) * TWO - load(current, centre) * FOUR
        across = load(work, factor + FACTOR_XY * stride)
        better_x = load(work, factor + CONSTANT_X * stride) + load(work, factor + FACTOR_X * stride) * x - across * y
        better_y = load(work, factor + CONSTANT_Y * stride) + load(work, factor + FACTOR_Y * stride) * y - across * x
        old_x, old_y = load(previous, previous_at + block), load(previous, previous_at + down + block)
        store(work, to + block, old_x + (better_x - old_x) * relaxation)
        store(work, to + down + block, old_y + (better_y - old_y) * relaxation)
    _repeat_ends(work + (to + here) * BYTES, columns)
    _repeat_ends(work + (to + down + here) * BYTES, columns)


@subroutine
def _clamp_update(flow, work, solution, at, down, columns):  # type: ignore[no-untyped-def]
    """Update a row of the flow, each component by at most MAX_STEP."""
    for first in (at, at + down):
        for c in range(first + 1, first + 1 + columns, REGISTER):
            old = load(flow, c)
            store(flow, c, old + clamp(load(work, solution + c) - old, -MAX_STEP, MAX_STEP))
        _repeat_ends(flow + first * BYTES, columns)


@subroutine
def _median3(a, b, c):  # type: ignore[no-untyped-def]
    return maximum(minimum(a, b), minimum(maximum(a, b), c))


@subroutine
def _median_filter(flow, work, lines, rows, columns, stride):  # type: ignore[no-untyped-def]
    """3×3 median filter of both components, by sorted columns."""
    for row in range(2 * rows):
        y, here = row % rows, row * stride
        above, below = here - stride if y else here, here + stride if y + 1 < rows else here
        for c in range(0, columns + 2, REGISTER):
            a, b, d = load(flow, above + c), load(flow, here + c), load(flow, below + c)
            low, high = minimum(a, b), maximum(a, b)
            store(work, lines + c, minimum(low, d))
            store(work, lines + stride + c, maximum(low, minimum(high, d)))
            store(work, lines + 2 * stride + c, maximum(high, d))
        for c in range(lines, lines + columns, REGISTER):
            low = maximum(maximum(load(work, c), load(work, c + 1)), load(work, c + 2))
            at = c + stride
            middle = _median3(load(work, at), load(work, at + 1), load(work, at + 2))
            at += stride
            high = minimum(minimum(load(work, at), load(work, at + 1)), load(work, at + 2))
            store(work, here + 1 + c - lines, _median3(low, middle, high))
    for row in range(2 * rows):
        for c in range(row * stride + 1, row * stride + 1 + columns, REGISTER):
            store(flow, c, load(work, c))
        _repeat_ends(flow + row * stride * BYTES, columns)


def refine_level(  # type: ignore[no-untyped-def]
    luma, gradient, neighbour, initial, result, padded, work,
    height, width, rows, columns, stride, block, sweeps, warps, scale, robust, smoothness, relaxation,
):  # fmt: skip
    """All warps of one frame: see :func:`vdeblur.kernels.cpu.flow.refine_level`."""
    down, ring, count = rows * stride, sweeps + 2, height * width
    # layout of ``work``: two buffers that sweeps alternate between, flow, mismatch, fields of a row of blocks,
    # sums of a sweep, coefficients of a ring of rows
    flow, mismatch = work + 4 * down * BYTES, 6 * down
    fields = mismatch + down
    sums = fields + BLOCK_FIELDS * stride
    factors = sums + 2 * stride
    for lane in range(REGISTER):
        store_scalar(work, fields + LANE_INDEX * stride + lane, np.float32(lane))
    _pad_border(neighbour, padded, block if block > 1 else 0, height, width)
    for row in range(2 * rows):
        _copy(initial, row * columns, flow, row * stride + 1, columns, ONE / scale)
        _repeat_ends(flow + row * stride * BYTES, columns)
    for step in range(warps * (rows + sweeps)):
        y = step % (rows + sweeps)
        if y < rows:
            _sample_positions(flow, y * stride + 1, down, work, fields, y, columns, stride, block, width, height)
            if block == 1:
                _block_sums(luma, gradient, padded, work, fields, y, columns, stride, width, count, (0,))
            elif block == 2:
                _block_sums(luma, gradient, padded, work, fields, y, columns, stride, width, count, (0, 0))
            else:
                _block_sums(luma, gradient, padded, work, fields, y, columns, stride, width, count, (0, 0, 0, 0))
            to = factors + y % ring * SWEEP_FIELDS * stride
            at = y * stride + 1
            _normal_equations(
                flow, at, down, work, fields, to, mismatch + at, columns, stride, block, robust, smoothness
            )
        for sweep in range(y - rows if y > rows else 0, sweeps if y > sweeps else y):
            row = y - 1 - sweep
            above, below = (row - 1 if row else 0) * stride, (row + 1 if row + 1 < rows else row) * stride
            _jacobi_sweep(
                work if sweep else flow, (sweep - 1) % 2 * 2 * down if sweep else 0,
                work if sweep > 1 else flow, sweep % 2 * 2 * down if sweep > 1 else 0,
                work, sweep % 2 * 2 * down, down, above, row * stride, below,
                factors + row % ring * SWEEP_FIELDS * stride, sums, columns, stride, relaxation if sweep else ONE,
            )  # fmt: skip
        if y >= sweeps:
            _clamp_update(flow, work, (sweeps - 1) % 2 * 2 * down, (y - sweeps) * stride, down, columns)
        if y == rows + sweeps - 1:
            _median_filter(flow, work, fields, rows, columns, stride)
    for row in range(3 * rows):
        _copy(flow, row * stride + 1, result, row * columns, columns, scale if row < 2 * rows else ONE)
