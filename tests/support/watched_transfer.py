"""A stand-in for CUDA streams that keeps vector clocks, and a race detector."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vdeblur.runtime.transfer import CudaTransfer, Layout

CPU = torch.device("cpu")


Clock = dict[str, int]


class FakeCuda:
    """Streams that run at once but keep time as if they did not: who has waited for whom."""

    def __init__(self) -> None:
        self.clocks: dict[str, Clock] = defaultdict(dict)
        self.running = "host"  # work in no stream's context is the host's own, on host memory
        self.made = 0

    def Stream(self, *, device: torch.device) -> FakeStream:
        self.made += 1
        return FakeStream(self, f"stream {self.made}")

    def Event(self, *, blocking: bool) -> FakeCudaEvent:
        return FakeCudaEvent(self)

    def current_stream(self, device: torch.device) -> FakeStream:
        return FakeStream(self, "caller's stream")

    @contextlib.contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.running = self.running, stream.name
        yield
        self.running = before

    def merge(self, into: str, clock: Clock) -> None:
        for who, tick in clock.items():
            self.clocks[into][who] = max(self.clocks[into].get(who, 0), tick)

    def tick(self) -> tuple[str, Clock]:
        """One more operation of whoever runs; a stream's comes after everything the host did before it."""
        who = self.running
        self.merge(who, self.clocks["host"])
        self.clocks[who][who] = self.clocks[who].get(who, 0) + 1
        return who, self.clocks[who]


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_event(self, event: FakeCudaEvent) -> None:
        self.cuda.merge(self.name, event.clock)

    def wait_stream(self, other: FakeStream) -> None:
        self.cuda.merge(self.name, self.cuda.clocks[other.name])

    def synchronize(self) -> None:
        self.cuda.merge("host", self.cuda.clocks[self.name])


class FakeCudaEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.clock: Clock = {}

    def record(self, stream: FakeStream) -> None:
        self.clock = dict(self.cuda.clocks[stream.name])

    def synchronize(self) -> None:
        self.cuda.merge("host", self.clock)


def shares(tensor: Tensor, result: Any) -> bool:
    return isinstance(result, Tensor) and result.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()


class RaceDetector(TorchDispatchMode):
    """Sees every operation; a read or write that is not ordered after the last write of the same memory is a race."""

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__()
        self.cuda = cuda
        self.alive: list[Any] = []  # storages, so that no address is used twice
        self.makers: dict[int, str] = {}
        self.written: dict[int, tuple[str, int]] = {}
        self.read: dict[int, dict[str, int]] = defaultdict(dict)
        self.users: dict[int, set[str]] = defaultdict(set)
        self.races: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        who, clock = self.cuda.tick()
        named = zip(func._schema.arguments, args, strict=False)
        for argument, value in [*named, *((a, (kwargs or {}).get(a.name)) for a in func._schema.arguments)]:
            for tensor in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(tensor, Tensor):
                    alias = argument.alias_info
                    write = alias is not None and alias.is_write
                    if write or alias is None or not shares(tensor, result):  # a mere view touches nothing
                        self.touch(tensor, who, clock, write=write, func=func)
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self.written:
                self.touch(tensor, who, clock, write=True, func=func)
        return result

    def touch(self, tensor: Tensor, who: str, clock: Clock, *, write: bool, func: Any) -> None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        self.alive.append(storage)
        self.users[key].add(who)
        before = dict(self.read[key]) if write else {}
        if key in self.written:
            writer, tick = self.written[key]
            before[writer] = max(tick, before.get(writer, 0))
        self.races += [f"{func} by {who} after {other}" for other, tick in before.items() if clock.get(other, 0) < tick]
        if write:
            self.makers.setdefault(key, who)
            self.written[key] = (who, clock[who])
            self.read[key] = {}
        else:
            self.read[key][who] = clock[who]


class WatchedTransfer(CudaTransfer):
    """The CUDA transfers on the stand-in."""

    def __init__(self, **options: Any) -> None:
        self.fake = FakeCuda()
        self.kept: dict[int, set[str]] = defaultdict(set)
        self.pinned: set[int] = set()
        super().__init__(torch.device("cpu"), cuda=self.fake, pin=False, **options)

    def _buffers(self, layout: Layout) -> tuple[Tensor, ...]:
        buffers = super()._buffers(layout)
        self.pinned |= {buffer.untyped_storage().data_ptr() for buffer in buffers}
        return buffers

    def _keep(self, planes: Sequence[Tensor], stream: Any) -> None:
        for plane in planes:
            self.kept[plane.untyped_storage().data_ptr()].add(stream.name)

    def _resident(self, planes: Sequence[Tensor]) -> bool:
        return False

    def unkept(self, detector: RaceDetector) -> list[str]:
        """Memory that a second stream used without being recorded there: the allocator could give it away too early."""
        found = []
        for key, users in detector.users.items():
            maker = detector.makers.get(key, "host")
            if maker != "host" and key not in self.pinned:
                found += [f"{user} uses what {maker} made" for user in users - {maker, "host"} - self.kept[key]]
        return found
