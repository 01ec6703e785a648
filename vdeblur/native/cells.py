"""What both kinds of taps share on a CPU: looks as kernels read them, and strips of cells for the cores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vdeblur.cores import side_by_side
from vdeblur.looks import Looks
from vdeblur.native.processor import LANES, address, memory

#: Pixels each way of a cell.
CELL = 8
PIXELS = CELL * CELL
#: Vectors of a cell's pixels.
VECTORS = PIXELS // LANES
#: Outputs of a layer that are worked on at a time.
BLOCK = 4
#: Pixels of a strip, which one core works on.
STRIP_PIXELS = 32_768
#: Numbers of a row of the copy of a cell's surroundings, and of all of it.
PATCH_ROW = 16
PATCH = (CELL + 1) * PATCH_ROW


class Seen(NamedTuple):
    """Looks in memory, and of each cell the logarithm of its motion's length and the weight of its correction."""

    frames: tuple[Tensor | None, ...]
    cells: tuple[Tensor, ...]
    offsets: Tensor
    around: Tensor

    def addresses(self, result: Tensor, number: int) -> list[int]:
        """The first arguments of a kernel of taps, for one picture of the batch."""
        each = [address(tensor, number) for tensor in (result, *self.frames, *self.cells)]
        return [*each, address(self.offsets), len(self.offsets), address(self.around), len(self.around)]


def seen_by(form: Any, looks: Looks) -> Seen:
    """What the points of ``form``, a :class:`vdeblur.model.celltaps.Looking`, look at."""
    assert looks.cell == CELL, looks.cell
    frames = (*looks.frames, None, None)[:3]
    square = looks.motion.square().sum(1)
    cells = (
        looks.motion,
        looks.places,
        looks.trusts,
        torch.log1p(square.sqrt()) / 4,
        square / (1 + square) / looks.contrast,
    )
    return Seen(
        tuple(None if frame is None else memory(frame) for frame in frames),
        tuple(memory(each) for each in cells), memory(form.offsets), memory(form.neighbour_offsets),
    )  # fmt: skip


def in_strips(frame: Tensor, numbers: int, work: Callable[[Tensor, int, int, int, int], None]) -> Tensor:
    """A correction like ``frame`` (B, 1, H, W), strip by strip, :func:`side_by_side`.

    Args:
        numbers: of the memory that a strip works in, zeros at first.
        work: is given the correction, the number of a picture, its rows of cells from the first to before the last,
            and the address of that memory.
    """
    batch, _, height, width = frame.shape
    result = torch.empty_like(frame)

    def strip(number: int, top: int, bottom: int) -> None:
        scratch = torch.zeros(numbers)  # what is not seen counts as nothing
        work(result, number, top, bottom, address(scratch))

    rows = height // CELL
    step = max(1, STRIP_PIXELS // (CELL * width))
    tops = range(0, rows, step)
    strips = [partial(strip, number, top, min(rows, top + step)) for number in range(batch) for top in tops]
    side_by_side(strips, frame.device)
    return result
