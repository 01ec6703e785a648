"""Rules for every test: no thread and no child process may outlive it, and CUDA is demanded by a variable."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from support.processes import children, chromium

# One thread a test: two threads that wait for each other on a busy machine cost ten times what they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything loads Triton: its kernels are interpreted on a CPU


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("-m")
    browser_missing = chromium() is None and os.environ.get("VDEBLUR_REQUIRE_BROWSER") != "1"
    for item in items:
        if item.get_closest_marker("slow") and "slow" not in chosen:
            item.add_marker(pytest.mark.skip(reason="long soak: run with -m slow"))
        if item.get_closest_marker("browser") and browser_missing:
            item.add_marker(pytest.mark.skip(reason="no Chromium"))
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            if os.environ.get("VDEBLUR_REQUIRE_CUDA") == "1":
                continue
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process alive."""
    threads_before, children_before = set(threading.enumerate()), children()
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        threads = [t for t in threading.enumerate() if t not in threads_before and t.name.startswith("vdeblur")]
        processes = children() - children_before
        if not threads and not processes:
            return
        time.sleep(0.05)
    pytest.fail(f"left behind: threads {[t.name for t in threads]}, child processes {sorted(processes)}")
