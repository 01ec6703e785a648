"""Interlace handling: pass frames through, watch their flags, or deinterlace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import av

from vdeblur.frames import Colour, FieldOrder, Frame, PixelFormat
from vdeblur.options import InterlacedMode
from vdeblur.video.formats.colour_tags import frame_colour
from vdeblur.video.formats.pixel_formats import canonical_format, planes_of
from vdeblur.video.info import Interlacing, VideoInfo
from vdeblur.video.interlace.deinterlacer import Deinterlacer, TimedPicture, can_deinterlace, carried, planes_from
from vdeblur.video.interlace.detection import FieldWatch, InterlaceDetector, check_treatable, treatment_words


@dataclass(frozen=True)
class ShownFrame:
    """A frame, and the tick of the source's own frame that it comes from."""

    frame: Frame
    source_tick: int


def passed_through(
    pictures: Iterable[tuple[av.VideoFrame, int]], header: Colour, time_base: Fraction
) -> Iterator[ShownFrame]:
    """Frames with the decoder's samples; pictures come with their ticks."""
    for picture, tick in pictures:
        planes, pixel_format = planes_of(picture)
        frame = Frame(planes, pixel_format, frame_colour(picture, header), tick, time_base, picture.duration)
        yield ShownFrame(frame, tick)


class Deinterlaced:
    """Whole frames of interlaced pictures, one for each or one for each of its fields.

    Where the flags are believed, pictures that are flagged as whole frames pass as they are and the order may change;
    else every picture is taken for interlaced, in one order.
    """

    def __init__(self, video: VideoInfo, rate: Literal["frame", "field"], header: Colour) -> None:
        self._header = header
        self._rate = rate
        self._interlacing = video.interlacing
        self._believed = video.interlacing.order == video.interlacing.flagged
        ticks = _frame_ticks(video)
        # A frame of an even number of ticks has a middle.
        self._halved = rate == "field" and (ticks.denominator != 1 or ticks.numerator % 2 == 1)
        self._frame_ticks = max(1, round(ticks))
        self.time_base = video.time_base / 2 if self._halved else video.time_base

    def described(self, video: VideoInfo) -> VideoInfo:
        """What the source becomes."""
        whole = replace(video, interlacing=Interlacing(None, video.interlacing.flagged, video.interlacing.shown))
        if self._rate == "frame":
            return whole
        rate, count = video.average_rate, video.frame_count_from_header
        return replace(
            whole,
            time_base=self.time_base,
            start_pts=video.start_pts * (2 if self._halved else 1),
            average_rate=None if rate is None else 2 * rate,
            frame_count_from_header=None if count is None else 2 * count,
        )

    def frames(self, pictures: Iterable[tuple[av.VideoFrame, int]]) -> Iterator[ShownFrame]:
        """Whole frames; pictures come with their ticks."""
        deinterlacer: Deinterlacer | None = None
        order: FieldOrder | None = None
        known: list[tuple[int, Colour, PixelFormat]] = []
        for picture, tick in pictures:
            passes = can_deinterlace(picture.format.name)
            if deinterlacer is None:
                order = None if self._believed and passes else self._interlacing.order
                deinterlacer = Deinterlacer(self._rate, order, halved=self._halved, frame_ticks=self._frame_ticks)
            known.append((tick, frame_colour(picture, self._header), canonical_format(picture.format.name)))
            if not passes:
                picture = self._carried(picture, known[-1])
            yield from self._shown(deinterlacer.push(picture, tick), known)
        if deinterlacer is not None:
            yield from self._shown(deinterlacer.flush(), known)

    def _carried(self, picture: av.VideoFrame, known: tuple[int, Colour, PixelFormat]) -> av.VideoFrame:
        tick, colour, _ = known
        planes, pixel_format = planes_of(picture)
        made = carried(Frame(planes, pixel_format, colour, tick, self.time_base))
        made.duration = picture.duration
        return made

    def _shown(self, done: list[TimedPicture], known: list[Any]) -> Iterator[ShownFrame]:
        for timed in done:
            while known[0][0] != timed.source_tick:
                known.pop(0)
            _, colour, pixel_format = known[0]
            planes = planes_from(timed.picture, pixel_format)
            frame = Frame(planes, pixel_format, colour, timed.tick, self.time_base, timed.duration)
            yield ShownFrame(frame, timed.source_tick)


class InterlaceHandling:
    """What becomes of a source's pictures: frames as they are, interlaced frames that are watched, or whole frames.

    Pictures stay as they are until something else is chosen. ``video`` is what the source becomes.
    """

    def __init__(self, video: VideoInfo, header: Colour) -> None:
        self.video = video
        #: What people should know, from the start.
        self.notes: list[str] = []
        if video.field_pairs:
            self.notes.append("each field is a picture of its own in the source; two make a frame")
        self._header = header
        self._whole: Deinterlaced | None = None
        self._watch: FieldWatch | None = None

    def choose(self, look: InterlaceDetector, mode: InterlacedMode, name: str) -> None:
        """Judge the pictures that were looked at, and do as ``mode`` says if they are interlaced.

        Raises:
            UsageError, SourceError: as :func:`vdeblur.video.interlace.detection.check_treatable`.
        """
        interlacing, notes = look.judged(self.video.interlacing.flagged)
        self.video = replace(self.video, interlacing=interlacing)
        check_treatable(self.video, mode, name)
        self.notes += notes
        if interlacing.order is None:
            return
        self.notes.append(treatment_words(interlacing.order, mode))
        if mode in ("frame", "field"):
            self._whole = Deinterlaced(self.video, mode, self._header)
            self.video = self._whole.described(self.video)
        else:
            self._watch = FieldWatch(interlacing, self.video.time_base)

    @property
    def later_notes(self) -> list[str]:
        """What has come up on the way."""
        return [] if self._watch is None else self._watch.notes

    def frames(self, pictures: Iterable[tuple[av.VideoFrame, int]]) -> Iterator[ShownFrame]:
        """Treated frames; pictures come with their ticks."""
        if self._whole is not None:
            return self._whole.frames(pictures)
        if self._watch is not None:
            pictures = self._watch.pictures(pictures)
        return passed_through(pictures, self._header, self.video.time_base)


def _frame_ticks(video: VideoInfo) -> Fraction:
    """Ticks from frame to frame at the average rate; 1 where it is not known."""
    return Fraction(1) if not video.average_rate else 1 / (video.average_rate * video.time_base)
