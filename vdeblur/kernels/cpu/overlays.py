"""Overlays on the CPU: samples that stand still over a moving picture, :mod:`vdeblur.kernels.cpu.jit.overlays`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import contiguous_float32
from vdeblur.kernels.inputs import BLOCK_PX

_count_still, _weight_of_correction = Kernel("overlays", "count_still"), Kernel("overlays", "weight_of_correction")


def count_still(
    current: Tensor,
    other: Tensor,
    flow: Tensor,
    times: Tensor,
    *,
    least: float,
    step: int,
    still: float,
    elsewhere: float,
    slow: float,
    most: float,
) -> tuple[Tensor, Tensor]:
    """The twin of :func:`vdeblur.engine.overlays.count_still`, whose thresholds it is given."""
    images = [contiguous_float32(each) for each in (current, other, flow, times)]
    rows, columns = flow.shape[-2:]
    result, counts, lanes = torch.empty_like(images[3]), torch.empty(rows, columns), torch.empty(BLOCK_PX)
    _count_still(
        *(each.data_ptr() for each in (*images, result, counts, lanes)), rows, columns, step,
        float(still), float(elsewhere), float(slow), float(most), float(least),
    )  # fmt: skip
    return result, counts


def weight_of_correction(
    times: Tensor, blocks: Tensor, velocity: Tensor, *, shares: Sequence[float], step: int
) -> Tensor:
    """The twin of :func:`vdeblur.engine.overlays.weight_of_correction`, whose reach it is given."""
    times, blocks, velocity = (contiguous_float32(each) for each in (times, blocks, velocity))
    (height, width), (rows, columns) = times.shape, blocks.shape
    found, wide = torch.zeros(2, height + 2, width + 2 * BLOCK_PX)
    sums, result = torch.zeros(rows + 1, columns + 1), torch.ones_like(times)
    lanes, reach = torch.empty(BLOCK_PX), torch.tensor(shares, dtype=torch.float32)
    _weight_of_correction(
        *(each.data_ptr() for each in (times, blocks, velocity)), rows * columns, reach.data_ptr(), len(shares),
        *(each.data_ptr() for each in (found, wide, sums, lanes, result)), rows, columns, step,
    )  # fmt: skip
    return result
