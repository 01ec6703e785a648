"""Overlays on the CPU: samples that stand still over a moving picture, :mod:`vdeblur.kernels.cpu.jit.overlays`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import contiguous_float32

_count_still = Kernel("overlays", "count_still")


def count_still(
    current: Tensor,
    other: Tensor,
    flow: Tensor,
    times: Tensor,
    *,
    step: int,
    still: float,
    elsewhere: float,
    slow: float,
    most: float,
) -> Tensor:
    """The twin of :func:`vdeblur.engine.overlays.count_still`, whose thresholds it is given."""
    images = [contiguous_float32(each) for each in (current, other, flow, times)]
    result = torch.empty_like(images[3])
    rows, columns = flow.shape[-2:]
    _count_still(
        *(each.data_ptr() for each in images), result.data_ptr(), rows, columns, step,
        float(still), float(elsewhere), float(slow), float(most),
    )  # fmt: skip
    return result
