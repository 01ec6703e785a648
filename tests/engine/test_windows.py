"""Windows: one a frame, none lost, edges repeated, and none that reaches across a break."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pytest

from vdeblur.engine.windows import Window, windows
from vdeblur.errors import UsageError


class Number:
    """A stand-in for a frame; equal to nothing but itself."""

    def __init__(self, value: int) -> None:
        self.value = value


def values(
    frames: Iterable[Number], lookahead: int, cuts: frozenset[int] = frozenset()
) -> list[tuple[int, int, int, bool]]:
    found = windows(frames, lookahead=lookahead, breaks=lambda _, current: current.value in cuts)
    return [(w.previous.value, w.current.value, w.next.value, w.first) for w in found]


def expected(count: int, lookahead: int, cuts: frozenset[int]) -> list[tuple[int, int, int, bool]]:
    """The same, straight from the definition."""
    result = []
    for t in range(count):
        first = t == 0 or t in cuts
        last = t == count - 1 or t + 1 in cuts or lookahead == 0
        result.append((t if first else t - 1, t, t if last else t + 1, first))
    return result


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_one_window_a_frame(count: int, lookahead: int) -> None:
    frames = [Number(n) for n in range(count)]
    assert values(frames, lookahead) == expected(count, lookahead, frozenset())


@pytest.mark.parametrize("lookahead", [0, 1])
def test_breaks_at_every_position(lookahead: int) -> None:
    frames = [Number(n) for n in range(5)]
    for size in range(5):
        for cuts in map(frozenset, itertools.combinations(range(1, 5), size)):
            assert values(frames, lookahead, cuts) == expected(5, lookahead, cuts)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_an_edge_is_the_very_same_object(lookahead: int) -> None:
    found: list[Window[Number]] = list(windows([Number(0)], lookahead=lookahead, breaks=lambda *_: False))
    assert found[0].previous is found[0].current is found[0].next


@pytest.mark.parametrize("lookahead", [0, 1])
def test_breaks_are_asked_once_for_each_two_neighbours(lookahead: int) -> None:
    asked = []
    frames = [Number(n) for n in range(6)]
    list(windows(frames, lookahead=lookahead, breaks=lambda a, b: asked.append((a.value, b.value)) or False))
    assert asked == [(n, n + 1) for n in range(5)]


@pytest.mark.parametrize("lookahead", [0, 1])
def test_no_more_frames_are_taken_than_the_lookahead_needs(lookahead: int) -> None:
    taken = 0

    def source() -> Iterator[Number]:
        nonlocal taken
        for n in range(10):
            taken += 1
            yield Number(n)

    for index, _ in enumerate(windows(source(), lookahead=lookahead, breaks=lambda *_: False)):
        assert taken == min(index + 1 + lookahead, 10)


@pytest.mark.parametrize("lookahead", [-1, 2, 1.5, None])
def test_other_lookaheads_are_refused(lookahead: int) -> None:
    with pytest.raises(UsageError, match="lookahead"):
        next(windows([Number(0)], lookahead=lookahead, breaks=lambda *_: False))
