"""The motion profile on a CPU, by :mod:`vdeblur.kernels.cpu.jit.motion_profile`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import STEP, memory

#: Lags whose sums are added up at a time.
BLOCK = 8
#: Where in the notes of some cells the notes of each point begin, after the places and steps of the cells.
X, Y, STEP_X, STEP_Y, POINTS = (STEP * number for number in range(5))

_correlate = Kernel("motion_profile", "correlate")


def correlated(
    grey: Tensor, velocity: Tensor, *, offsets: Tensor, lags: int, least_speed: float, down: int, across: int
) -> Tensor:
    """Sums over cells of what :func:`vdeblur.model.exposure._profile` sums up.

    Args:
        grey: luma (B, 1, H, W); ``velocity`` (B, 2, h, w) in pixels.
        offsets: (K,), in units of the velocity, where luma is looked at; from the least to the most.
        lags: correlations are those of differences 1, 2, … ``lags`` apart.
        down, across: only every so many-th row and column of cells is looked at.

    Returns:
        (B, lags + 4), float32: correlations, energy, logarithms of the speed, cells used, all cells.
    """
    points, (height, width), (rows, columns) = len(offsets), grey.shape[-2:], velocity.shape[-2:]
    grey, velocity, offsets = memory(grey), memory(velocity), memory(offsets)
    line = torch.empty(POINTS + (6 * points + BLOCK) * STEP)
    sums, result = torch.empty((lags + BLOCK) * STEP), torch.empty(len(grey), lags + 4)
    for picture, steps, row in zip(grey, velocity, result, strict=True):
        _correlate(
            picture.data_ptr(), steps.data_ptr(), offsets.data_ptr(), line.data_ptr(), sums.data_ptr(), row.data_ptr(),
            height, width, rows, columns, down, across, points, lags, np.float32(least_speed),
        )  # fmt: skip
    result[:, :lags] /= points - 1 - torch.arange(1, lags + 1)
    result[:, lags + 3] = len(range(0, rows, down)) * len(range(0, columns, across))
    return result
