"""A small DeblurNet with weights that do something, and clips for it."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.model.deblur_net import DeblurNet, NetworkConfig


def tiny(tap_neighbours: int = 0) -> DeblurNet:
    """A network of the same class, small enough for a test, with weights that do something."""
    torch.manual_seed(3)
    net = DeblurNet(
        NetworkConfig(
            name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1),
            flow_finest=4, tap_guides=2, taps=5, reach=1.0, tap_scale=2, tap_hidden=8, tap_depth=1, tap_features=4,
            tap_neighbours=tap_neighbours,
        )
    ).eval()  # fmt: skip
    for _, parameter in sorted(net.named_parameters(), key=lambda each: each[0].startswith("fraction.")):
        torch.nn.init.normal_(parameter, std=0.1)  # the reader last: whatever its size, the others are what they were
    return net


def clip(frames: int, height: int = 48, width: int = 64, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(batch, frames, 3, height, width, generator=generator)


def drifting(frames: int) -> Tensor:
    """Two clips (2, T, 3, 48, 64) of a soft texture that drifts two pixels a frame: flows match, taps look there."""
    generator = torch.Generator().manual_seed(6)
    wide = torch.rand(2, 3, 48, 80 + 2 * frames, generator=generator)
    soft = torch.nn.functional.avg_pool2d(wide, 5, stride=1, padding=2)
    return torch.stack([soft[..., 2 * t : 2 * t + 64] for t in range(frames)], 1)


def step_by_step(net: DeblurNet, frames: Tensor, lookahead: int) -> Tensor:
    """Residuals (B, T, 3, H, W) one frame at a time, as the engine does it."""
    features = [net.encode(frames[:, t]) for t in range(frames.shape[1])]
    state, residuals = None, []
    for t, current in enumerate(features):
        previous = features[t - 1] if t else None
        following = features[t + 1] if lookahead and t + 1 < len(features) else None
        residual, state = net.residual(previous, current, following, state)
        residuals.append(residual)
    return torch.stack(residuals, 1)
