"""Repeated frames: a copy gets its frame's correction, and the network sees the neighbours that differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import FORMATS, Batching, Constant, Exposed, Mixing, clip, planes_equal
from support.engines import assert_same, on_cpu, tiny_net
from vdeblur.engine.read_ahead import READ_AHEAD
from vdeblur.engine.repeats import MOST_COPIES, RepeatFinder
from vdeblur.frames import Frame
from vdeblur.pipeline.resume import load_snapshot, save_snapshot

#: How often each frame comes: doubled, 24 in 30, 24 in 60, and dropped frames that were filled up.
CADENCES = {
    "30 in 60": [2] * 8,
    "24 in 30": [1, 1, 1, 2] * 2,
    "24 in 60": [2, 3] * 4,
    "filled up": [1, 1, 4, 1, 1, 1, 2, 1],
}


def repeated(frames: Sequence[Frame], counts: Sequence[int]) -> list[Frame]:
    """Each frame so many times, evenly timed; samples in memory of their own."""
    shown = [frame for frame, count in zip(frames, counts, strict=True) for _ in range(count)]
    return [
        replace(frame, planes=tuple(plane.copy() for plane in frame.planes), pts=512 * n)
        for n, frame in enumerate(shown)
    ]


def places(counts: Sequence[int]) -> list[int]:
    return [place for place, count in enumerate(counts) for _ in range(count)]


def noisy(frames: Sequence[Frame], counts: Sequence[int], *, levels: int) -> list[Frame]:
    """Copies that differ by a codec's noise."""
    rng = np.random.default_rng(4)
    made = repeated(frames, counts)
    for n, (before, after) in enumerate(itertools.pairwise(places(counts)), 1):
        if before == after:
            noise = [rng.integers(-levels, levels + 1, plane.shape) for plane in made[n].planes]
            changed = [
                (p.astype(int) + e).clip(0, 255).astype(np.uint8) for p, e in zip(made[n].planes, noise, strict=True)
            ]
            made[n] = made[n].with_planes(changed)
    return made


def assert_repeated(found: Sequence[Frame], alone: Sequence[Frame], counts: Sequence[int]) -> None:
    """The frames are those of the clip without copies, each as often as it came."""
    assert len(found) == sum(counts)
    for frame, place in zip(found, places(counts), strict=True):
        assert planes_equal(frame, alone[place])


# --- As without the copies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cadence", CADENCES)
@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_file_with_copies_is_restored_as_without(cadence: str, lookahead: int) -> None:
    frames, counts = list(clip(8)), CADENCES[cadence]
    given = repeated(frames, counts)
    deblurrer = on_cpu(tiny_net(), lookahead=lookahead, shutter=0.5)
    alone = list(on_cpu(tiny_net(), lookahead=lookahead, shutter=0.5).run(frames))
    found = list(deblurrer.run(given, read_ahead=READ_AHEAD))
    assert_repeated(found, alone, counts)
    assert [(f.pts, f.time_base, f.duration) for f in found] == [(f.pts, f.time_base, f.duration) for f in given]


@pytest.mark.parametrize("cadence", CADENCES)
def test_without_delay_it_is_as_without_copies_everywhere(cadence: str) -> None:
    """Nothing of the future is needed: in a run, step by step, and beside other streams."""
    frames, counts = list(clip(8, cuts=(5,))), CADENCES[cadence]
    given = repeated(frames, counts)
    alone = list(on_cpu(Mixing(), lookahead=0).run(frames))
    assert_repeated(list(on_cpu(Mixing(), lookahead=0).run(given)), alone, counts)
    deblurrer = on_cpu(Mixing(), lookahead=0)
    assert_repeated([deblurrer.step(frame) for frame in given], alone, counts)
    other = list(clip(9, 20, 40))
    rounds = list(on_cpu(Batching(), lookahead=0).run_many([given, other]))
    assert_repeated([row[0] for row in rounds if row[0] is not None], alone, counts)
    assert_same([row[1] for row in rounds if row[1] is not None], list(on_cpu(Mixing(), lookahead=0).run(other)))


@pytest.mark.parametrize("cadence", CADENCES)
def test_with_one_frame_of_delay_copies_are_alike_and_none_waits_longer(cadence: str) -> None:
    """The frame after one may be its copy: what is known by then must do."""
    given, counts = repeated(list(clip(8)), CADENCES[cadence]), CADENCES[cadence]
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for frame in given:
            taken += 1
            yield frame

    found = []
    for n, frame in enumerate(on_cpu(Mixing()).run(source())):
        assert taken == min(n + 2, len(given))
        found.append(frame)
    for one, other, same in zip(found, found[1:], np.diff(places(counts)) == 0, strict=False):
        assert planes_equal(one, other) == same
    deblurrer = on_cpu(Mixing())
    steps = [deblurrer.step(frame) for frame in given]
    assert steps[0] is None
    assert_same([*(one for one in steps if one is not None), deblurrer.flush()], found)
    rounds = list(on_cpu(Batching()).run_many([given, given[3:]]))
    assert_same([row[0] for row in rounds if row[0] is not None], found)


@pytest.mark.parametrize("pixel_format", FORMATS, ids=str)
def test_copies_in_every_format(pixel_format: Any) -> None:
    """Alpha is each copy's own."""
    given = repeated(list(clip(4, pixel_format=pixel_format)), [2] * 4)
    if pixel_format.alpha:
        for n, frame in enumerate(given):
            frame.planes[-1][:] = n
    found = list(on_cpu(Constant(0.1)).run(given, read_ahead=READ_AHEAD))
    colours = pixel_format.colour_planes
    for n in range(0, 8, 2):
        assert all(
            np.array_equal(a, b) for a, b in zip(found[n].planes[:colours], found[n + 1].planes[:colours], strict=True)
        )
        assert not np.array_equal(found[n].planes[0], given[n].planes[0])
    if pixel_format.alpha:
        assert [int(frame.planes[-1][0, 0]) for frame in found] == list(range(8))


# --- Nearly equal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("cadence", ["30 in 60", "24 in 30", "24 in 60"])
def test_copies_with_noise_get_the_same_correction(cadence: str, levels: int) -> None:
    frames, counts = list(moving(8)), CADENCES[cadence]
    given = noisy(frames, counts, levels=levels)
    deblurrer = on_cpu(Mixing())
    found = list(deblurrer.run(given, read_ahead=READ_AHEAD))
    assert deblurrer.network.encoded == 8  # type: ignore[attr-defined]
    for n, same in enumerate(np.diff(places(counts)) == 0):
        (one, first), (other, second) = ((given[i].planes[0], found[i].planes[0]) for i in (n, n + 1))
        inside = (first % 255 > 0) & (second % 255 > 0)  # the others may be clipped
        assert np.array_equal((first.astype(int) - one)[inside], (second.astype(int) - other)[inside]) == same


def test_live_they_are_believed_once_they_have_been_followed_by_motion() -> None:
    given = noisy(moving(8), [2] * 8, levels=1)
    deblurrer = on_cpu(Mixing(), lookahead=0)
    for frame in given:
        deblurrer.step(frame)
    assert deblurrer.network.encoded == 8 + 2, "two of the copies were not known for such"  # type: ignore[attr-defined]


def moving(count: int) -> list[Frame]:
    """Blocks that move by five pixels a frame."""
    wide = np.random.default_rng(2).integers(30, 220, (12, 60)).repeat(8, 0).repeat(8, 1)
    frames = clip(count, 96, 128)
    return [
        replace(f, planes=(wide[:, 5 * n : 5 * n + 128].astype(np.uint8), *f.planes[1:])) for n, f in enumerate(frames)
    ]


@pytest.mark.parametrize("ahead", [0, READ_AHEAD])
def test_a_scene_that_comes_to_rest_is_no_run_of_copies(ahead: int) -> None:
    """Its frames differ by noise alone; each of them is looked at."""
    counts = [1, 1, 1, 1, 1, 15]
    deblurrer = on_cpu(Mixing())
    list(deblurrer.run(noisy(moving(6), counts, levels=2), read_ahead=ahead))
    assert deblurrer.network.encoded == 20  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", [1, 2])
def test_slow_and_local_motion_is_none(step: int) -> None:
    """One small thing moves before a background that stands still."""
    rng = np.random.default_rng(0)
    back = rng.integers(60, 200, (96, 128)).astype(np.uint8)
    frames = []
    for n, frame in enumerate(clip(12, 96, 128)):
        luma = back.copy()
        luma[40:48, 20 + step * n : 28 + step * n] = 250
        frames.append(replace(frame, planes=(luma, *frame.planes[1:])))
    deblurrer = on_cpu(Mixing())
    list(deblurrer.run(frames, read_ahead=READ_AHEAD))
    assert deblurrer.network.encoded == 12  # type: ignore[attr-defined]


# --- Still pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, READ_AHEAD])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_screen_that_stands_still_ends_harmless(lookahead: int, ahead: int) -> None:
    """Where its frame waits, no copy of it is changed; elsewhere the first ones are, as their frame is."""
    given = repeated(moving(8), [1] * 7 + [40])
    found = list(on_cpu("fast", lookahead=lookahead, shutter=0.5).run(given, read_ahead=ahead))
    changed = [not planes_equal(a, b) for a, b in zip(given, found, strict=True)]
    assert all(changed[2:7])
    assert not any(changed[7 + (0 if ahead and lookahead else MOST_COPIES + 1) :])


@pytest.mark.parametrize("ahead", [0, READ_AHEAD])
def test_a_frozen_screen_takes_neither_time_nor_memory(ahead: int) -> None:
    """No more frames wait than are read ahead, and the network is not asked."""
    frames = moving(3)
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for frame in itertools.chain(frames[:2], itertools.repeat(frames[2], 400)):
            taken += 1
            yield replace(frame, pts=512 * taken)

    deblurrer = on_cpu(Exposed())
    for n, _ in enumerate(deblurrer.run(source(), read_ahead=ahead)):
        assert taken <= n + 2 + ahead
    assert taken == 402
    assert deblurrer.network.encoded <= 4  # type: ignore[attr-defined]


def test_what_is_set_between_frames_takes_effect_on_a_frozen_screen() -> None:
    frames = repeated(list(clip(1)), [6])
    deblurrer = on_cpu(Constant(0.1), lookahead=0)
    first = [deblurrer.step(frame) for frame in frames[:3]]
    assert not planes_equal(first[2], frames[0])
    deblurrer.strength = 0
    assert all(planes_equal(deblurrer.step(frame), frame) for frame in frames[3:])


# --- Exposure ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, READ_AHEAD])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_the_interval_of_a_doubled_frame_is_the_doubled_one(lookahead: int, ahead: int) -> None:
    """1/60 s at 30 frames a second is a half, also where the file has 60."""
    frames = [
        replace(f, pts=n, time_base=Fraction(1, 60), duration=1) for n, f in enumerate(repeated(moving(8), [2] * 8))
    ]
    deblurrer = on_cpu(Exposed(), shutter="1/60", lookahead=lookahead)
    with closing(deblurrer.restorations(frames, read_ahead=ahead)) as restorations:
        used = [each.shutter.used for each in restorations if each.shutter is not None]
    assert len(used) == 16
    assert used[2:] == [0.5] * 14
    assert deblurrer.network.told[1:] == [0.5] * 7  # type: ignore[attr-defined]


def test_copies_say_nothing_of_the_exposure() -> None:
    """The readings of a doubled clip are those of the clip."""
    frames = moving(6)

    def readings(given: list[Frame]) -> list[Any]:
        with closing(on_cpu("fast").restorations(given, read_ahead=READ_AHEAD)) as restorations:
            return [each.shutter for each in restorations]

    assert readings(repeated(frames, [2] * 6))[::2] == readings(frames)


# --- Resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, READ_AHEAD])
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize(
    ("network", "counts", "levels"),
    [
        (Mixing, [2] * 6, 0),
        (Exposed, [2, 1] * 3, 0),
        (Mixing, [1, 3, 1, 2, 1, 1], 1),
        (Mixing, [1, 12, 1, 9, 2, 1], 0),
        (Mixing, [1, 1, 9, 1, 2, 2], 1),
    ],
)
def test_a_job_goes_on_from_every_frame(
    network: Any, counts: list[int], levels: int, lookahead: int, ahead: int, tmp_path: Path
) -> None:
    """Also in the midst of copies, and from what is on the disk."""
    given = noisy(moving(6), counts, levels=levels) if levels else repeated(moving(6), counts)
    deblurrer = on_cpu(network(), lookahead=lookahead)
    with closing(deblurrer.restorations(given, read_ahead=ahead)) as restorations:
        whole = list(restorations)
    for done in range(1, len(given)):
        after = load_snapshot(save_snapshot(whole[done - 1].snapshot, tmp_path / "kept"), tmp_path / "kept")
        again = list(deblurrer.restorations(given[done - 1 :], after=after, read_ahead=ahead))
        assert_same([each.frame for each in again], [each.frame for each in whole[done:]])
        assert str([each.shutter for each in again]) == str([each.shutter for each in whole[done:]])


def test_a_suspended_stream_goes_on_twice() -> None:
    given = repeated(list(clip(6)), [2] * 6)
    deblurrer = on_cpu(Mixing())
    for frame in given[:5]:
        deblurrer.step(frame)
    kept = deblurrer.suspend()
    rest = [deblurrer.step(frame) for frame in given[5:]]
    deblurrer.resume(kept)
    assert_same([deblurrer.step(frame) for frame in given[5:]], rest)


def test_tensors_are_compared_on_their_device() -> None:
    given = [frame.with_planes([torch.from_numpy(p) for p in frame.planes]) for frame in repeated(moving(4), [2] * 4)]
    found = list(on_cpu(Mixing()).run(given, read_ahead=READ_AHEAD))
    expected = list(on_cpu(Mixing()).run(repeated(moving(4), [2] * 4), read_ahead=READ_AHEAD))
    assert all(isinstance(plane, torch.Tensor) for frame in found for plane in frame.planes)
    assert all(planes_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_state_that_is_none_is_refused() -> None:
    finder = RepeatFinder()
    with pytest.raises(KeyError):
        finder.load_state_dict({}, next(clip(1)))
