"""A whole new network in one file: its config, the network and its row in the registry.

``python -m support.networks.toy_network …`` is the command line with it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from vdeblur.model import registry
from vdeblur.model.network import NetworkTraits, RestorationNetwork


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    kind: Literal["toy"]
    name: str
    hidden: int = 4

    def least_weights(self) -> int:
        return 9 * 9 * self.hidden


class ToyState(NamedTuple):
    #: Mean of the details so far.
    detail: Tensor


class ToyNetwork(RestorationNetwork):
    """Adds learned filters of the frame's fine detail, of its neighbours' difference and of what came before."""

    stride = 4
    minimum_size = 8
    config: ToyConfig
    traits = NetworkTraits(takes_batches=True, state_from=ToyState._make)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.inner = nn.Conv2d(9, config.hidden, 3, padding=1)
        self.outer = nn.Conv2d(config.hidden, 3, 3, padding=1)

    def encode(self, frame: Tensor, /) -> tuple[Tensor, Tensor]:
        return frame, frame - avg_pool2d(frame, 3, 1, 1, count_include_pad=False)

    def residual(
        self,
        previous: tuple[Tensor, Tensor] | None,
        current: tuple[Tensor, Tensor],
        following: tuple[Tensor, Tensor] | None,
        state: ToyState | None,
        /,
    ) -> tuple[Tensor, ToyState]:
        frame, detail = current
        others = [other[0] for other in (previous, following) if other is not None]
        change = sum(others, -len(others) * frame)
        known = detail if state is None else (state.detail + detail) / 2
        seen = torch.cat((detail, change, known), 1).to(self.inner.weight.dtype)
        return self.outer(torch.relu(self.inner(seen))).float(), ToyState(known)


ROW = registry.Kind("toy", ToyConfig, ToyNetwork)


if __name__ == "__main__":
    from vdeblur.__main__ import main

    registry.KINDS.append(ROW)
    sys.exit(main())
