"""Blocks the network is built from: convolutions, resampling and warping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.runtime.device import cpu_has_bfloat16


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A plain 3×3 convolution: in channels_last it runs at the machine's peak."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU: unlike ReLU, it cannot leave a joining layer dead after an early large step."""
    return F.leaky_relu(x, 0.1)


def leaky_linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer (N, inputs) → (N, outputs) and :func:`activate`, on a CPU in one pass where oneDNN is there."""
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
    """Make a convolution start as zero, so that what it adds starts as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: (B, C, H, W) → (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3x3(channels, channels)
        self.second = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(activate(self.first(x)))
        return x + y


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear enlargement by a whole factor; (B, C, H, W) → (B, C, fH, fW)."""
    size = [side * factor for side in x.shape[-2:]]  # given ``scale_factor``, a tracer would keep the size it saw
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def normal_grid(
    height: int, width: int, device: torch.device, *, rows: slice = slice(None), columns: slice = slice(None)
) -> Tensor:
    """Pixel centres (1, H, W, 2), x before y, in the units of ``grid_sample``: −1 … 1 from edge to edge; float32.

    ``rows`` and ``columns``: only those of them.
    """
    y = ((torch.arange(height, device=device, dtype=torch.float32) * 2 + 1) / height - 1)[rows]
    x = ((torch.arange(width, device=device, dtype=torch.float32) * 2 + 1) / width - 1)[columns]
    size = y.shape[0], x.shape[0]  # a tracer would keep what ``len`` says
    return torch.stack((x.expand(size), y[:, None].expand(size)), dim=-1)[None]


def normal_steps(displacement: Tensor, height: int, width: int) -> Tensor:
    """(B, 2, h, w) in pixels of a picture of ``height`` × ``width`` → (B, h, w, 2) in the units of ``grid_sample``.

    The size enters as two factors and not as a tensor, so that a program made by tracing does not keep it.
    """
    x, y = displacement.unbind(1)
    return torch.stack((x * (2.0 / width), y * (2.0 / height)), -1)


def warp(x: Tensor, displacement: Tensor) -> Tensor:
    """``x`` (B, C, H, W) fetched from ``displacement`` (B, 2, H, W), in pixels of ``x``, away.

    Bilinear, the border repeated; interpolated in float32, returned in the dtype of ``x``. The result has the size of
    ``displacement``.
    """
    (height, width), (tall, wide) = displacement.shape[-2:], x.shape[-2:]
    grid = normal_grid(height, width, x.device) + normal_steps(displacement.float(), tall, wide)
    return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False).to(x.dtype)
