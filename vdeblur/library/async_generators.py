"""Asynchronous generator interface (asyncio): inference in a worker thread, without blocking the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar, Unpack

from vdeblur.adapters.pictures import P
from vdeblur.library.generators import FrameOptions, deblur_frames
from vdeblur.pipeline.loop import Progress
from vdeblur.runtime.workers import JOIN_SECONDS

T = TypeVar("T")

#: Sentinel for the end of the pictures.
_END: Any = object()


async def adeblur_frames(
    frames: AsyncIterable[P] | Iterable[P], **options: Unpack[FrameOptions]
) -> AsyncGenerator[P, None]:
    """As :func:`vdeblur.deblur_frames`, for ``async for``: inference does not block the event loop.

    Loading the network, inference, and iterating an ordinary iterable happen in a worker thread of this generator's
    own; an asynchronous iterable runs in the event loop. The next picture is requested only when the previous one has
    been consumed. Cancelling the task, ``aclose()``, or a failure ends the thread, and closes ``frames`` if it is a
    generator of either kind.

    Example::

        async def send(websocket, camera):
            async for sharp in vdeblur.adeblur_frames(camera, lookahead=0):
                await websocket.send_bytes(sharp.tobytes())

    Args:
        frames: an asynchronous or ordinary iterable of pictures, as for :func:`vdeblur.deblur_frames`.
        options: as for :func:`vdeblur.deblur_frames`. ``progress`` is called in the event loop, ``stop`` in the thread.

    Raises:
        UsageError, NetworkError, DeviceError, Interrupted: as :func:`vdeblur.deblur_frames`, at the first picture or
            in its turn.
    """
    loop = asyncio.get_running_loop()
    told = options.get("progress")
    if told is not None:
        options["progress"] = partial(_in_loop, loop, told)
    source = _Pulled(frames, loop) if isinstance(frames, AsyncIterable) else None
    restored: list[Generator[P, None, None]] = []
    hands = _Hands(loop, partial(_close, restored))
    try:
        await hands.do(lambda: restored.append(deblur_frames(source or frames, **options)))  # type: ignore[arg-type]
        while (picture := await hands.do(lambda: next(restored[0], _END))) is not _END:
            yield picture
    finally:
        if source is not None:
            source.end()
        await hands.leave()
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()


def _in_loop(loop: asyncio.AbstractEventLoop, told: Callable[[Progress], None], progress: Progress) -> None:
    loop.call_soon_threadsafe(told, progress)


def _close(restored: list[Generator[Any, None, None]]) -> None:
    for each in restored:
        each.close()


class _Pulled(Iterator[P]):
    """Adapts an asynchronous iterable to a synchronous iterator for a worker thread."""

    def __init__(self, frames: AsyncIterable[P], loop: asyncio.AbstractEventLoop) -> None:
        self._frames: AsyncIterator[P] = aiter(frames)
        self._loop = loop
        self._asked: concurrent.futures.Future[P] | None = None
        self._ended = False

    def __next__(self) -> P:
        if self._ended:
            raise StopIteration
        self._asked = asyncio.run_coroutine_threadsafe(self._following(), self._loop)
        if self._ended:  # it was, between the two lines before
            self._asked.cancel()
        try:
            picture = self._asked.result()
        except concurrent.futures.CancelledError:
            raise StopIteration from None
        if picture is _END:
            raise StopIteration
        return picture

    def end(self) -> None:
        """Stop; wakes a thread that waits for a picture."""
        self._ended = True
        if self._asked is not None:
            self._asked.cancel()

    async def _following(self) -> P:
        return await anext(self._frames, _END)


_Job = tuple[Callable[[], Any], "asyncio.Future[Any] | None"]


class _Hands:
    """Single worker thread of an event loop. A daemon, for a source may never return.

    Args:
        last: cleanup before the thread ends, even if nobody can wait for that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, last: Callable[[], object]) -> None:
        self._loop = loop
        self._last: Callable[[], object] | None = last
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # The thread knows the queue alone, so that it does not keep alive who is forgotten.
        threading.Thread(target=_work, args=(loop, self._jobs), name="vdeblur-async", daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the thread; return its result or raise its exception."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((work, future))
        return await future

    async def leave(self) -> None:
        """Run the cleanup and end; a thread that hangs in its source is abandoned after JOIN_SECONDS."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._end(future)
        await asyncio.wait([future], timeout=JOIN_SECONDS)
        if future.done() and not future.cancelled():
            future.result()

    def __del__(self) -> None:
        """An event loop that ends may forget a generator without closing it."""
        self._end(None)

    def _end(self, future: asyncio.Future[Any] | None) -> None:
        last, self._last = self._last, None
        if last is not None:
            self._jobs.put((last, future))
            self._jobs.put(None)


def _work(loop: asyncio.AbstractEventLoop, jobs: SimpleQueue[_Job | None]) -> None:
    """The thread of :class:`_Hands`."""
    while (job := jobs.get()) is not None:
        work, future = job
        result, error = None, None
        try:
            result = work()
        except BaseException as exc:
            error = exc
        if future is not None:
            with suppress(RuntimeError):  # the loop may be closed
                loop.call_soon_threadsafe(_settle, future, result, error)
        del job, work, future, result, error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
