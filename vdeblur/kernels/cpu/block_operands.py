"""What both kinds of taps share on a CPU: looks as kernels read them, and strips of cells for the cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from vdeblur.kernels.cpu.simd import LANES, address, memory
from vdeblur.kernels.inputs import BlockInputs
from vdeblur.runtime.cpu_pool import side_by_side

T = TypeVar("T")

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


class BlockOperands(NamedTuple):
    """Looks in memory, and of each cell the logarithm of its motion's length and the weight of its correction."""

    frames: tuple[Tensor | None, ...]
    cells: tuple[Tensor, ...]
    offsets: Tensor
    around: Tensor

    def addresses(self, result: Tensor, number: int) -> list[int]:
        """The first arguments of a kernel of taps, for one picture of the batch."""
        each = [address(tensor, number) for tensor in (result, *self.frames, *self.cells)]
        return [*each, address(self.offsets), len(self.offsets), address(self.around), len(self.around)]


def seen_by(form: Any, looks: BlockInputs) -> BlockOperands:
    """What the points of ``form``, a :class:`vdeblur.model.block_taps.BlockTaps`, look at."""
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
    return BlockOperands(
        tuple(None if frame is None else memory(frame) for frame in frames),
        tuple(memory(each) for each in cells), memory(form.offsets), memory(form.neighbour_offsets),
    )  # fmt: skip


def in_strips(
    seen: BlockOperands, numbers: int, kernel: Callable[..., None], weights: Sequence[int | float], contrast: float
) -> Tensor:
    """A correction (B, 1, H, W) of the frame that is looked at, strip by strip, :func:`side_by_side`.

    Args:
        numbers: of the memory that a strip works in, zeros at first.
        kernel: called with :meth:`BlockOperands.addresses`, ``weights``, ``contrast``, height and width of the frame,
            the first row of blocks and the one past the last, and the address of the scratch memory.
    """
    frame = seen.frames[0]
    assert frame is not None
    batch, _, height, width = frame.shape
    result = torch.empty_like(frame)

    def strip(given: list[int | float], top: int, bottom: int) -> None:
        scratch = torch.zeros(numbers)  # what is not seen counts as nothing
        kernel(*given, top, bottom, address(scratch))

    given = [[*seen.addresses(result, number), *weights, contrast, height, width] for number in range(batch)]
    rows = height // CELL
    step = max(1, STRIP_PIXELS // (CELL * width))
    strips = [partial(strip, each, top, min(rows, top + step)) for each in given for top in range(0, rows, step)]
    side_by_side(strips, frame.device)
    return result


def kept_weights(form: Any, make: Callable[[], T]) -> T:
    """What ``make`` makes of a form's parameters, kept until one of them changes."""
    parameters = list(form.parameters())
    if any(each.is_inference() for each in parameters):  # their changes are not counted
        return make()
    state = [(each.data_ptr(), each._version) for each in parameters]
    before, weights, _ = form.kept.get("weights", (None, None, None))
    if before != state:
        weights = make()
        read = [each.detach() for each in parameters]  # held, so that no other weights get their addresses
        form.kept["weights"] = state, weights, read
    kept: T = weights
    return kept
