"""Transfer: slots are touched only after their event, and no stream reads what another is still writing.

There may be no GPU where the tests run. A stand-in for ``torch.cuda`` keeps the vector clocks of three streams and the
host, every tensor operation is seen by a dispatch mode, and an access that no event puts in order is a failure. The
tests marked ``cuda`` run the real thing.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from doubles import Mixing, clip, planes_equal
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vdeblur.engine import Deblurrer
from vdeblur.transfer import CudaTransfer, Layout, Ring, Transfer, transfer_for

CPU = torch.device("cpu")
Clock = dict[str, int]


# --- The ring ---------------------------------------------------------------------------------------------------------


class FakeEvent:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def synchronize(self) -> None:
        self.log.append(self.name)


def layout(size: int) -> Layout:
    return ((torch.Size([size, size]), torch.uint8),)


def test_a_slot_is_given_out_again_only_after_its_event() -> None:
    log: list[str] = []
    ring = Ring(3, lambda _: ())
    seen = []
    for n in range(7):
        slot = ring.take(layout(8))
        assert log == [f"event {k}" for k in range(n - 2)], "and no event is waited for earlier than needed"
        assert slot.event is None
        slot.event = FakeEvent(log, f"event {n}")
        seen.append(slot)
    assert seen[0] is seen[3] is seen[6]
    assert len({id(slot) for slot in seen}) == 3


def test_buffers_are_allocated_once_for_each_layout() -> None:
    allocated: list[Layout] = []
    ring = Ring(2, lambda wanted: (allocated.append(wanted), ())[1])
    for _ in range(5):
        ring.take(layout(8))
    assert allocated == [layout(8)] * 2
    for _ in range(5):
        ring.take(layout(9))
    assert allocated == [layout(8)] * 2 + [layout(9)] * 2


def test_a_new_layout_waits_for_what_is_under_way() -> None:
    log: list[str] = []
    ring = Ring(2, lambda _: ())
    for n in range(2):
        ring.take(layout(8)).event = FakeEvent(log, f"event {n}")
    ring.take(layout(9))
    assert log == ["event 0", "event 1"]


def test_a_held_slot_is_not_given_out() -> None:
    ring = Ring(2, lambda _: ())
    first = ring.take(layout(8))
    first.held = True
    second = ring.take(layout(8))
    assert ring.take(layout(8)) is second
    second.held = True
    with pytest.raises(RuntimeError, match="held"):
        ring.take(layout(8))
    first.held = False
    assert ring.take(layout(8)) is first


# --- Races, seen without a GPU ----------------------------------------------------------------------------------------


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


def watched_run(transfer: WatchedTransfer, count: int = 12) -> tuple[list[Any], RaceDetector]:
    deblurrer = Deblurrer(Mixing(), device="cpu", precision="float32")
    deblurrer.transfer = transfer
    with RaceDetector(transfer.fake) as detector:
        restored = list(deblurrer.run(clip(count, cuts=(5,))))
    return restored, detector


def test_streams_wait_for_each_other_and_give_the_same_frames() -> None:
    transfer = WatchedTransfer()
    restored, detector = watched_run(transfer)
    assert detector.races == []
    assert transfer.unkept(detector) == []
    assert {"stream 1", "stream 2", "stream 3", "host"} <= {user for users in detector.users.values() for user in users}
    expected = list(Deblurrer(Mixing(), device="cpu", precision="float32").run(clip(12, cuts=(5,))))
    assert len(restored) == len(expected) == 12
    assert all(planes_equal(a, b) for a, b in zip(restored, expected, strict=True))


def test_few_buffers_serve_a_long_clip() -> None:
    transfer = WatchedTransfer(slots=3)
    watched_run(transfer, count=30)
    # three planes a slot on the way up, and one value more, for the check, on the way down
    assert len(transfer.pinned) == 3 * 3 + 3 * 4


@pytest.mark.parametrize("forgotten", ["wait_event", "synchronize"])
def test_the_race_detector_sees_a_missing_wait(forgotten: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = FakeStream if forgotten == "wait_event" else FakeCudaEvent
    monkeypatch.setattr(owner, forgotten, lambda *_: None)
    _, detector = watched_run(WatchedTransfer())
    assert detector.races


def test_the_race_detector_sees_memory_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WatchedTransfer, "_keep", lambda *_: None)
    transfer = WatchedTransfer()
    _, detector = watched_run(transfer)
    assert transfer.unkept(detector)


def test_an_abandoned_run_frees_its_slots() -> None:
    deblurrer = Deblurrer(Mixing(), device="cpu", precision="float32")
    deblurrer.transfer = WatchedTransfer(slots=2)
    for _ in range(5):
        run = deblurrer.run(clip(12))
        next(run)
        run.close()
    assert len(list(deblurrer.run(clip(12)))) == 12


def test_a_download_holds_its_slot_until_it_is_asked_for() -> None:
    transfer = WatchedTransfer(slots=2)
    first, _ = (transfer.download((torch.full((2, 2), n),)) for n in range(2))
    with pytest.raises(RuntimeError, match="held"):
        transfer.download((torch.full((2, 2), 2),))
    assert first.result()[0].tolist() == [[0, 0], [0, 0]]
    transfer.download((torch.full((2, 2), 2),))


def test_planes_that_live_on_the_device_stay_there() -> None:
    transfer = WatchedTransfer()
    transfer._resident = lambda planes: True  # type: ignore[method-assign]
    with RaceDetector(transfer.fake) as detector:
        with transfer.fake.stream(transfer.fake.current_stream(CPU)):
            plane = torch.zeros(4, 4)
        (here,) = transfer.upload([plane])
        assert here is plane
        with transfer.compute("encode"):
            result = here + 1
        (back,) = transfer.download((result,), stay=True).result()
        with transfer.fake.stream(transfer.fake.current_stream(CPU)):
            back + 1
    assert back is result
    assert detector.races == []
    assert transfer.kept[plane.untyped_storage().data_ptr()] == {"stream 2"}
    assert transfer.kept[result.untyped_storage().data_ptr()] == {"caller's stream"}
    assert transfer.pinned == set()


def test_the_cpu_transfers_nothing() -> None:
    transfer = transfer_for(CPU)
    assert type(transfer) is Transfer
    plane = torch.zeros(4, 4)
    (up,) = transfer.upload([plane])
    (back,) = transfer.download((up,)).result()
    assert up is plane
    assert back is plane


# --- The real thing ---------------------------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.parametrize("lookahead", [0, 1])
def test_cuda_streams_give_what_no_streams_and_the_cpu_give(lookahead: int) -> None:
    """float32 throughout; the CPU may round the other way, so by one code."""
    frames = list(clip(40, 180, 320, cuts=(11, 25)))

    def run(device: str, streams: bool) -> list[Any]:
        deblurrer = Deblurrer(Mixing(), device=device, precision="float32", lookahead=lookahead, streams=streams)
        return list(deblurrer.run(frames))

    on, off, cpu = run("cuda", True), run("cuda", False), run("cpu", True)
    assert all(planes_equal(a, b) for a, b in zip(on, off, strict=True))
    for one, other in zip(on, cpu, strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            assert abs(a.astype(int) - b.astype(int)).max() <= 1


@pytest.mark.cuda
def test_cuda_memory_does_not_grow() -> None:
    deblurrer = Deblurrer(Mixing(), device="cuda", precision="float32")
    peaks = []
    for count in (8, 40):
        torch.cuda.reset_peak_memory_stats()
        list(deblurrer.run(clip(count, 180, 320)))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= peaks[0] * 1.1


@pytest.mark.cuda
def test_cuda_tensors_stay_on_their_device() -> None:
    host = list(clip(6))
    frames = [frame.with_planes([torch.from_numpy(plane).cuda() for plane in frame.planes]) for frame in host]
    restored = list(Deblurrer(Mixing(), device="cuda", precision="float32").run(frames))
    expected = list(Deblurrer(Mixing(), device="cuda", precision="float32").run(host))
    for a, b in zip(restored, expected, strict=True):
        assert all(plane.is_cuda for plane in a.planes)
        assert planes_equal(a.with_planes([plane.cpu() for plane in a.planes]), b)
