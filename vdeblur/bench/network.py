"""Network benchmark: latency, multiply-adds, efficiency against the machine's peak, share of convolutions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from vdeblur.bench.timing import Timing, middle, timed, typical
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import have_kernels, without_kernels
from vdeblur.model.network import NetworkTraits, traits_of
from vdeblur.runtime.cuda_graphs import without_graphs
from vdeblur.runtime.device import single_thread

#: Runs that do not count.
WARM_UP = 2
#: Number of the first frame, from 0, at which a clip has reached its usual pace: all its neighbours are there.
SETTLED = 2


class Replay:
    """Stands before a network, remembers what the engine last asked of it, and asks the same again.

    So whatever the engine gives its network, and however a network is built, what is measured is what it really does
    for a frame: one ``encode`` and one ``residual``.

    Args:
        device: which is waited for, so that the time of each question is known.
    """

    def __init__(self, network: Any, device: torch.device) -> None:
        self.network = network
        self._device = device
        self._encode: Callable[[], Any] | None = None
        self._residual: Callable[[], Any] | None = None
        #: Seconds that the network has taken since :meth:`start`.
        self.spent = Timing(0.0, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    @property
    def traits(self) -> NetworkTraits:
        """The network's, but that it is asked for a whole residual, not for its halves."""
        return replace(traits_of(self.network), halves=False)

    def start(self) -> None:
        self.spent = Timing(0.0, 0.0)

    def encode(self, *arguments: Any, **options: Any) -> Any:
        self._encode = lambda: self.network.encode(*arguments, **options)
        return self._asked(self._encode)

    def residual(self, *arguments: Any, **options: Any) -> tuple[Tensor, Any]:
        self._residual = lambda: self.network.residual(*arguments, **options)
        result: tuple[Tensor, Any] = self._asked(self._residual)
        return result

    def _asked(self, question: Callable[[], Any]) -> Any:
        answers: list[Any] = []
        took = timed(lambda: answers.append(question()), device=self._device)
        self.spent = self.spent.plus(took)
        return answers[0]

    @torch.inference_mode()
    def again(self) -> None:
        """One frame's work, in the midst of a clip."""
        assert self._encode is not None
        assert self._residual is not None
        self._encode()
        self._residual()

    def alone(self) -> None:
        """The same in this thread, without CUDA graphs: whatever takes time is seen."""
        before, self.network = self.network, without_graphs(self.network)
        try:
            with single_thread():
                self.again()
        finally:
            self.network = before

    def plainly(self) -> None:
        """The same without kernels of our own, too: all operators are seen and counted."""
        with without_kernels():
            self.alone()


@dataclass(frozen=True)
class NetworkSpeed:
    """What a network does for one frame."""

    timing: Timing
    #: Multiply-adds of its convolutions and matrix products; interpolation and sampling are not counted.
    macs: int
    #: Share of its time spent in convolutions, 0 to 1, those in kernels of our own apart; None where these do its work.
    convolution_share: float | None

    @property
    def flops_a_second(self) -> float:
        """A multiply-add counts two."""
        return 2 * self.macs / self.timing.seconds


@contextmanager
def replaying(deblurrer: Deblurrer) -> Iterator[Replay]:
    """A Deblurrer whose network is watched; it forgets its frames at the end."""
    replay = Replay(deblurrer.device_step.steps, deblurrer.device)
    deblurrer.device_step.steps = replay
    try:
        yield replay
    finally:
        deblurrer.device_step.steps = replay.network
        deblurrer.reset()


def measure_engine(deblurrer: Deblurrer, frames: Sequence[Frame], *, runs: int) -> tuple[Replay, Timing]:
    """Restore frames that are in memory, one after the other.

    Returns:
        The network as it was asked for a frame in the midst, and what the engine takes beside it: planes to R'G'B',
        the residual into planes, transfers, its own work.
    """
    beside = []
    with replaying(deblurrer) as replay:
        for _ in range(runs):
            for number, frame in enumerate(frames):
                replay.start()
                took = timed(lambda frame=frame: deblurrer.step(frame), device=deblurrer.device)  # type: ignore[misc]
                if number >= SETTLED:
                    beside.append(took.minus(replay.spent))
            deblurrer.reset()
    return replay, middle(beside)


def measure_network(replay: Replay, device: torch.device, *, runs: int) -> NetworkSpeed:
    """Time, multiply-adds and share of convolutions of what a network does for a frame."""
    timing = typical(replay.again, runs=runs, warm_up=WARM_UP, device=device)
    compiled = replay.traits.compiled and have_kernels(device)
    share = None if compiled else convolution_share(replay.alone, device)
    return NetworkSpeed(timing, multiply_adds(replay.plainly), share)


def multiply_adds(work: Callable[[], object]) -> int:
    """Multiply-adds of all convolutions and matrix products in ``work``, whoever calls them."""
    with FlopCounterMode(display=False, custom_mapping=_fused_operators()) as counter:
        work()
    return int(counter.get_total_flops()) // 2


def convolution_share(work: Callable[[], object], device: torch.device) -> float:
    """Share of the time that convolutions take, by PyTorch's profiler: of all on a CPU, of all operators on a GPU."""
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    logging.getLogger("torch.profiler").setLevel(logging.ERROR)
    # Its own time is what no operator does.
    everything = nullcontext() if device.type == "cuda" else record_function("all")
    with profile(activities=kinds) as profiler, everything:
        work()
    clock = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    own = {event.key: float(getattr(event, clock)) for event in profiler.key_averages()}
    total = sum(own.values())
    return sum(time for name, time in own.items() if "conv" in name.lower()) / total if total else 0.0


def _fused_operators() -> dict[Any, Any]:
    """Convolutions and linear layers with an activation in the same operator, which PyTorch's counter does not know."""
    known: dict[str, Any] = {"_convolution_pointwise": _convolution_flops, "_linear_pointwise": _linear_flops}
    found = {getattr(torch.ops.mkldnn, name, None): count for name, count in known.items()}
    return {operator: count for operator, count in found.items() if operator is not None}


def _linear_flops(rows_shape: Any, weight_shape: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """Floating-point operations of one linear layer of (N, inputs) rows."""
    return int(2 * rows_shape[0] * weight_shape[0] * weight_shape[1])


def _convolution_flops(_: Any, weight_shape: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """Floating-point operations of one convolution: each output sample meets the weights of its channel."""
    batch, _, *places = out_shape
    count = 2 * batch
    for size in (*weight_shape, *places):
        count *= size
    return int(count)
