"""Overlays: letters over a moving picture stay as they are, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.burnt_in import Picture, letters, pan, stamped
from support.engines import QUICK, assert_same, by_steps, on_cpu
from vdeblur import deblur_frames, deblur_streams
from vdeblur.adapters.pictures import frame_of
from vdeblur.engine.stream_state import RestoredFrame
from vdeblur.frames import Frame
from vdeblur.kernels.dispatch import without_kernels

LETTERS = letters()


def restored(pictures: list[Picture], **options: Any) -> list[Picture]:
    return list(deblur_frames(iter(pictures), **{**QUICK, **options}))


def losses(pictures: list[Picture], mask: Any = LETTERS, **options: Any) -> list[float]:
    """Mean change of the letters' samples in each frame, levels of 255."""
    pairs = zip(restored(pictures, **options), pictures, strict=True)
    return [float(np.abs(after[mask].astype(float) - before[mask]).mean()) for after, before in pairs]


def frames_of(pictures: list[Picture]) -> list[Frame]:
    frames: list[Frame] = []
    for picture in pictures:
        frames.append(frame_of(picture, before=frames[-1] if frames else None, channels="rgb"))
    return frames


@pytest.mark.parametrize("speed", [5.0, 8.0])
@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("model", ["swift", "fast"])
def test_letters_over_a_pan_keep_their_samples(model: str, lookahead: int, speed: float) -> None:
    pictures = [stamped(each, LETTERS) for each in pan(9, speed)]
    terms = {"model": model, "lookahead": lookahead}
    found, not_looked_for = losses(pictures, **terms), losses(pictures, **terms, overlays="off")
    assert max(found[4:]) < 1
    assert max(not_looked_for[4:]) > 2.5, "and would not without being found"


@pytest.mark.parametrize(("model", "count"), [("balanced", 6), ("quality", 5)])
def test_letters_with_the_large_networks(model: str, count: int) -> None:
    pictures = [stamped(each, LETTERS) for each in pan(count, 8.0)]
    found, not_looked_for = losses(pictures, model=model)[3:], losses(pictures, model=model, overlays="off")[3:]
    assert max(found) < 2 < max(not_looked_for)


def test_from_the_second_frame_on() -> None:
    """Two pairs of frames are enough: with lookahead, the second frame has both."""
    assert max(losses([stamped(each, LETTERS) for each in pan(4, 5.0)])[1:]) < 1.5


def test_letters_that_come_and_go() -> None:
    """A subtitle appears in frame 4, another one takes its place in frame 10, and goes in frame 14."""
    plain, other = pan(16, 5.0), letters(seed=8)
    texts = [None] * 4 + [LETTERS] * 6 + [other] * 4 + [None] * 2
    pictures = [each if text is None else stamped(each, text) for each, text in zip(plain, texts, strict=True)]
    first, second = losses(pictures), losses(pictures, other)
    assert max(first[6:10]) < 2
    assert max(second[12:14]) < 2
    after, untouched = restored(pictures)[15], restored(plain)[15]
    assert np.abs(after.astype(float) - untouched)[LETTERS].mean() < 3, "what was under them is restored again"


def test_the_picture_around_them_is_restored_all_the_same() -> None:
    pictures = [stamped(each, LETTERS) for each in pan(8, 5.0)]
    found, not_looked_for = restored(pictures)[6], restored(pictures, overlays="off")[6]
    far = np.ones(LETTERS.shape, bool)
    far[40:88] = False
    assert np.array_equal(found[far], not_looked_for[far])
    assert not np.array_equal(found, pictures[6])


@pytest.mark.parametrize("speed", [0.3, 1.0, 2.0, 5.0, 8.0, 12.0])
def test_a_pan_without_letters_is_restored_as_ever(speed: float) -> None:
    pictures = pan(8, speed)
    assert same(restored(pictures), restored(pictures, overlays="off"))


def test_repeated_frames_are_no_overlay() -> None:
    """Nothing moves between the two of a pair, which says nothing of what stands still."""
    pictures = [each for each in pan(6, 6.0) for _ in range(2)]
    assert same(restored(pictures), restored(pictures, overlays="off"))


def test_letters_are_found_in_repeated_frames_too() -> None:
    pictures = [stamped(each, LETTERS) for each in pan(6, 6.0) for _ in range(2)]
    assert max(losses(pictures)[8:]) < 2


def test_noise_is_no_overlay() -> None:
    rng = np.random.default_rng(5)
    dark = [(each / 16 + rng.normal(8, 2, each.shape)).clip(0, 255).astype(np.uint8) for each in pan(8, 5.0)]
    assert same(restored(dark), restored(dark, overlays="off"))


def test_a_new_shot_knows_nothing_of_the_last_one() -> None:
    """What was learned of one shot's letters is forgotten, though the next one moves the same."""
    first, second = [stamped(each, LETTERS) for each in pan(6, 5.0)], pan(6, 5.0, seed=9)
    cut = frames_of(first + second)
    marked = [Frame(**{**vars(each), "cut": number == 6}) for number, each in enumerate(cut)]
    alone = list(on_cpu("fast").run(frames_of(second)))
    together = list(on_cpu("fast").run(marked))[6:]
    assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("lookahead", [0, 1])
def test_step_by_step_equals_the_clip_at_once(lookahead: int) -> None:
    frames = frames_of([stamped(each, LETTERS) for each in pan(7, 5.0)])
    at_once = list(on_cpu("fast", lookahead=lookahead).run(frames))
    assert_same(by_steps(on_cpu("fast", lookahead=lookahead), frames), at_once)
    assert max(np.abs(a.planes[0].astype(int) - b.planes[0]).max() for a, b in zip(at_once, frames, strict=True)) > 0


def test_read_ahead_changes_nothing_of_it() -> None:
    """With a shutter that is said, frames that wait or do not come out the same."""
    frames = frames_of([stamped(each, LETTERS) for each in pan(8, 5.0)])
    engine = on_cpu("fast", shutter=0.8)
    assert_same(list(engine.run(frames, read_ahead=5)), list(engine.run(frames)))
    assert max(losses([stamped(each, LETTERS) for each in pan(8, 5.0)], read_ahead=5)[4:]) < 1.5


def test_a_snapshot_remembers_them() -> None:
    frames = frames_of([stamped(each, LETTERS) for each in pan(9, 5.0)])
    engine = on_cpu("fast")
    whole: list[RestoredFrame] = list(engine.restorations(frames))
    again = list(engine.restorations(frames[4:], after=whole[4].snapshot))
    assert_same([each.frame for each in again], [each.frame for each in whole[5:]])


def test_several_streams_have_their_own() -> None:
    with_letters, without = [stamped(each, LETTERS) for each in pan(7, 5.0)], pan(7, 5.0, seed=7)
    together = list(zip(*deblur_streams([iter(with_letters), iter(without)], model="fast", **QUICK), strict=True))
    for found, alone in zip(together, (restored(with_letters), restored(without)), strict=True):
        assert max(np.abs(a.astype(int) - b).max() for a, b in zip(found, alone, strict=True)) <= 1


def test_tiles_and_plain_operators_and_reduced_pictures() -> None:
    pictures = [stamped(each, LETTERS) for each in pan(7, 8.0)]
    with without_kernels():
        assert max(losses(pictures, tile=64)[4:]) < 1.5
    assert max(losses(pictures, reduce=2)[4:]) < max(2.0, 0.5 * max(losses(pictures, reduce=2, overlays="off")[4:]))


def test_translucent_letters_lose_less() -> None:
    pictures = [stamped(each, LETTERS, opacity=0.85) for each in pan(9, 5.0)]
    assert max(losses(pictures)[4:]) < 0.6 * max(losses(pictures, overlays="off")[4:])


def same(one: list[Picture], other: list[Picture]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
