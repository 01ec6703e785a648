"""The reader: any source becomes frames with exact timestamps, in the source's own samples."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
from av.stream import Stream

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import Frame
from vdeblur.video.clock import Clock
from vdeblur.video.colour import frame_colour, stream_colour
from vdeblur.video.describe import describe
from vdeblur.video.formats import planes_of
from vdeblur.video.info import SourceInfo
from vdeblur.video.places import locate
from vdeblur.video.session import Session
from vdeblur.video.shortfall import early_end, shortfall_at_end, shortfall_in_front

#: A start that lies a thousandth of a tick beyond a frame means that frame: seconds are floats.
_TICK_TOLERANCE = Fraction(1, 1000)
#: Streams are interleaved no more loosely than this, so packets that belong to the last frame have come by then.
_INTERLEAVING_SECONDS = 1


def probe(source: str | Path | BinaryIO) -> SourceInfo:
    """What is known about a source: opens it, reads its headers and one frame, and closes it.

    Raises:
        UsageError, SourceError: as :class:`Reader`.
    """
    with Reader(source, threads=1) as reader:
        return reader.info


class Reader:
    """Frames of a video in the order they are shown; a context manager and an iterator.

    Frames have the stream's own time base and its own ticks, unshifted, each later than the one before. Planes are
    the decoder's samples, bit for bit, and stay valid as long as the frame lives. The first frame is decoded at once,
    so a source that holds none is refused before any work starts. One thread may iterate while another closes.

    Args:
        source: a file, a pattern ("frame_%05d.png"), a folder of pictures, a URL, "-" (standard input) or a binary
            file object, from its present position.
        start_seconds: leave out the frames shown earlier; counted from the start of the stream.
        duration_seconds: leave out the frames shown this long after the start, or later.
        threads: decoder threads, 0 = one for each core.
        frame_rate: of picture sequences and raw streams, which have no timestamps (default 25).
        keep_packets: keep the packets of all other streams for :meth:`take_packets`.

    Raises:
        UsageError: there is no such source, or an option does not fit it.
        SourceError: it cannot be read or decoded, or holds no video.
    """

    info: SourceInfo

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        start_seconds: float | None = None,
        duration_seconds: float | None = None,
        threads: int = 0,
        frame_rate: Fraction | None = None,
        keep_packets: bool = False,
    ) -> None:
        self._start = _seconds("start", start_seconds, least=0)
        self._duration = _seconds("duration", duration_seconds)
        if threads < 0:
            raise UsageError(f"threads cannot be {threads}; it is 0 (one a core) or a number of threads")
        if frame_rate is not None and not 0 < frame_rate <= 1_000_000:
            raise UsageError(f"frame rate cannot be {frame_rate}; it is a number of frames a second above 0")
        self._lock = threading.Lock()
        self._closed = False
        self._threads, self._keep = threads, keep_packets
        self._frame_rate = None if frame_rate is None else Fraction(frame_rate)
        self._place = locate(source)
        self._lost_at_end = 0
        self._shortfall: str | None = None
        self._early_end: str | None = None
        self._session = Session(self._place, threads=threads, frame_rate=self._frame_rate, keep_packets=keep_packets)
        self._even = self._frame_rate is not None and not self._place.pictures
        self._clock = self._new_clock()
        self._frames = self._read()
        try:
            self._first: Frame | None = next(self._frames)
        except BaseException:
            self.close()
            raise

    def _new_clock(self) -> Clock:
        media = self._session.media
        rate = self._frame_rate if self._even else media.rate
        return Clock(media.time_base, rate, media.start_pts or 0, even=self._even)

    @property
    def can_jump(self) -> bool:
        """Whether :meth:`skip_to` may be tried: times are the source's own, and it can be read from anywhere."""
        return self._place.again and not self._even and not self._clock.repaired

    @property
    def skipped_packets(self) -> int:
        """Packets so far that could not be decoded."""
        return self._session.decoder.skipped + self._lost_at_end

    @property
    def notes(self) -> list[str]:
        """What people should know of the source so far, in plain words; complete after the last frame."""
        notes = list(self._place.notes)
        if self._clock.repaired:
            notes.append(f"{self._clock.repaired} timestamps were missing or did not rise and have been mended")
        if self._session.decoder.damaged:
            damaged = self._session.decoder.damaged
            notes.append(f"{damaged} frame{'s are' if damaged > 1 else ' is'} damaged in the source")
        if self._shortfall is not None:
            notes.append(self._shortfall)
        elif self._session.media.failure is not None:
            notes.append(f"reading stopped early: {self._session.media.failure}")
        elif self._early_end is not None:
            notes.append(self._early_end)
        return notes

    @property
    def shortfall(self) -> str | None:
        """Why frames that were asked for are missing at the end, in plain words; ``None`` if they are there.

        Known from the start where the file says so in front, else after the last frame.
        """
        return self._shortfall

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._lock:
            if self._closed:
                raise StopIteration
            if self._first is not None:
                frame, self._first = self._first, None
                return frame
            return next(self._frames)

    def skip_to(self, pts: int) -> bool:
        """Go on with the frame of that tick, by way of a key frame before it; before any frame has been taken.

        Returns:
            Whether that frame has been found; if not, the reader is of no more use. What is decoded behind a jump may
            differ in a damaged source: compare the frame with what it was.
        """
        with self._lock:
            self._frames.close()
            self._first = None
            self._clock = self._new_clock()
            self._frames = self._read(since=pts)
            try:
                self._first = next(self._frames, None)
            except (SourceError, UsageError):
                return False
            return self._first is not None and self._first.pts == pts

    def take_packets(self) -> list[av.Packet[Any]]:
        """Packets of the other streams read since the last call, in file order; the reader forgets them.

        They and their ``packet.stream`` are of use only until the reader is closed: write them before.
        """
        kept, taken = self._session.media.kept, []
        while kept:
            taken.append(kept.popleft())
        return taken

    def stream_templates(self) -> tuple[Stream, ...]:
        """The other streams, in the order of the container, for ``add_stream_from_template``; until closed."""
        media = self._session.media
        return tuple(stream for stream in media.streams if stream is not media.stream)

    def close(self) -> None:
        """End the decoder's threads and close the source; safe in any state and more than once."""
        if self._place.pipe is not None:
            self._place.pipe.stop()
        with self._lock:
            if not self._closed:
                self._closed = True
                self._first = None
                self._frames.close()
                self._session.close()

    def _read(self, *, since: int | None = None) -> Generator[Frame, None, None]:
        """Frames of the wanted stretch, or those of it from tick ``since`` on."""
        media = self._session.media
        header, time_base, start_pts = stream_colour(media.stream), media.time_base, media.start_pts
        begin, end = self._range(start_pts, time_base)
        if since is not None:
            start_pts = self.info.video.start_pts
            begin, end = self._range(start_pts, time_base)
        del media
        given = seen = 0
        for picture in self._pictures(begin if since is None else since):
            tick = self._clock.stamp(picture.pts, picture.dts, picture.duration)
            if not seen:
                if start_pts is None:
                    start_pts = tick
                    begin, end = self._range(start_pts, time_base)
                if since is None:
                    self.info = describe(self._place, self._session.media, picture, start_pts, header)
                self._shortfall = shortfall_in_front(self._session.media, start_pts, end)
            seen += 1
            if (begin is not None and tick < begin) or (since is not None and tick < since):
                continue
            if end is not None and tick >= end:
                self._collect_until(end)
                break
            given += 1
            planes, pixel_format = planes_of(picture)
            yield Frame(planes, pixel_format, frame_colour(picture, header), tick, time_base, picture.duration)
        else:
            self._check_length(start_pts or 0, end)
        self._check_result(seen, given, start_pts or 0)

    def _range(self, start_pts: int | None, time_base: Fraction) -> tuple[int | None, int | None]:
        """First tick that is wanted and first that is wanted no longer; ``None`` = no limit, or not known yet."""
        if start_pts is None:
            return None, None
        start = self._start or Fraction(0)
        begin = None if self._start is None else start_pts + math.ceil(start / time_base - _TICK_TOLERANCE)
        if self._duration is None:
            return begin, None
        return begin, start_pts + math.ceil((start + self._duration) / time_base - _TICK_TOLERANCE)

    def _pictures(self, begin: int | None) -> Iterator[av.VideoFrame]:
        """Decoded pictures from ``begin`` or a little earlier to the very last."""
        session = self._session
        pictures = session.pictures() if begin is None or self._even else session.pictures_from(begin)
        last = None
        for picture in pictures:
            if picture.pts is not None:
                last = picture.pts if last is None else max(last, picture.pts)
            yield picture
        if session.decoder.may_lack_frames and self._threads != 1:
            yield from self._tail(last)

    def _tail(self, last: int | None) -> Iterator[av.VideoFrame]:
        """Pictures behind an error at the end, where a threaded decoder cannot go on: one thread decodes them again."""
        decoder = self._session.decoder
        if not self._place.again or (last is None and decoder.received):
            self._lost_at_end = int(decoder.flush_failed)
            return
        with Session(self._place, threads=1, frame_rate=self._frame_rate) as session:
            for picture in session.pictures() if last is None else session.pictures_from(last):
                if last is None or (picture.pts is not None and picture.pts > last):
                    yield picture
            skipped = sum(last is None or pts > last for pts in session.decoder.skipped_pts)
        self._lost_at_end = max(0, skipped - decoder.skipped_since_frame)

    def _collect_until(self, tick: int) -> None:
        """Read on until the other streams' packets for the frames before ``tick`` must have come."""
        if not self._keep:
            return
        media = self._session.media
        limit = tick + _INTERLEAVING_SECONDS / media.time_base
        for packet in media.packets():
            if packet.dts is not None and packet.dts > limit:
                return

    def _check_length(self, start_pts: int, end: int | None) -> None:
        """Find out whether the last frame is the last that should have come."""
        media = self._session.media
        ended = float((self._clock.due - start_pts) * media.time_base)
        asked = None if end is None else float((end - start_pts) * media.time_base)
        self._shortfall = shortfall_at_end(media, ended, asked)
        self._early_end = early_end(media, ended) if end is None else None

    def _check_result(self, seen: int, given: int, start_pts: int) -> None:
        name = self._place.name
        if not seen:
            reason = self._session.media.failure or self._session.decoder.last_error or "it holds none"
            raise SourceError(f"no frame of {name} can be decoded: {self._place.hint or reason}")
        if not given:
            start = float(self._start or 0)
            until = "" if self._duration is None else f" to {start + float(self._duration):g} s"
            ended = float((self._clock.due - start_pts) * self._session.media.time_base)
            raise UsageError(f"no frame is shown from {start:g} s{until} in {name}, which has {ended:.3f} s")


def _seconds(name: str, value: float | None, *, least: float | None = None) -> Fraction | None:
    """Seconds as the decimal number that was written: 2.04 means 51/25, not the float nearest to it."""
    if value is None:
        return None
    if not math.isfinite(value) or value < 0 or (least is None and value == 0):
        raise UsageError(
            f"{name} cannot be {value} s; it is a number of seconds {'from 0' if least == 0 else 'above 0'}"
        )
    return Fraction(repr(float(value)))
