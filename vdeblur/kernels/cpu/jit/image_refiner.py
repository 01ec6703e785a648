"""Image refiner's input, row by row: samples along the motion, re-blurred frame, warped neighbours, unshuffled by 2.

The twin of ``ImageRefiner.gather_inputs``. A vector of pixels is gathered in the L1 cache and scattered from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.kernels.cpu.image_refiner import COLOURS, CONFIDENCE, DISPLACEMENT, MAPS, PASSTHROUGH, POSITIONS, X, Y
from vdeblur.kernels.cpu.jit.bilinear import load_sample, sample_bilinear, store_positions
from vdeblur.kernels.cpu.jit.pixel_shuffle import scatter_twos, scatter_twos_bf16
from vdeblur.kernels.cpu.jit.scanlines import copy_line, store_position_line, upsample_lines
from vdeblur.kernels.cpu.jit.vectors import broadcast, load, store, subroutine
from vdeblur.kernels.cpu.scanlines import MARGIN_BLOCKS, POSITION_ROWS
from vdeblur.kernels.cpu.simd import LANES
from vdeblur.kernels.inputs import BLOCK_PX

HALF = np.float32(0.5)
RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


@subroutine
def _luma(positions, samples, plane, k):  # type: ignore[no-untyped-def]
    """Luma of the colour samples at offset ``k``."""
    red, green = load_sample(positions, samples, k), load_sample(positions, samples + plane, k)
    return red * RED + green * GREEN + load_sample(positions, samples + 2 * plane, k) * BLUE


@subroutine
def _gather_along_motion(  # type: ignore[no-untyped-def]
    lines, stride, restored, height, width, row, offsets, points, first, last, gain, positions, features
):  # fmt: skip
    """Frame − re-blurred restored frame (3 vectors), then luma differences of the restored frame along the motion."""
    x, y = load(lines, POSITIONS * stride), broadcast(np.float32(row))
    step_x, step_y = load(lines, (MAPS + X) * stride), load(lines, (MAPS + Y) * stride)
    samples, plane, middle = POSITION_ROWS * points * LANES, points * LANES, (first + last) // 2
    store_positions(height, width, x, y, step_x, step_y, offsets, points, positions)
    for channel in range(COLOURS):
        at = samples + channel * plane
        image = restored + 4 * channel * height * width
        sample_bilinear(image, height, width, points, positions, at, samples + COLOURS * plane)
        total = (load_sample(positions, at, first) + load_sample(positions, at, last)) * HALF
        for k in range(first + 1, last):
            total = total + load_sample(positions, at, k)
        reblurred = total / np.float32(last - first)
        store(features, channel * LANES, (load(lines, channel * stride) - reblurred) * gain)
    here, at = _luma(positions, samples, plane, middle), COLOURS
    for k in range(points):
        if k != middle:
            store(features, at * LANES, (_luma(positions, samples, plane, k) - here) * gain)
            at += 1


@subroutine
def _gather_neighbour(lines, stride, image, side, height, width, row, middle, gain, positions, features):  # type: ignore[no-untyped-def]
    """Confidence-weighted colour differences of a warped neighbour, and the confidence (4 vectors)."""
    confidence = load(lines, (MAPS + CONFIDENCE + side) * stride)
    x = load(lines, POSITIONS * stride) + load(lines, (MAPS + DISPLACEMENT + 2 * side) * stride)
    y = load(lines, (MAPS + DISPLACEMENT + 2 * side + 1) * stride) + broadcast(np.float32(row))
    store_positions(height, width, x, y, x, y, middle, 1, positions)
    for channel in range(COLOURS):
        at, plane = POSITION_ROWS * LANES, image + 4 * channel * height * width
        sample_bilinear(plane, height, width, 1, positions, at, at + LANES)
        sample = load_sample(positions, at, 0)
        store(features, channel * LANES, (sample - load(lines, channel * stride)) * (confidence * gain))
    store(features, COLOURS * LANES, confidence)


@subroutine
def _gather_inputs(  # type: ignore[no-untyped-def]
    lines, stride, restored, before, after, height, width, row, offsets, points, first, last, passthrough, detail_count,
    gain, neighbour_gain, positions, features,
):  # fmt: skip
    """Input channels of a vector of pixels, in the order of ``ImageRefiner.gather_inputs``."""
    for channel in range(COLOURS):
        store(features, channel * LANES, load(lines, channel * stride) - HALF)
        store(features, (COLOURS + channel) * LANES, load(lines, (COLOURS + channel) * stride) * gain)
    features += 8 * COLOURS * LANES
    _gather_along_motion(
        lines, stride, restored, height, width, row, offsets, points, first, last, gain, positions, features
    )
    features += 4 * (COLOURS + points - 1) * LANES
    middle = offsets + 4 * ((first + last) // 2)
    for side in range(2):
        image = after if side else before
        if image:
            _gather_neighbour(
                lines, stride, image, side, height, width, row, middle, neighbour_gain, positions, features
            )
        features += 4 * (COLOURS + 1) * LANES
    for n in range(passthrough + detail_count):
        store(features, n * LANES, load(lines, (MAPS + PASSTHROUGH + n) * stride))


def _kernel(scatter: Callable[..., Any]) -> Callable[..., None]:
    """Kernel specialised for a precision: ``scatter`` stores float32 or bfloat16."""

    def rows(  # type: ignore[no-untyped-def]
        result, frame, residual, restored, details, before, after, maps, offsets, points, first, last,
        passthrough, detail_count, channels, gain, neighbour_gain,
        height, width, region_top, left, right, top, bottom, stride, scratch, ramp, positions, features,
    ):  # fmt: skip
        plane = 4 * height * width
        store_position_line(scratch + 4 * POSITIONS * stride, stride, left, ramp)
        for row in range(top, bottom):
            for n in range(COLOURS):
                copy_line(frame + n * plane, width, row, left, right, scratch + 4 * n * stride)
                copy_line(residual + n * plane, width, row, left, right, scratch + 4 * (COLOURS + n) * stride)
            map_lines = scratch + 4 * MAPS * stride
            upsample_lines(maps, PASSTHROUGH + passthrough, height, width, row, left, right, ramp, map_lines, stride)
            for n in range(detail_count):
                line = map_lines + 4 * (PASSTHROUGH + passthrough + n) * stride
                copy_line(details + n * plane, width, row, left, right, line)
            for column in range(left, right, LANES):
                lines = scratch + 4 * (column - (left // BLOCK_PX - MARGIN_BLOCKS) * BLOCK_PX)
                _gather_inputs(
                    lines, stride, restored, before, after, height, width, row, offsets, points, first, last,
                    passthrough, detail_count, gain, neighbour_gain, positions, features,
                )  # fmt: skip
                square = (row - region_top) // 2 * ((right - left) // 2) + (column - left) // 2
                at, lanes = square * channels * 4 + (row - region_top) % 2 * 2, min(LANES, right - column)
                for n in range(channels):
                    scatter(load(features, n * LANES), positions, result, at + 4 * n, 4 * channels, lanes)

    return rows


rows, rows_bf16 = _kernel(scatter_twos), _kernel(scatter_twos_bf16)
