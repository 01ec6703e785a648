"""Smooth pictures that drift, as arrays and tensors, and a way to restore them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from support.doubles import Mixing
from support.engines import QUICK
from vdeblur import deblur_frames


def pictures(count: int, shape: tuple[int, ...] = (20, 28, 3), dtype: DTypeLike = np.uint8) -> list[np.ndarray]:
    """Smooth pictures that drift, values between a quarter and three quarters of the range."""
    peak = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    grid = np.indices(shape).sum(axis=0)
    return [((0.5 + 0.25 * np.sin(grid / 5 + n / 3)) * peak).astype(dtype) for n in range(count)]


def tensors(count: int, shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    peak = 255 if dtype == torch.uint8 else 65535 if dtype == torch.uint16 else 1
    return [(torch.from_numpy(p) * peak).to(dtype) for p in pictures(count, shape, np.float32)]


def restore(frames: Any, model: Any = None, **options: Any) -> list[Any]:
    return list(deblur_frames(frames, model=model or Mixing(), **{**QUICK, **options}))
