"""Worker threads: prefetch and write-behind, each with a bounded queue.

The contract, for both: the queue never holds more than ``depth`` items, the one in the worker's hands included. An
error of the worker is raised once in the caller's thread. Leaving the ``with`` block stops the worker, drains the queue
and joins the thread, whatever the reason for leaving; neither side can be left waiting for the other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from vdeblur.errors import UsageError

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: How often a waiting thread looks up. Without it, Ctrl-C could not end a wait on Windows.
TICK_SECONDS = 0.2
#: How long a stopped worker may take to come back from a call that cannot be interrupted, such as a read from a pipe.
JOIN_SECONDS = 5.0


class _Closed(Exception):
    """The other side has gone, or there is nothing more."""


class _Channel(Generic[T]):
    """A bounded queue that either side can close. One thread puts, one takes."""

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise UsageError(f"queue depth cannot be {depth}; it is at least 1")
        self._depth = depth
        self._items: deque[T] = deque()
        self.ended = False  # the putting side has nothing more
        self._stopped = False  # the items are no longer wanted
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def wait_for_room(self) -> None:
        """Wait for room; raise the other side's error, or _Closed when it has stopped."""
        with self._changed:
            while len(self._items) >= self._depth and not self._stopped:
                self._changed.wait(TICK_SECONDS)
            if self._stopped:
                self._raise_error()
                raise _Closed

    def put(self, item: T) -> None:
        self.wait_for_room()
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def first(self) -> T:
        """The oldest item, which stays in the queue and counts until :meth:`drop`."""
        with self._changed:
            while not self._items and not self.ended and not self._stopped:
                self._changed.wait(TICK_SECONDS)
            if self._items and not self._stopped:
                return self._items[0]
            self._raise_error()
            raise _Closed

    @property
    def ready(self) -> int:
        """Items that can be taken without waiting."""
        return len(self._items)

    def drop(self) -> None:
        with self._changed:
            if self._items:  # stop() may have emptied it meanwhile
                self._items.popleft()
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """End of input or failure of the producer; items in the queue are still handed over."""
        with self._changed:
            self.ended = True
            self._error = self._error or error
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """Let go of all items; every wait, on either side, ends now."""
        with self._changed:
            self._stopped = True
            self._error = self._error or error
            self._items.clear()
            self._changed.notify_all()

    def raise_error(self) -> None:
        with self._changed:
            self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class _Worker(Generic[T]):
    """A thread with a channel: started by entering the ``with`` block, gone after leaving it."""

    def __init__(self, *, depth: int, name: str, unblock: Callable[[], None] | None) -> None:
        self._channel: _Channel[T] = _Channel(depth)
        self._unblock = unblock
        # A daemon: a read that never returns must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._work, name=f"vdeblur-{name}", daemon=True)

    def _work(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _busy(self) -> bool:
        """Whether the worker may be waiting in a call of its own."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop the worker, let go of the queue and wait for the thread."""
        self._channel.stop()
        if self._thread.ident is None:
            return
        if self._busy() and self._unblock is not None:
            self._unblock()
        self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            logger.warning("%s is still busy %.0f s after it was stopped", self._thread.name, JOIN_SECONDS)


class Prefetch(_Worker[T]):
    """See :func:`prefetch`."""

    def __init__(
        self, iterable: Iterable[T], *, depth: int, name: str, unblock: Callable[[], None] | None = None
    ) -> None:
        super().__init__(depth=depth, name=name, unblock=unblock)
        self._iterable = iterable

    def _work(self) -> None:
        try:
            iterator = iter(self._iterable)
            with contextlib.closing(iterator) if isinstance(iterator, Generator) else contextlib.nullcontext():
                while True:
                    self._channel.wait_for_room()  # before the item is made: it counts from then on
                    try:
                        item = next(iterator)
                    except StopIteration:
                        break
                    self._channel.put(item)
                    del item
        except _Closed:
            pass
        except BaseException as exc:
            self._channel.end(exc)
        finally:
            self._channel.end()

    def _busy(self) -> bool:
        return not self._channel.ended  # when it has ended, the thread may still be alive for a moment

    @property
    def ready(self) -> int:
        """Items that can be taken without waiting."""
        return self._channel.ready

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._thread.ident is None:
            raise RuntimeError("enter the `with` block first")
        try:
            item = self._channel.first()
        except _Closed:
            raise StopIteration from None
        self._channel.drop()
        return item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prefetch(
    iterable: Iterable[T], *, depth: int = 3, name: str = "prefetch", unblock: Callable[[], None] | None = None
) -> Prefetch[T]:
    """Prefetch: iterate ``iterable`` in a worker thread, up to ``depth`` items ahead of the caller.

    A context manager and an iterator. Its errors come after the items before them. A generator is closed
    in the thread that ran it.

    Args:
        depth: most items made and not yet taken.
        name: the thread's name, after "vdeblur-".
        unblock: called when the block is left before the end, to make the iterable return if it is waiting.
    """
    return Prefetch(iterable, depth=depth, name=name, unblock=unblock)


class WriteBehind(_Worker[T]):
    """Write-behind queue: calls ``write`` in a worker thread; put() returns at once unless ``depth`` items wait.

    Leaving the ``with`` block normally flushes the queue and raises the error of ``write``, unless put() did.
    Leaving it with an exception drops the queue.

    Args:
        write: called with one item at a time, in order.
        depth: most items put and not yet written.
        name: the thread's name, after "vdeblur-".
        unblock: called when the block is left with an exception, to make ``write`` return if it is waiting.
    """

    def __init__(
        self,
        write: Callable[[T], None],
        *,
        depth: int = 3,
        name: str = "write",
        unblock: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(depth=depth, name=name, unblock=unblock)
        self._write = write

    def _work(self) -> None:
        try:
            while True:
                self._write(self._channel.first())
                self._channel.drop()
        except _Closed:
            pass
        except BaseException as exc:
            self._channel.stop(exc)

    def put(self, item: T) -> None:
        """Enqueue an item, waiting for room.

        Raises:
            Exception: the error of ``write`` for an earlier item; once.
        """
        try:
            self._channel.put(item)
        except _Closed:
            raise RuntimeError("the writer has stopped") from None

    def finish(self) -> None:
        """Flush: write the remaining items and wait for it."""
        self._channel.end()
        while self._thread.is_alive():
            self._thread.join(TICK_SECONDS)
        self._channel.raise_error()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self.close()
