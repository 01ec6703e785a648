"""Bounds that grow with a busy machine, and that a program that hangs still misses."""

from __future__ import annotations

import time

import pytest

from support import wall_clock
from support.wall_clock import MOST, REFERENCE_SECONDS, patience, scaled, slowness, until


@pytest.fixture(autouse=True)
def quiet_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall_clock, "session_slowness", lambda: 1.0)
    monkeypatch.setattr(wall_clock._Latest, "measured_at", float("-inf"))


def takes(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each round of the loop take so long."""
    monkeypatch.setattr(wall_clock, "work", lambda: time.sleep(seconds))


def test_a_bound_is_as_it_is_written_on_a_quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(0, monkeypatch)
    assert slowness() == 1
    assert scaled(2) == 2
    assert scaled(2, below=2.1) == 2, "never less than what is written"


def test_a_bound_grows_with_what_a_round_takes_just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(3 * REFERENCE_SECONDS, monkeypatch)
    assert 3 <= slowness() < MOST
    assert 6 <= scaled(2) < 2 * MOST
    assert scaled(2, below=5) == 4.5, "and never so far that nothing can miss it"
    assert patience(2) == 2, "that of the session"


def test_a_bound_never_grows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(2 * MOST * REFERENCE_SECONDS, monkeypatch)
    assert slowness() == MOST


def test_what_never_happens_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    takes(2 * REFERENCE_SECONDS, monkeypatch)
    until(lambda: True, 0)
    began = time.monotonic()
    with pytest.raises(AssertionError, match="it has not happened"):
        until(lambda: False, 0.1)
    assert time.monotonic() - began > 0.1


def test_the_loop_measures_this_machine() -> None:
    assert 0.1 < wall_clock.round_factor() <= MOST
    began = time.perf_counter()
    wall_clock.work()
    assert time.perf_counter() - began > REFERENCE_SECONDS / 20
