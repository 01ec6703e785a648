"""Read-ahead: the exposure of a frame is read from later frames of its shot, and of no other shot."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from support.doubles import Exposed, Mixing, clip
from support.engines import assert_same, by_steps, on_cpu, tiny_net
from support.media.recording import CpuRecorder
from support.watched_transfer import WatchedTransfer
from vdeblur.engine import memory_estimate, read_ahead, tiling
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.memory_estimate import MemoryEstimate
from vdeblur.engine.read_ahead import MOST_AHEAD, READ_AHEAD, checked_read_ahead, frames_that_wait, tensor_bytes
from vdeblur.engine.tiling import TileChooser
from vdeblur.errors import NetworkError, SourceError, UsageError
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.library.generators import deblur_frames
from vdeblur.model.checkpoint import load_network
from vdeblur.model.exposure import Reading, profile_ahead
from vdeblur.runtime.cuda_graphs import GraphedNetwork

AHEAD = [0, 1, 5, 99]


class Reads(Exposed):
    """Reads its exposure from the means of all frames it knows of, so that each of them shows."""

    def read(self, known: Tensor) -> Tensor:
        return known[:, 0]


def restored(network: Any, frames: list[Frame], ahead: int, **options: Any) -> list[Frame]:
    return list(on_cpu(network, **options).run(frames, read_ahead=ahead))


def profiles(frames: list[Frame]) -> list[Tensor]:
    """Of the double: each frame's mean, as the network is given it."""
    engine = on_cpu(Exposed())
    step = engine.device_step
    with torch.inference_mode():
        return [step.network.profile(one.features) for one in (step.encode([f])[0] for f in frames)]  # type: ignore[attr-defined]


# --- Which frames are looked at ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_as_many_come_out_as_went_in_and_each_is_matched_once(count: int, lookahead: int, ahead: int) -> None:
    frames = list(clip(count, 20, 24, start=777))
    deblurrer = on_cpu(Reads(), lookahead=lookahead)
    found = list(deblurrer.run(frames, read_ahead=ahead))
    assert [(f.pts, f.time_base, f.duration) for f in found] == [(f.pts, f.time_base, f.duration) for f in frames]
    network: Any = deblurrer.network
    assert network.encoded == count
    assert network.matched == (count if ahead else 0), "without read-ahead, the step itself matches"


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("cuts", [(), (4,), (1, 2, 6), (8,)])
def test_it_reads_the_frames_of_the_shot_alone(cuts: tuple[int, ...], lookahead: int, ahead: int) -> None:
    """What it reads is compared with sums made by hand, over each shot."""
    frames = list(clip(9, cuts=cuts))
    means, expected = profiles(frames), list[float]()
    for first, end in itertools.pairwise((0, *cuts, 9)):
        before = torch.zeros(1, 1)
        for now in range(first, end):
            before = means[now] + 0.5 * before
            later = means[now + 1 : min(end, now + 1 + ahead)]
            expected.append(float(before + profile_ahead(later) if later else before))
    with closing(on_cpu(Reads(), lookahead=lookahead).restorations(frames, read_ahead=ahead)) as restorations:
        read = [each.shutter.middle for each in restorations if each.shutter is not None]
    assert read == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("ahead", [0, 1, 3, 20])
def test_a_frame_waits_for_so_many_and_no_more(ahead: int, lookahead: int) -> None:
    """Also across a cut, so that work goes on side by side; at the end for none."""
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for frame in clip(12, cuts=(7,)):
            taken += 1
            yield frame

    for n, _ in enumerate(on_cpu(Reads(), lookahead=lookahead).run(source(), read_ahead=ahead)):
        assert taken == min(n + 1 + lookahead + ahead, 12)


def test_without_read_ahead_all_is_as_it_was() -> None:
    frames = list(clip(9, cuts=(4,)))
    expected = by_steps(on_cpu(tiny_net()), frames)
    assert_same(restored(tiny_net(), frames, 0), expected)
    readings = [
        torch.stack([one.snapshot.state.reading for one in on_cpu(tiny_net()).restorations(frames, read_ahead=ahead)])
        for ahead in (0, 5)
    ]
    assert not torch.equal(*readings)


@pytest.mark.parametrize("name", ["swift", "balanced"])
@pytest.mark.parametrize("ahead", [1, 3, READ_AHEAD])
def test_the_real_network_gives_what_its_step_gives_by_hand(name: str, ahead: int) -> None:
    frames, whole = drifting(7), {"guide": "off"}
    found = restored(name, frames, ahead, **whole)
    net: Any = load_network(name).eval()
    step = on_cpu(name, **whole).device_step
    with torch.inference_mode():
        features = [step.encode([frame])[0].features for frame in frames]
        sides = list(zip([None, *features[:-1]], features, [*features[1:], None], strict=True))
        matched = [net.match_motion(*window) for window in sides]
        state, readings = None, []
        for n, window in enumerate(sides):
            later = [each.profile for each in matched[n + 1 : n + 1 + ahead]]
            rest = (None, matched[n], profile_ahead(later) if later else None)
            _, state = net.residual(*window, state, *rest)
            readings.append(state.reading)
    with closing(on_cpu(name, **whole).restorations(frames, read_ahead=ahead)) as restorations:
        shutters = [each.shutter for each in restorations]
    for reading, shutter in zip(readings, shutters, strict=True):
        assert shutter is not None
        taken, middle, low, high = reading[0].tolist()
        assert (shutter.used, shutter.middle, shutter.low, shutter.high) == pytest.approx((taken, middle, low, high))
    told = torch.stack([reading[0, 0] for reading in readings])
    by_hand = [on_cpu(name, shutter=float(share.clamp(0.01, 1)), **whole) for share in told]
    for n, deblurrer in enumerate(by_hand):
        assert close(found[n], list(deblurrer.run(frames))[n])


def close(one: Frame, other: Frame) -> bool:
    return all(abs(a.astype(int) - b).max() <= 1 for a, b in zip(one.planes, other.planes, strict=True))


def drifting(count: int, height: int = 96, width: int = 160, *, speed: int = 9) -> list[Frame]:
    """A texture that moves fast, blurred over half of its motion."""
    noise = torch.rand(1, 1, height, width + speed * count + 8, generator=torch.Generator().manual_seed(5))
    soft = torch.nn.functional.avg_pool2d(noise, (3, speed // 2), 1, (1, 0))[0, 0]
    soft = 16 + 219 * ((soft - soft.mean()) / soft.std() * 0.2 + 0.5).clamp(0, 1)
    wide = soft.round().to(torch.uint8).numpy()
    views = [wide[:, speed * n : speed * n + width].copy() for n in range(count)]
    return [
        replace(each, planes=(view, *each.planes[1:]))
        for each, view in zip(clip(count, height, width), views, strict=True)
    ]


def test_the_first_frame_is_read_as_well_as_the_shot() -> None:
    frames = drifting(16, 192, 256)

    def middles(ahead: int) -> list[float]:
        with closing(on_cpu("fast").restorations(frames, read_ahead=ahead)) as restorations:
            return [each.shutter.middle for each in restorations if each.shutter is not None]

    causal, ahead = middles(0), middles(READ_AHEAD)
    shot = sorted(causal)[len(causal) // 2]
    assert abs(ahead[0] - shot) < 0.05
    assert max(ahead) - min(ahead) < 0.06
    assert abs(ahead[0] - shot) < abs(causal[0] - shot)


# --- Where there is nothing to read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "options"), [(Mixing, {}), (Reads, {"shutter": 180})], ids=str)
def test_nobody_waits_for_nothing(network: Callable[[], Any], options: dict[str, Any]) -> None:
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for frame in clip(8):
            taken += 1
            yield frame

    for n, _ in enumerate(on_cpu(network(), **options).run(source(), read_ahead=5)):
        assert taken == min(n + 2, 8)


def test_a_shutter_that_is_said_on_the_way_lets_all_out() -> None:
    deblurrer = on_cpu(Reads())
    run = deblurrer.run(clip(12), read_ahead=5)
    first = next(run)
    deblurrer.shutter = 0.5
    rest = list(run)
    assert [frame.pts for frame in (first, *rest)] == [512 * n for n in range(12)]
    network: Any = deblurrer.network
    assert network.matched == 6, "the first, and those that waited"
    assert network.told[1:] == [0.5] * 11


@pytest.mark.parametrize("wrong", [-1, MOST_AHEAD + 1, 2.0, True, "3", None])
def test_wrong_numbers_are_refused_at_once(wrong: Any) -> None:
    deblurrer = on_cpu(Reads())
    for door in (
        lambda: checked_read_ahead(wrong),
        lambda: deblurrer.run([], read_ahead=wrong),
        lambda: deblurrer.restorations([], read_ahead=wrong),
        lambda: deblur_frames([], model=Reads(), device="cpu", read_ahead=wrong),
    ):
        with pytest.raises(UsageError, match=r"read_ahead cannot be .*; it is a whole number of frames from 0 to 100"):
            door()


# --- Changes in mid-stream --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_change_of_size_or_of_reduction_ends_a_shot(ahead: int) -> None:
    parts = [list(clip(4)), list(clip(1, 20, 40)), list(clip(5, 40, 60))]
    together = restored(Reads(), list(itertools.chain(*parts)), ahead)
    assert_same(together, [frame for part in parts for frame in restored(Reads(), part, ahead)])
    deblurrer = on_cpu(Reads())

    def source() -> Iterator[Frame]:
        yield from parts[0]
        deblurrer.reduce = 2
        yield from parts[0]

    again = list(deblurrer.run(source(), read_ahead=ahead))
    assert_same(again, [*restored(Reads(), parts[0], ahead), *restored(Reads(), parts[0], ahead, reduce=2)])


def test_two_runs_do_not_disturb_each_other() -> None:
    frames = list(clip(9, cuts=(5,)))
    deblurrer = on_cpu(tiny_net())
    pairs = list(zip(deblurrer.run(frames, read_ahead=3), deblurrer.run(frames, read_ahead=6), strict=True))
    assert_same([a for a, _ in pairs], restored(tiny_net(), frames, 3))
    assert_same([b for _, b in pairs], restored(tiny_net(), frames, 6))


def test_many_transfers_at_the_end_wait_for_their_slots() -> None:
    """All frames that wait come out at once, and there are four slots."""
    deblurrer = on_cpu(tiny_net())
    deblurrer.device_step.transfer = WatchedTransfer()
    found = list(deblurrer.run(clip(20, cuts=(12,)), read_ahead=30))
    assert_same(found, restored(tiny_net(), list(clip(20, cuts=(12,))), 30))


def test_a_failure_names_its_own_frame() -> None:
    class Fails(Reads):
        def residual(self, *arguments: Any) -> Any:
            residual, state = super().residual(*arguments)
            return residual * (float("nan") if len(self.told) == 3 else 1), state

    found = []
    with pytest.raises(NetworkError, match=r"network at 0\.080 s: the network returned nan") as caught:
        found += on_cpu(Fails()).run(clip(9), read_ahead=4)
    assert "\n" not in str(caught.value)


# --- Resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 4, 30])
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("cuts", [(), (5,), (5, 6)])
def test_a_snapshot_within_a_queue_goes_on_to_the_same_frames(cuts: Any, lookahead: int, ahead: int) -> None:
    frames = list(clip(11, cuts=cuts))
    with closing(on_cpu(tiny_net(), lookahead=lookahead).restorations(frames, read_ahead=ahead)) as restorations:
        whole = list(restorations)
    for done in range(1, 11):
        kept = whole[done - 1].snapshot
        after = replace(kept, state=kept.tensors())
        rest = on_cpu(tiny_net(), lookahead=lookahead).restorations(frames[done - 1 :], after=after, read_ahead=ahead)
        again = list(rest)
        assert_same([each.frame for each in again], [each.frame for each in whole[done:]])
        assert [each.shutter for each in again] == [each.shutter for each in whole[done:]]


def test_a_source_that_has_become_shorter_is_said() -> None:
    with closing(on_cpu(Reads()).restorations(clip(6), read_ahead=3)) as restorations:
        kept = next(restorations).snapshot
    assert kept.ahead == 1, "frames that are read ahead do not count"
    with pytest.raises(SourceError, match="fewer frames"):
        list(on_cpu(Reads()).restorations(clip(1), after=kept, read_ahead=3))


# --- Memory -----------------------------------------------------------------------------------------------------------


def test_large_frames_get_fewer_and_two_at_least() -> None:
    assert frames_that_wait(24, 1 << 20) == 24
    assert frames_that_wait(24, 64 << 20) == 4
    assert frames_that_wait(24, 1 << 40) == 2
    assert frames_that_wait(1, 1 << 40) == 1
    assert frames_that_wait(0, 1) == 0
    one, two = torch.zeros(100, dtype=torch.uint8), torch.zeros(10)
    assert tensor_bytes((one, None, (two, one)), [two], None) == 140


@pytest.mark.parametrize(("room", "waiting"), [(10.2, 10), (3.5, 3), (0.1, 2)])
def test_the_frames_that_wait_are_bounded_by_their_bytes(
    room: float, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planes and features of the double: 1.5 bytes, and three floats a pixel of the padded frame; a profile."""
    each = 1.5 * 64 * 96 + 12 * 64 * 96 + 4
    monkeypatch.setattr(read_ahead, "WAITING_BYTES", int(room * each))
    alive: list[weakref.ref[Any]] = []
    most = 0

    def source() -> Iterator[Frame]:
        nonlocal most
        for frame in clip(40, 64, 96):
            alive.append(weakref.ref(frame.planes[0]))
            yield frame
            gc.collect(0)
            most = max(most, sum(plane() is not None for plane in alive))

    for n, _ in enumerate(on_cpu(Reads()).run(source(), read_ahead=READ_AHEAD)):
        assert len(alive) == min(n + 2 + waiting, 40)
    assert most <= waiting + 5


def test_pyramids_do_not_wait() -> None:
    """They are half of what `fast` keeps of a frame."""
    seen: list[Any] = []
    deblurrer = on_cpu("fast")
    step = deblurrer.device_step
    match = step.match

    def watched(*arguments: Any) -> Any:
        seen.append(match(*arguments))
        return seen[-1]

    step.match = watched  # type: ignore[method-assign]
    list(deblurrer.run(drifting(3), read_ahead=2))
    window, matched, may_wait = seen[1]
    sides = (window.previous, window.current, window.next)
    assert [one.features.levels for one in sides] == [()] * 3
    assert window.previous is not window.current is not window.next
    assert seen[0][0].previous is seen[0][0].current, "a neighbour that is missing stays so"
    assert (may_wait, matched.profile.shape[0]) == (2, 1)


def test_frames_that_wait_are_in_the_estimate() -> None:
    estimate = MemoryEstimate(10, 20, each_waiting_pixel=8)
    size = 1000, 1000
    assert estimate.bytes(*size, None, read_ahead=5) - estimate.bytes(*size, None) == 5 * 8_000_000
    large = 10_000, 10_000
    waiting = estimate.bytes(*large, None, read_ahead=24) - estimate.bytes(*large, None)
    assert waiting == 2 * 8 * 10**8, "two wait, whatever they take"


@pytest.mark.parametrize("options", [{"guide": "off"}, {"noise": 10, "remove": "noise"}])
def test_the_estimate_of_what_waits_is_what_waits(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    deblurrer = on_cpu("fast", **options)
    chooser = deblurrer.device_step.tiles
    found = chooser._memory_estimate
    assert found is not None
    counted: list[int] = []

    def counting(wanted: int, each_bytes: float) -> int:
        counted.append(int(each_bytes))
        return wanted

    monkeypatch.setattr("vdeblur.engine.device_step.frames_that_wait", counting)
    list(deblurrer.run(drifting(2, 512, 512), read_ahead=2))
    assert found.each_waiting_pixel * 512 * 512 == pytest.approx(counted[1], rel=0.05)


def test_tiles_are_chosen_with_what_waits_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TileChooser, "_memory_estimate", MemoryEstimate(10, 20, each_waiting_pixel=8))
    monkeypatch.setattr(memory_estimate, "frames_that_wait", lambda wanted, _: wanted)
    size = 1000, 1000
    monkeypatch.setattr(tiling, "free_bytes", lambda _: 32_000_000 / tiling.USABLE)
    for ahead, whole in ((0, True), (5, False)):
        deblurrer = on_cpu("fast")
        deblurrer.run([], read_ahead=ahead)
        assert (deblurrer.device_step.tiles.side(size) is None) == whole


def test_memory_does_not_grow_with_the_clip() -> None:
    def most_alive(count: int) -> int:
        alive: list[weakref.ref[Any]] = []
        most = 0

        def source() -> Iterator[Frame]:
            for frame in clip(count, 8, 8):
                alive.append(weakref.ref(frame.planes[0]))
                yield frame

        for _ in on_cpu(Reads()).run(source(), read_ahead=6):
            most = max(most, sum(plane() is not None for plane in alive))
        return most

    assert most_alive(60) == most_alive(20) <= 12


# --- Halves, graphs, the library --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", ["off", 64])
def test_halves_give_what_whole_steps_give(tile: Any) -> None:
    frames, before = drifting(8), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            deblurrer = on_cpu("swift", tile=tile)
            assert deblurrer.device_step._in_halves == (threads > 1)
            found.append(list(deblurrer.run(frames, read_ahead=3)))
    finally:
        torch.set_num_threads(before)
    assert all(close(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["swift", "balanced"])
def test_recorded_steps_give_what_plain_steps_give(name: str) -> None:
    frames = [*drifting(9), *clip(6, 64, 80)]
    with without_kernels():
        expected = restored(name, frames, 3)
        deblurrer, recorder = on_cpu(name), CpuRecorder()
        deblurrer.device_step.steps = GraphedNetwork(deblurrer.network, recorder)
        for _ in range(2):
            assert_same(list(deblurrer.run(frames, read_ahead=3)), expected)
    # Of each size: encode; match and restore first frames, frames between and last ones.
    assert recorder.count == 2 * 7
    assert recorder.replays > 30


def test_pictures_may_be_read_ahead() -> None:
    frames = list(clip(9, cuts=(5,)))
    options: dict[str, Any] = {"model": tiny_net(), "device": "cpu", "precision": "float32"}
    assert_same(list(deblur_frames(frames, read_ahead=4, **options)), restored(tiny_net(), frames, 4))
    assert_same(list(deblur_frames(frames, **options)), restored(tiny_net(), frames, 0))


def test_steps_and_batches_read_nothing_ahead() -> None:
    frames = list(clip(7, cuts=(4,)))
    deblurrer: Deblurrer = on_cpu(Reads())
    list(deblurrer.run(frames, read_ahead=4))
    matched = deblurrer.network.matched  # type: ignore[attr-defined]
    by_steps(deblurrer, frames)
    list(deblurrer.run_many([frames, frames]))
    assert deblurrer.network.matched == matched == 7  # type: ignore[attr-defined]


def test_readings_are_those_of_the_state() -> None:
    """What a frame is said to be restored with is what its snapshot has."""
    with closing(on_cpu("fast").restorations(drifting(5), read_ahead=2)) as restorations:
        for each in restorations:
            packed = dict(zip(Reading._fields, each.snapshot.state.reading[0].tolist(), strict=True))
            assert each.shutter is not None
            assert (each.shutter.middle, each.shutter.used) == (packed["middle"], packed["taken"])
