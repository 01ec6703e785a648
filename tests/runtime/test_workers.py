"""Workers: bounds are held, failures arrive once, and no thread outlives its block."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from support.wall_clock import scaled, until
from vdeblur.errors import UsageError
from vdeblur.runtime import workers
from vdeblur.runtime.workers import WriteBehind, prefetch


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vdeblur-")]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert threads() == []


class Item:
    """Something whose life can be watched."""


# --- prefetch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_prefetch_keeps_order_and_number(count: int) -> None:
    with prefetch(range(count), depth=2) as items:
        assert list(items) == list(range(count))
        assert list(items) == []


def test_prefetch_runs_in_its_own_thread_with_its_name() -> None:
    with prefetch((threading.current_thread().name for _ in range(1)), name="read") as items:
        assert list(items) == ["vdeblur-read"]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_prefetch_holds_its_bound(depth: int) -> None:
    made = 0

    def source() -> Iterator[int]:
        nonlocal made
        for n in range(50):
            made += 1
            yield n

    with prefetch(source(), depth=depth) as items:
        for taken in range(20):
            until(lambda taken=taken: made == taken + depth)
            time.sleep(0.005)
            assert made == taken + depth, "the one in the worker's hands counts too"
            next(items)


def test_prefetch_lets_go_of_what_was_taken() -> None:
    with prefetch((Item() for _ in range(3)), depth=1) as items:
        watched = weakref.ref(next(items))
        next(items)
        until(lambda: watched() is None)


def test_prefetch_left_in_the_middle_lets_go_of_what_it_held() -> None:
    made: list[weakref.ref[Item]] = []

    def source() -> Iterator[Item]:
        for _ in range(3):
            item = Item()
            made.append(weakref.ref(item))
            yield item
            del item

    with prefetch(source(), depth=3) as items:
        until(lambda: len(made) == 3)
    assert items is not None
    until(lambda: all(watched() is None for watched in made))


def test_prefetch_hands_over_what_came_before_the_failure_then_the_failure_once() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("broken")

    with prefetch(source()) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(OSError, match="broken"):
            next(items)
        assert list(items) == []


def test_prefetch_reports_what_the_iterable_raises_at_once() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("cannot start")

    with prefetch(Broken()) as items, pytest.raises(OSError, match="cannot start"):
        next(items)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_prefetch_abandoned_in_the_middle_closes_the_generator_in_its_thread(error: type[BaseException]) -> None:
    closed_by = []

    def source() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield (n := n + 1)
        finally:
            closed_by.append(threading.current_thread().name)

    def abandon() -> None:
        with prefetch(source(), name="read") as items:
            assert next(items) == 1
            raise error

    with pytest.raises(error):
        abandon()
    assert closed_by == ["vdeblur-read"]


def test_prefetch_reports_a_generator_that_fails_to_close() -> None:
    def source() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("cannot close")

    with prefetch(source()) as items:
        assert next(items) == 1
        with pytest.raises(OSError, match="cannot close"):
            next(items)


def test_prefetch_leaves_other_iterators_to_their_owner() -> None:
    class Source:
        closed = False

        def __iter__(self) -> Source:
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            self.closed = True

    source = Source()
    with prefetch(source) as items:
        assert list(items) == []
    assert not source.closed


def test_prefetch_cannot_hang_before_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="with"):
        next(prefetch([1]))


def test_a_source_that_never_returns_does_not_hold_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "JOIN_SECONDS", 0.1)
    release = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        release.wait(20)

    with caplog.at_level(logging.WARNING), prefetch(source(), name="stuck") as items:
        next(items)
    assert "vdeblur-stuck is still busy" in caplog.text
    release.set()
    until(lambda: threads() == [])


def test_a_waiting_source_can_be_unblocked() -> None:
    release = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        release.wait(20)

    start = time.monotonic()
    with prefetch(source(), unblock=release.set) as items:
        next(items)
    assert time.monotonic() - start < scaled(2, below=20)


def test_a_source_at_its_end_is_not_unblocked() -> None:
    for _ in range(50):  # its thread may still be ending
        with prefetch(range(3), unblock=lambda: pytest.fail("not needed")) as items:
            assert list(items) == [0, 1, 2]


# --- WriteBehind ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_write_behind_writes_all_in_order(count: int) -> None:
    written: list[int] = []
    with WriteBehind(written.append, depth=2) as writer:
        for n in range(count):
            writer.put(n)
    assert written == list(range(count))


@pytest.mark.parametrize("depth", [1, 3])
def test_write_behind_holds_its_bound(depth: int) -> None:
    gate = threading.Semaphore(0)
    written = []
    put = 0

    def write(item: int) -> None:
        gate.acquire()
        written.append(item)

    def feed(writer: WriteBehind[int]) -> None:
        nonlocal put
        for n in range(20):
            writer.put(n)
            put += 1

    with WriteBehind(write, depth=depth) as writer:
        feeder = threading.Thread(target=feed, args=(writer,))
        feeder.start()
        for done in range(20):
            until(lambda done=done: put == min(20, depth + done))
            time.sleep(0.005)
            assert put == min(20, depth + done), "the one being written counts too"
            gate.release()
        feeder.join()
    assert written == list(range(20))


def test_write_behind_does_not_wait_for_the_write() -> None:
    gate = threading.Event()
    with WriteBehind(lambda _: gate.wait(20), depth=3) as writer:
        writer.put(1)
        writer.put(2)
        gate.set()


def test_a_failing_write_is_raised_once_by_put() -> None:
    def write(item: int) -> None:
        raise OSError(f"disk full at {item}")

    with WriteBehind(write) as writer, pytest.raises(OSError, match="disk full at 0"):
        put_until_it_fails(writer)


def put_until_it_fails(writer: WriteBehind[int]) -> None:
    for n in range(100):
        writer.put(n)
        time.sleep(0.002)


def test_a_failing_last_write_is_raised_at_the_end() -> None:
    def write(item: int) -> None:
        time.sleep(0.02)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(write) as writer:
        writer.put(1)


def test_a_waiting_put_ends_when_the_write_fails() -> None:
    gate = threading.Event()

    def write(item: int) -> None:
        gate.wait(20)
        raise OSError("disk full")

    with WriteBehind(write, depth=1) as writer:
        writer.put(1)
        threading.Timer(0.05, gate.set).start()
        with pytest.raises(OSError, match="disk full"):
            writer.put(2)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_write_behind_left_with_an_exception_lets_go_of_the_rest(error: type[BaseException]) -> None:
    written = []

    def write(item: int) -> None:
        time.sleep(0.02)
        written.append(item)

    def leave() -> None:
        with WriteBehind(write, depth=10) as writer:
            for n in range(10):
                writer.put(n)
            raise error

    with pytest.raises(error):
        leave()
    assert len(written) <= 2


def test_the_writers_failure_does_not_hide_the_callers() -> None:
    def write(item: int) -> None:
        raise OSError("disk full")

    def leave() -> None:
        with WriteBehind(write) as writer:
            writer.put(1)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        leave()


def test_an_interrupt_while_the_rest_is_written_stops_the_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(item: int) -> None:
        time.sleep(0.05)
        written.append(item)

    def leave() -> None:
        with WriteBehind(write, depth=10) as writer:
            for n in range(10):
                writer.put(n)
            interrupt_first_join(writer)

    def interrupt_first_join(writer: WriteBehind[int]) -> None:
        join, calls = writer._thread.join, []

        def interrupted(timeout: float | None = None) -> None:
            calls.append(timeout)
            if len(calls) == 1:
                raise KeyboardInterrupt
            join(timeout)

        monkeypatch.setattr(writer._thread, "join", interrupted)

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert len(written) <= 2


def test_a_waiting_write_can_be_unblocked() -> None:
    release = threading.Event()

    def leave() -> None:
        with WriteBehind(lambda _: release.wait(20), unblock=release.set) as writer:
            writer.put(1)
            raise ValueError("mine")

    start = time.monotonic()
    with pytest.raises(ValueError, match="mine"):
        leave()
    assert time.monotonic() - start < scaled(2, below=20)


def test_a_write_that_ends_well_is_not_unblocked() -> None:
    with WriteBehind(time.sleep, unblock=lambda: pytest.fail("not needed")) as writer:
        writer.put(0)


def test_a_depth_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="depth"):
        prefetch([], depth=0)
    with pytest.raises(UsageError, match="depth"):
        WriteBehind(print, depth=0)
