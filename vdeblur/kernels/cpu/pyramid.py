"""Image pyramid on the CPU: 2×2 pooling, smoothing and derivatives, :mod:`vdeblur.kernels.cpu.jit.pyramid`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import REGISTER, contiguous_float32

_halve, _smooth_and_differentiate = Kernel("pyramid", "halve"), Kernel("pyramid", "smooth_and_differentiate")


def average_pool(grey: Tensor, factor: int) -> Tensor | None:
    """Average pooling of luma (B, 1, H, W) by ``factor``, a power of two that divides H and W.

    None where an image is narrower than a vector.
    """
    small: Tensor | None = grey
    while small is not None and factor > 1:
        small, factor = halve(small), factor // 2
    return small


def halve(grey: Tensor) -> Tensor | None:
    """2×2 average pooling: (B, 1, H, W) → (B, 1, ⌈H/2⌉, ⌈W/2⌉), an odd last row or column averaged by itself.

    None where an image is narrower than a vector.
    """
    batch, _, height, width = grey.shape
    if width < 2 * REGISTER:
        return None
    grey, result = contiguous_float32(grey), torch.empty(batch, 1, -(-height // 2), -(-width // 2))
    for image, small in zip(grey, result, strict=True):
        _halve(image.data_ptr(), small.data_ptr(), height, width)
    return result


def smooth_and_differentiate(grey: Tensor) -> tuple[Tensor, Tensor] | None:
    """Smooth luma (B, 1, H, W) with a 3×3 binomial-like filter and differentiate it: its gradient is (B, 2, H, W).

    The twin of :func:`vdeblur.model.optical_flow._make_level`. None where an image is narrower than a vector.
    """
    batch, _, height, width = grey.shape
    if width < REGISTER + 2:
        return None
    grey, row = contiguous_float32(grey), torch.empty(width + 2)
    smooth, gradient = torch.empty_like(grey), torch.empty(batch, 2, height, width)
    for planes in zip(grey, smooth, gradient, strict=True):
        _smooth_and_differentiate(*(part.data_ptr() for part in planes), row.data_ptr(), height, width)
    return smooth, gradient
