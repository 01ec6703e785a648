"""Regression of a small part of the network on drawn samples, shared by all pre-training stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def fit(
    parameters: Iterable[nn.Parameter],
    losses: Callable[[], tuple[Tensor, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    warmup_steps: int = 1,
    told: Callable[[int, Tensor], None] | None = None,
) -> float:
    """AdamW under a cosine with warm-up; parameters that rest in later training learn here, and rest again.

    Args:
        losses: draws samples and gives their loss and the figure to report, both scalars.
        told: called with each step's number, from 1, and its loss.

    Returns:
        The mean figure of the last tenth of the steps.
    """
    learning = list(parameters)
    rests = [parameter for parameter in learning if not parameter.requires_grad]
    for parameter in rests:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(learning, lr=learning_rate, weight_decay=weight_decay)
    last: list[Tensor] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            warm = min(1, (step + 1) / warmup_steps)
            group["lr"] = learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss, figure = losses()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step >= steps - max(1, steps // 10):
            last.append(figure.detach())
        if told is not None:
            told(step + 1, loss)
    for parameter in rests:
        parameter.requires_grad_(False)
    return float(torch.stack(last).mean())
