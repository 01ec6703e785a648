"""Sample conversion on the CPU: planes to luma, residuals added to planes, :mod:`vdeblur.kernels.cpu.jit.pixels`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import LANES

#: Supported dtypes of planes, and whether their samples have 16 bits.
_IS_16_BIT = {torch.uint8: 0, torch.uint16: 1}

_luma, _add_residual = Kernel("pixels", "luma"), Kernel("pixels", "add_residual")


def luma(plane: Tensor, offset: float, gain: float) -> Tensor | None:
    """(``plane`` − ``offset``) · ``gain``, clamped to [0, 1], float32 (H, W); None for an unsupported plane."""
    if not _fits(plane):
        return None
    height, width = plane.shape
    result = torch.empty(height, width)
    is_16_bit = _IS_16_BIT[plane.dtype]
    _luma(plane.data_ptr(), plane.stride(0), is_16_bit, result.data_ptr(), height, width, float(offset), float(gain))
    return result


def add_residual(plane: Tensor, residual: Tensor, gain: float, peak: float) -> Tensor | None:
    """``plane`` + ``gain`` · ``residual`` (H, W), rounded, clamped to [0, ``peak``]; None for unsupported tensors."""
    aligned = residual.dtype == torch.float32 and residual.shape == plane.shape and residual.stride(1) == 1
    if not (_fits(plane) and aligned):
        return None
    height, width = plane.shape
    result = torch.empty(height, width, dtype=plane.dtype)
    _add_residual(
        plane.data_ptr(), plane.stride(0), _IS_16_BIT[plane.dtype], residual.data_ptr(), residual.stride(0),
        result.data_ptr(), height, width, float(gain), float(peak),
    )  # fmt: skip
    return result


def _fits(plane: Tensor) -> bool:
    return plane.dtype in _IS_16_BIT and plane.stride(1) == 1 and plane.stride(0) >= plane.shape[1] >= LANES
