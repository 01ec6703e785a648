"""The optical flow's levels on a CPU, by :mod:`vdeblur.kernels.cpu.jit.flow`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import STEP, memory, padded

#: Numbers that are noted of each cell of a row, and those that sweeps multiply.
NOTES, FACTORS = 11, 5

_improve = Kernel("flow", "improve")


def improve_level(
    here: Tensor, slope: Tensor, others: Sequence[Tensor], found: Tensor,
    *, samplings: int, scale: int, cell: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """All samplings of a level: what :func:`vdeblur.model.optical_flow._improve` does so many times.

    Args:
        here: luma of a level (B, 1, H, W), and ``slope`` (B, 2, H, W).
        others: luma of each of the others (B, 1, H, W).
        found: the flows (N, B, 2, H/cell, W/cell) so far, in pixels of the frame.

    Returns:
        Flows and mismatches (N, B, 1, H/cell, W/cell).
    """
    (rows, columns), (height, width), many = found.shape[-2:], here.shape[-2:], len(others)
    if (rows * cell, columns * cell) != (height, width) or cell not in (1, 2, 4) or sweeps < 2:
        raise ValueError(f"{rows} × {columns} cells of {cell} do not make {height} × {width} pixels, or {sweeps} < 2")
    span, margin = padded(columns + 2), cell if cell > 1 else 0
    here, slope, found = memory(here), memory(slope), memory(found)
    result = found.new_empty(many, len(here), 3, rows, columns)
    wide = torch.empty((height + 2 * margin + 1) * (width + 2 * margin + 1) + STEP)
    work = torch.empty(7 * rows * span + (NOTES + 2 + (sweeps + 2) * FACTORS) * span)
    for which, other in enumerate(others):
        other = memory(other)
        for member in range(len(here)):
            place = which, member
            pictures = here[member], slope[member], other[member], found[place], result[place]
            _improve(
                *(picture.data_ptr() for picture in pictures), wide.data_ptr(), work.data_ptr(),
                height, width, rows, columns, span, cell, sweeps, samplings,
                np.float32(scale), np.float32(robust), np.float32(smoothness), np.float32(relaxation),
            )  # fmt: skip
    return result[:, :, :2], result[:, :, 2:]
