"""Parts of kernels, and weights in the sizes that they take."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: What a row of the matrix of all that pixels see holds.
NOTHING, SAMPLE, LENGTH, OWN, TRUST = range(5)


@triton.jit
def leaky(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, x, 0.1 * x)


@triton.jit
def between(row0, row1, x0, x1, part_x, part_y, wanted):  # type: ignore[no-untyped-def]
    """A picture between four pixels; 0 where it is not wanted."""
    upper = (1 - part_x) * tl.load(row0 + x0, wanted, 0.0) + part_x * tl.load(row0 + x1, wanted, 0.0)
    lower = (1 - part_x) * tl.load(row1 + x0, wanted, 0.0) + part_x * tl.load(row1 + x1, wanted, 0.0)
    return (1 - part_y) * upper + part_y * lower


def padded(size: int) -> int:
    """The next power of two, 16 at least."""
    return max(16, int(triton.next_power_of_2(size)))


def padded_matrix(matrix: Tensor, rows: int, columns: int) -> Tensor:
    result = matrix.new_zeros(rows, columns)
    result[: matrix.shape[0], : matrix.shape[1]] = matrix
    return result


def padded_vector(vector: Tensor, size: int) -> Tensor:
    result = torch.zeros(size, dtype=torch.float32, device=vector.device)
    result[: len(vector)] = vector
    return result


def padded_mixes(mix: Any, hidden: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of hidden layers (depth, hidden, hidden), in the dtype of ``like``, and their biases, float32."""
    if not len(mix):
        return like.new_zeros(0, hidden, hidden), torch.zeros(0, hidden, device=like.device)
    weights = [padded_matrix(layer.weight.flatten(1), hidden, hidden) for layer in mix]
    return torch.stack(weights), torch.stack([padded_vector(layer.bias, hidden) for layer in mix])
