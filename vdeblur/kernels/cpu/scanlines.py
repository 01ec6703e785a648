"""What kernels share that work on an area of a picture row by row: lines of what is known, and strips for the cores.

A line holds a number for each pixel of a row of the area, and for some to its left and right. It is either copied from
a picture or made of a map, which has a number for each cell of 8×8 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vdeblur.kernels.cpu.block_operands import CELL
from vdeblur.kernels.cpu.simd import LANES, address
from vdeblur.runtime.cpu_pool import side_by_side

#: Cells before the first one of a line: with them a vector of pixels begins where one of memory does.
MARGIN = 2
#: Numbers noted of a sample: shares of the pixels to the right and below, and where they lie. Those of each picture
#: come on top, and pairs of pixels of a picture at the end.
NOTED, PAIR = 3, 2
#: Pixels of a strip, which one core works on, and what its rows are a multiple of.
STRIP_PIXELS, MULTIPLE = 32_768, 4


def span_of(across: int) -> int:
    """Numbers of a line of so many pixels."""
    return -(-(across + (MARGIN + 2) * CELL + LANES) // LANES) * LANES


def check_maps(picture: Tensor, maps: Tensor) -> None:
    """
    Raises:
        ValueError: maps (B, C, h, w) do not have a number for each cell of a picture.
    """
    (height, width), (rows, columns) = picture.shape[-2:], maps.shape[-2:]
    if (height, width) != (CELL * rows, CELL * columns):
        raise ValueError(f"{rows} × {columns} cells of {CELL} do not make {height} × {width} pixels")


def in_strips(
    batch: int,
    top: int,
    bottom: int,
    across: int,
    sizes: Sequence[int],
    work: Callable[[int, int, int, list[int]], None],
) -> None:
    """Rows of an area, strip by strip, :func:`side_by_side`.

    Args:
        across: pixels of a row.
        sizes: numbers of the memories that a strip works in, zeros at first.
        work: is given the number of a picture, its first row and the one behind its last, and these addresses.
    """

    def strip(number: int, first: int, last: int) -> None:
        scratch = torch.zeros(sum(sizes))
        work(number, first, last, [address(each) for each in torch.split(scratch, list(sizes))])

    step = max(1, STRIP_PIXELS // (MULTIPLE * across)) * MULTIPLE
    tops = range(top, bottom, step)
    jobs = [partial(strip, number, first, min(bottom, first + step)) for number in range(batch) for first in tops]
    side_by_side(jobs, torch.device("cpu"))
