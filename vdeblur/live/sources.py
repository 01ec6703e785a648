"""Live sources: pushed frames, paced files and capture devices; each blocks for its next frame alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from vdeblur.frames import Frame
from vdeblur.live.latest_value import LatestValueQueue, QueueEnded
from vdeblur.video.realtime.capture import SILENCE_SECONDS, Capture
from vdeblur.video.realtime.inputs import LiveInput
from vdeblur.video.source.reader import Reader

#: A file that is so late has been stopped from outside, or is decoded too slowly: it goes on from here.
_LATE_SECONDS = 1.0


class Source(Protocol):
    """Protocol of a live source.

    ``frames`` ends when the source has ended and raises :class:`vdeblur.errors.SourceError` when it is lost; it may
    then be called again, to look for it. ``close`` may be called from any thread: a waiting ``frames`` ends.
    """

    @property
    def name(self) -> str:
        """For people: "camera 0 (640×480 mjpeg, 30 fps)"."""

    def frames(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class PushSource:
    """Frames pushed by a producer in any thread: a browser's camera, an event loop."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: What came with the frame that ``frames`` gave last.
        self.tag: Any = None
        self._queue: LatestValueQueue[tuple[Frame, Any]] = LatestValueQueue()

    def push(self, frame: Frame, tag: Any = None) -> None:
        """Push a frame with an optional tag; never blocks. A newer frame replaces one that waits."""
        self._queue.put((frame, tag))

    def frames(self) -> Iterator[Frame]:
        try:
            while True:
                item = self._queue.take()
                if item is not None:
                    frame, self.tag = item
                    yield frame
        except QueueEnded:
            return

    def close(self) -> None:
        """End the stream."""
        self._queue.end(forget=True)


class Pacer:
    """Real-time pacing: waits until a frame is due by its timestamp."""

    def __init__(self, closing: threading.Event) -> None:
        self._closing = closing
        #: When a frame with time 0 was or would have been due.
        self._zero: float | None = None

    def wait(self, seconds: float) -> bool:
        """Wait until a frame with this timestamp is due; return whether the source is still open.

        A late frame is due at once; a very late one restarts the clock.
        """
        now = time.monotonic()
        if self._zero is None or not self._zero + seconds + _LATE_SECONDS - now >= 0:
            self._zero = now - seconds
        return not self._closing.wait(max(0.0, self._zero + seconds - now))


class FileSource:
    """A file, a URL or standard input, paced by its timestamps.

    Times rise through all rounds of a loop; the first frame of a round starts a new shot.

    Args:
        source: as for :class:`vdeblur.video.source.reader.Reader`.
        loop: begin again at the end.

    Raises:
        UsageError, SourceError: as :class:`vdeblur.video.source.reader.Reader`, at once.
    """

    def __init__(self, source: str | Path | BinaryIO, *, loop: bool = False, allow_network: bool = False) -> None:
        self._source, self._loop, self._allow_network = source, loop, allow_network
        self._closing = threading.Event()
        self._reader: Reader | None = self._open()
        video = self._reader.info.video
        #: Frames a second, as far as the header says.
        self.rate = video.average_rate
        rate = "" if video.average_rate is None else f", {float(video.average_rate):.4g} fps"
        name = self._reader.info.name
        # The page shows it to others, whom the folders of this machine do not concern.
        name = Path(name).name if Path(name).is_file() else name
        self.name = f"{name} ({video.width}×{video.height}{rate})"

    def _open(self) -> Reader:
        return Reader(self._source, allow_network=self._allow_network)

    def frames(self) -> Iterator[Frame]:
        """Yield each frame when it is due; late ones at once.

        Raises:
            SourceError: the file cannot be read to its end.
        """
        begins = Fraction(0)
        while not self._closing.is_set():
            reader, self._reader = self._reader or self._open(), None
            with reader:
                for frame in self._paced(reader, begins):
                    begins = (frame.pts + max(1, frame.duration)) * frame.time_base
                    yield frame
            if not self._loop:
                return

    def _paced(self, reader: Reader, begins: Fraction) -> Iterator[Frame]:
        pacer, first = Pacer(self._closing), reader.info.video.start_pts
        offset = round(begins / reader.info.video.time_base) - first if begins else 0
        for frame in reader:
            if not pacer.wait(frame.time_seconds):
                return
            new_round = bool(begins) and frame.pts == first
            yield replace(frame, pts=frame.pts + offset, cut=frame.cut or new_round)

    def close(self) -> None:
        self._closing.set()
        if (reader := self._reader) is not None:
            reader.close()


class CaptureSource:
    """A capture device: camera, screen, network stream, pipe or test pattern.

    Args:
        realtime: pace frames by their timestamps, as stored streams need.
    """

    def __init__(self, inlet: LiveInput, *, realtime: bool = False, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._capture = Capture(inlet, silence_seconds=silence_seconds)
        self._paced = realtime or inlet.unpaced
        self._closing = threading.Event()
        self.name = inlet.name

    @property
    def rate(self) -> Fraction | None:
        """Nominal frame rate; ``None`` before it is open."""
        return self._capture.rate

    def frames(self) -> Iterator[Frame]:
        """Frames as they come.

        Raises:
            SourceError: as :meth:`vdeblur.video.realtime.capture.Capture.frames`; it may be called again.
        """
        pacer = Pacer(self._closing)
        for frame in self._capture.frames():
            if self._paced and not pacer.wait(frame.time_seconds):
                return
            yield frame

    def close(self) -> None:
        self._closing.set()
        self._capture.close()
