"""CUDA graphs: a network's step captured once, then replayed with one launch instead of a thousand.

A step is some thousand small kernels; started one by one they keep the host busy for longer than the GPU. A graph reads
and writes always the same memory, so what it is given is copied there and what it returns is copied away. That makes
the network a function again: states that somebody keeps stay what they were, and any frame may follow any other. (Two
graphs that write into each other's state in turn would save one copy of 38 numbers, or of maps at 1/8, and lose that.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vdeblur.runtime.device import is_out_of_memory

logger = logging.getLogger(__name__)

#: Most graphs kept at a time: steps with and without each neighbour and a state, for a few sizes of frames.
MAX_GRAPHS = 24

Work = Callable[..., Any]
Key = tuple[Any, ...]


class Recorder(Protocol):
    """Captures work on a device; :class:`CudaRecorder`, or a stand-in for tests."""

    def record(self, work: Callable[[], Any], /) -> tuple[Callable[[], None], Any]:
        """Capture ``work``; return its replay in the same memory, and the result, which each replay overwrites."""


class CudaRecorder:
    """Captures CUDA graphs in one memory pool, as no two of them run at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        graph = torch.cuda.CUDAGraph()
        # Other threads (a decoder on the GPU) may allocate meanwhile.
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            result = work()
        return graph.replay, result


@dataclass(frozen=True)
class _Recording:
    """A captured step with static buffers: inputs, replay, and the result that a replay overwrites."""

    inputs: list[Tensor]
    replay: Callable[[], None]
    result: Any

    def __call__(self, given: list[Tensor]) -> Any:
        _copy(given, self.inputs)
        self.replay()
        return _cloned(self.result)


class GraphedNetwork:
    """Wrapper of a network that captures and replays its steps as CUDA graphs.

    The first step of a kind (size, dtype, which neighbours there are, with a state or without) is done plainly, which
    also warms up what a recording must not do; the second one is recorded. Steps in tiles, done when memory is
    short, are never recorded. When recording fails, all goes on plainly, and the log says so once.

    Args:
        network: one whose steps ask nothing of the device's results, and depend on nothing
            but what they are given and on their parameters.
        recorder: of the network's device.
    """

    def __init__(self, network: Any, recorder: Recorder) -> None:
        self.network = network
        self._recorder = recorder
        self._seen: set[Key] = set()
        self._recordings: dict[Key, _Recording] = {}
        #: Memory that recordings read from, by its place among the arguments and its layout; no two run at a time.
        self._inputs: dict[Key, Any] = {}
        self._works = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def encode(self, frame: Tensor, /, **options: Any) -> Any:
        return self._do("encode", (frame,), options)

    def residual(self, previous: Any, current: Any, following: Any, state: Any, /, *more: Any, **options: Any) -> Any:
        return self._do("residual", (previous, current, following, state, *more), options)

    def match_motion(self, previous: Any, current: Any, following: Any, /, **options: Any) -> Any:
        return self._do("match_motion", (previous, current, following), options)

    def forget(self) -> None:
        """Drop all graphs with their memory; the next steps run eagerly again first."""
        self._recordings.clear()
        self._inputs.clear()
        self._seen.clear()

    def _do(self, name: str, given: tuple[Any, ...], options: dict[str, Any]) -> Any:
        work = getattr(self.network, name)
        if options or not self._works:
            if self._recordings:
                self.forget()  # memory is short
            return work(*given, **options)
        key = (name, _layout(given))
        recording = self._recordings.get(key)
        if recording is None and key in self._seen:
            recording = self._record(key, work, given)
        if recording is None:
            self._seen.add(key)
            return self._plainly(work, given)
        return recording(list(_tensors(given)))

    def _plainly(self, work: Work, given: tuple[Any, ...]) -> Any:
        try:
            return work(*given)
        except Exception as exc:
            if is_out_of_memory(exc):
                self.forget()
            raise

    def _record(self, key: Key, work: Work, given: tuple[Any, ...]) -> _Recording | None:
        """None if it cannot be recorded."""
        if len(self._recordings) >= MAX_GRAPHS:
            self.forget()
        try:
            own = tuple(self._memory_like(place, part) for place, part in enumerate(given))
            inputs = list(_tensors(own))
            _copy(list(_tensors(given)), inputs)
            replay, result = self._recorder.record(lambda: work(*own))
        except Exception as exc:
            self.forget()
            self._works = False
            reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            logger.warning("the network's steps cannot be recorded as CUDA graphs (%s): they are done plainly", reason)
            return None
        self._recordings[key] = _Recording(inputs, replay, result)
        return self._recordings[key]

    def _memory_like(self, place: int, part: Any) -> Any:
        key = (place, _layout(part))
        if key not in self._inputs:
            self._inputs[key] = _mapped(torch.empty_like, part)
        return self._inputs[key]


def with_cuda_graphs(network: Any, device: torch.device, *, capturable: bool) -> Any:
    """Wrap a network on CUDA whose steps are capturable in :class:`GraphedNetwork`; return any other as it is."""
    if device.type == "cuda" and capturable:
        return GraphedNetwork(network, CudaRecorder(device))
    return network


def without_graphs(network: Any) -> Any:
    """Unwrap a :class:`GraphedNetwork`."""
    return network.network if isinstance(network, GraphedNetwork) else network


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Few calls for many tensors."""
    groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for source, target in zip(sources, targets, strict=True):
        group = groups.setdefault(source.dtype, ([], []))
        group[0].append(target)
        group[1].append(source)
    for into, out_of in groups.values():
        torch._foreach_copy_(into, out_of)


def _cloned(result: Any) -> Any:
    own = _mapped(torch.empty_like, result)
    _copy(list(_tensors(result)), list(_tensors(own)))
    return own


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Flatten tuples within tuples to their tensors; None has none."""
    if isinstance(tree, Tensor):
        yield tree
    elif tree is not None:
        for part in tree:
            yield from _tensors(part)


def _mapped(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The same tuples with other tensors."""
    if tree is None:
        return None
    if isinstance(tree, Tensor):
        return change(tree)
    make = getattr(type(tree), "_make", tuple)
    return make([_mapped(change, part) for part in tree])


def _layout(tree: Any) -> Any:
    """Key of a graph: shapes and dtypes of the tensors, and which are None."""
    if tree is None:
        return None
    if isinstance(tree, Tensor):
        return tree.shape, tree.dtype
    return tuple(_layout(part) for part in tree)
