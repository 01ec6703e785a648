"""Calibration of wall-clock bounds: how much slower this machine is, now, than the one on which they were chosen.

A loop of the suite's kinds of work is timed: Python, NumPy and the start of a process. Other jobs on the machine slow
it as they slow a test, so a bound that is scaled by it tells a slow program from a busy machine.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

#: What the loop takes on an idle core of the machine on which the bounds were chosen (a Xeon of 2023), by the clock and
#: of the processor: medians of 200.
REFERENCE_SECONDS, REFERENCE_PROCESSOR_SECONDS = 0.028, 0.027
#: No bound grows beyond this: a program that hangs must still fail.
MOST = 8.0


def work() -> None:
    """One round of the loop."""
    sum(number * number for number in range(100_000))
    picture = np.full((128, 512), 0.5, np.float32)
    for _ in range(20):
        picture = np.sqrt(picture * picture + 0.1)
    subprocess.run([sys.executable, "-S", "-E", "-c", "pass"], check=True)


def round_factor() -> float:
    """Factor of one round just now: at least 1."""
    began = time.perf_counter()
    work()
    return min(max(1.0, (time.perf_counter() - began) / REFERENCE_SECONDS), MOST)


@functools.cache
def session_slowness() -> float:
    """Factor of the whole session, from several rounds, of which one may have been unlucky."""
    return median(round_factor() for _ in range(9))


@functools.cache
def processor_slowness() -> float:
    """Factor of the processor alone: other jobs hardly change it."""
    before = sum(os.times()[:4])
    for _ in range(9):
        work()
    took = (sum(os.times()[:4]) - before) / 9
    return min(max(1.0, took / REFERENCE_PROCESSOR_SECONDS), MOST)


class _Latest:
    """The last round's factor, which holds for a second."""

    factor, measured_at = 1.0, float("-inf")


def slowness() -> float:
    """How many times slower than where the bounds were chosen: by the session's rounds or by one just now, from 1."""
    if time.monotonic() > _Latest.measured_at + 1:
        _Latest.factor, _Latest.measured_at = round_factor(), time.monotonic()
    return max(session_slowness(), _Latest.factor)


def scaled(bound: float, *, below: float = float("inf")) -> float:
    """The bound of something that is measured, for this machine as it is now.

    ``below`` is what would be measured where the program is wrong, if that does not depend on the machine (a wait of
    fixed length): the bound never reaches it.
    """
    assert bound < below
    return max(bound, min(bound * slowness(), 0.9 * below))


def patience(seconds: float) -> float:
    """Time after which something hangs, for this machine: for waits that end long before that."""
    return seconds * session_slowness()


def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until ``what`` is true; fail where it is not within the bound for this machine."""
    began = time.monotonic()
    while not what():
        waited = time.monotonic() - began
        assert waited < seconds or waited < scaled(seconds), "it has not happened"
        time.sleep(0.005)
