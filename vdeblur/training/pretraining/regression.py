"""Regression of a small part of the network on drawn samples, shared by all pre-training stages."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vdeblur.training.pretraining.pace import Pace


def fit(
    parameters: Iterable[nn.Parameter],
    losses: Callable[[], tuple[Tensor, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    generator: torch.Generator,
    pace: Pace,
    warmup_steps: int = 1,
) -> float:
    """AdamW under a cosine with warm-up; parameters that rest in later training learn here, and rest again.

    Args:
        losses: draws samples with ``generator`` and gives their loss and the figure to report, both scalars.
        pace: its clock may shorten the schedule, of which one step at least is done; what it kept is continued.

    Returns:
        The mean figure of the last tenth of the steps.

    Raises:
        Paused: the pace was asked to stop.
    """
    learning = list(parameters)
    rests = [parameter for parameter in learning if not parameter.requires_grad]
    for parameter in rests:
        parameter.requires_grad_(True)
    try:
        return _descend(
            learning, losses, steps=steps, learning_rate=learning_rate, weight_decay=weight_decay,
            warmup_steps=warmup_steps, generator=generator, pace=pace,
        )  # fmt: skip
    finally:
        for parameter in rests:
            parameter.requires_grad_(False)


def _descend(
    learning: list[nn.Parameter],
    losses: Callable[[], tuple[Tensor, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    warmup_steps: int,
    generator: torch.Generator,
    pace: Pace,
) -> float:
    optimiser = torch.optim.AdamW(learning, lr=learning_rate, weight_decay=weight_decay)
    last: deque[Tensor] = deque(maxlen=max(1, steps // 10))
    step = _recall(pace.kept.get("fit"), learning, optimiser, generator, last)
    while step < steps:
        share = pace.share(step / steps)
        if share >= 1 and last:
            break
        for group in optimiser.param_groups:
            warm = min(1, (step + 1) / warmup_steps)
            group["lr"] = learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        loss, figure = losses()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        last.append(figure.detach())
        step += 1
        pace.tell(lambda step=step, loss=loss: f"step {step} of {steps}, loss {loss.item():.5f}")  # type: ignore[misc]
        pace.pause_if_asked(lambda step=step: _state(step, pace, steps, learning, optimiser, generator, last))  # type: ignore[misc]
    return float(torch.stack(list(last)).mean())


def _state(
    step: int,
    pace: Pace,
    steps: int,
    learning: list[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    last: Iterable[Tensor],
) -> dict[str, Any]:
    return {
        "step": step,
        "share": min(1.0, pace.share(step / steps)),
        "parameters": [parameter.detach() for parameter in learning],
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "last": list(last),
    }


def _recall(
    kept: dict[str, Any] | None,
    learning: list[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    last: deque[Tensor],
) -> int:
    """Take over what an interrupted fit kept; return the steps it has done."""
    if kept is None:
        return 0
    with torch.no_grad():
        for parameter, value in zip(learning, kept["parameters"], strict=True):
            parameter.copy_(value)
    optimiser.load_state_dict(kept["optimiser"])
    generator.set_state(kept["generator"].cpu())
    last.extend(kept["last"])
    return int(kept["step"])
