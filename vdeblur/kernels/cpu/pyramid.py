"""A frame's pyramid on a CPU, by :mod:`vdeblur.kernels.cpu.jit.pyramid`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import STEP, memory

_halve, _smooth = Kernel("pyramid", "halve"), Kernel("pyramid", "smooth")


def pooled(grey: Tensor, factor: int) -> Tensor | None:
    """Means of squares of ``factor`` pixels, a power of two, of luma (B, 1, H, W) whose sides are multiples of it."""
    small: Tensor | None = grey
    while small is not None and factor > 1:
        small, factor = halved(small), factor // 2
    return small


def halved(grey: Tensor) -> Tensor | None:
    """Means of 2 × 2 pixels: (B, 1, H, W) → (B, 1, ⌈H/2⌉, ⌈W/2⌉), an odd row or column by itself.

    None where a picture is narrower than vectors are.
    """
    batch, _, height, width = grey.shape
    if width < 2 * STEP:
        return None
    grey, result = memory(grey), torch.empty(batch, 1, -(-height // 2), -(-width // 2))
    for picture, small in zip(grey, result, strict=True):
        _halve(picture.data_ptr(), small.data_ptr(), height, width)
    return result


def level(grey: Tensor) -> tuple[Tensor, Tensor] | None:
    """What :func:`vdeblur.model.optical_flow._level` makes of luma (B, 1, H, W): smoothed, and its slope (B, 2, H, W).

    None where a picture is narrower than vectors are.
    """
    batch, _, height, width = grey.shape
    if width < STEP + 2:
        return None
    grey, line = memory(grey), torch.empty(width + 2)
    soft, slope = torch.empty_like(grey), torch.empty(batch, 2, height, width)
    for parts in zip(grey, soft, slope, strict=True):
        _smooth(*(part.data_ptr() for part in parts), line.data_ptr(), height, width)
    return soft, slope
