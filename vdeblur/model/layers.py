"""Layers: convolutions, residual blocks, bilinear upsampling and bilinear warping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.runtime.device import cpu_has_bfloat16


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Plain 3×3 convolution with padding; in channels_last it runs at peak throughput."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU, slope 0.1: unlike ReLU, units cannot die after a large early step."""
    return F.leaky_relu(x, 0.1)


def linear_leaky_relu(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Linear layer (N, inputs) → (N, outputs) and :func:`activate`, fused by oneDNN on a CPU where available."""
    fused = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or rows.device.type != "cpu"
    if plain or fused is None or not torch._C._has_mkldnn or (rows.dtype == torch.bfloat16 and not cpu_has_bfloat16()):
        return F.leaky_relu_(F.linear(rows, weight, bias), 0.1)
    result: Tensor = fused(rows.contiguous(), weight, bias, "leaky_relu", [0.1], "")
    return result


class Activation(nn.Module):
    """:func:`activate` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return activate(x)


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Zero-initialise a convolution, so that the branch it ends starts as zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """Residual block of two 3×3 convolutions (He et al. 2016): (B, C, H, W) → (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3x3(channels, channels)
        self.second = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(activate(self.first(x)))
        return x + y


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """Sequence of ``count`` residual blocks."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear upsampling by a whole factor: (B, C, H, W) → (B, C, fH, fW)."""
    size = [side * factor for side in x.shape[-2:]]  # with ``scale_factor``, a tracer would specialise on the size
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def sampling_grid(
    height: int, width: int, device: torch.device, *, rows: slice = slice(None), columns: slice = slice(None)
) -> Tensor:
    """Identity grid for ``grid_sample``: pixel centres (1, H, W, 2), x before y, −1 … 1 from edge to edge; float32.

    ``rows`` and ``columns`` restrict it.
    """
    y = ((torch.arange(height, device=device, dtype=torch.float32) * 2 + 1) / height - 1)[rows]
    x = ((torch.arange(width, device=device, dtype=torch.float32) * 2 + 1) / width - 1)[columns]
    size = y.shape[0], x.shape[0]  # a tracer would specialise on ``len``
    return torch.stack((x.expand(size), y[:, None].expand(size)), dim=-1)[None]


def normalize_displacement(displacement: Tensor, height: int, width: int) -> Tensor:
    """Convert displacements (B, 2, h, w) in pixels of a ``height`` × ``width`` image to ``grid_sample`` units.

    (B, h, w, 2), x before y.

    The size enters as two scalars instead of a tensor, so that a traced program does not specialise on it.
    """
    x, y = displacement.unbind(1)
    return torch.stack((x * (2.0 / width), y * (2.0 / height)), -1)


def warp(x: Tensor, displacement: Tensor) -> Tensor:
    """Backward bilinear warp: sample ``x`` (B, C, H, W) at ``displacement`` (B, 2, h, w), in pixels of ``x``.

    Border replicated; interpolated in float32, returned in the dtype of ``x``. The result has the size of
    ``displacement``.
    """
    (height, width), (tall, wide) = displacement.shape[-2:], x.shape[-2:]
    grid = sampling_grid(height, width, x.device) + normalize_displacement(displacement.float(), tall, wide)
    return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False).to(x.dtype)
