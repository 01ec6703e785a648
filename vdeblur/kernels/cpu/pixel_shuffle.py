"""Pictures in squares of 4 × 4 pixels on a CPU, by :mod:`vdeblur.kernels.cpu.jit.pixel_shuffle`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.scanlines import in_strips, span_of
from vdeblur.kernels.cpu.simd import LANES, PAIRS, address, memory

_corrected, _corrected_rounded = Kernel("pixel_shuffle", "corrected"), Kernel("pixel_shuffle", "corrected_rounded")
_quarters, _quarters_rounded = Kernel("pixel_shuffle", "quarters"), Kernel("pixel_shuffle", "quarters_rounded")


def quarters(picture: Tensor, dtype: torch.dtype) -> Tensor:
    """``pixel_unshuffle(picture, 4) · 4 − 2`` of (B, C, H, W), in channels_last; sides are multiples of 8."""
    rounded = PAIRS and dtype == torch.bfloat16
    picture = memory(picture)
    batch, channels, height, width = picture.shape
    result = torch.empty(
        (batch, 16 * channels, height // 4, width // 4), dtype=torch.bfloat16 if rounded else torch.float32,
        memory_format=torch.channels_last,
    )  # fmt: skip
    span = span_of(width)

    def work(number: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_quarters_rounded if rounded else _quarters)(
            address(result, number), address(picture, number), channels, height, width, top, bottom, span, *scratch
        )

    in_strips(batch, 0, height, width, (span, LANES), work)
    return result.to(dtype)


def corrected_quarters(squares: Tensor, correction: Tensor) -> Tensor:
    """``pixel_shuffle(squares, 4) + correction``, float32: (B, 16 · C, H/4, W/4) and (B, 1, H, W) → (B, C, H, W)."""
    rounded = squares.dtype == torch.bfloat16
    squares = (squares if rounded else squares.float()).contiguous(memory_format=torch.channels_last)
    correction = memory(correction)
    batch, _, height, width = correction.shape
    channels = squares.shape[1] // 16
    if squares.shape != (batch, 16 * channels, height // 4, width // 4) or height % 4 or width % 4:
        raise ValueError(f"{tuple(squares.shape)} are not squares of {height} × {width} pixels")
    result = torch.empty(batch, channels, height, width)

    def work(number: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_corrected_rounded if rounded else _corrected)(
            *(address(each, number) for each in (result, squares, correction)), channels, height, width, top, bottom
        )

    in_strips(batch, 0, height, width, (0,), work)
    return result
