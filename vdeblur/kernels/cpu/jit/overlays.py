"""Samples that stand still while the flow says that they move, in one pass over every second row and column.

The twin of :func:`vdeblur.engine.overlays.count_still`.
"""

from __future__ import annotations

from math import floor

import numpy as np

from vdeblur.kernels.cpu.jit.vectors import load_scalar, store_scalar
from vdeblur.kernels.inputs import BLOCK_PX

ZERO, ONE = np.float32(0), np.float32(1)


def count_still(  # type: ignore[no-untyped-def]
    current, other, flow, times, result, rows, columns, step, still, elsewhere, slow, most
):  # fmt: skip
    """Images of ``rows`` × ``columns`` blocks; the flow has x and then y of each block."""
    blocks, width, height = rows * columns, columns * BLOCK_PX, rows * BLOCK_PX
    for block in range(blocks):
        top, left = block // columns * BLOCK_PX, block % columns * BLOCK_PX
        x, y = load_scalar(flow, block), load_scalar(flow, blocks + block)
        moves = x * x + y * y >= slow
        to_x, to_y = int(floor(x)), int(floor(y))
        for row in range(top, top + BLOCK_PX, step):
            for column in range(left, left + BLOCK_PX, step):
                at = row // step * (width // step) + column // step
                here = load_scalar(current, row * width + column)
                count = ZERO
                if abs(here - load_scalar(other, row * width + column)) <= still:
                    count = load_scalar(times, at)
                    if moves and 0 <= row + to_y < height - 1 and 0 <= column + to_x < width - 1:
                        place = (row + to_y) * width + column + to_x
                        one, two = load_scalar(other, place), load_scalar(other, place + 1)
                        three, four = load_scalar(other, place + width), load_scalar(other, place + width + 1)
                        low, high = min(min(one, two), min(three, four)), max(max(one, two), max(three, four))
                        if low - here >= elsewhere or here - high >= elsewhere:
                            count = min(count + ONE, most)
                store_scalar(result, at, count)
