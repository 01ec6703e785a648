"""Turns: how the system shares out the cores among the threads and programs of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def long_turns() -> Iterator[None]:
    """Threads and programs that begin within do not cut each other's turns short when they wake (SCHED_BATCH; Linux).

    A run is measured by its end, and nobody waits for a single frame: what is at work may go on with a warm cache.
    Other programs get their share as before, and sooner. What somebody has set from outside stays.
    """
    changed = False
    if sys.platform == "linux":
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
                changed = True
    try:
        yield
    finally:
        if sys.platform == "linux" and changed:
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
