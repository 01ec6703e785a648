"""Block sampling: bilinear samples along a block's motion, and linear layers over its pixels.

The working set of a few blocks stays in the L1 cache: samples, hidden units and weights.
"""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.block_operands import OUTPUT_TILE, PATCH_STRIDE
from vdeblur.kernels.cpu.jit.vectors import (
    broadcast,
    fma,
    load,
    load8,
    load_broadcast,
    load_scalar,
    maximum,
    store,
    store_scalar,
    subroutine,
)
from vdeblur.kernels.cpu.simd import LANES
from vdeblur.kernels.inputs import BLOCK_PX

#: Rows of a block in a wide vector.
ROWS_PER_VECTOR = LANES // BLOCK_PX
HALF, LEAKY_SLOPE = np.float32(0.5), np.float32(0.1)


@subroutine
def _copy_patch(image, height, width, top, left, patch):  # type: ignore[no-untyped-def]
    """Copy 9×9 pixels that may lie outside of the image, with border replication."""
    for j in range(BLOCK_PX + 1):
        row = min(max(top + j, 0), height - 1) * width
        for i in range(BLOCK_PX + 1):
            store_scalar(patch, j * PATCH_STRIDE + i, load_scalar(image, row + min(max(left + i, 0), width - 1)))


@subroutine
def row_offset(line, stride):  # type: ignore[no-untyped-def]
    """Offset of a row of a block in its vectors, which lie ``stride`` numbers apart."""
    pixel = line * BLOCK_PX
    return pixel // LANES * stride + pixel % LANES


@subroutine
def _sample_bilinear(image, first, width, fraction_x, fraction_y, pixels, own_width, weight, features, stride):  # type: ignore[no-untyped-def]
    """Weighted difference of a bilinear sample of a block, from pixel ``first`` on, to the block's own pixels."""
    here = load8(image, first)
    above = here + (load8(image, first + 1) - here) * fraction_x
    for line in range(BLOCK_PX):
        first += width
        here = load8(image, first)
        below = here + (load8(image, first + 1) - here) * fraction_x
        value = above + (below - above) * fraction_y
        store(features, row_offset(line, stride), (value - load8(pixels, line * own_width)) * weight)
        above = below


@subroutine
def sample_block(  # type: ignore[no-untyped-def]
    image, height, width, x, y, step_x, step_y, offsets, count, pixels, weight, patch, features, stride
):  # fmt: skip
    """Sample a block at (x, y) + offset · step for each offset; one vector group per offset."""
    max_x, max_y, min_xy = np.float32(width), np.float32(height), np.float32(-BLOCK_PX)
    for k in range(count):
        offset = load_scalar(offsets, k)
        at_x, at_y = x + offset * step_x, y + offset * step_y
        # Clamped to one block outside of the image; comparisons are ordered so that nan cannot become an address.
        at_x = min(at_x, max_x) if at_x > min_xy else min_xy
        at_y = min(at_y, max_y) if at_y > min_xy else min_xy
        floor_x, floor_y = np.floor(at_x), np.floor(at_y)
        left, top = int(floor_x), int(floor_y)
        fraction_x, fraction_y = at_x - floor_x, at_y - floor_y
        if left >= 0 and top >= 0 and left < width - BLOCK_PX and top < height - BLOCK_PX:
            _sample_bilinear(
                image, top * width + left, width, fraction_x, fraction_y, pixels, width, weight, features, stride
            )
        else:
            _copy_patch(image, height, width, top, left, patch)
            _sample_bilinear(patch, 0, PATCH_STRIDE, fraction_x, fraction_y, pixels, width, weight, features, stride)
        features += 4 * LANES


@subroutine
def sample_neighbour(  # type: ignore[no-untyped-def]
    image, side, height, width, x, row, motion, displacements, confidences, offsets, count,
    pixels, gain, patch, features, stride,
):  # fmt: skip
    """Sample a block in the previous or next frame (side 0 or 1), weighted by the match confidence; return that."""
    columns = width // BLOCK_PX
    blocks, block = height // BLOCK_PX * columns, row * columns + x
    confidence = load_scalar(confidences, side * blocks + block)
    sample_block(
        image, height, width,
        np.float32(x * BLOCK_PX) + load_scalar(displacements, 2 * side * blocks + block),
        np.float32(row * BLOCK_PX) + load_scalar(displacements, (2 * side + 1) * blocks + block),
        load_scalar(motion, block), load_scalar(motion, blocks + block), offsets, count,
        pixels, gain * confidence, patch, features, stride,
    )  # fmt: skip
    return confidence


@subroutine
def sample_along_motion(  # type: ignore[no-untyped-def]
    image, height, width, x, row, motion, offsets, count, pixels, gain, patch, features, stride
):  # fmt: skip
    """Sample a block in its own frame along its motion."""
    columns = width // BLOCK_PX
    blocks, block = height // BLOCK_PX * columns, row * columns + x
    sample_block(
        image, height, width, np.float32(x * BLOCK_PX), np.float32(row * BLOCK_PX), load_scalar(motion, block),
        load_scalar(motion, blocks + block), offsets, count, pixels, gain, patch, features, stride,
    )  # fmt: skip


@subroutine
def store_luma(pixels, width, features, stride):  # type: ignore[no-untyped-def]
    """Store the luma of a block's pixels, centred at 0."""
    for line in range(BLOCK_PX):
        store(features, row_offset(line, stride), load8(pixels, line * width) - HALF)


@subroutine
def leaky(x):  # type: ignore[no-untyped-def]
    """Leaky ReLU."""
    return maximum(x, x * LEAKY_SLOPE)


@subroutine
def linear_leaky(x, weights, biases, inputs, outputs, y):  # type: ignore[no-untyped-def]
    """Linear layer and leaky ReLU: ``inputs`` vectors at ``x`` → ``outputs`` vectors at ``y``."""
    at = 0
    for n in range(0, outputs, OUTPUT_TILE):
        a, b = load_broadcast(biases, n), load_broadcast(biases, n + 1)
        c, d = load_broadcast(biases, n + 2), load_broadcast(biases, n + 3)
        for k in range(inputs):
            v = load(x, k * LANES)
            a, b = fma(load_broadcast(weights, at), v, a), fma(load_broadcast(weights, at + 1), v, b)
            c, d = fma(load_broadcast(weights, at + 2), v, c), fma(load_broadcast(weights, at + 3), v, d)
            at += OUTPUT_TILE
        store(y, n * LANES, leaky(a))
        store(y, (n + 1) * LANES, leaky(b))
        store(y, (n + 2) * LANES, leaky(c))
        store(y, (n + 3) * LANES, leaky(d))


@subroutine
def dot(x, weights, bias, inputs):  # type: ignore[no-untyped-def]
    """Dot product of ``inputs`` vectors at ``x`` with scalar weights, plus a bias."""
    total = broadcast(bias)
    for k in range(inputs):
        total = fma(load_broadcast(weights, k), load(x, k * LANES), total)
    return total


@subroutine
def store_correction(value, scratch, result, width, x, row, vector, motion_weight):  # type: ignore[no-untyped-def]
    """Store one vector of a block's correction, weighted by the motion, into the rows of the result."""
    store(scratch, 0, value * motion_weight)
    first = (row * width + x) * BLOCK_PX + vector * ROWS_PER_VECTOR * width
    for line in range(ROWS_PER_VECTOR):
        store(result, first + line * width, load8(scratch, line * BLOCK_PX))
