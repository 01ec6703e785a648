"""CPU pool: coarse-grained parallelism over strips instead of intra-op threads; a waiting caller helps (work sharing).

A network for real time is hundreds of small operations. When each is shared between cores, the cores spend much of
their time waiting for each other, most of all where a decoder, an encoder or other programs want them, too. Pieces of
work that are independent wait once, and no thread waits idly: one that needs a result helps to compute it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import torch

from vdeblur.runtime.device import single_thread

T = TypeVar("T")

_lock = threading.Lock()
_here = threading.local()
_pools: dict[tuple[str, int], ThreadPoolExecutor] = {}


def available_threads(device: torch.device) -> int:
    """Threads for :func:`run_parallel`: as many as PyTorch may use on a CPU, one elsewhere.

    One, too, where gradients are wanted, and while a graph is recorded or exported.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return 1
    threads: int | None = getattr(_here, "threads", None)
    return torch.get_num_threads() if threads is None else threads


@contextmanager
def single_threaded_ops(device: torch.device) -> Iterator[None]:
    """Turn intra-op threads of a CPU off within, while :func:`run_parallel` uses as many as there were."""
    threads = available_threads(device)
    if threads < 2 or hasattr(_here, "threads"):
        yield
        return
    _here.threads = threads
    try:
        with single_thread():
            yield
    finally:
        del _here.threads


def run_parallel(jobs: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """Run all jobs in parallel, some of them in this thread, and return their results in order.

    An error of a job is raised when all have ended.
    """
    threads, beside = available_threads(device), getattr(_here, "beside", None)
    if threads < 2 or len(jobs) < 2:
        return [job() for job in jobs]
    pieces = _Pieces(jobs)
    if beside is not None:
        beside.offer(pieces)
    for _ in range(min(threads, len(jobs)) - (1 if beside is None else 2)):
        _pool("strips", threads - 1).submit(pieces.help)
    return pieces.results()


class _GivenUp(BaseException):
    """A piece was not done; no Exception, as nothing has failed that could be tried in another way."""


class _Pieces(Generic[T]):
    """Jobs that several threads take from one queue."""

    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self._inference = torch.is_inference_mode_enabled()
        self._waiting = deque(enumerate(jobs))
        self._left = len(jobs)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._done: dict[int, T] = {}
        self._failed: dict[int, BaseException] = {}

    def help(self) -> None:
        """Run jobs that no thread has taken yet, with one intra-op thread."""
        try:
            while self._waiting:
                with _working(self._inference, threads=1):
                    self._help()
        except BaseException as exc:  # Ctrl-C, perhaps between taking a piece and doing it
            self._failed[-1] = _GivenUp(repr(exc))
            self._ended.set()
            raise

    def _help(self) -> None:
        while True:
            try:
                number, job = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._done[number] = job()
            except Exception as exc:
                self._failed[number] = exc
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._ended.set()

    def results(self) -> list[T]:
        """Results in order, when all jobs have ended."""
        self.help()
        self._ended.wait()
        if self._failed:
            raise self._failed[min(self._failed)]
        return [self._done[number] for number in range(len(self._done))]


class BackgroundTask(Generic[T]):
    """A job that runs asynchronously; a thread that waits for its result helps with its strips."""

    def __init__(self, job: Callable[[], T], threads: int) -> None:
        self._job, self._threads = job, threads
        self._inference = torch.is_inference_mode_enabled()
        #: Pieces of it; None at its end.
        self._offers: SimpleQueue[_Pieces[Any] | None] = SimpleQueue()
        self._work: Future[T] = _pool("background", 1).submit(self._do)

    def _do(self) -> T:
        try:
            with _working(self._inference, threads=self._threads, beside=self):
                return self._job()
        finally:
            self._offers.put(None)

    def offer(self, pieces: _Pieces[Any]) -> None:
        """Offer pieces of the job to a thread that waits for the result."""
        self._offers.put(pieces)

    def result(self) -> T:
        """Wait for the result, or raise what the job raised; until then, help with its pieces."""
        while not self._work.done() and (pieces := self._offers.get()) is not None:
            pieces.help()
        self._offers.put(None)  # for whoever asks again
        try:
            return self._work.result()
        except _GivenUp as exc:
            raise RuntimeError(f"it was interrupted: {exc}") from exc


def run_in_background(job: Callable[[], T], device: torch.device) -> BackgroundTask[T]:
    """Run a job asynchronously; such jobs run one after the other."""
    return BackgroundTask(job, available_threads(device))


@contextmanager
def _working(inference: bool, *, threads: int, beside: BackgroundTask[Any] | None = None) -> Iterator[None]:
    """Within, an operation uses one thread, this one, and :func:`run_parallel` so many."""
    before = dict(_here.__dict__)
    _here.threads, _here.beside = threads, beside
    try:
        with torch.inference_mode() if inference else torch.no_grad(), single_thread():
            yield
    finally:
        _here.__dict__.clear()
        _here.__dict__.update(before)


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
