"""ConvGRU: convolutional gated recurrent unit whose hidden state is carried from frame to frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vdeblur.model.layers import conv3x3


class ConvGRU(nn.Module):
    """Gated recurrent unit with 3×3 convolutions (Ballas et al. 2016); the hidden state is an argument and a result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = conv3x3(2 * channels, 2 * channels)
        self.candidate = conv3x3(2 * channels, channels)

    def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
        """One time step: input (B, C, H, W) and previous state, None at the start → next state (B, C, H, W)."""
        if state is None:
            state = torch.zeros_like(x)
        reset, update = torch.sigmoid(self.gates(torch.cat((x, state), 1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat((x, reset * state), 1)))
        return state + update * (candidate - state)


class HalfGRU(nn.Module):
    """ConvGRU on the second half of the channels; the first half passes through (Lin et al. 2022, RVM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = ConvGRU(channels // 2)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Input (B, C, H, W) and state (B, C/2, H, W) → features (B, C, H, W) and the next state."""
        passing, remembered = x.chunk(2, 1)
        state = self.gru(remembered, None if state is None else state.to(x.dtype))
        return torch.cat((passing, state), 1), state
