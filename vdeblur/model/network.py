"""Network interface: what the engine calls on a network."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Network(Protocol):
    """What the engine asks of a network; :class:`vdeblur.model.deblur_net.DeblurNet` is one.

    One that can also work in tiles is a :class:`vdeblur.engine.tiling.Tileable`; any other is always given whole
    frames. It is given R'G'B' and returns a residual of R'G'B'; with an attribute ``channels`` of 1, both are luma.
    One that also takes frames of several streams at a time says ``takes_batches = True``; its features and states are
    tensors, or tuples of them, with the batch as their first dimension. On CUDA the steps of one that says
    ``recordable = True`` are recorded as graphs (:class:`vdeblur.runtime.cuda_graphs.Graphed`). One that says
    ``compiled = True`` has kernels for a CPU, which compute in float32.
    """

    stride: int
    minimum_size: int

    def encode(self, frame: Tensor, /) -> Any: ...

    def residual(self, previous: Any, current: Any, following: Any, state: Any, /) -> tuple[Tensor, Any]: ...
