"""One step of a network as a plain function of tensors: what it remembers comes in and goes out.

A clip has up to four kinds of frames: the first and the last have no neighbour on one side, a single frame has none,
and all others have both. The network does something else for each, so each is a graph of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from vdeblur.engine import Network
from vdeblur.frames import Colour
from vdeblur.pixels import crop, matrix_of, pad_to_multiple


class Place(NamedTuple):
    """Where in its clip a frame stands; ``last`` matters only with lookahead."""

    first: bool
    last: bool

    @property
    def name(self) -> str:
        return {(True, True): "only", (True, False): "first", (False, True): "last"}.get(self, "next")


def places(lookahead: int) -> tuple[Place, ...]:
    """All kinds of frames; without lookahead a frame does not know whether it is the last."""
    ends = (False, True) if lookahead else (False,)
    return tuple(Place(first, last) for first in (True, False) for last in ends)


class Memory:
    """What is carried from step to step, as a list of tensors: features of one or two frames, and the state.

    With lookahead these are the frame before and the frame itself, else the frame before. At the first frame nothing
    of it is looked at.
    """

    def __init__(self, network: Network, height: int, width: int, lookahead: int) -> None:
        with torch.no_grad():
            features = network.encode(_picture(torch.zeros(1, 3, height, width), network))
            _, state = network.residual(None, features, None, None)
        feature_tensors, self._features = pytree.tree_flatten(features)
        state_tensors, self._state = pytree.tree_flatten(state)
        self._count = len(feature_tensors)
        self._frames = 1 + lookahead
        #: Zeros of the right shapes: what to begin with.
        self.start = [torch.zeros_like(tensor) for tensor in (*feature_tensors * self._frames, *state_tensors)]

    @property
    def names(self) -> list[str]:
        return [f"memory_{number}" for number in range(len(self.start))]

    def unpacked(self, tensors: tuple[Tensor, ...]) -> tuple[list[Any], Any]:
        """Features of the remembered frames, and the state."""
        end = self._count * self._frames
        features = [
            pytree.tree_unflatten(list(tensors[at : at + self._count]), self._features)
            for at in range(0, end, self._count)
        ]
        return features, pytree.tree_unflatten(list(tensors[end:]), self._state)

    @staticmethod
    def packed(features: list[Any], state: Any) -> Iterator[Tensor]:
        """Copies: what comes in must not go out as the same tensor, nor one tensor twice, for each has one name."""
        for part in (*features, state):
            for tensor in pytree.tree_leaves(part):
                yield tensor.clone()


class Step(nn.Module):
    """A step for one place in a clip.

    Inputs: the frame (1, 3, H, W), float32 R'G'B' in [0, 1]; with lookahead the frame after it; the memory. Outputs:
    the sharp frame, in [0, 1], and the new memory.
    """

    def __init__(self, network: nn.Module, memory: Memory, place: Place, lookahead: int) -> None:
        super().__init__()
        self.network: Any = network
        self._memory = memory
        self._place = place
        self._lookahead = lookahead

    def forward(self, frame: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        features, state = self._memory.unpacked(others[self._lookahead :])
        known = self._lookahead and not self._place.first  # the frame came as the one after the frame before
        current = features[1] if known else self._encoded(frame)
        previous = None if self._place.first else features[0]
        following = self._encoded(others[0]) if self._lookahead and not self._place.last else None
        residual, new = self.network.residual(previous, current, following, None if self._place.first else state)
        sharp = (frame + crop(residual, *frame.shape[-2:])).clamp(0, 1)
        remembered = [current, current if following is None else following][: 1 + self._lookahead]
        return (sharp, *self._memory.packed(remembered, new))

    def _encoded(self, frame: Tensor) -> Any:
        return self.network.encode(_picture(frame, self.network))


def _picture(frame: Tensor, network: Any) -> Tensor:
    """What the engine gives a network of an untagged R'G'B' frame: itself, or its luma, of a size that fits."""
    if getattr(network, "channels", 3) == 1:
        weights = matrix_of(Colour(), frame.shape[-2]).luma
        frame = sum(frame[:, index : index + 1] * weight for index, weight in enumerate(weights))  # type: ignore[assignment]
    return pad_to_multiple(frame, network.stride, minimum=network.minimum_size)
