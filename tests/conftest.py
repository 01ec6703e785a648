"""Rules for every test: no thread and no child process may outlive it, and CUDA is demanded by a variable."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

# One thread a test: two threads that wait for each other on a busy machine cost ten times what they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from support.processes import children, chromium, hear_ending_signals
from support.wall_clock import until

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything loads Triton: its kernels are interpreted on a CPU

#: What ends by itself has that much time for it.
LEAVING_SECONDS = 5.0

# Before any test starts a process, which would inherit it.
hear_ending_signals()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite in two processes, file by file; a part of it in this one, where it can be debugged."""
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (option.keyword or option.markexpr)
    alone = option.usepdb or option.collectonly or option.capture == "no" or (os.cpu_count() or 1) < 2
    if whole and not alone and "PYTEST_XDIST_WORKER" not in os.environ and config.pluginmanager.hasplugin("xdist"):
        option.numprocesses = 2 if option.numprocesses is None else option.numprocesses
        option.dist = "loadfile" if option.dist == "no" else option.dist
        option.loadscopereorder = False  # the longest files are not those with the most tests


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
def messages_as_before() -> Iterator[None]:
    """Undo what a command has set of logging: a program of its own need not, and these share one."""
    logger = logging.getLogger("vdeblur")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process alive."""
    threads_before, children_before = set(threading.enumerate()), children()
    yield

    def left() -> tuple[list[str], list[int]]:
        threads = [t.name for t in threading.enumerate() if t not in threads_before and t.name.startswith("vdeblur")]
        return threads, sorted(children() - children_before)

    try:
        until(lambda: left() == ([], []), LEAVING_SECONDS)
    except AssertionError:
        threads, processes = left()
        pytest.fail(f"left behind: threads {threads}, child processes {processes}")
