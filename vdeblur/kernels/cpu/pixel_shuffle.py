"""Pixel shuffle and unshuffle by 4 on the CPU, in channels_last, :mod:`vdeblur.kernels.cpu.jit.pixel_shuffle`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.scanlines import line_length, run_in_strips
from vdeblur.kernels.cpu.simd import BF16_DOT, LANES, address, contiguous_float32

_shuffle_and_add, _shuffle_and_add_bf16 = (
    Kernel("pixel_shuffle", "shuffle_and_add"),
    Kernel("pixel_shuffle", "shuffle_and_add_bf16"),
)
_unshuffle, _unshuffle_bf16 = Kernel("pixel_shuffle", "unshuffle"), Kernel("pixel_shuffle", "unshuffle_bf16")


def unshuffle(image: Tensor, dtype: torch.dtype) -> Tensor:
    """``pixel_unshuffle(image, 4) · 4 − 2`` of (B, C, H, W) in ``dtype`` and channels_last; H, W multiples of 8."""
    use_bf16 = BF16_DOT and dtype == torch.bfloat16
    image = contiguous_float32(image)
    batch, channels, height, width = image.shape
    result = torch.empty(
        (batch, 16 * channels, height // 4, width // 4), dtype=torch.bfloat16 if use_bf16 else torch.float32,
        memory_format=torch.channels_last,
    )  # fmt: skip
    stride = line_length(width)

    def work(index: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_unshuffle_bf16 if use_bf16 else _unshuffle)(
            address(result, index), address(image, index), channels, height, width, top, bottom, stride, *scratch
        )

    run_in_strips(batch, 0, height, width, (stride, LANES), work)
    return result.to(dtype)


def shuffle_and_add(unshuffled: Tensor, correction: Tensor) -> Tensor:
    """``pixel_shuffle(unshuffled, 4) + correction``: (B, 16 · C, H/4, W/4) and (B, 1, H, W) → (B, C, H, W), float32.

    Raises:
        ValueError: the sizes disagree.
    """
    use_bf16 = unshuffled.dtype == torch.bfloat16
    unshuffled = (unshuffled if use_bf16 else unshuffled.float()).contiguous(memory_format=torch.channels_last)
    correction = contiguous_float32(correction)
    batch, _, height, width = correction.shape
    channels = unshuffled.shape[1] // 16
    if unshuffled.shape != (batch, 16 * channels, height // 4, width // 4) or height % 4 or width % 4:
        raise ValueError(f"{tuple(unshuffled.shape)} are not squares of {height} × {width} pixels")
    result = torch.empty(batch, channels, height, width)

    def work(index: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_shuffle_and_add_bf16 if use_bf16 else _shuffle_and_add)(
            *(address(each, index) for each in (result, unshuffled, correction)), channels, height, width, top, bottom
        )

    run_in_strips(batch, 0, height, width, (0,), work)
    return result
