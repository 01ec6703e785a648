"""Scanline buffers: plane rows copied, block maps upsampled bilinearly; see :mod:`vdeblur.kernels.cpu.scanlines`."""

from __future__ import annotations

import numpy as np

from vdeblur.kernels.cpu.jit.vectors import broadcast8, load8, load_scalar, store, store_scalar, subroutine
from vdeblur.kernels.cpu.scanlines import MARGIN_BLOCKS
from vdeblur.kernels.inputs import BLOCK_PX

HALF = np.float32(0.5)


@subroutine
def store_position_line(line, stride, left, ramp):  # type: ignore[no-untyped-def]
    """Fill a line with x positions, and ``ramp`` with the interpolation weights between two block centres."""
    for n in range(BLOCK_PX):
        store_scalar(ramp, n, (np.float32(n) + HALF) / np.float32(BLOCK_PX))
    for n in range(stride):
        store_scalar(line, n, np.float32((left // BLOCK_PX - MARGIN_BLOCKS) * BLOCK_PX + n))


@subroutine
def copy_line(image, width, row, left, right, line):  # type: ignore[no-untyped-def]
    """Copy a row of a plane into a line."""
    first = left // BLOCK_PX - MARGIN_BLOCKS
    for c in range(left // BLOCK_PX, (right - 1) // BLOCK_PX + 1):
        store(line, (c - first) * BLOCK_PX, load8(image, row * width + c * BLOCK_PX))


@subroutine
def _upsample_line(maps, upper, lower, fraction, columns, first, last, ramp, line):  # type: ignore[no-untyped-def]
    """Interpolate a row of a map bilinearly, between its rows at ``upper`` and ``lower``."""
    one = load_scalar(maps, upper + max(first, 0))
    before = one + (load_scalar(maps, lower + max(first, 0)) - one) * fraction
    for c in range(max(first, -1), last + 1):
        at = min(c + 1, columns - 1)
        one = load_scalar(maps, upper + at)
        after = one + (load_scalar(maps, lower + at) - one) * fraction
        store(line, (c - first) * BLOCK_PX + BLOCK_PX // 2, load8(ramp, 0) * (after - before) + broadcast8(before))
        before = after


@subroutine
def upsample_lines(maps, count, height, width, row, left, right, ramp, lines, stride):  # type: ignore[no-untyped-def]
    """Upsample a row of ``count`` maps into lines; the twin of :func:`vdeblur.model.layers.upsample`."""
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    above = (row + BLOCK_PX // 2) // BLOCK_PX - 1
    fraction = (np.float32((row + BLOCK_PX // 2) % BLOCK_PX) + HALF) / np.float32(BLOCK_PX)
    upper, lower = max(above, 0) * columns, min(above + 1, rows - 1) * columns
    first, last = left // BLOCK_PX - MARGIN_BLOCKS, (right - 1) // BLOCK_PX
    for n in range(count):
        plane, line = maps + 4 * n * rows * columns, lines + 4 * n * stride
        _upsample_line(plane, upper, lower, fraction, columns, first, last, ramp, line)
