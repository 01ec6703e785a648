"""Motion profile on the CPU: autocorrelation along the motion, :mod:`vdeblur.kernels.cpu.jit.motion_profile`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import REGISTER, contiguous_float32

#: Lags accumulated per pass over the differences.
LAGS_PER_PASS = 8
#: Offsets in the scratch memory of a register of blocks: their positions and velocities, then each point's rows.
X, Y, STEP_X, STEP_Y, POINTS = (REGISTER * number for number in range(5))

_correlate = Kernel("motion_profile", "correlate")


def motion_autocorrelation(
    grey: Tensor, velocity: Tensor, *, offsets: Tensor, lags: int, min_speed: float, row_step: int, column_step: int
) -> Tensor:
    """Autocorrelation of luma's derivative along the motion, summed over blocks.

    The twin of :func:`vdeblur.model.exposure._profile`.

    Args:
        grey: luma (B, 1, H, W); ``velocity`` (B, 2, h, w) in pixels a frame interval.
        offsets: (K,) sampling positions in units of the velocity, ascending.
        lags: number of lags, from 1 on.
        row_step, column_step: stride between the blocks that are used.

    Returns:
        (B, lags + 4), float32: correlation at each lag, energy, log speed, used blocks, all blocks.
    """
    points, (height, width), (rows, columns) = len(offsets), grey.shape[-2:], velocity.shape[-2:]
    grey, velocity, offsets = contiguous_float32(grey), contiguous_float32(velocity), contiguous_float32(offsets)
    scratch = torch.empty(POINTS + (6 * points + LAGS_PER_PASS) * REGISTER)
    sums, result = torch.empty((lags + LAGS_PER_PASS) * REGISTER), torch.empty(len(grey), lags + 4)
    for image, velocities, row in zip(grey, velocity, result, strict=True):
        _correlate(
            image.data_ptr(), velocities.data_ptr(), offsets.data_ptr(),
            scratch.data_ptr(), sums.data_ptr(), row.data_ptr(),
            height, width, rows, columns, row_step, column_step, points, lags, np.float32(min_speed),
        )  # fmt: skip
    result[:, :lags] /= points - 1 - torch.arange(1, lags + 1)
    result[:, lags + 3] = len(range(0, rows, row_step)) * len(range(0, columns, column_step))
    return result
