"""Deinterlacer: FFmpeg's ``bwdif``, one progressive frame for each frame or for each field."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import av
import numpy as np

from vdeblur.errors import SourceError
from vdeblur.frames import FieldOrder, Frame, PixelFormat
from vdeblur.video.filter_graph import FilterGraph
from vdeblur.video.formats.pixel_formats import planes_of, video_frame_from

#: ``bwdif`` refuses smaller pictures.
LEAST_ROWS, LEAST_COLUMNS = 4, 3


@dataclass(frozen=True)
class TimedPicture:
    """A picture, when it is shown, and the tick of the source's frame it comes from."""

    picture: av.VideoFrame
    tick: int
    duration: int
    source_tick: int


class Deinterlacer:
    """Pictures in, whole pictures out; it is one picture behind.

    Args:
        rate: "frame" gives one picture for each with its time, "field" two; the second is half way to the next frame.
        order: which field comes first; ``None`` = the picture's own flags say it, and whole frames pass as they are.
        halved: ticks that come out are half as long as those that go in.
        frame_ticks: length of the last frame where nothing else says it.
    """

    def __init__(
        self, rate: Literal["frame", "field"], order: FieldOrder | None, *, halved: bool, frame_ticks: int
    ) -> None:
        self._words = f"send_{rate}:{order or 'auto'}:{'all' if order else 'interlaced'}"
        self._two = rate == "field"
        self._scale = 2 if halved else 1
        self._frame_ticks = frame_ticks
        self._layout: tuple[int, int, str] | None = None
        self._graph: FilterGraph | None = None
        self._waiting: deque[tuple[int, int]] = deque()
        self._current = (0, 0)
        self._step = 0

    def push(self, picture: av.VideoFrame, tick: int) -> list[TimedPicture]:
        """Give the next picture; get those that are complete."""
        layout, done = (picture.width, picture.height, picture.format.name), []
        if self._graph is None or layout != self._layout:
            done = self.flush()
            self._layout, self._graph = layout, FilterGraph(picture, "bwdif", self._words)
        self._waiting.append((tick, picture.duration))
        picture.pts = tick
        self._graph.push(picture)
        return done + self._collect(self._graph)

    def flush(self) -> list[TimedPicture]:
        """End of the pictures, or of those of one size: get what is left."""
        if self._graph is None:
            return []
        self._graph.push(None)
        done = self._collect(self._graph)
        self._graph = self._layout = None
        return done

    def _collect(self, graph: FilterGraph) -> list[TimedPicture]:
        return [self._timed(picture) for picture in graph.pull()]

    def _timed(self, picture: av.VideoFrame) -> TimedPicture:
        """``bwdif`` counts in half ticks; where it has no next frame it guesses, so times are made from our own."""
        if self._waiting and picture.pts == 2 * self._waiting[0][0]:
            previous, self._current = self._current[0], self._waiting.popleft()
            self._step = self._current[0] - previous if self._step else self._frame_ticks
            begins, ends = 2 * self._current[0], self._middle if self._two else 2 * self._next
        else:
            begins, ends = self._middle, 2 * self._next
        begin, end = (half * self._scale // 2 for half in (begins, ends))
        return TimedPicture(picture, begin, end - begin, self._current[0])

    @property
    def _next(self) -> int:
        """Tick of the frame after the current one, or at which it ends."""
        if self._waiting:
            return self._waiting[0][0]
        tick, duration = self._current
        return tick + (duration or self._step)

    @property
    def _middle(self) -> int:
        return self._current[0] + self._next


def bob(frames: Iterable[Frame], order: FieldOrder) -> Iterator[Frame]:
    """Two whole pictures for each interlaced frame, in half ticks; each has its own field's rows bit for bit."""
    deinterlacer = Deinterlacer("field", order, halved=True, frame_ticks=1)
    kept: deque[Frame] = deque()

    def whole(done: list[TimedPicture]) -> Iterator[Frame]:
        for timed in done:
            while kept[0].pts != timed.source_tick:
                kept.popleft()
            source = kept[0]
            begins = timed.tick == 2 * source.pts
            own_rows: Literal[0, 1] = 0 if begins == (order == "tff") else 1
            yield replace(
                source, planes=planes_from(timed.picture, source.format), pts=timed.tick, duration=timed.duration,
                time_base=source.time_base / 2, cut=source.cut and begins, own_rows=own_rows,
            )  # fmt: skip

    for frame in frames:
        kept.append(frame)
        yield from whole(deinterlacer.push(carried(frame), frame.pts))
    yield from whole(deinterlacer.flush())


def carried(frame: Frame) -> av.VideoFrame:
    """A frame as a picture that ``bwdif`` takes: the same samples, in a format of more bits where need be."""
    carrier = carrier_format(frame.format)
    if carrier is None:
        raise SourceError(f"the fields of {frame.format.name} frames cannot be treated")
    return video_frame_from(replace(frame, format=carrier))


def planes_from(picture: av.VideoFrame, pixel_format: PixelFormat) -> tuple[Any, ...]:
    """The planes of a picture that :func:`carried` has made, after ``bwdif``."""
    planes, found = planes_of(picture)
    if found.bits == pixel_format.bits:
        return planes
    return tuple(np.minimum(plane, plane.dtype.type(pixel_format.peak)) for plane in planes)


@lru_cache(maxsize=64)
def carrier_format(pixel_format: PixelFormat) -> PixelFormat | None:
    """The format in which ``bwdif`` takes these samples: their own, or that of 16 bits; ``None`` = in none."""
    wider = pixel_format.name.replace(f"{pixel_format.bits}le", "16le")
    for name in (pixel_format.name, wider):
        if can_deinterlace(name):
            return replace(pixel_format, name=name, bits=pixel_format.bits if name == pixel_format.name else 16)
    return None


@lru_cache(maxsize=128)
def can_deinterlace(pixel_format: str) -> bool:
    """Whether ``bwdif`` takes a pixel format as it is; FFmpeg would convert others on the way without a word."""
    try:
        picture = av.VideoFrame(16, 16, pixel_format)
        graph = FilterGraph(picture, "bwdif", "send_frame:tff:all")
        picture.pts = 0
        graph.push(picture)
        graph.push(None)
        return all(done.format.name == pixel_format for done in graph.pull())
    except (av.error.FFmpegError, ValueError):
        return False
