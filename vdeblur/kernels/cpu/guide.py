"""The guide's inputs on the CPU, :mod:`vdeblur.kernels.cpu.jit.guide`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import address, contiguous_float32

#: Channels of a pixel at half the resolution.
CHANNELS = 16

_guide_inputs = Kernel("guide", "guide_inputs")


def guide_inputs(
    luma: Tensor,
    chroma: Tensor,
    detail: Tensor | None,
    before: tuple[Tensor, Tensor, Tensor, Tensor] | None,
    curve: Tensor,
    levels: Tensor,
    quantiser: float,
    rows: slice,
) -> Tensor:
    """The twin of :func:`vdeblur.model.guide_inputs.guide_inputs` for one picture: (1, 16, rows, W/2), channels last.

    ``before``: luma and chroma of the guide before, displacement to it, certainty.
    """
    height, width = chroma.shape[-2:]
    given = [luma, chroma, detail, *([None] * 4 if before is None else before), curve, levels]
    images = [None if each is None else contiguous_float32(each) for each in given]
    result = torch.empty(1, rows.stop - rows.start, width, CHANNELS)
    _guide_inputs(
        *(address(each) for each in images), levels.numel(), result.data_ptr(), rows.start, rows.stop, height, width,
        float(quantiser),
    )  # fmt: skip
    return result.permute(0, 3, 1, 2)
