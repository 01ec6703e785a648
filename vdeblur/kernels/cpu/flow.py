"""Optical flow on the CPU: all warps and sweeps of a pyramid level, :mod:`vdeblur.kernels.cpu.jit.flow`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import REGISTER, contiguous_float32, padded_row_length

#: Numbers per block of a row: its sampling position and sums; coefficients of the Jacobi sweeps.
BLOCK_FIELDS, SWEEP_FIELDS = 11, 5

_refine_level = Kernel("flow", "refine_level")


def refine_level(
    luma: Tensor, gradient: Tensor, others: Sequence[Tensor], flow: Tensor,
    *, warps: int, scale: int, block_px: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Refine the flows of a pyramid level: ``warps`` times :func:`vdeblur.model.optical_flow._refine`.

    Args:
        luma: of the level (B, 1, H, W); ``gradient`` (B, 2, H, W).
        others: luma of each neighbour (B, 1, H, W).
        flow: initial flows (N, B, 2, H/block, W/block), in pixels of the frame.

    Returns:
        Flows like ``flow`` and photometric mismatches (N, B, 1, H/block, W/block).

    Raises:
        ValueError: the sizes disagree.
    """
    (rows, columns), (height, width), count = flow.shape[-2:], luma.shape[-2:], len(others)
    if (rows * block_px, columns * block_px) != (height, width) or block_px not in (1, 2, 4) or sweeps < 2:
        raise ValueError(
            f"{rows} × {columns} cells of {block_px} do not make {height} × {width} pixels, or {sweeps} < 2"
        )
    stride, margin = padded_row_length(columns + 2), block_px if block_px > 1 else 0
    luma, gradient, flow = contiguous_float32(luma), contiguous_float32(gradient), contiguous_float32(flow)
    result = flow.new_empty(count, len(luma), 3, rows, columns)
    padded = torch.empty((height + 2 * margin + 1) * (width + 2 * margin + 1) + REGISTER)
    work = torch.empty(7 * rows * stride + (BLOCK_FIELDS + 2 + (sweeps + 2) * SWEEP_FIELDS) * stride)
    for which, other in enumerate(others):
        other = contiguous_float32(other)
        for index in range(len(luma)):
            pair = which, index
            tensors = luma[index], gradient[index], other[index], flow[pair], result[pair]
            _refine_level(
                *(tensor.data_ptr() for tensor in tensors), padded.data_ptr(), work.data_ptr(),
                height, width, rows, columns, stride, block_px, sweeps, warps,
                np.float32(scale), np.float32(robust), np.float32(smoothness), np.float32(relaxation),
            )  # fmt: skip
    return result[:, :, :2], result[:, :, 2:]
