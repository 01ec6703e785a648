"""SIMD configuration of the host CPU: vector width, register blocking, bfloat16 dot products, memory layout."""

from __future__ import annotations

import llvmlite.binding as llvm
import torch
from torch import Tensor

_features = llvm.get_host_cpu_features()
#: float32 lanes of a wide vector: two registers, which keeps both FMA units busy.
LANES = 32 if _features.get("avx512f") else 16
#: float32 lanes of one register.
REGISTER = LANES // 2
#: Wide accumulators that fit into the register file beside their operands: of 32 registers with AVX-512, else of 16.
ACCUMULATORS = 12 if LANES == 32 else 6
#: Whether the CPU has AVX512-BF16 (``vdpbf16ps``): bfloat16 pairs multiplied into a float32 sum, in half the time.
BF16_DOT = LANES == 32 and bool(_features.get("avx512bf16"))


def contiguous_float32(x: Tensor) -> Tensor:
    """A tensor as contiguous float32; copied only where it is not."""
    return x if x.dtype is torch.float32 and x.is_contiguous() else x.float().contiguous()


def padded_row_length(count: int) -> int:
    """Row length padded to whole registers, so that a load may start at the last element and one past it."""
    return -(-count // REGISTER) * REGISTER + REGISTER


def address(tensor: Tensor | None, index: int | None = None) -> int:
    """Address of a tensor's data, or of one member of a batch; 0 for None."""
    if tensor is None:
        return 0
    return tensor.data_ptr() if index is None else tensor[index].data_ptr()
