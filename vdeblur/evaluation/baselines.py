"""Classical baselines (identity, unsharp mask), run by the same engine as the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from kornia.filters import unsharp_mask
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.evaluation.wiener import Wiener
from vdeblur.model.network import Network

#: Kernel side and standard deviation of the Gaussian, pixels, and share of the difference that is added.
UNSHARP_SIDE_PX, UNSHARP_SIGMA_PX, UNSHARP_AMOUNT = 9, 1.5, 0.25


class Identity:
    """Changes nothing."""

    stride = 1
    minimum_size = 1

    def encode(self, frame: Tensor, /) -> Tensor:
        return frame

    def residual(
        self, previous: Tensor | None, current: Tensor, following: Tensor | None, state: None, /
    ) -> tuple[Tensor, None]:
        return torch.zeros_like(current), None


class UnsharpMask:
    """Adds a share of what a Gaussian blur takes away, in every frame alike (kornia's unsharp mask)."""

    stride = 1
    minimum_size = UNSHARP_SIDE_PX

    def encode(self, frame: Tensor, /) -> Tensor:
        return frame

    def residual(
        self, previous: Tensor | None, current: Tensor, following: Tensor | None, state: None, /
    ) -> tuple[Tensor, None]:
        masked = unsharp_mask(current, UNSHARP_SIDE_PX, torch.full((1, 2), UNSHARP_SIGMA_PX, device=current.device))
        return UNSHARP_AMOUNT * (masked - current), None


#: By the names they have in tables and on the command line.
BASELINES: dict[str, Callable[[], Network]] = {"unsharp": UnsharpMask, "wiener": Wiener}


def baseline_names(words: str) -> Sequence[str]:
    """Names in "all", "none" or a list with commas.

    Raises:
        UsageError: one is unknown.
    """
    if words in ("all", "none"):
        return list(BASELINES) if words == "all" else []
    names = [name.strip() for name in words.split(",") if name.strip()]
    for name in names:
        if name not in BASELINES:
            raise UsageError(f"no baseline {name!r}: choose all, none, or some of {', '.join(BASELINES)}")
    return names
