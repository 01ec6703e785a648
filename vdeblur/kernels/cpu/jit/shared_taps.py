"""Shared taps, row of blocks by row of blocks: sampling along the motion and one MLP for all pixels.

The twin of ``SharedTaps``' plain operators.
"""

from __future__ import annotations

from vdeblur.kernels.cpu.block_operands import BLOCK_VECTORS
from vdeblur.kernels.cpu.jit.block_sampling import (
    dot,
    linear_leaky,
    row_offset,
    sample_along_motion,
    sample_neighbour,
    store_correction,
    store_luma,
)
from vdeblur.kernels.cpu.jit.vectors import broadcast8, load_scalar, store, subroutine
from vdeblur.kernels.cpu.shared_taps import BLOCKS_PER_PASS
from vdeblur.kernels.cpu.simd import LANES
from vdeblur.kernels.inputs import BLOCK_PX


@subroutine
def _fill_block(features, stride, value):  # type: ignore[no-untyped-def]
    """Store a value for all pixels of a block."""
    for line in range(BLOCK_PX):
        store(features, row_offset(line, stride), broadcast8(value))


def rows(  # type: ignore[no-untyped-def]
    result, frame, before, after, motion, displacements, confidences, log_lengths, motion_weights,
    offsets, count, neighbour_offsets, neighbour_points,
    weights, biases, output, output_bias, inputs, hidden, depth, gain, height, width, top, bottom, scratch,
):  # fmt: skip
    """Correction of some rows of blocks of a frame. Tensors are addresses; 0 for a missing neighbour."""
    columns = width // BLOCK_PX
    stride = inputs * LANES
    units = scratch + 4 * stride * BLOCK_VECTORS * BLOCKS_PER_PASS
    spare_units = units + 4 * hidden * LANES
    patch = spare_units + 4 * hidden * LANES
    for row in range(top, bottom):
        for column in range(0, columns, BLOCKS_PER_PASS):
            batch = min(BLOCKS_PER_PASS, columns - column)
            for x in range(column, column + batch):
                pixels = frame + 4 * (row * BLOCK_PX * width + x * BLOCK_PX)
                features = scratch + 4 * (x - column) * BLOCK_VECTORS * stride
                sample_along_motion(
                    frame, height, width, x, row, motion, offsets, count, pixels, gain, patch, features, stride
                )
                features += 4 * count * LANES
                _fill_block(features, stride, load_scalar(log_lengths, row * columns + x))
                store_luma(pixels, width, features + 4 * LANES, stride)
                features += 8 * LANES
                for side in range(2):
                    image = after if side else before
                    if neighbour_points and image:
                        confidence = sample_neighbour(
                            image, side, height, width, x, row, motion, displacements, confidences,
                            neighbour_offsets, neighbour_points, pixels, gain, patch, features, stride,
                        )  # fmt: skip
                        _fill_block(features + 4 * neighbour_points * LANES, stride, confidence)
                    features += 4 * (neighbour_points + 1) * LANES
            for vector in range(batch * BLOCK_VECTORS):
                linear_leaky(scratch + 4 * vector * stride, weights, biases, inputs, hidden, units)
                matrix, bias = weights + 4 * inputs * hidden, biases + 4 * hidden
                for _ in range(depth):
                    linear_leaky(units, matrix, bias, hidden, hidden, spare_units)
                    units, spare_units = spare_units, units
                    matrix, bias = matrix + 4 * hidden * hidden, bias + 4 * hidden
                x = column + vector // BLOCK_VECTORS
                value, weight = dot(units, output, output_bias, hidden), load_scalar(motion_weights, row * columns + x)
                store_correction(value, spare_units, result, width, x, row, vector % BLOCK_VECTORS, weight)
