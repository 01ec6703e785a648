"""The guide's inputs and its change on the CPU, :mod:`vdeblur.kernels.cpu.jit.guide`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import address, contiguous_float32
from vdeblur.kernels.inputs import GUIDE_CHANNELS, GUIDE_CHROMA_GAIN

_guide_inputs, _apply_change = Kernel("guide", "guide_inputs"), Kernel("guide", "apply_change")
_hidden_before = Kernel("guide", "hidden_before")


def guide_inputs(
    luma: Tensor,
    chroma: Tensor,
    detail: Tensor | None,
    before: tuple[Tensor, Tensor, Tensor, Tensor] | None,
    noise: Tensor,
    quantiser: float,
    rows: slice,
    dtype: torch.dtype,
) -> Tensor:
    """The twin of :func:`vdeblur.model.guide.inputs.guide_inputs` for one picture: (1, 16, rows, W/2), channels last.

    ``before``: luma and chroma of the guide before, displacement to it, certainty. ``noise``: at levels of luma evenly
    spaced from 0 to 1.
    """
    height, width = chroma.shape[-2:]
    given = [luma, chroma, detail, *([None] * 4 if before is None else before), noise]
    images = [None if each is None else contiguous_float32(each) for each in given]
    result = torch.empty(1, rows.stop - rows.start, width, GUIDE_CHANNELS, dtype=_own(dtype))
    _guide_inputs(
        *(address(each) for each in images), noise.numel(), result.data_ptr(), rows.start, rows.stop, height, width,
        float(quantiser), int(result.dtype == torch.bfloat16),
    )  # fmt: skip
    return result.permute(0, 3, 1, 2).to(dtype)


def apply_change(
    luma: Tensor, chroma: Tensor, change: Tensor, used: Tensor, rows: slice, start: int
) -> tuple[Tensor, Tensor]:
    """The twin of :func:`vdeblur.model.guide.inputs.apply_change` for one picture."""
    luma, chroma = contiguous_float32(luma), contiguous_float32(chroma)
    change = change.to(_own(change.dtype)).contiguous(memory_format=torch.channels_last)
    height, width = chroma.shape[-2:]
    count = rows.stop - rows.start
    new_luma, new_chroma = torch.empty(1, 1, 2 * count, 2 * width), torch.empty(1, 2, count, width)
    used = contiguous_float32(used)
    _apply_change(
        *(each.data_ptr() for each in (luma, chroma, change, used, new_luma, new_chroma)),
        rows.start, rows.stop, start, height, width, 1 / GUIDE_CHROMA_GAIN,
        int(change.dtype == torch.bfloat16),
    )  # fmt: skip
    return new_luma, new_chroma


def hidden_before(hidden: Tensor, flow: Tensor, certainty: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The twin of :func:`vdeblur.model.guide.inputs.hidden_before`, channels last; None for some numbers of channels.

    Args:
        flow, certainty: of the past, for one picture.
    """
    channels, height, width = hidden.shape[-3:]
    if channels % 4:
        return None
    hidden = hidden.float().contiguous(memory_format=torch.channels_last)
    flow, certainty = contiguous_float32(flow), contiguous_float32(certainty)
    result = torch.empty(1, height, width, channels, dtype=_own(dtype))
    _hidden_before(
        *(each.data_ptr() for each in (hidden, flow, certainty, result)), channels, height, width,
        *flow.shape[-2:], int(result.dtype == torch.bfloat16),
    )  # fmt: skip
    return result.permute(0, 3, 1, 2).to(dtype)


def _own(dtype: torch.dtype) -> torch.dtype:
    """The kernels' own number format for a dtype."""
    return torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
