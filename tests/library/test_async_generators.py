"""The library in an event loop: the loop is never held up, and nothing is left when it is over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from support.doubles import Failing, Identity, Mixing, Slow
from support.drifting_pictures import QUICK, pictures, restore
from support.wall_clock import patience, scaled, slowness, until
from vdeblur import Interrupted, NetworkError, Progress, UsageError, adeblur_frames


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


async def arriving(frames: list[np.ndarray], log: list[str] | None = None) -> AsyncIterator[np.ndarray]:
    try:
        for picture in frames:
            await asyncio.sleep(0.001)
            if log is not None:
                log.append("taken")
            yield picture
    finally:
        if log is not None:
            log.append("closed")


def worker_threads() -> list[str]:
    """Those that are still there after a while: one that has done its last thing ends a moment later."""
    latest = time.monotonic() + patience(5)
    while True:
        names = [thread.name for thread in threading.enumerate() if thread.name == "vdeblur-async"]
        if not names or time.monotonic() > latest:
            return names
        time.sleep(0.01)


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("kind", ["asynchronous", "list", "generator"])
def test_the_same_pictures_come_out(kind: str, lookahead: int) -> None:
    frames = pictures(6)

    async def work() -> list[np.ndarray]:
        source: Any = {"asynchronous": arriving(frames), "list": frames, "generator": iter(frames)}[kind]
        return [sharp async for sharp in adeblur_frames(source, model=Mixing(), lookahead=lookahead, **QUICK)]

    found = run(work())
    assert all(np.array_equal(a, b) for a, b in zip(found, restore(frames, lookahead=lookahead), strict=True))


def test_the_loop_runs_on_while_the_network_works() -> None:
    """The network takes 0.5 s in all; a clock in the loop goes on ticking, and no tick comes late."""
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()

    async def work() -> None:
        clock = asyncio.create_task(tick())
        async for _ in adeblur_frames(arriving(pictures(10)), model=Slow(0.05), **QUICK):
            pass
        clock.cancel()

    run(work())
    assert len(gaps) > max(22, 30 / slowness())
    assert sorted(gaps)[len(gaps) // 2] < scaled(0.03, below=0.05)


def test_a_picture_is_asked_for_when_the_one_before_has_been_taken() -> None:
    log: list[str] = []

    async def work() -> None:
        restored = adeblur_frames(arriving(pictures(9), log), model=Mixing(), lookahead=1, **QUICK)
        assert log == []
        await anext(restored)
        await asyncio.sleep(0.05)
        assert log == ["taken"] * 2
        await restored.aclose()
        assert log == ["taken", "taken", "closed"]
        await asyncio.sleep(0.01)
        assert worker_threads() == []

    run(work())


def test_a_generator_given_is_closed_too() -> None:
    log: list[str] = []

    def source() -> Iterator[np.ndarray]:
        try:
            yield from pictures(9)
        finally:
            log.append("closed")

    async def work() -> None:
        async for _ in adeblur_frames(source(), model=Mixing(), **QUICK):
            break  # the generator is forgotten, in the last moment of the loop

    run(work())
    until(lambda: log, 5)
    assert log == ["closed"]


@pytest.mark.parametrize("where", ["in the network", "at the source"])
def test_a_cancelled_task_leaves_nothing(where: str) -> None:
    log: list[str] = []

    async def endless() -> AsyncIterator[np.ndarray]:
        try:
            yield from_a_camera
            log.append("waiting")
            await asyncio.sleep(3600)
        finally:
            log.append("closed")

    from_a_camera = pictures(1)[0]

    async def consume() -> None:
        source = endless() if where == "at the source" else arriving(pictures(90), log)
        async for _ in adeblur_frames(source, model=Slow(0.1), lookahead=0, **QUICK):
            pass

    async def work() -> None:
        task = asyncio.create_task(consume())
        latest = time.perf_counter() + patience(20)
        while not log and time.perf_counter() < latest:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        task.cancel()
        began = time.perf_counter()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.perf_counter() - began < scaled(2, below=9)
        assert log[-1] == "closed"

    run(work())
    assert worker_threads() == []


def test_failures_come_to_the_caller() -> None:
    async def consume(source: Any, model: Any, **options: Any) -> int:
        return len([sharp async for sharp in adeblur_frames(source, model=model, **{**QUICK, **options})])

    with pytest.raises(NetworkError, match=r"frame 2: .*bad"):
        run(consume(pictures(5), Failing(2, RuntimeError("bad"))))
    with pytest.raises(UsageError, match="strength cannot be 7"):
        run(consume(pictures(5), Identity(), strength=7))
    with pytest.raises(UsageError, match=r"frames cannot be 'clip.mp4'"):
        run(consume("clip.mp4", Identity()))

    async def broken() -> AsyncIterator[np.ndarray]:
        yield pictures(1)[0]
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="the camera is gone"):
        run(consume(broken(), Identity()))


def test_progress_is_told_in_the_loop_and_stop_ends_it() -> None:
    told: list[tuple[int, str]] = []

    def tell(progress: Progress) -> None:
        told.append((progress.frames, threading.current_thread().name))

    async def work() -> None:
        async for _ in adeblur_frames(
            pictures(9), model=Identity(), progress=tell, stop=lambda: len(told) >= 3, **QUICK
        ):
            await asyncio.sleep(0.01)

    with pytest.raises(Interrupted, match=r"stopped after \d frames"):
        run(work())
    assert [count for count, _ in told[:3]] == [1, 2, 3]
    assert {name for _, name in told} == {threading.main_thread().name}


def test_two_at_once() -> None:
    frames = [pictures(6), pictures(4, (9, 12, 3))]

    async def consume(source: list[np.ndarray]) -> list[np.ndarray]:
        return [sharp async for sharp in adeblur_frames(arriving(source), model=Mixing(), **QUICK)]

    async def work() -> Any:
        return await asyncio.gather(*map(consume, frames))

    for found, source in zip(run(work()), frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found, restore(source), strict=True))
