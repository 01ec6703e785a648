"""The reader: any source becomes frames with exact timestamps, in the source's own samples."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
from av.stream import Stream

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import Colour, Frame
from vdeblur.video.claims import refused_claim
from vdeblur.video.clock import Clock
from vdeblur.video.colour import stream_colour
from vdeblur.video.decoder import Decoder
from vdeblur.video.describe import describe
from vdeblur.video.fieldpairs import are_fields, woven_pictures
from vdeblur.video.fit import SIZE_CHANGES, Fit, SizeChange
from vdeblur.video.info import SourceInfo
from vdeblur.video.interlacing import (
    INTERLACED_MODES,
    PICTURES,
    PLACES,
    FieldWatch,
    InterlacedMode,
    Look,
    check_treatable,
    may_be_interlaced,
    treatment_words,
)
from vdeblur.video.places import Place, locate
from vdeblur.video.session import Session
from vdeblur.video.shortfall import early_end, shortfall_at_end, shortfall_in_front
from vdeblur.video.treatment import Deinterlaced, Shown, untreated

#: A start that lies a thousandth of a tick beyond a frame means that frame: seconds are floats.
_TICK_TOLERANCE = Fraction(1, 1000)
#: Streams are interleaved no more loosely than this, so packets that belong to the last frame have come by then.
_INTERLEAVING_SECONDS = 1

#: Pictures with their ticks.
Timed = Iterator[tuple[av.VideoFrame, int]]


def probe(source: str | Path | BinaryIO, *, allow_network: bool = False) -> SourceInfo:
    """What is known about a source: opens it, reads its headers and one frame, and closes it.

    Raises:
        UsageError, SourceError: as :class:`Reader`.
    """
    with Reader(source, threads=1, allow_network=allow_network) as reader:
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
        interlaced: find out whether the video is interlaced, by its pictures too, and "keep" its frames as they are
            (``info.video.interlacing`` tells), make whole ones of each "frame" or each "field", or "refuse" it.
            ``None`` = frames as they are, and what their flags say.
        size_change: where the size or the pixel format changes, "stop" with an error or "fit" all later frames into
            the first size and format. ``None`` = frames as they are.
        allow_network: open URLs too. A local source never opens anything on the network, nor any other file.

    Raises:
        UsageError: there is no such source, or an option does not fit it; or the video is interlaced and refused.
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
        interlaced: InterlacedMode | None = None,
        size_change: SizeChange | None = None,
        allow_network: bool = False,
    ) -> None:
        if size_change is not None and size_change not in SIZE_CHANGES:
            raise UsageError(f"size change cannot be {size_change!r}; it is one of {', '.join(SIZE_CHANGES)}")
        if interlaced is not None and interlaced not in INTERLACED_MODES:
            raise UsageError(f"interlaced cannot be {interlaced!r}; it is one of {', '.join(INTERLACED_MODES)}")
        self._interlaced, self._size_change = interlaced, size_change
        self._start_pts: int | None = None
        self._pairs = False
        self._treatment: Callable[[Timed], Iterator[Shown]]
        self._fit: Fit | None = None
        self._field_watch: FieldWatch | None = None
        self._treatment_notes: list[str] = []
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
        self._place = locate(source, allow_network=allow_network)
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
        notes = [*self._place.notes, *self._treatment_notes]
        notes += [note for part in (self._fit, self._field_watch) if part is not None for note in part.notes]
        if self._clock.repaired:
            notes.append(f"{self._clock.repaired} timestamps were missing or did not rise and have been mended")
        if self._session.decoder.damaged:
            damaged = self._session.decoder.damaged
            notes.append(f"{damaged} frame{'s are' if damaged > 1 else ' is'} damaged in the source")
        if self._session.media.change is not None:
            notes.append(self._session.media.change)
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
        time_base = self._session.media.time_base
        start_pts = self._session.media.start_pts if since is None else self._start_pts
        begin, end = self._range(start_pts, time_base)
        earliest = begin if since is None else int(since * self.info.video.time_base / time_base)
        earliest = None if earliest is None else earliest - self._run_up_ticks
        stamped = self._stamped(self._whole_pictures(self._pictures(earliest), again=since is not None))
        head = next(stamped, None)
        if head is None:
            self._check_result(seen=False, given=0, start_pts=0)
            return
        if start_pts is None:
            start_pts = head[1]
            begin, end = self._range(start_pts, time_base)
            earliest = None if begin is None else begin - self._run_up_ticks
        if earliest is not None:
            # What lies before may be of another size.
            head = next((one for one in chain([head], stamped) if one[1] >= earliest), head)
        stamped = chain([head], stamped)
        if since is None:
            self._start_pts = start_pts
            stamped = self._begin(head[0], stamped, begin)
        self._shortfall = shortfall_in_front(self._session.media, start_pts, end)
        given = 0
        for shown in self._treatment(stamped):
            if (begin is not None and shown.source_tick < begin) or (since is not None and shown.frame.pts < since):
                continue
            if end is not None and shown.source_tick >= end:
                self._collect_until(end)
                break
            given += 1
            yield shown.frame if self._fit is None else self._fit.frame(shown)
        else:
            self._check_length(start_pts, end)
        self._check_result(seen=True, given=given, start_pts=start_pts)

    def _whole_pictures(self, pictures: Iterator[av.VideoFrame], *, again: bool) -> Iterator[av.VideoFrame]:
        """Pictures that are no single fields, unless frames are wanted as they are."""
        first = next(pictures, None)
        if first is None:
            return pictures
        if not again:
            codec = self._session.media.stream.codec_context.name
            self._pairs = self._interlaced is not None and are_fields(codec, first)
        pictures = chain([first], pictures)
        return woven_pictures(pictures) if self._pairs else pictures

    def _begin(self, first: av.VideoFrame, pictures: Timed, begin: int | None) -> Timed:
        """Find out what the source is and how its pictures are treated; the same pictures."""
        media = self._session.media
        header = stream_colour(media.stream)
        self.info = describe(self._place, media, first, self._start_pts or 0, header)
        self.info = _with_first_shape(self.info, self._session.decoder)
        if self._pairs:
            self.info = _of_pairs(self.info)
            self._treatment_notes.append("each field is a picture of its own in the source; two make a frame")
        self._treatment = partial(untreated, header=header, time_base=media.time_base)
        if self._interlaced is not None and may_be_interlaced(self.info.video):
            pictures = self._treat_fields(self._interlaced, pictures, header)
        if self._size_change is not None:
            start = begin if begin is not None else self._start_pts or 0
            self._fit = self._fit_to(self._size_change, start, media.time_base)
        return pictures

    @property
    def _run_up_ticks(self) -> int:
        """How far before the first wanted frame to begin: fields are completed from the frames around them."""
        rate, time_base = self._session.media.rate, self._session.media.time_base
        # Where fields are pictures of their own, the rate is theirs.
        return round(4 / (rate * time_base)) if rate and self._interlaced in ("frame", "field") else 0

    def _stamped(self, pictures: Iterable[av.VideoFrame]) -> Timed:
        """Pictures with their ticks."""
        for picture in pictures:
            yield picture, self._clock.stamp(picture.pts, picture.dts, picture.duration)

    def _treat_fields(self, mode: InterlacedMode, pictures: Timed, header: Colour) -> Timed:
        """Find out whether the video is interlaced, and decide what becomes of it; the same pictures."""
        look, video = Look(), self.info.video
        if self._place.again and not self._place.network:
            self._look_in_places(look)
        else:
            ahead = list(islice(pictures, PICTURES))
            look.at(picture for picture, _ in ahead)
            pictures = chain(ahead, pictures)
        interlacing, notes = look.judged(video.interlacing.flagged)
        video = replace(video, interlacing=interlacing)
        check_treatable(video, mode, self._place.name)
        self.info = replace(self.info, video=video)
        self._treatment_notes += notes
        if interlacing.order is None:
            return pictures
        self._treatment_notes.append(treatment_words(interlacing.order, mode))
        if mode in ("frame", "field"):
            whole = Deinterlaced(video, mode, header)
            self.info = replace(self.info, video=whole.described(video))
            self._treatment = whole.frames
        else:
            watch = self._field_watch = FieldWatch(interlacing, video.time_base)
            plain = self._treatment
            self._treatment = lambda pictures: plain(watch.pictures(pictures))
        return pictures

    def _fit_to(self, change: SizeChange, begin: int, source_time_base: Fraction) -> Fit:
        """What makes all frames one size and format, or stops where they differ."""
        shape = self._session.decoder.sample_aspect_ratio

        def pixel_shape() -> Fraction | None:
            now = self._session.decoder.sample_aspect_ratio
            return None if now == shape else now

        def seconds_before(tick: int) -> float:
            return float((tick - begin) * source_time_base)

        return Fit(self.info.video, change, pixel_shape=pixel_shape, seconds_before=seconds_before)

    def _look_in_places(self, look: Look) -> None:
        """Look at pictures from the wanted stretch, without touching the one that is read."""
        video = self.info.video
        begin, end = self._range(video.start_pts, video.time_base)
        first = video.start_pts if begin is None else begin
        if end is None and video.duration_seconds is not None:
            end = video.start_pts + int(Fraction(video.duration_seconds) / video.time_base)
        # In a short video the places would be the same pictures again.
        shortest = len(PLACES) * PICTURES / ((video.average_rate or 25) * video.time_base)
        places = PLACES if end is not None and end - first > shortest else PLACES[:1]
        with Session(self._place, threads=self._threads, frame_rate=self._frame_rate) as session:
            for share in places:
                tick = first if end is None else first + int(share * (end - first))
                pictures = session.pictures_from(tick) if share or begin is not None else session.pictures()
                look.at(islice(woven_pictures(pictures) if video.field_pairs else pictures, PICTURES))
                if look.is_enough:
                    break

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

    def _claim(self) -> str | None:
        """A size of the picture that was refused, in words."""
        if not self._place.again:
            return None
        return refused_claim(lambda: _decode_one(self._place, self._frame_rate), self._place.file_bytes)

    def _check_result(self, *, seen: bool, given: int, start_pts: int) -> None:
        name = self._place.name
        if not seen:
            reason = self._session.media.failure or self._session.decoder.last_error or "it holds none"
            raise SourceError(f"no frame of {name} can be decoded: {self._place.hint or self._claim() or reason}")
        if not given:
            start = float(self._start or 0)
            until = "" if self._duration is None else f" to {start + float(self._duration):g} s"
            ended = float((self._clock.due - start_pts) * self._session.media.time_base)
            raise UsageError(f"no frame is shown from {start:g} s{until} in {name}, which has {ended:.3f} s")


def _with_first_shape(info: SourceInfo, decoder: Decoder) -> SourceInfo:
    """The description with the pixel shape of the first picture, if the stream and not the container says it.

    FFmpeg looks at some seconds in front, and tells the last shape it has seen there.
    """
    said, first = info.video.sample_aspect_ratio, decoder.sample_aspect_ratio
    if first is None or said != decoder.probed_aspect_ratio or said == first:
        return info
    return replace(info, video=replace(info.video, sample_aspect_ratio=first))


def _of_pairs(info: SourceInfo) -> SourceInfo:
    """The description of frames whose fields were counted as pictures."""
    rate, count = info.video.average_rate, info.video.frame_count_from_header
    video = replace(
        info.video,
        field_pairs=True,
        average_rate=None if rate is None else rate / 2,
        frame_count_from_header=None if count is None else -(-count // 2),
    )
    return replace(info, video=video)


def _decode_one(place: Place, frame_rate: Fraction | None) -> None:
    with Session(place, threads=1, frame_rate=frame_rate) as session:
        next(session.pictures(), None)


def _seconds(name: str, value: float | None, *, least: float | None = None) -> Fraction | None:
    """Seconds as the decimal number that was written: 2.04 means 51/25, not the float nearest to it."""
    if value is None:
        return None
    if not math.isfinite(value) or value < 0 or (least is None and value == 0):
        raise UsageError(
            f"{name} cannot be {value} s; it is a number of seconds {'from 0' if least == 0 else 'above 0'}"
        )
    return Fraction(repr(float(value)))
