"""Image refiner on the CPU: gathers the U-Net's input in one pass, :mod:`vdeblur.kernels.cpu.jit.image_refiner`."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.kernels.cpu.compiling import Kernel
from vdeblur.kernels.cpu.scanlines import PAIR_ROWS, POSITION_ROWS, check_maps, line_length, run_in_strips
from vdeblur.kernels.cpu.simd import BF16_DOT, LANES, address, contiguous_float32
from vdeblur.kernels.inputs import RefinerInputs

#: Colour channels.
COLOURS = 3
#: Lines of a row: channels of frame and residual, x positions, then the upsampled maps, and the details.
POSITIONS = 2 * COLOURS
MAPS = POSITIONS + 1
#: First map of each kind: motion, displacements to both neighbours, their confidences; then channels passed through.
X, Y, DISPLACEMENT, CONFIDENCE, PASSTHROUGH = 0, 1, 2, 6, 8

_rows, _rows_bf16 = Kernel("image_refiner", "rows"), Kernel("image_refiner", "rows_bf16")


def gather_refiner_inputs(inputs: RefinerInputs, dtype: torch.dtype) -> Tensor:
    """Input of :class:`vdeblur.model.image_refiner.ImageRefiner` for a region, unshuffled by 2, in channels_last.

    Returns:
        (B, 4 · C, h/2, w/2) in ``dtype``; the twin of ``pixel_unshuffle(gather_inputs(…), 2)``.
    """
    use_bf16 = BF16_DOT and dtype == torch.bfloat16
    check_maps(inputs.frame, inputs.maps)
    images: list[Tensor | None] = [
        contiguous_float32(each) for each in (inputs.frame, inputs.residual, inputs.restored, inputs.details)
    ]
    images += [None if each is None else contiguous_float32(each) for each in inputs.frames]
    batch, _, height, width = inputs.frame.shape
    maps, offsets, points = contiguous_float32(inputs.maps), contiguous_float32(inputs.offsets), len(inputs.offsets)
    passthrough, details = maps.shape[1] - PASSTHROUGH, inputs.details.shape[1]
    channels = 3 * COLOURS + points - 1 + 2 * (COLOURS + 1) + passthrough + details
    region_height, region_width = inputs.bottom - inputs.top, inputs.right - inputs.left
    result = torch.empty(
        (batch, 4 * channels, region_height // 2, region_width // 2),
        dtype=torch.bfloat16 if use_bf16 else torch.float32,
        memory_format=torch.channels_last,
    )
    stride = line_length(region_width)

    def work(index: int, top: int, bottom: int, scratch: list[int]) -> None:
        (_rows_bf16 if use_bf16 else _rows)(
            *(address(each, index) for each in (result, *images, maps)), address(offsets), points,
            inputs.first, inputs.last, passthrough, details, channels, float(inputs.gain), float(inputs.neighbour_gain),
            height, width, inputs.top, inputs.left, inputs.right, top, bottom, stride, *scratch,
        )  # fmt: skip

    lines = MAPS + maps.shape[1] + details
    scratch_sizes = lines * stride, LANES, (POSITION_ROWS + COLOURS + PAIR_ROWS) * points * LANES, channels * LANES
    run_in_strips(batch, inputs.top, inputs.bottom, region_width, scratch_sizes, work)
    return result.to(dtype)
