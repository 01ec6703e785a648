"""Transfer: slots are touched only after their event, and no stream reads what another is still writing.

There may be no GPU where the tests run. A stand-in for ``torch.cuda`` keeps the vector clocks of three streams and the
host, every tensor operation is seen by a dispatch mode, and an access that no event puts in order is a failure. The
tests marked ``cuda`` run the real thing.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from support.doubles import Mixing, clip, planes_equal
from support.watched_transfer import (
    CPU,
    FakeCudaEvent,
    FakeStream,
    RaceDetector,
    WatchedTransfer,
)
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.runtime.transfer import BufferRing, Layout, Transfer, transfer_for

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
    ring = BufferRing(3, lambda _: ())
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
    ring = BufferRing(2, lambda wanted: (allocated.append(wanted), ())[1])
    for _ in range(5):
        ring.take(layout(8))
    assert allocated == [layout(8)] * 2
    for _ in range(5):
        ring.take(layout(9))
    assert allocated == [layout(8)] * 2 + [layout(9)] * 2


def test_a_new_layout_waits_for_what_is_under_way() -> None:
    log: list[str] = []
    ring = BufferRing(2, lambda _: ())
    for n in range(2):
        ring.take(layout(8)).event = FakeEvent(log, f"event {n}")
    ring.take(layout(9))
    assert log == ["event 0", "event 1"]


def test_a_held_slot_is_not_given_out() -> None:
    ring = BufferRing(2, lambda _: ())
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


def watched_run(transfer: WatchedTransfer, count: int = 12) -> tuple[list[Any], RaceDetector]:
    deblurrer = Deblurrer(Mixing(), device="cpu", precision="float32")
    deblurrer.device_step.transfer = transfer
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
    deblurrer.device_step.transfer = WatchedTransfer(slots=2)
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
