"""Kernel inputs: the tensors a fused kernel needs to sample a frame along its motion field."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

#: Side of a block in pixels: flow and all maps at 1/8 of the frame hold one vector per 8×8 block.
BLOCK_PX = 8
#: Inputs of the guide's first convolution for each pixel at half the resolution, and the factor on chroma among them.
GUIDE_CHANNELS, GUIDE_CHROMA_GAIN = 16, 4.0


class BlockInputs(NamedTuple):
    """Inputs of block taps: a frame with one motion vector per ``block_px`` × ``block_px`` block, h × w blocks.

    ``frames``: luma of the frame and, with neighbours, of the previous and the next one (B, 1, H, W), float32; None for
    a missing one. ``motion`` (B, 2, h, w): displacement during the exposure in pixels, x before y; ``displacements``
    (B, 4, h, w): to both neighbours, in pixels; ``confidences`` (B, 2, h, w): match confidence of both, in [0, 1].
    ``gain``: factor on luma differences.
    """

    frames: tuple[Tensor | None, ...]
    motion: Tensor
    displacements: Tensor
    confidences: Tensor
    gain: float
    block_px: int


class PixelInputs(NamedTuple):
    """Inputs of motion taps: a frame with one motion vector per pixel, interpolated bilinearly between 8×8 blocks.

    ``frames`` and ``gain`` as in :class:`BlockInputs`. ``maps`` (B, C, H/8, W/8), float32: motion, x before y, and its
    length, displacements to both neighbours (4), their match confidences (2), guides; lengths in pixels. The region is
    the half-open rectangle [``top``, ``bottom``) × [``left``, ``right``).
    """

    frames: tuple[Tensor | None, ...]
    maps: Tensor
    gain: float
    top: int
    bottom: int
    left: int
    right: int


class RefinerInputs(NamedTuple):
    """Inputs of the image refiner: a restored frame, its residual, details and neighbours, float32.

    ``frame``, ``residual``, ``restored`` (B, 3, H, W) and ``details`` (B, C, H, W); ``frames``: the neighbours
    (B, 3, H, W), None for a missing one. ``maps`` (B, C, H/8, W/8): motion, x before y, displacements to both
    neighbours (4), their match confidences (2), then channels that are upsampled and passed through. ``offsets`` (K,):
    sampling positions along the motion, in exposure lengths; those with index ``first`` … ``last`` lie within the
    exposure and are centred on the pixel. ``gain`` and ``neighbour_gain``: factors on differences along the motion and
    to neighbours. The region is as in :class:`PixelInputs`.
    """

    frame: Tensor
    residual: Tensor
    restored: Tensor
    details: Tensor
    frames: tuple[Tensor | None, Tensor | None]
    maps: Tensor
    offsets: Tensor
    first: int
    last: int
    gain: float
    neighbour_gain: float
    top: int
    bottom: int
    left: int
    right: int
