"""Block operands: addresses, launch in strips and packed-weight cache shared by the CPU kernels of block taps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from vdeblur.kernels.cpu.simd import LANES, address, contiguous_float32
from vdeblur.kernels.inputs import BLOCK_PX, BlockInputs
from vdeblur.runtime.cpu_pool import run_parallel

T = TypeVar("T")

#: Pixels of a block.
BLOCK_PIXELS = BLOCK_PX * BLOCK_PX
#: Wide vectors of a block.
BLOCK_VECTORS = BLOCK_PIXELS // LANES
#: Outputs of a linear layer computed together: its register tile.
OUTPUT_TILE = 4
#: Pixels of a strip, the work item of one core.
STRIP_PIXELS = 32_768
#: Row stride and size of the copy of a block that crosses the frame's border, (8 + 1) × (8 + 1) pixels.
PATCH_STRIDE = 16
PATCH_SIZE = (BLOCK_PX + 1) * PATCH_STRIDE


class BlockOperands(NamedTuple):
    """Contiguous :class:`BlockInputs`, each block's log motion length and motion weight, and sampling offsets.

    ``blocks``: motion, displacements, confidences, log lengths and motion weights, (B, C, h, w) each. ``offsets`` and
    ``neighbour_offsets`` (K,), in exposure lengths. All float32.
    """

    frames: tuple[Tensor | None, ...]
    blocks: tuple[Tensor, ...]
    offsets: Tensor
    neighbour_offsets: Tensor

    def addresses(self, result: Tensor, index: int) -> list[int]:
        """Leading arguments of a block-tap kernel, for one frame of the batch."""
        each = [address(tensor, index) for tensor in (result, *self.frames, *self.blocks)]
        points = [(address(offsets), len(offsets)) for offsets in (self.offsets, self.neighbour_offsets)]
        return [*each, *points[0], *points[1]]


def pack_operands(module: Any, inputs: BlockInputs) -> BlockOperands:
    """Operands of a :class:`vdeblur.model.block_taps.BlockTaps` ``module``."""
    assert inputs.block_px == BLOCK_PX, inputs.block_px
    frames = (*inputs.frames, None, None)[:3]
    square = inputs.motion.square().sum(1)
    blocks = (
        inputs.motion,
        inputs.displacements,
        inputs.confidences,
        torch.log1p(square.sqrt()) / 4,
        square / (1 + square) / inputs.gain,
    )
    return BlockOperands(
        tuple(None if frame is None else contiguous_float32(frame) for frame in frames),
        tuple(contiguous_float32(each) for each in blocks),
        contiguous_float32(module.offsets),
        contiguous_float32(module.neighbour_offsets),
    )


def run_in_strips(
    operands: BlockOperands, scratch_size: int, kernel: Callable[..., None], weights: Sequence[int | float], gain: float
) -> Tensor:
    """Launch a block-tap kernel on strips of the frame in the CPU pool; returns the correction (B, 1, H, W), float32.

    Args:
        scratch_size: float32 numbers of a strip's scratch memory, zero-initialised.
        kernel: called with :meth:`BlockOperands.addresses`, ``weights``, ``gain``, height and width of the frame, the
            first row of blocks and the one past the last, and the address of the scratch memory.
    """
    frame = operands.frames[0]
    assert frame is not None
    batch, _, height, width = frame.shape
    result = torch.empty_like(frame)

    def strip(arguments: list[int | float], top: int, bottom: int) -> None:
        scratch = torch.zeros(scratch_size)  # missing neighbours stay zero
        kernel(*arguments, top, bottom, address(scratch))

    arguments = [[*operands.addresses(result, index), *weights, gain, height, width] for index in range(batch)]
    rows = height // BLOCK_PX
    step = max(1, STRIP_PIXELS // (BLOCK_PX * width))
    strips = [partial(strip, each, top, min(rows, top + step)) for each in arguments for top in range(0, rows, step)]
    run_parallel(strips, frame.device)
    return result


def cached_weights(module: Any, pack: Callable[[], T]) -> T:
    """Packed parameters of a module, cached until one of them changes."""
    parameters = list(module.parameters())
    if any(each.is_inference() for each in parameters):  # inference tensors have no version counter
        return pack()
    versions = [(each.data_ptr(), each._version) for each in parameters]
    before, weights, _ = module.kernel_cache.get("weights", (None, None, None))
    if before != versions:
        weights = pack()
        detached = [each.detach() for each in parameters]  # kept alive, so that no other tensor gets their address
        module.kernel_cache["weights"] = versions, weights, detached
    packed: T = weights
    return packed
