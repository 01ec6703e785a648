"""Cores: whole pieces of work side by side on the cores of a CPU, instead of every operation split between them.

A network for real time is hundreds of small operations. When each is shared between cores, the cores spend much of
their time waiting for each other, most of all where a decoder, an encoder or other programs want them, too. Pieces of
work that do not need each other wait once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from vdeblur.compute import single_thread

T = TypeVar("T")

_lock = threading.Lock()
_here = threading.local()
_pools: dict[tuple[str, int], ThreadPoolExecutor] = {}


def usable(device: torch.device) -> int:
    """How many pieces may be done side by side: as many as PyTorch may use threads on a CPU, one elsewhere.

    One, too, where gradients are wanted, and while a graph is recorded or exported.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return 1
    threads: int | None = getattr(_here, "threads", None)
    return torch.get_num_threads() if threads is None else threads


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Within, an operation uses one thread of a CPU, while :func:`side_by_side` uses as many as there were."""
    threads = usable(device)
    if threads < 2 or hasattr(_here, "threads"):
        yield
        return
    _here.threads = threads
    try:
        with single_thread():
            yield
    finally:
        del _here.threads


def side_by_side(jobs: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """Do all jobs, :func:`usable` of them at a time, and return their results in order.

    What a job raises is raised when all have ended.
    """
    threads = usable(device)
    if threads < 2 or len(jobs) < 2:
        return [job() for job in jobs]
    futures = [_submit("strips", threads, threads, job) for job in jobs]
    for future in futures:
        future.exception()
    return [future.result() for future in futures]


def later(job: Callable[[], T], device: torch.device) -> Future[T]:
    """Do a job beside what follows here; such jobs are done one after the other."""
    return _submit("later", 1, usable(device), job)


def _submit(name: str, size: int, threads: int, job: Callable[[], T]) -> Future[T]:
    inference = torch.is_inference_mode_enabled()

    def work() -> T:
        _here.threads = threads if name == "later" else 1
        with torch.inference_mode() if inference else torch.no_grad():
            return job()

    return _pool(name, size).submit(work)


def _pool(name: str, size: int) -> ThreadPoolExecutor:
    """Threads in which an operation uses one thread; made when they are first wanted, and kept."""
    with _lock:
        if (name, size) not in _pools:
            threads = torch.get_num_threads()
            ready = threading.Barrier(size + 1)

            def begin() -> None:
                torch.get_num_threads()  # only after this a thread keeps what it is told
                torch.set_num_threads(1)  # it becomes what new threads begin with, too: that is put right below
                ready.wait()

            pool = ThreadPoolExecutor(size, thread_name_prefix=f"cores-{name}", initializer=begin)
            for _ in range(size):
                pool.submit(int)
            ready.wait()
            torch.set_num_threads(threads)
            _pools[name, size] = pool
        return _pools[name, size]
