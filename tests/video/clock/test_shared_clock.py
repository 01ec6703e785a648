"""The shared clock, packet by packet."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from vdeblur.video.clock.derived_times import DerivedTimes
from vdeblur.video.clock.shared_clock import Line, SharedClock
from vdeblur.video.clock.wrapping import Unwrapping

BASE = Fraction(1, 1000)
VIDEO, SOUND, TEXT = 0, 1, 2


@dataclass
class Made:
    """A packet of our own."""

    index: int
    dts: int | None
    pts: int | None
    duration: int = 40
    is_keyframe: bool = True
    is_discard: bool = False
    size: int = 1
    time_base: Fraction = BASE

    @property
    def stream(self) -> Any:
        return SimpleNamespace(index=self.index)


def clock(**more: Any) -> SharedClock:
    lines = {VIDEO: Line(BASE, True), SOUND: Line(BASE, True), TEXT: Line(BASE, False)}
    return SharedClock(lines, VIDEO, **more)


def mended(packets: Iterable[Made], made: SharedClock | None = None) -> list[Made]:
    return list((made or clock()).mended(packets))  # type: ignore[arg-type]


def video(*ticks: int) -> list[Made]:
    return [Made(VIDEO, tick, tick) for tick in ticks]


def sound(*ticks: int) -> list[Made]:
    return [Made(SOUND, tick, tick, 20) for tick in ticks]


def of(index: int, packets: Iterable[Made]) -> list[int | None]:
    return [packet.dts for packet in packets if packet.index == index]


def together(begin: int, end: int, shift: int = 0) -> list[Made]:
    """Video and sound in the order of their times."""
    both = video(*range(begin, end, 40)) + sound(*range(begin + shift, end + shift, 20))
    return sorted(both, key=lambda packet: packet.dts or 0)


def test_good_times_pass_at_once() -> None:
    made, given = clock(), together(0, 2000)
    for packet in given:
        assert list(made._settled(final=False)) == []
        assert next(iter(made.mended([packet]))) is packet
    assert of(VIDEO, given) == list(range(0, 2000, 40))
    assert not made.moves_others


def test_pieces_follow_one_another() -> None:
    made = clock()
    done = mended(together(1000, 2000) + together(1000, 1400) + together(0, 2000), made)
    assert made.pieces == 3
    assert of(VIDEO, done) == list(range(1000, 4400, 40))
    assert of(SOUND, done) == list(range(1000, 4400, 20))


def test_sound_that_starts_again_before_the_pictures_in_the_file() -> None:
    given = together(0, 1000)
    given = [*given[:-6], *sound(0, 20, 40), *given[-6:], *video(0, 40), *sound(60, 80), *video(80, 120, 160)]
    given = [packet for packet in given if not (packet.index == SOUND and packet in given[-20:] and packet.dts == 980)]
    done = mended(given)
    assert of(VIDEO, done)[-5:] == [1000, 1040, 1080, 1120, 1160]
    assert of(SOUND, done)[-2:] == [1060, 1080]


def test_texts_go_with_their_piece() -> None:
    one = [*together(0, 500), Made(TEXT, 500, 500), *together(520, 1000)]
    done = mended([*one, *[Made(packet.index, packet.dts, packet.pts, packet.duration) for packet in one]])
    assert of(TEXT, done) == [500, 1500]


def test_sound_of_two_pieces_does_not_overlap() -> None:
    made = clock()
    done = mended(together(500, 1500, -400) + together(500, 1500, 0), made)
    assert made.pieces == 2
    assert of(SOUND, done) == sorted(of(SOUND, done), key=lambda tick: tick or 0)
    moved = (of(VIDEO, done)[25] or 0) - 500
    assert (of(SOUND, done)[50] or 0) - 500 == moved, "the offset in the piece stays"


@pytest.mark.parametrize("wrong", [100_000, -100_000, 500, -500])
@pytest.mark.parametrize("index", [VIDEO, SOUND])
def test_a_lone_wrong_time_moves_nothing_else(wrong: int, index: int) -> None:
    made, given = clock(), together(10_000, 12_000)
    place = [packet for packet in given if packet.index == index][20]
    expected = place.dts
    place.dts, place.pts = (place.dts or 0) + wrong, (place.pts or 0) + wrong
    done = mended(given, made)
    assert made.pieces == 1
    assert made.strays == {index: 1}
    assert of(VIDEO, done) == list(range(10_000, 12_000, 40))
    assert of(SOUND, done) == list(range(10_000, 12_000, 20))
    assert place.dts == expected


def test_sound_is_shown_when_it_is_decoded() -> None:
    made, given = clock(), together(0, 1000)
    wrong = [packet for packet in given if packet.index == SOUND][20]
    wrong.pts = 100_000
    mended(given, made)
    assert wrong.pts == wrong.dts == 400
    assert made.strays == {SOUND: 1}


def test_pauses_and_jitter_are_none_of_its_business() -> None:
    made = clock()
    given = together(0, 1000) + together(61_000, 62_000) + sound(61_990, 62_000, 62_020)
    before = [(packet.dts, packet.pts) for packet in given]
    assert [(packet.dts, packet.pts) for packet in mended(given, made)] == before
    assert not made.moves_others


def test_a_counter_that_wraps_goes_on() -> None:
    period = 1 << 33
    wrapping = Unwrapping(period)
    given = video(*[tick % period for tick in range(period - 200, period + 200, 40)])
    made = clock(unwrapping=wrapping)
    assert of(VIDEO, mended(given, made)) == list(range(period - 200, period + 200, 40))
    assert made.pieces == 1
    assert made.moves_others
    late = clock(unwrapping=Unwrapping(period))
    later = mended(video(*range(10_000, 11_000, 40), *[period + tick for tick in range(0, 1000, 40)]), late)
    assert late.pieces == 2, "FFmpeg takes the step back for a wrap"
    assert of(VIDEO, later) == list(range(10_000, 12_000, 40))


def test_matroska_gets_decoding_times_where_it_starts_again() -> None:
    shown = [0, 120, 40, 80, 240, 160, 200]
    given = [Made(VIDEO, tick, tick, is_keyframe=tick == 0) for _ in range(3) for tick in shown]
    for place, packet in enumerate(given[:7]):
        packet.dts = 40 * place - 80
    made = clock(derived=DerivedTimes())
    done = mended(given, made)
    assert made.pieces == 3
    assert [packet.pts for packet in done] == [tick + 280 * piece for piece in range(3) for tick in shown]


@pytest.mark.parametrize("seed", range(20))
def test_any_times_at_all(seed: int) -> None:
    """Every packet comes out, in order, and nothing waits for ever."""
    rng = random.Random(seed)
    given = []
    for _ in range(3000):
        tick = rng.choice([rng.randrange(-(1 << 40), 1 << 40), rng.randrange(1000)])
        dts, pts = (rng.choice([None, tick, tick + rng.randrange(-50, 50)]) for _ in range(2))
        given.append(Made(rng.choice([VIDEO, SOUND, TEXT]), dts, pts, rng.choice([0, 20, 40])))
    made = clock(unwrapping=Unwrapping(1 << 33), derived=DerivedTimes())
    done = mended(given, made)
    assert [id(packet) for packet in done] == [id(packet) for packet in given]
