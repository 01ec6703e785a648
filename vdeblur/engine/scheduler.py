"""Scheduler: the order in which the device encodes and restores frames, and in which their results are awaited.

One stream: :meth:`Scheduler.step` encodes a frame, and restores the window that it completes.
:meth:`Scheduler.run` does so for a whole clip. Where the next frame is there already, it leaves results pending, so
that their correction and download overlap the work on that frame; where asking for it could mean to wait, a restored
frame comes out before. There a window may wait until later ones have been matched; at the end of the stream, all that
wait are restored one after another. Several streams: :meth:`Scheduler.step_many` and :meth:`Scheduler.run_many` do the
same in batches, and read nothing ahead. Copies of a frame do not reach the device: they are corrected as it was.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from vdeblur.adapters.float_range import check_finite
from vdeblur.engine.batching import group_equal
from vdeblur.engine.device_step import DeviceStep
from vdeblur.engine.guide.stage import GuideMemory
from vdeblur.engine.pending_frame import PendingCopy, PendingFrame, frame_errors
from vdeblur.engine.pixels import reduced_size
from vdeblur.engine.repeats import Arrival, Twin
from vdeblur.engine.stream_state import (
    EncodedFrame,
    RestoredFrame,
    RestoreJob,
    Snapshot,
    StreamState,
    WaitingCopy,
    missing_arguments,
)
from vdeblur.engine.windows import Window
from vdeblur.errors import SourceError
from vdeblur.frames import Frame

#: A stream, and the next frame for it, None at its end.
StreamFrame = tuple[StreamState, Frame | None]
#: Work on a frame, and the frame that copies may follow.
Pending = tuple[PendingFrame | PendingCopy, Twin | None]


class Scheduler:
    """Order of the work of any number of streams on one device. May be called from several threads.

    Attributes:
        lock: held while a frame is worked on; reentrant.
    """

    def __init__(self, device_step: DeviceStep) -> None:
        self.lock = threading.RLock()
        self._device_step = device_step
        #: Pending frames of all runs.
        self._in_flight = 0

    def step(self, stream: StreamState, frame: Frame | None) -> Frame | None:
        """Push a frame (None at the end of the stream), wait for the frame that this completes, and return it.

        The stream reads nothing ahead.
        """
        with self.lock:
            self._take(stream, frame)
            pending = self._started(stream)
            return None if pending is None else self._result(pending).frame

    def run(
        self,
        stream: StreamState,
        frames: Iterator[Frame],
        after: Snapshot | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> Generator[RestoredFrame, None, None]:
        """Restore all frames of a stream, in order, each as soon as it is known. Lazy.

        Args:
            after: a snapshot that the stream is brought to first (:meth:`resume`).
            ready: whether the next frame is there already, so that nobody waits for it; None: that is never known.
        """
        pending: deque[Pending] = deque()
        if after is not None:
            frames = self.resume(stream, after, frames)
        try:
            for frame in itertools.chain(frames, (None,)):
                with self.lock:
                    self._take(stream, frame)
                waits = False
                while not waits:
                    with self.lock:
                        started = self._started(stream)
                        waits = started is None
                        if started is not None:
                            pending.append(started)
                        due = deque(self._due(pending))
                    while due:
                        yield due.popleft()
                while pending and not (ready is not None and ready()):
                    yield self._result(pending.popleft())
            while pending:
                yield self._result(pending.popleft())
        finally:
            self._discard(pending)

    def resume(self, stream: StreamState, snapshot: Snapshot, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Bring a new stream to where a snapshot was taken; return the frames that follow.

        Args:
            frames: from the frame on after which it was taken.

        Raises:
            SourceError: there are fewer frames than had been taken by then.
        """
        taken = list(itertools.islice(frames, 1 + snapshot.ahead))
        if len(taken) <= snapshot.ahead:
            raise SourceError("the source has fewer frames than when the job began")
        last, *following = taken
        twin = Twin(last) if snapshot.twin is None else snapshot.twin.like(last)
        with self.lock:
            before = self._device_step.guide_on_device(snapshot.guide)
            stream.restore(snapshot, last, replace(self._encoded(twin.source, before), twin=twin))
            stream.settings = self._settings
            stream.state = self._device_step.state_on_device(snapshot.state)
            if snapshot.contradictions is not None:
                stream.contradictions = snapshot.contradictions.to(self._device_step.device)
            if snapshot.overlays is not None:
                stream.overlays = snapshot.overlays.to(self._device_step.device)
        return itertools.chain(following, frames)

    @property
    def _settings(self) -> tuple[Any, ...]:
        """What may be set between frames: copies are restored as their frame was as long as it is the same."""
        step = self._device_step
        shutter = step.known_exposure.shutter
        return step.reduce, step.strength, shutter, step.overlays, step.kept, step.remove, step.noise, step.grain

    def _take(self, stream: StreamState, frame: Frame | None) -> None:
        """Push a frame, None at the end of the stream; windows that this completes wait to be restored."""
        for arrival in self._arrivals(stream, frame):
            if arrival.is_copy:
                self._match(stream, stream.push_copy(arrival))
            else:
                encoded = self._encoded(arrival.frame, stream.guide_for(arrival))
                self._match(stream, stream.push(encoded, arrival))
        if frame is None:
            self._match(stream, stream.window.finish())

    def _match(self, stream: StreamState, window: Window[EncodedFrame] | None) -> None:
        """Let a window wait, if there is one."""
        if window is not None:
            window, matched, may_wait = self._device_step.match(window, stream.read_ahead)
            stream.wait(window, matched, may_wait=may_wait)

    def _started(self, stream: StreamState) -> Pending | None:
        """Start restoring the oldest window, or copy, that needs to wait no longer."""
        job = stream.next_job()
        if job is None:
            return None
        if isinstance(job, WaitingCopy):
            return self._pending_copy(stream, job)
        (pending,) = self._device_step.restore([job])
        self._in_flight += 1
        return pending, job.window.current.twin

    def _pending_copy(self, stream: StreamState, waiting: WaitingCopy) -> Pending:
        arrival, twin = waiting.arrival, waiting.twin
        snapshot = Snapshot.after_arrival(stream, arrival, twin)
        return PendingCopy(arrival.frame, twin, snapshot, self._device_step.kept), twin

    def _encoded(self, frame: Frame, before: GuideMemory | None) -> EncodedFrame:
        (encoded,) = self._device_step.encode([frame], [before])
        return encoded

    def _arrivals(self, stream: StreamState, frame: Frame | None) -> list[Arrival]:
        """Let a stream take a frame, None at its end; the frames that are decided by that."""
        if frame is None:
            return stream.finish()
        with frame_errors(frame, self._device_step.device):
            check_finite(frame)
            return stream.arrive(frame, self._settings)

    def _due(self, pending: deque[Pending]) -> Iterator[RestoredFrame]:
        """Wait for the oldest of these until no more are in flight than the device allows; other runs have theirs."""
        while pending and (self._in_flight > self._device_step.in_flight or isinstance(pending[0][0], PendingCopy)):
            yield self._result(pending.popleft())

    def _result(self, pending: Pending) -> RestoredFrame:
        work, twin = pending
        with self.lock:
            if isinstance(work, PendingCopy):
                return work.result()
            self._in_flight -= 1
            restored = work.result()
            if restored.shutter is not None and restored.shutter.overruled:
                self._device_step.known_exposure.note_overruled(restored.shutter)
            if twin is not None:
                twin.restored, twin.shutter, twin.noise = restored.frame, restored.shutter, restored.noise
            return restored

    def _discard(self, pending: deque[Pending]) -> None:
        """Wait for frames that nobody wants any more: the slots of their transfers are free only then."""
        while pending:
            with contextlib.suppress(Exception):
                self._result(pending.popleft())

    def step_many(self, steps: Sequence[StreamFrame]) -> list[Frame | None]:
        """Push one frame into each stream; return the frames this completes, indexed by stream."""
        restored: list[Frame | None] = [None] * len(steps)
        pending: deque[Pending] = deque()
        places: deque[int] = deque()
        with self.lock:
            try:
                for place, started in self._advance_many(steps):
                    pending.append(started)
                    places.append(place)
                    for due in self._due(pending):
                        restored[places.popleft()] = due.frame
                while pending:
                    restored[places.popleft()] = self._result(pending.popleft()).frame
            finally:
                self._discard(pending)
        return restored

    def run_many(
        self, streams: Sequence[StreamState], clips: Sequence[Iterable[Frame]]
    ) -> Generator[tuple[Frame | None, ...], None, None]:
        """Restore a clip in each stream. The n-th tuple has the n-th restored frame of each, None behind its end."""
        iterators = [iter(clip) for clip in clips]
        living = list(range(len(iterators)))
        while living:
            frames = [next(iterators[index], None) for index in living]
            steps = [(streams[index], frame) for index, frame in zip(living, frames, strict=True)]
            restored = dict(zip(living, self.step_many(steps), strict=True))
            living = [index for index, frame in zip(living, frames, strict=True) if frame is not None]
            if any(frame is not None for frame in restored.values()):
                yield tuple(restored.get(index) for index in range(len(iterators)))

    def _advance_many(self, steps: Sequence[StreamFrame]) -> Iterator[tuple[int, Pending]]:
        """Push a frame into each stream, and start restoring; pending frames come with the index of their step.

        Windows of several streams are restored in one batch where they are of one size and lack the same neighbours.
        Nothing is read ahead.
        """
        arrivals = [(stream, frame, self._arrivals(stream, frame)) for stream, frame in steps]
        encoded = iter(self._encoded_many(arrivals))
        jobs: dict[int, RestoreJob] = {}
        for place, (stream, frame, arrived) in enumerate(arrivals):
            for one in arrived:
                window = stream.push_copy(one) if one.is_copy else stream.push(next(encoded), one)
                if window is not None:
                    stream.wait(window)
            window = stream.window.finish() if frame is None else None
            if window is not None:
                stream.wait(window)
            job = stream.next_job()
            if isinstance(job, WaitingCopy):
                yield place, self._pending_copy(stream, job)
            elif job is not None:
                jobs[place] = job
        waiting = list(jobs.items())
        for batch in self._batches([(job.window.current.size, missing_arguments(job)) for _, job in waiting]):
            chosen = [waiting[number] for number in batch]
            started = self._device_step.restore([job for _, job in chosen])
            for (place, job), pending in zip(chosen, started, strict=True):
                self._in_flight += 1
                yield place, (pending, job.window.current.twin)

    def _encoded_many(self, arrivals: Sequence[tuple[StreamState, Any, list[Arrival]]]) -> list[EncodedFrame]:
        """Each new frame encoded, in their order; those of one size in one batch, those of one stream in their turn."""
        encoded: dict[tuple[int, int], EncodedFrame] = {}
        reduce = self._device_step.reduce
        new = [(stream, [one for one in each if not one.is_copy]) for stream, _, each in arrivals]
        for turn in range(max((len(each) for _, each in new), default=0)):
            places = [place for place, (_, each) in enumerate(new) if len(each) > turn]
            frames = [new[place][1][turn].frame for place in places]
            before = [
                self._before(new[place][0], new[place][1][turn], encoded.get((place, turn - 1))) for place in places
            ]
            for batch in self._batches([(reduced_size(frame.size, reduce), None) for frame in frames]):
                made = self._device_step.encode([frames[each] for each in batch], [before[each] for each in batch])
                encoded.update(zip([(places[each], turn) for each in batch], made, strict=True))
        return [encoded[key] for key in sorted(encoded)]

    def _before(self, stream: StreamState, arrival: Arrival, last: EncodedFrame | None) -> GuideMemory | None:
        """What the guide of a new frame is made with; ``last`` is the frame before it, if that is new, too."""
        if last is None or last.guided is None or not arrival.same_shot:
            return stream.guide_for(arrival)
        return last.guided.after

    def _batches(self, keys: Sequence[tuple[tuple[int, int], Any]]) -> Iterator[list[int]]:
        """Indexes of equal keys, which begin with a size; as many at a time as the network and the memory take."""
        device_step = self._device_step
        for places in group_equal(keys):
            count = len(places) if device_step.takes_batches else 1
            while count > 1 and not device_step.tiles.fits(keys[places[0]][0], count):
                count = (count + 1) // 2
            yield from (places[first : first + count] for first in range(0, len(places), count))
