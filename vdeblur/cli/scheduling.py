"""CPU scheduling policy of a run: SCHED_BATCH on Linux."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def batch_scheduling() -> Iterator[None]:
    """Start threads and child processes under SCHED_BATCH: waking threads do not preempt running ones. Linux only.

    A run optimizes throughput, not the latency of a frame, so fewer preemptions keep caches warm. Other programs get
    their share as before, and sooner. A policy set from outside stays.
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
