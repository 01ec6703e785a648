"""What kernels and those who call them must agree on: how wide this processor's vectors are, and how memory lies."""

from __future__ import annotations

import llvmlite.binding as llvm
import torch
from torch import Tensor

_features = llvm.get_host_cpu_features()
#: Numbers that are worked on at a time: two registers of the processor, which is what keeps its multipliers busy.
LANES = 32 if _features.get("avx512f") else 16
#: Numbers of a row that are worked on at a time: a register.
STEP = LANES // 2
#: Sums of so many numbers that the registers hold, with what is added to them: there are 32 of them, or 16.
SUMS = 12 if LANES == 32 else 6
#: Whether it multiplies pairs of bfloat16 numbers and adds them to a float32 sum, which takes half of the time.
PAIRS = LANES == 32 and bool(_features.get("avx512bf16"))


def memory(x: Tensor) -> Tensor:
    """A tensor's numbers as kernels want them, float32 and one after the other; copied only where they are not."""
    return x if x.dtype is torch.float32 and x.is_contiguous() else x.float().contiguous()


def padded(count: int) -> int:
    """Numbers that a row of so many needs, so that a vector may begin at the last one and at one after it."""
    return -(-count // STEP) * STEP + STEP


def address(tensor: Tensor | None, number: int | None = None) -> int:
    """Of a tensor's first number, or of that of one of a batch; 0 for None."""
    if tensor is None:
        return 0
    return tensor.data_ptr() if number is None else tensor[number].data_ptr()
