"""Peak convolution throughput of the machine, the reference for a network's efficiency."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vdeblur.bench.timing import typical

#: Channels, rows and columns of the 3×3 convolutions that are tried; on a GPU on more pictures at once.
SHAPES = ((64, 180, 320), (128, 90, 160), (256, 90, 160))
_GPU_BATCH = 8


@torch.inference_mode()
def convolution_peak(dtype: torch.dtype, device: torch.device, *, runs: int = 5) -> float:
    """FLOP/s of the fastest of a few large plain 3×3 convolutions in channels_last (a multiply-add counts two)."""
    return max(_flops_a_second(shape, dtype, device, runs) for shape in SHAPES)


def _flops_a_second(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, runs: int) -> float:
    channels, rows, columns = shape
    batch = 1 if device.type == "cpu" else _GPU_BATCH
    last = torch.channels_last
    x = torch.rand(batch, channels, rows, columns, dtype=dtype, device=device).contiguous(memory_format=last)
    weight = torch.rand(channels, channels, 3, 3, dtype=dtype, device=device).contiguous(memory_format=last)

    def work() -> Tensor:
        return functional.conv2d(x, weight, padding=1)

    seconds = typical(work, runs=runs, warm_up=3, device=device).seconds
    return 2 * 9 * channels * channels * batch * rows * columns / seconds
