"""A small LumaNet with weights that do something."""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.model.luma_net import LumaConfig, LumaNet


def tiny(neighbours: int = 1) -> LumaNet:
    """A small network with weights that do something."""
    torch.manual_seed(3)
    config = LumaConfig(
        kind="luma", name="tiny", flow_finest=4, taps=5, reach=1.0, tap_hidden=8, tap_depth=1, tap_neighbours=neighbours
    )
    net = LumaNet(config).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net


def step_by_step(net: LumaNet, frames: Tensor, lookahead: int) -> Tensor:
    """Residuals (B·T, 1, H, W) one frame at a time, as the engine does it."""
    features = [net.encode(frames[:, t]) for t in range(frames.shape[1])]
    state, residuals = None, []
    for t, current in enumerate(features):
        previous = features[t - 1] if t else None
        following = features[t + 1] if lookahead and t + 1 < len(features) else None
        residual, state = net.residual(previous, current, following, state)
        residuals.append(residual)
    return torch.stack(residuals, 1).flatten(0, 1)
