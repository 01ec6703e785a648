"""Mixture taps, row of blocks by row of blocks: a filter predicted per block (CondConv) over samples along the motion.

The twin of ``MixtureTaps``' plain operators. A few blocks are processed together, so that the predictor's weights are
read from memory once for all of them.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.block_operands import BLOCK_PIXELS, BLOCK_VECTORS
from vdeblur.kernels.cpu.jit.block_sampling import (
    dot,
    leaky,
    linear_leaky,
    sample_along_motion,
    sample_neighbour,
    store_correction,
    store_luma,
)
from vdeblur.kernels.cpu.jit.registers import horizontal_sum
from vdeblur.kernels.cpu.jit.vectors import (
    absolute,
    fma,
    load,
    load_broadcast,
    load_scalar,
    store,
    store_scalar,
    subroutine,
)
from vdeblur.kernels.cpu.mixture_taps import BLOCKS_PER_PASS
from vdeblur.kernels.cpu.simd import LANES
from vdeblur.kernels.inputs import BLOCK_PX

ZERO, PIXEL_WEIGHT = np.float32(0), np.float32(1 / BLOCK_PIXELS)


@subroutine
def _gather_features(  # type: ignore[no-untyped-def]
    frame, before, after, height, width, x, row, motion, displacements, confidences, log_lengths,
    offsets, count, neighbour_offsets, neighbour_points, gain, patch, features, stride, statistics,
):  # fmt: skip
    """Features of a block's pixels, and the block statistics from which its filter is predicted."""
    pixels = frame + 4 * (row * BLOCK_PX * width + x * BLOCK_PX)
    sample_along_motion(frame, height, width, x, row, motion, offsets, count, pixels, gain, patch, features, stride)
    target, differences = features + 4 * count * LANES, count + 2 * neighbour_points
    store_scalar(statistics, differences, load_scalar(log_lengths, row * (width // BLOCK_PX) + x))
    for side in range(2):
        image, confidence = (after if side else before), ZERO
        if neighbour_points and image:
            confidence = sample_neighbour(
                image, side, height, width, x, row, motion, displacements, confidences,
                neighbour_offsets, neighbour_points, pixels, gain, patch, target, stride,
            )  # fmt: skip
        if neighbour_points:
            store_scalar(statistics, differences + 1 + side, confidence)
        target += 4 * neighbour_points * LANES
    store_luma(pixels, width, target, stride)
    for k in range(differences):
        magnitudes = absolute(load(features, k * LANES))
        for vector in range(1, BLOCK_VECTORS):
            magnitudes = magnitudes + absolute(load(features, vector * stride + k * LANES))
        store_scalar(statistics, k, np.sqrt(np.sqrt(horizontal_sum(magnitudes) * PIXEL_WEIGHT)))


@subroutine
def _linear(x, in_stride, weights, biases, inputs, outputs, active, y, out_stride):  # type: ignore[no-untyped-def]
    """Linear layer (inputs, outputs) of four blocks at once, ``in_stride`` and ``out_stride`` numbers apart."""
    for n in range(0, outputs, LANES):
        a = b = c = d = load(biases, n)
        for k in range(inputs):
            w = load(weights, k * outputs + n)
            a, b = fma(load_broadcast(x, k), w, a), fma(load_broadcast(x, in_stride + k), w, b)
            c, d = fma(load_broadcast(x, 2 * in_stride + k), w, c), fma(load_broadcast(x, 3 * in_stride + k), w, d)
        if active:
            a, b, c, d = leaky(a), leaky(b), leaky(c), leaky(d)
        store(y, n, a)
        store(y, out_stride + n, b)
        store(y, 2 * out_stride + n, c)
        store(y, 3 * out_stride + n, d)


def rows(  # type: ignore[no-untyped-def]
    result, frame, before, after, motion, displacements, confidences, log_lengths, motion_weights,
    offsets, count, neighbour_offsets, neighbour_points,
    first, first_bias, second, second_bias, head, head_bias, experts, expert_count,
    hidden, code, head_size, filter_size, gain, height, width, top, bottom, scratch,
):  # fmt: skip
    """Correction of some rows of blocks of a frame. Tensors are addresses; 0 for a missing neighbour.

    The head predicts ``head_size`` numbers from a block's code: mixing weights of the experts, hidden bias, output
    weights, output bias, skip weights. A filter has ``filter_size`` weights.
    """
    columns = width // BLOCK_PX
    differences = count + 2 * neighbour_points
    inputs, statistic_count = differences + 1, differences + (3 if neighbour_points else 1)
    stride = inputs * LANES
    statistics = scratch + 4 * BLOCKS_PER_PASS * BLOCK_VECTORS * stride
    codes = statistics + 4 * BLOCKS_PER_PASS * statistic_count
    spare_codes = codes + 4 * BLOCKS_PER_PASS * code
    heads = spare_codes + 4 * BLOCKS_PER_PASS * code
    filters = heads + 4 * BLOCKS_PER_PASS * head_size
    units = filters + 4 * BLOCKS_PER_PASS * filter_size
    patch = units + 4 * hidden * LANES
    for row in range(top, bottom):
        for column in range(0, columns, BLOCKS_PER_PASS):
            batch = min(BLOCKS_PER_PASS, columns - column)
            for n in range(batch):
                _gather_features(
                    frame, before, after, height, width, column + n, row,
                    motion, displacements, confidences, log_lengths,
                    offsets, count, neighbour_offsets, neighbour_points, gain, patch,
                    scratch + 4 * n * BLOCK_VECTORS * stride, stride, statistics + 4 * n * statistic_count,
                )  # fmt: skip
            _linear(statistics, statistic_count, first, first_bias, statistic_count, code, True, codes, code)
            _linear(codes, code, second, second_bias, code, code, True, spare_codes, code)
            _linear(spare_codes, code, head, head_bias, code, head_size, False, heads, head_size)
            matrix, shared = experts + 4 * filter_size, experts
            _linear(heads, head_size, matrix, shared, expert_count, filter_size, False, filters, filter_size)
            for n in range(batch):
                block_filter, bias = filters + 4 * n * filter_size, heads + 4 * (n * head_size + expert_count)
                output, motion_weight = bias + 4 * hidden, load_scalar(motion_weights, row * columns + column + n)
                output_bias, skip = load_scalar(output, hidden), output + 4 * (hidden + 1)
                for vector in range(BLOCK_VECTORS):
                    features = scratch + 4 * (n * BLOCK_VECTORS + vector) * stride
                    linear_leaky(features, block_filter, bias, inputs, hidden, units)
                    value = dot(units, output, output_bias, hidden) + dot(features, skip, ZERO, differences)
                    store_correction(value, units, result, width, column + n, row, vector, motion_weight)
