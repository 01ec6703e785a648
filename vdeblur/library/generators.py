"""Generator interface of the library: iterables of pictures in, restored pictures of the same type out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from torch import Tensor

from vdeblur.adapters.arrays import Channels
from vdeblur.adapters.pictures import P, frame_of, join, number_of, picture_of, split
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.read_ahead import always_ready, checked_read_ahead
from vdeblur.errors import Interrupted, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.model.network import Network
from vdeblur.options import RestoreArguments, RestoreOptions, with_restore_signature
from vdeblur.pipeline.loop import Progress


class StreamOptions(RestoreArguments, total=False):
    """Keyword arguments of :func:`deblur_streams`."""

    model: str | Path | Network
    channels: Channels
    progress: Callable[[Progress], None] | None
    stop: Callable[[], bool] | None


class FrameOptions(StreamOptions, total=False):
    """Keyword arguments of :func:`deblur_frames` and :func:`vdeblur.adeblur_frames`."""

    read_ahead: int


@overload
def deblur_frames(
    frames: np.ndarray[Any, np.dtype[Any]], **options: Unpack[FrameOptions]
) -> Generator[np.ndarray[Any, np.dtype[Any]], None, None]: ...
@overload
def deblur_frames(frames: Tensor, **options: Unpack[FrameOptions]) -> Generator[Tensor, None, None]: ...
@overload
def deblur_frames(frames: Iterable[P], **options: Unpack[FrameOptions]) -> Generator[P, None, None]: ...
@with_restore_signature
def deblur_frames(
    frames: Iterable[Any],
    *,
    model: str | Path | Network = RestoreOptions.model,
    channels: Channels = "rgb",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    read_ahead: int = 0,
    **restoration: Unpack[RestoreArguments],
) -> Generator[Any, None, None]:
    """Take the motion blur out of a sequence of pictures. Lazy: one comes out for each that goes in.

    Restored pictures have the type, dtype, shape and device of the input, in new memory. The next picture is requested
    only when the previous one (with lookahead 1: the one before that) has been consumed; of a list, an array or a
    tensor, whose pictures are there already, one earlier. Each is copied when it comes: a camera may use one buffer.
    The recurrent state is reset at a change of size, dtype or format, and at a scene cut. Closing the generator,
    garbage collection, or a failure closes ``frames``, if that is a generator too; there are no threads.

    Example::

        import cv2
        from vdeblur import deblur_frames

        def camera():
            capture = cv2.VideoCapture(0)
            while (got := capture.read())[0]:
                yield got[1]

        for picture in deblur_frames(camera(), lookahead=0, channels="bgr"):
            cv2.imshow("sharp", picture)

    Args:
        frames: pictures of one kind:

            - NumPy arrays (H, W), (H, W, 1), (H, W, 3) or (H, W, 4);
            - torch tensors (H, W), (C, H, W) or (1, C, H, W) with C = 1, 3 or 4, on any device, where they stay;
            - PIL images of mode L, LA, RGB, RGBA or I;16, with their info;
            - ``av.VideoFrame`` in formats of 8 to 16 bits, with pts, time base, duration and colour, taken as whole
              (not interlaced) pictures;
            - :class:`vdeblur.Frame`.

            Arrays and tensors are uint8 or uint16 (whole range) or floating: display-referred R'G'B' in [0, 1], which
            is checked of every picture. An
            array (T, H, W, C) or a tensor (T, C, H, W), T > 1, as an item is T pictures that follow each other and
            comes back as one; as ``frames`` it is T items. Alpha is left as it is.
        model, device, precision, strength, lookahead, shutter, tile, reduce, overlays, keep, remove, noise,
            grain, guide: as for :class:`vdeblur.Deblurrer`. A shutter in seconds needs pictures with times.
        channels: order of the colours in arrays and tensors, "rgb" or "bgr" (as OpenCV has it).
        progress: callback before each picture comes out. ``frames_total`` is known if ``frames`` has a length;
            ``media_seconds`` is 0 for pictures without timestamps.
        stop: callback before each picture comes out; True ends it with Interrupted.
        read_ahead: pictures, 0 to 100, by which the result is delayed, so that the exposure is read from later pictures
            of the shot, too: 24 for pictures that are there already, as files have it; 0 for those that come live.
            From 6 on, repeated pictures also wait for the next one that differs.

    Raises:
        UsageError: an option is invalid, at once; or a picture, in its turn.
        NetworkError, DeviceError: with the number or the time of the picture.
        Interrupted: ``stop`` said so.
    """
    if isinstance(frames, (str, bytes, Path)) or not isinstance(frames, Iterable):
        raise UsageError(f"frames cannot be {frames!r}; give an iterable of pictures, or use deblur_video for files")
    if isinstance(frames, (np.ndarray, Tensor)) and frames.ndim != 4:
        raise UsageError(f"one array of shape {tuple(frames.shape)} is no sequence of pictures; put it into a list")
    reporter = ProgressReporter(frames, progress, stop)
    read_ahead = checked_read_ahead(read_ahead)
    deblurrer = Deblurrer(model, channels=channels, **restoration)
    return _restored(frames, deblurrer, reporter, read_ahead)


def deblur_streams(
    streams: Sequence[Iterable[P]], **options: Unpack[StreamOptions]
) -> Generator[tuple[P | None, ...], None, None]:
    """Take the motion blur out of several independent streams beside each other: cameras that share a machine. Lazy.

    The n-th tuple has the n-th restored picture of each stream, and None for those that have ended before. Frames of
    one size are batched. Each stream has a state of its own, and its result is that of the stream alone: exactly, or up
    to floating-point rounding where batched sums round differently. Streams may differ in type and size. Closing the
    generator closes those that are generators.

    Example::

        for left, right in deblur_streams([camera(0), camera(1)], lookahead=0, channels="bgr"):
            ...

    Args:
        streams: each as for :func:`deblur_frames`; an item is one picture.
        options: as for :func:`deblur_frames`, but for ``read_ahead``. ``progress`` counts tuples.

    Raises:
        UsageError, NetworkError, DeviceError, Interrupted: as :func:`deblur_frames`; wrong pictures with the number
            of their stream.
    """
    if isinstance(streams, (str, bytes, Path)) or not isinstance(streams, Iterable):
        raise UsageError(f"streams cannot be {streams!r}; give a sequence of iterables of pictures")
    streams = list(streams)
    for number, stream in enumerate(streams):
        if isinstance(stream, (str, bytes, Path)) or not isinstance(stream, Iterable):
            raise UsageError(f"stream {number} cannot be {stream!r}; give an iterable of pictures")
    reporter = ProgressReporter(streams[0] if streams else (), options.get("progress"), options.get("stop"))
    engine: dict[str, Any] = {name: value for name, value in options.items() if name not in ("progress", "stop")}
    return _restored_streams(streams, Deblurrer(**engine), reporter)


class ProgressReporter:
    """Calls the progress callback, and raises Interrupted when the stop callback says so.

    Args:
        frames: the input; its length, if it has one, is the total number of pictures.
    """

    def __init__(
        self, frames: Any, progress: Callable[[Progress], None] | None, stop: Callable[[], bool] | None
    ) -> None:
        self._total = len(frames) if isinstance(frames, Sized) else None
        self._progress = progress
        self._stop = stop
        self._began = time.perf_counter()
        self._first: Frame | None = None
        self._count = 0

    def start(self) -> None:
        """Start the clock, before the first picture is requested."""
        self._began = time.perf_counter()

    def report(self, frame: Frame) -> None:
        """Report one more restored picture, whose frame this is.

        Raises:
            Interrupted: the stop callback returned True.
        """
        self._first = self._first or frame
        self._count += 1
        if self._progress is not None:
            seconds = float((frame.pts - self._first.pts + frame.duration) * frame.time_base)
            media_seconds = 0.0 if number_of(frame) is not None else seconds
            elapsed_seconds = time.perf_counter() - self._began
            self._progress(Progress(self._count, self._total, media_seconds, elapsed_seconds))
        if self._stop is not None and self._stop():
            raise Interrupted(f"stopped after {self._count} frame{'s' * (self._count != 1)}")


def _restored(
    items: Iterable[Any], deblurrer: Deblurrer, reporter: ProgressReporter, read_ahead: int
) -> Generator[Any, None, None]:
    iterator = iter(items)
    counts: deque[int] = deque()
    ready = always_ready if isinstance(items, (list, tuple, np.ndarray, Tensor)) else None

    def frames() -> Iterator[Frame]:
        before = None
        for item in iterator:
            pictures = split(item)
            counts.append(len(pictures))
            for picture in pictures:
                before = frame_of(picture, before=before, channels=deblurrer.channels)
                yield before

    with ExitStack() as stack:
        _close_with(stack, iterator)
        restored = stack.enter_context(closing(deblurrer.run(frames(), read_ahead=read_ahead, ready=ready)))
        reporter.start()
        done: list[Any] = []
        for frame in restored:
            done.append(picture_of(frame))
            if len(done) < counts[0]:
                continue
            counts.popleft()
            item, done = join(done), []
            reporter.report(frame)
            del frame
            yield item


def _restored_streams(
    streams: Sequence[Iterable[Any]], deblurrer: Deblurrer, reporter: ProgressReporter
) -> Generator[tuple[Any, ...], None, None]:
    iterators = [iter(stream) for stream in streams]
    with ExitStack() as stack:
        for iterator in iterators:
            _close_with(stack, iterator)
        sources = [_frames_of(iterator, number, deblurrer.channels) for number, iterator in enumerate(iterators)]
        rounds = stack.enter_context(closing(deblurrer.run_many(sources)))
        reporter.start()
        for frames in rounds:
            pictures = tuple(None if frame is None else picture_of(frame) for frame in frames)
            reporter.report(next(frame for frame in frames if frame is not None))
            yield pictures


def _frames_of(pictures: Iterator[Any], stream: int, channels: Channels) -> Iterator[Frame]:
    before = None
    for picture in pictures:
        try:
            before = frame_of(picture, before=before, channels=channels)
        except VdeblurError as exc:
            exc.args = (f"stream {stream}: {exc.args[0]}",)
            raise
        yield before


def _close_with(stack: ExitStack, iterator: Iterator[Any]) -> None:
    if isinstance(iterator, Generator):
        stack.enter_context(closing(iterator))
