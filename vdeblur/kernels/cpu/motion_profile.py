"""Motion profile on the CPU: autocorrelations along and across it, :mod:`vdeblur.kernels.cpu.jit.motion_profile`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import REGISTER, contiguous_float32

#: Lags accumulated per pass over the differences.
LAGS_PER_PASS = 8
#: Classes of direction; :data:`vdeblur.model.exposure.DIRECTIONS`.
DIRECTIONS = 4
#: Offsets in the scratch memory of a register of blocks: their positions and velocities, then each point's rows.
X, Y, STEP_X, STEP_Y, POINTS = (REGISTER * number for number in range(5))

_correlate = Kernel("motion_profile", "correlate")


def motion_autocorrelation(
    grey: Tensor,
    velocity: Tensor,
    *,
    offsets: Tensor,
    lags: int,
    speeds: Sequence[float],
    noise: float,
    row_step: int,
    column_step: int,
) -> Tensor:
    """Autocorrelations of luma's derivative along and across the motion, summed over the blocks of each class.

    The twin of :func:`vdeblur.model.exposure._profile`.

    Args:
        grey: luma (B, 1, H, W); ``velocity`` (B, 2, h, w) in pixels a frame interval.
        offsets: (K,) sampling positions in units of the velocity, ascending and symmetric about 0.
        lags: number of lags, from 1 on.
        speeds: least speed of each class, pixels a frame interval, ascending.
        noise: energy below which blocks count less.
        row_step, column_step: stride between the blocks that are used.

    Returns:
        (B, C · (2 lags + 4) + 1), float32, C classes: for each the correlations along and across the motion at each
        lag, both energies, log speed, used blocks; then the number of all blocks.
    """
    points, (height, width), (rows, columns) = len(offsets), grey.shape[-2:], velocity.shape[-2:]
    grey, velocity, offsets = contiguous_float32(grey), contiguous_float32(velocity), contiguous_float32(offsets)
    least = torch.tensor([speed * speed for speed in speeds], dtype=torch.float32)
    classes, size = len(speeds) * DIRECTIONS, 2 * lags + 4
    visits = len(range(0, rows, row_step)) * len(range(0, columns, column_step))
    scratch = torch.empty(POINTS + (7 * points + 2 * LAGS_PER_PASS) * REGISTER)
    order = torch.empty(2 * visits + classes + 2, dtype=torch.int32)
    sums, result = torch.empty(2 * (lags + LAGS_PER_PASS) * REGISTER), torch.empty(len(grey), classes * size + 1)
    for image, velocities, row in zip(grey, velocity, result, strict=True):
        _correlate(
            image.data_ptr(), velocities.data_ptr(), offsets.data_ptr(), least.data_ptr(),
            scratch.data_ptr(), order.data_ptr(), sums.data_ptr(), row.data_ptr(),
            height, width, rows, columns, row_step, column_step, points, lags, len(speeds), np.float32(noise),
        )  # fmt: skip
    pairs = points - 1 - torch.arange(1, lags + 1)
    result[:, :-1].view(-1, classes, size)[..., : 2 * lags] /= pairs.repeat(2)
    result[:, -1] = visits
    return result
