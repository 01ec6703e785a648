"""Running mean of quantisers: what a shot was compressed by, whatever kinds of frames it has."""

from __future__ import annotations

import pytest

from vdeblur.engine.quantiser_mean import MOST_FRAMES, OFFSET, QuantiserMean


def after(values: list[float | None], start: QuantiserMean | None = None) -> QuantiserMean:
    mean = start or QuantiserMean()
    for value in values:
        mean = mean.after(value)
    return mean


def test_nothing_is_known_at_first_and_of_silent_frames() -> None:
    assert after([]).rate_factor is None
    assert after([None, None]).rate_factor is None
    assert after([30, None]).rate_factor == 30 - OFFSET
    assert after([0.5]).rate_factor == 0


def test_kinds_of_frames_even_out() -> None:
    pattern: list[float | None] = [23, 28, 31, 31]
    assert after(pattern).mean == pytest.approx(28.25)
    settled = after(pattern * 20)
    for value in pattern * 2:
        settled = settled.after(value)
        assert settled.mean == pytest.approx(28.25, abs=0.6)


def test_it_follows_a_change_and_goes_on_where_it_was() -> None:
    before = after([20.0] * 40)
    assert after([40.0] * MOST_FRAMES, before).mean > 32
    halves = after([25.0, 30.0, 35.0], after([21.0, 22.0]))
    assert halves == after([21.0, 22.0, 25.0, 30.0, 35.0])
