"""Several streams beside each other: each comes out as it does alone, whatever the others do."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import Batching, Failing, Identity, Mixing, clip
from support.drifting_pictures import QUICK, pictures, restore, tensors
from support.engines import assert_same, on_cpu, tiny_net
from support.watched_transfer import WatchedTransfer
from vdeblur import Deblurrer, Interrupted, NetworkError, Progress, UsageError, deblur_streams
from vdeblur.engine.batching import concatenate, split_batch
from vdeblur.engine.tiling import TileChooser
from vdeblur.frames import Frame

#: What summing in another order may change, in parts of the range; measured 6e-7 with the shipped networks. In bfloat16
#: a reading of the exposure that differs in its last bit can move a product to the next number; measured 1.6e-5.
ROUNDING = {"float32": 2e-6, "bfloat16": 5e-5}


def streams(frames: Any, model: Any = None, **options: Any) -> list[tuple[Any, ...]]:
    return list(deblur_streams(frames, model=model or Batching(), **{**QUICK, **options}))


def column(rounds: list[tuple[Any, ...]], index: int) -> list[Any]:
    return [row[index] for row in rounds if row[index] is not None]


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("make", [Mixing, Batching])
def test_each_stream_equals_its_single_run(make: Any, lookahead: int) -> None:
    """Of one size and several, of one length and several, with scene cuts at different places."""
    sources = [
        list(clip(7, cuts=(3,))), list(clip(5)), list(clip(7, 20, 40)), list(clip(9, cuts=(4, 5), start=77)), [],
        list(clip(1, 20, 40)),
    ]  # fmt: skip
    rounds = list(on_cpu(make(), lookahead=lookahead).run_many(sources))
    assert len(rounds) == 9
    for index, source in enumerate(sources):
        assert [row[index] is not None for row in rounds] == [n < len(source) for n in range(9)]
        assert_same(column(rounds, index), list(on_cpu(Mixing(), lookahead=lookahead).run(source)))


def test_three_streams_go_through_the_network_together() -> None:
    deblurrer = on_cpu(Batching())
    list(deblurrer.run_many([list(clip(5, cuts=cuts)) for cuts in ((), (2,), ())]))
    sizes = deblurrer.network.sizes  # type: ignore[attr-defined]
    # at the cut the second stream lacks other neighbours than the rest, in the last frame of a shot and the first
    assert sizes == [3, 2, 1, 2, 1, 3, 3]
    assert deblurrer.network.encoded == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["fast", "balanced"])
def test_the_real_network_restores_each_as_alone(model: str, precision: str) -> None:
    sources = [pictures(count, (49, 70, 3), np.float32) for count in (4, 3, 5)]
    sources[1] = [picture[::-1].copy() for picture in sources[1]]
    rounds = streams(sources, model, precision=precision)
    for index, source in enumerate(sources):
        alone = restore(source, model, precision=precision)
        apart = max(float(np.abs(a - b).max()) for a, b in zip(column(rounds, index), alone, strict=True))
        assert apart < ROUNDING[precision]
        assert not np.array_equal(alone[1], source[1])


def test_reduced_streams_equal_reduced_runs() -> None:
    sources = [pictures(4, (40, 56, 3)), pictures(5, (40, 56, 3))]
    rounds = streams(sources, reduce=2)
    for index, source in enumerate(sources):
        alone = restore(source, reduce=2)
        assert all(np.array_equal(a, b) for a, b in zip(column(rounds, index), alone, strict=True))
        assert not np.array_equal(alone[1], restore(source)[1])


def test_streams_may_be_of_different_kinds() -> None:
    sources = [pictures(3), tensors(4, (3, 20, 28), torch.uint16), list(clip(2))]
    rounds = streams(sources)
    for index, source in enumerate(sources):
        for found, alone in zip(column(rounds, index), restore(source), strict=True):
            assert type(found) is type(alone)
            assert isinstance(found, Frame) or np.array_equal(found, alone)


# --- Step by step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
def test_step_many_is_a_step_for_each(lookahead: int) -> None:
    """A stream that has nothing this time keeps what it knows."""
    sources = [pictures(6), pictures(4, (9, 12, 3)), pictures(6)]
    together = on_cpu(Batching(), lookahead=lookahead)
    alone = [on_cpu(Mixing(), lookahead=lookahead) for _ in sources]
    turns = [(0, 1, 2), (0, 2), (0, 1), (1, 2), (0, 1, 2)]
    places = [0, 0, 0]
    for turn in turns:
        given = [sources[i][places[i]] if i in turn else None for i in range(3)]
        found = together.step_many(given)
        for i, picture in enumerate(given):
            wanted = None if picture is None else alone[i].step(picture)
            assert (found[i] is None) == (wanted is None)
            assert wanted is None or np.array_equal(found[i], wanted)
            places[i] += i in turn
    for found_last, one in zip(together.flush_many(), alone, strict=True):
        wanted = one.flush()
        assert np.array_equal(found_last, wanted) if lookahead else found_last is wanted is None
    assert together.flush_many() == []


def test_step_many_does_not_disturb_step() -> None:
    frames, other = pictures(5), pictures(5, (8, 8, 3))
    deblurrer = on_cpu(Batching(), lookahead=0)
    found = []
    for picture, beside in zip(frames, other, strict=True):
        found.append(deblurrer.step(picture))
        deblurrer.step_many([beside, beside])
    assert all(np.array_equal(a, b) for a, b in zip(found, restore(frames, lookahead=0), strict=True))


# --- Memory and transfers ---------------------------------------------------------------------------------------------


def test_as_many_go_together_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TileChooser, "fits", lambda self, size, count: count <= 2)
    sources = [list(clip(3, start=n)) for n in range(5)]
    deblurrer = on_cpu(Batching(), lookahead=0)
    rounds = list(deblurrer.run_many(sources))
    assert max(deblurrer.network.sizes) == 2  # type: ignore[attr-defined]
    for index, source in enumerate(sources):
        assert_same(column(rounds, index), list(on_cpu(Mixing(), lookahead=0).run(source)))


def test_room_is_asked_for_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = on_cpu(tiny_net()).device_step.tiles
    monkeypatch.setattr("vdeblur.engine.tiling.free_bytes", lambda device: 3 << 28)
    assert tiles.fits((480, 640), 1)
    assert not tiles.fits((480, 640), 1000)
    assert not on_cpu(tiny_net(), tile=64).device_step.tiles.fits((480, 640), 2)


def test_more_streams_than_slots() -> None:
    """The transfer has four slots each way; eight streams and a paused run share them."""
    deblurrer = on_cpu(Batching())
    deblurrer.device_step.transfer = WatchedTransfer(slots=4)
    sources = [list(clip(4, start=n)) for n in range(8)]
    paused = deblurrer.run(sources[0])
    begun = [next(paused)]
    rounds = list(deblurrer.run_many(sources))
    for index, source in enumerate(sources):
        assert_same(column(rounds, index), list(on_cpu(Mixing()).run(source)))
    assert_same([*begun, *paused], list(on_cpu(Mixing()).run(sources[0])))


# --- Closed, stopped, failed ------------------------------------------------------------------------------------------


def test_abandoned_streams_are_closed() -> None:
    closed = []

    def source(number: int) -> Iterator[np.ndarray]:
        try:
            yield from pictures(5)
        finally:
            closed.append(number)

    rounds = deblur_streams([source(0), source(1)], model=Batching(), **QUICK)
    next(rounds)
    del rounds
    gc.collect()
    assert sorted(closed) == [0, 1]


def test_progress_and_stop() -> None:
    told: list[Progress] = []
    with pytest.raises(Interrupted, match="stopped after 2 frames"):
        streams([pictures(4), pictures(4)], progress=told.append, stop=lambda: len(told) == 2)
    assert [(p.frames, p.frames_total) for p in told] == [(1, 4), (2, 4)]


def test_failures_name_the_stream() -> None:
    with pytest.raises(UsageError, match="stream 1: frame 0 is a str"):
        streams([pictures(2), ["no picture"]])
    with pytest.raises(UsageError, match="stream 1 cannot be 7"):
        streams([pictures(2), 7])
    with pytest.raises(UsageError, match=r"streams cannot be 'clip.mp4'"):
        streams("clip.mp4")
    with pytest.raises(NetworkError, match=r"frame 1: .*bad"):
        streams([pictures(4), pictures(4)], Failing(3, RuntimeError("bad")))


def test_after_a_failure_all_streams_start_anew() -> None:
    frames = pictures(5)
    deblurrer = on_cpu(Failing(2, RuntimeError("once")), lookahead=0)
    deblurrer.step_many([frames[0], frames[0]])
    with pytest.raises(NetworkError, match="once"):
        deblurrer.step_many([frames[1], frames[1]])
    expected = restore(frames[2:], lookahead=0)
    for picture, wanted in zip(frames[2:], expected, strict=True):
        assert all(np.array_equal(found, wanted) for found in deblurrer.step_many([picture, picture]))


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_a_deblurrer_may_be_used_from_several_threads() -> None:
    """Two runs and the steps of a third stream at the same time, each as alone."""
    deblurrer = on_cpu(tiny_net(), lookahead=0)
    sources = [list(clip(12, 33, 47, start=n, cuts=cuts)) for n, cuts in enumerate(((), (5,), (3, 8)))]
    found: dict[int, list[Frame]] = {}

    def run(number: int) -> None:
        found[number] = list(deblurrer.run(sources[number]))

    def step() -> None:
        found[2] = [frame for frame in map(deblurrer.step, sources[2]) if frame is not None]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)] + [threading.Thread(target=step)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, source in enumerate(sources):
        assert_same(found[number], list(on_cpu(tiny_net(), lookahead=0).run(source)))


def test_calls_wait_for_each_other() -> None:
    """No two frames are ever in the network at once."""
    inside, most = [0], [0]

    class Watched(Identity):
        def correction(self, *arguments: Any) -> Any:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.002)
            inside[0] -= 1
            return super().correction(*arguments)

    deblurrer = Deblurrer(Watched(), lookahead=0, **QUICK)
    done: list[Any] = []
    threads = [
        threading.Thread(target=lambda: done.extend(deblurrer.step(picture) for picture in pictures(10, (8, 8, 3))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(done) == 40
    assert len(deblurrer.network.calls) >= 10, "the same picture from another thread may be a copy"  # type: ignore[attr-defined]


# --- Concatenated and split -------------------------------------------------------------------------------------------


def test_what_is_joined_comes_apart_again() -> None:
    parts = [(torch.full((1, 2), n), (torch.full((1,), -n), ())) for n in range(3)]
    whole = concatenate(parts)
    assert whole[0].tolist() == [[0, 0], [1, 1], [2, 2]]
    for before, after in zip(parts, split_batch(whole, 3), strict=True):
        assert torch.equal(before[0], after[0])
        assert torch.equal(before[1][0], after[1][0])
        assert after[1][1] == ()
    assert concatenate([None, None]) is None
