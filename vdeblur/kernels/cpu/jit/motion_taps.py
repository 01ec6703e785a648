"""Motion taps, row by row: deconvolution with one bilinearly interpolated motion vector per pixel.

The twin of ``MotionTaps``' plain operators. The features and hidden units of a vector of pixels stay in the L1 cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.kernels.cpu.jit.bilinear import load_sample, sample_bilinear, store_positions
from vdeblur.kernels.cpu.jit.linear_layers import linear, linear_bf16, linear_leaky, linear_leaky_bf16, store_bf16_pairs
from vdeblur.kernels.cpu.jit.pixel_shuffle import scatter_fours, scatter_fours_bf16
from vdeblur.kernels.cpu.jit.registers import square_root
from vdeblur.kernels.cpu.jit.scanlines import copy_line, store_position_line, upsample_lines
from vdeblur.kernels.cpu.jit.vectors import broadcast, exponent, load, load_scalar, mantissa, store, subroutine
from vdeblur.kernels.cpu.motion_taps import CONFIDENCE, DISPLACEMENT, GUIDES, LENGTH, LUMA, MAPS, POSITIONS, X, Y
from vdeblur.kernels.cpu.scanlines import MARGIN_BLOCKS, POSITION_ROWS
from vdeblur.kernels.cpu.simd import ACCUMULATORS, LANES
from vdeblur.kernels.inputs import BLOCK_PX

HALF, ONE, TWO, FOUR = (np.float32(value) for value in (0.5, 1, 2, 4))
EPSILON, LOG_2 = np.float32(1e-3), np.float32(np.log(2))
THIRD, FIFTH, SEVENTH, NINTH, ELEVENTH = (np.float32(1 / value) for value in (3, 5, 7, 9, 11))


@subroutine
def _sample_differences(  # type: ignore[no-untyped-def]
    image, height, width, x, y, step_x, step_y, offsets, count, luma, weight, positions, features
):  # fmt: skip
    """Sample an image at (x, y) + offset · step for each offset; weighted differences to ``luma``."""
    samples = POSITION_ROWS * count * LANES
    store_positions(height, width, x, y, step_x, step_y, offsets, count, positions)
    sample_bilinear(image, height, width, count, positions, samples, samples + count * LANES)
    for k in range(count):
        store(features, k * LANES, (load_sample(positions, samples, k) - luma) * weight)


@subroutine
def _log(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of numbers from 1 on: exponent and an atanh series of the mantissa."""
    significand = mantissa(x)
    ratio = (significand - ONE) / (significand + ONE)
    square = ratio * ratio
    series = square * (square * (square * (square * ELEVENTH + NINTH) + SEVENTH) + FIFTH) + THIRD
    return exponent(x) * LOG_2 + ratio * TWO * (series * square + ONE)


@subroutine
def _gather_features(  # type: ignore[no-untyped-def]
    frame, before, after, height, width, row, lines, stride, offsets, count, neighbour_offsets, neighbour_points,
    lateral_offsets, lateral_points, guides, gain, positions, features,
):  # fmt: skip
    """Features of a vector of pixels, in the order of ``MotionTaps.gather_features``, guides last."""
    x, y, luma = load(lines, POSITIONS * stride), broadcast(np.float32(row)), load(lines, LUMA * stride)
    step_x, step_y = load(lines, (MAPS + X) * stride), load(lines, (MAPS + Y) * stride)
    weight = broadcast(gain)
    _sample_differences(frame, height, width, x, y, step_x, step_y, offsets, count, luma, weight, positions, features)
    features += 4 * count * LANES
    store(features, 0, _log(load(lines, (MAPS + LENGTH) * stride) + ONE) / FOUR)
    store(features, LANES, luma - HALF)
    features += 8 * LANES
    if neighbour_points:
        for side in range(2):
            image = after if side else before
            if image:
                confidence = load(lines, (MAPS + CONFIDENCE + side) * stride)
                neighbour_x = x + load(lines, (MAPS + DISPLACEMENT + 2 * side) * stride)
                neighbour_y = y + load(lines, (MAPS + DISPLACEMENT + 2 * side + 1) * stride)
                _sample_differences(
                    image, height, width, neighbour_x, neighbour_y, step_x, step_y, neighbour_offsets, neighbour_points,
                    luma, weight * confidence, positions, features,
                )  # fmt: skip
                store(features, neighbour_points * LANES, confidence)
            features += 4 * (neighbour_points + 1) * LANES
    if lateral_points:
        length = ONE / (square_root(step_x * step_x + step_y * step_y) + EPSILON)
        across_x, across_y = step_y * length, step_x * length
        _sample_differences(
            frame, height, width, x + across_x, y - across_y, step_x, step_y, lateral_offsets, lateral_points,
            luma, weight, positions, features,
        )  # fmt: skip
        features += 4 * lateral_points * LANES
        _sample_differences(
            frame, height, width, x - across_x, y + across_y, step_x, step_y, lateral_offsets, lateral_points,
            luma, weight, positions, features,
        )  # fmt: skip
        features += 4 * lateral_points * LANES
    for guide in range(guides):
        store(features, guide * LANES, load(lines, (MAPS + GUIDES + guide) * stride))


@subroutine
def _forward(features, weights, biases, inputs, hidden, depth, outputs, units, spare_units):  # type: ignore[no-untyped-def]
    """Forward pass of the MLP: ``inputs`` vectors at ``features`` → ``outputs`` vectors at the returned address."""
    x, y = features, units
    for _ in range(depth + 1):
        for n in range(0, hidden, ACCUMULATORS):
            linear_leaky(x, weights, biases, inputs, y + 4 * n * LANES)
            weights, biases = weights + 4 * ACCUMULATORS * inputs, biases + 4 * ACCUMULATORS
        x, y, inputs = y, spare_units if y == units else units, hidden
    for n in range(0, outputs, ACCUMULATORS):
        linear(x, weights, biases, inputs, y + 4 * n * LANES)
        weights, biases = weights + 4 * ACCUMULATORS * inputs, biases + 4 * ACCUMULATORS
    return y


@subroutine
def _forward_bf16(features, weights, biases, inputs, hidden, depth, outputs, units, spare_units):  # type: ignore[no-untyped-def]
    """The same with bfloat16 pairs and float32 accumulators."""
    inputs = (inputs + 1) // 2
    for k in range(inputs):
        store_bf16_pairs(spare_units, k * LANES, load(features, 2 * k * LANES), load(features, (2 * k + 1) * LANES))
    x, y = spare_units, units
    for _ in range(depth + 1):
        for n in range(0, hidden, ACCUMULATORS):
            linear_leaky_bf16(x, weights, biases, inputs, y + 2 * n * LANES)
            weights, biases = weights + 4 * ACCUMULATORS * inputs, biases + 4 * ACCUMULATORS
        x, y, inputs = y, spare_units if y == units else units, hidden // 2
    for n in range(0, outputs, ACCUMULATORS):
        linear_bf16(x, weights, biases, inputs, y + 4 * n * LANES)
        weights, biases = weights + 4 * ACCUMULATORS * inputs, biases + 4 * ACCUMULATORS
    return y


@subroutine
def _store_outputs(  # type: ignore[no-untyped-def]
    activations, first, count, biases, motion_weight, result, height, width, row, column, lanes, scratch
):  # fmt: skip
    """Store ``count`` outputs of a vector of pixels, from number ``first`` on, as planes."""
    for n in range(count):
        value = load(activations, (first + n) * LANES) * motion_weight + broadcast(load_scalar(biases, first + n))
        scatter_fours(value, scratch, result, (n * height + row) * width + column, 4, lanes)


def _kernel(forward: Callable[..., Any], scatter: Callable[..., Any]) -> Callable[..., None]:
    """Kernel specialised for a precision: ``forward`` runs the MLP, ``scatter`` stores the texture."""

    def rows(  # type: ignore[no-untyped-def]
        correction, texture, details, frame, before, after, maps,
        offsets, count, neighbour_offsets, neighbour_points, lateral_offsets, lateral_points,
        weights, biases, output_biases, inputs, hidden, depth, outputs, texture_channels, detail_channels, guides, gain,
        height, width, region_top, region_bottom, left, right, top, bottom, stride,
        scratch, ramp, positions, features, units, spare_units,
    ):  # fmt: skip
        store_position_line(scratch + 4 * POSITIONS * stride, stride, left, ramp)
        for row in range(top, bottom):
            copy_line(frame, width, row, left, right, scratch + 4 * LUMA * stride)
            upsample_lines(
                maps, GUIDES + guides, height, width, row, left, right, ramp, scratch + 4 * MAPS * stride, stride
            )  # fmt: skip
            for column in range(left, right, LANES):
                lines = scratch + 4 * (column - (left // BLOCK_PX - MARGIN_BLOCKS) * BLOCK_PX)
                _gather_features(
                    frame, before, after, height, width, row, lines, stride,
                    offsets, count, neighbour_offsets, neighbour_points, lateral_offsets, lateral_points,
                    guides, gain, positions, features,
                )  # fmt: skip
                activations = forward(features, weights, biases, inputs, hidden, depth, outputs, units, spare_units)
                length = load(lines, (MAPS + LENGTH) * stride)
                square = length * length
                motion_weight = square / (square + ONE)
                rows, columns, y, x = region_bottom - region_top, right - left, row - region_top, column - left
                lanes = min(LANES, right - column)
                _store_outputs(
                    activations, 0, 1, output_biases, motion_weight,
                    correction, rows, columns, y, x, lanes, positions,
                )  # fmt: skip
                at = (y // 4 * (columns // 4) + x // 4) * texture_channels * 16 + y % 4 * 4
                for n in range(texture_channels):
                    bias = broadcast(load_scalar(output_biases, n + 1))
                    value = load(activations, (n + 1) * LANES) * motion_weight + bias
                    scatter(value, positions, texture, at + n * 16, texture_channels * 16, lanes)
                _store_outputs(
                    activations, texture_channels + 1, detail_channels, output_biases, motion_weight,
                    details, rows, columns, y, x, lanes, positions,
                )  # fmt: skip

    return rows


rows, rows_bf16 = _kernel(_forward, scatter_fours), _kernel(_forward_bf16, scatter_fours_bf16)
