"""Scanlines: row buffers and strip scheduling of the CPU kernels that work on a region row by row.

A line holds one number per pixel of a row of the region, and some to its left and right. It is either copied from a
plane or upsampled bilinearly from a map with one number per 8×8 block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vdeblur.kernels.cpu.simd import LANES, address
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.runtime.cpu_pool import run_parallel

#: Blocks before the first one of a line, so that vectors of pixels stay aligned.
MARGIN_BLOCKS = 2
#: Rows of the sampling buffer: fractional x, fractional y and pixel index of each sample; then one row of samples per
#: channel, and two of pixel columns that are still to be interpolated.
POSITION_ROWS, PAIR_ROWS = 3, 2
#: Pixels of a strip, the work item of one core, and the multiple of its rows.
STRIP_PIXELS, STRIP_MULTIPLE = 32_768, 4


def line_length(width: int) -> int:
    """Length of the line buffer for a row of ``width`` pixels, with margins, in whole vectors."""
    return -(-(width + (MARGIN_BLOCKS + 2) * BLOCK_PX + LANES) // LANES) * LANES


def check_maps(plane: Tensor, maps: Tensor) -> None:
    """Check that maps (B, C, h, w) have one number per block of a plane (B, C, H, W).

    Raises:
        ValueError: they do not.
    """
    (height, width), (rows, columns) = plane.shape[-2:], maps.shape[-2:]
    if (height, width) != (BLOCK_PX * rows, BLOCK_PX * columns):
        raise ValueError(f"{rows} × {columns} cells of {BLOCK_PX} do not make {height} × {width} pixels")


def run_in_strips(
    batch: int,
    top: int,
    bottom: int,
    width: int,
    scratch_sizes: Sequence[int],
    work: Callable[[int, int, int, list[int]], None],
) -> None:
    """Process the rows of a region in strips in the CPU pool.

    Args:
        width: pixels of a row.
        scratch_sizes: float32 numbers of each scratch buffer of a strip, zero-initialised.
        work: callback, given the index of a frame in the batch, the first row and the one past the last, and the
            addresses of the scratch buffers.
    """

    def strip(index: int, first: int, last: int) -> None:
        scratch = torch.zeros(sum(scratch_sizes))
        work(index, first, last, [address(each) for each in torch.split(scratch, list(scratch_sizes))])

    step = max(1, STRIP_PIXELS // (STRIP_MULTIPLE * width)) * STRIP_MULTIPLE
    tops = range(top, bottom, step)
    strips = [partial(strip, index, first, min(bottom, first + step)) for index in range(batch) for first in tops]
    run_parallel(strips, torch.device("cpu"))
