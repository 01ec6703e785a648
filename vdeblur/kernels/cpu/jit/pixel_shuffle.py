"""Pixel shuffle and unshuffle in channels_last, for convolutions at 1/2 and 1/4 of the resolution.

Each kernel exists for float32 and for bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdeblur.kernels.cpu.jit.linear_layers import store_bf16
from vdeblur.kernels.cpu.jit.registers import load_like
from vdeblur.kernels.cpu.jit.scanlines import copy_line
from vdeblur.kernels.cpu.jit.vectors import load, load4, load4_bf16, load_scalar, store, store_scalar, subroutine
from vdeblur.kernels.cpu.scanlines import MARGIN_BLOCKS
from vdeblur.kernels.cpu.simd import LANES
from vdeblur.kernels.inputs import BLOCK_PX

FOUR, TWO = np.float32(4), np.float32(2)


@subroutine
def scatter_twos(vector, scratch, result, at, step, count):  # type: ignore[no-untyped-def]
    """Store the first ``count`` numbers of a vector in pairs, ``step`` numbers apart."""
    store(scratch, 0, vector)
    for n in range(0, count, 2):
        store(result, at, load_like(scratch, n, (0, 0)))
        at += step


@subroutine
def scatter_twos_bf16(vector, scratch, result, at, step, count):  # type: ignore[no-untyped-def]
    """The same in bfloat16."""
    store_bf16(scratch, 0, vector)
    at, step = at // 2, step // 2
    for n in range(count // 2):
        store_scalar(result, at, load_scalar(scratch, n))
        at += step


@subroutine
def scatter_fours(vector, scratch, result, at, step, count):  # type: ignore[no-untyped-def]
    """Store the first ``count`` numbers of a vector in fours, ``step`` numbers apart."""
    store(scratch, 0, vector)
    for n in range(0, count, 4):
        store(result, at, load_like(scratch, n, (0, 0, 0, 0)))
        at += step


@subroutine
def scatter_fours_bf16(vector, scratch, result, at, step, count):  # type: ignore[no-untyped-def]
    """The same in bfloat16."""
    store_bf16(scratch, 0, vector)
    at, step = at // 2, step // 2
    for n in range(0, count // 2, 2):
        store(result, at, load_like(scratch, n, (0, 0)))
        at += step


def _unshuffle_kernel(scatter: Callable[..., Any]) -> Callable[..., None]:
    """Kernel specialised for a precision: ``scatter`` stores float32 or bfloat16."""

    def unshuffle(result, frame, channels, height, width, top, bottom, stride, line, scratch):  # type: ignore[no-untyped-def]
        """Unshuffle rows of an image by 4, and map [0, 1] to [−2, 2]."""
        for row in range(top, bottom):
            for n in range(channels):
                copy_line(frame + 4 * n * height * width, width, row, 0, width, line)
                for column in range(0, width, LANES):
                    value = load(line, MARGIN_BLOCKS * BLOCK_PX + column) * FOUR - TWO
                    square = row // 4 * (width // 4) + column // 4
                    at = (square * channels + n) * 16 + row % 4 * 4
                    scatter(value, scratch, result, at, 16 * channels, min(LANES, width - column))

    return unshuffle


def _shuffle_kernel(load: Callable[..., Any], halves: int) -> Callable[..., None]:
    """Kernel specialised for a precision: ``load`` reads float32 or bfloat16, with ``halves`` numbers in 8 bytes."""

    def shuffle_and_add(result, unshuffled, correction, channels, height, width, top, bottom):  # type: ignore[no-untyped-def]
        """Shuffle rows of an image by 4, and add a correction to all channels."""
        step = 16 * channels * 2 // halves
        for row in range(top, bottom):
            for n in range(channels):
                at = (row // 4 * (width // 4) * channels + n) * 16 + row % 4 * 4
                at = at * 2 // halves
                line = (n * height + row) * width
                for column in range(0, width, 4):
                    change = load_like(correction, row * width + column, (0, 0, 0, 0))
                    store(result, line + column, load(unshuffled, at) + change)
                    at += step

    return shuffle_and_add


unshuffle, unshuffle_bf16 = _unshuffle_kernel(scatter_fours), _unshuffle_kernel(scatter_fours_bf16)
shuffle_and_add, shuffle_and_add_bf16 = _shuffle_kernel(load4, 2), _shuffle_kernel(load4_bf16, 4)
