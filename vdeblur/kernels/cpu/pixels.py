"""Planes as luma and corrections of planes on a CPU, by :mod:`vdeblur.kernels.cpu.jit.pixels`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.simd import LANES

#: Dtypes of planes, and whether a sample has 16 bits.
_WORDS = {torch.uint8: 0, torch.uint16: 1}

_luma, _corrected = Kernel("pixels", "luma"), Kernel("pixels", "corrected")


def luma(plane: Tensor, offset: float, gain: float) -> Tensor | None:
    """(plane − ``offset``) · ``gain`` in [0, 1], float32, of samples (H, W); None for other samples than ours."""
    if not _fits(plane):
        return None
    height, width = plane.shape
    result = torch.empty(height, width)
    words = _WORDS[plane.dtype]
    _luma(plane.data_ptr(), plane.stride(0), words, result.data_ptr(), height, width, float(offset), float(gain))
    return result


def corrected(plane: Tensor, change: Tensor, gain: float, peak: float) -> Tensor | None:
    """plane + ``gain`` · change (H, W), rounded, in [0, ``peak``]; None for other samples than ours."""
    if not (_fits(plane) and change.dtype == torch.float32 and change.shape == plane.shape and change.stride(1) == 1):
        return None
    height, width = plane.shape
    result = torch.empty(height, width, dtype=plane.dtype)
    _corrected(
        plane.data_ptr(), plane.stride(0), _WORDS[plane.dtype], change.data_ptr(), change.stride(0), result.data_ptr(),
        height, width, float(gain), float(peak),
    )  # fmt: skip
    return result


def _fits(plane: Tensor) -> bool:
    return plane.dtype in _WORDS and plane.stride(1) == 1 and plane.stride(0) >= plane.shape[1] >= LANES
