"""Building blocks of the Triton kernels: bilinear loads, activation, and zero-padding of weights to tile sizes."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Kinds of feature rows: padding, sampled difference, motion length, own luma, match confidence.
UNUSED, SAMPLE, LENGTH, LUMA, CONFIDENCE = range(5)


@triton.jit
def leaky_relu(x):  # type: ignore[no-untyped-def]
    """Leaky ReLU with slope 0.1."""
    return tl.where(x > 0, x, 0.1 * x)


@triton.jit
def bilinear(row0, row1, x0, x1, fraction_x, fraction_y, mask):  # type: ignore[no-untyped-def]
    """Bilinear interpolation between four pixels; 0 where masked out."""
    upper = (1 - fraction_x) * tl.load(row0 + x0, mask, 0.0) + fraction_x * tl.load(row0 + x1, mask, 0.0)
    lower = (1 - fraction_x) * tl.load(row1 + x0, mask, 0.0) + fraction_x * tl.load(row1 + x1, mask, 0.0)
    return (1 - fraction_y) * upper + fraction_y * lower


def padded_size(size: int) -> int:
    """Next power of two, at least 16: sizes that ``tl.dot`` takes."""
    return max(16, int(triton.next_power_of_2(size)))


def padded_matrix(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """Matrix zero-padded to (rows, columns)."""
    result = matrix.new_zeros(rows, columns)
    result[: matrix.shape[0], : matrix.shape[1]] = matrix
    return result


def padded_vector(vector: Tensor, size: int) -> Tensor:
    """Vector zero-padded to (size,), float32."""
    result = torch.zeros(size, dtype=torch.float32, device=vector.device)
    result[: len(vector)] = vector
    return result


def stack_layers(layers: Any, hidden: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Stack hidden layers, zero-padded: weights (depth, hidden, hidden) like ``like``, biases float32."""
    if not len(layers):
        return like.new_zeros(0, hidden, hidden), torch.zeros(0, hidden, device=like.device)
    weights = [padded_matrix(layer.weight.flatten(1), hidden, hidden) for layer in layers]
    return torch.stack(weights), torch.stack([padded_vector(layer.bias, hidden) for layer in layers])
