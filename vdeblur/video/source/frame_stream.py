"""Frame stream: decoded pictures of one source become the requested frames, in order and with exact times."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain

import av

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import CameraExposure, Colour, Frame
from vdeblur.options import ReadOptions, SizeChange
from vdeblur.video.changes.colour_change import ColourKeeper
from vdeblur.video.changes.side_data_watch import SideDataWatch
from vdeblur.video.changes.size_change import SizeFitter
from vdeblur.video.clock.scan import TRANSPORTS
from vdeblur.video.clock.slots import DecodingSlots
from vdeblur.video.encryption.lookup import StreamName
from vdeblur.video.encryption.refusal import marked, named_encrypted, refuse_encrypted
from vdeblur.video.exposure.lookup import ExposureLookup
from vdeblur.video.formats.colour_tags import stream_colour
from vdeblur.video.info import ExposureRange, SourceInfo, TimeScan
from vdeblur.video.interlace.detection import may_be_interlaced
from vdeblur.video.interlace.field_pairs import are_fields, woven_pictures
from vdeblur.video.interlace.handling import InterlaceHandling, ShownFrame
from vdeblur.video.quantiser.lookup import QuantiserLookup
from vdeblur.video.source.decode_session import DecodeSession
from vdeblur.video.source.demuxer import scan_times
from vdeblur.video.source.early_end import EarlyEnd
from vdeblur.video.source.interlace_probe import TimedPictures, look_ahead, look_in_places
from vdeblur.video.source.limits import refused_claim
from vdeblur.video.source.location import SourceLocation
from vdeblur.video.source.opening import open_again
from vdeblur.video.source.probe import describe, of_pairs, with_first_shape
from vdeblur.video.source.tail_recovery import TailRecovery
from vdeblur.video.source.timestamps import TimestampRepair
from vdeblur.video.time_range import TimeRange

#: Streams are interleaved no more loosely than this, so packets that belong to the last frame have come by then.
_INTERLEAVING_SECONDS = 1
#: So often it is looked whether nearly everything is damaged, which need not wait for the end.
_FRAMES_TO_JUDGE = 500
#: Options for an opening that is not for the video: its packets need not be looked at.
_BARELY_PROBED = {"probesize": "32", "analyzeduration": "1"}


class FrameStream:
    """One source that is being read, without locks.

    ``info`` is known when the first frame has come.

    Raises:
        SourceError, UsageError: as :class:`DecodeSession`.
    """

    info: SourceInfo
    #: Colour tags of the stream's header.
    header: Colour

    def __init__(self, place: SourceLocation, options: ReadOptions) -> None:
        self._place, self._options = place, options
        self._wanted = TimeRange.of(options.start_seconds, options.duration_seconds)
        self._frame_rate = None if options.frame_rate is None else Fraction(options.frame_rate)
        self._quantisers = QuantiserLookup()
        self.open_session = partial(
            DecodeSession,
            place,
            threads=options.threads,
            frame_rate=self._frame_rate,
            video=options.video,
            quantisers=self._quantisers,
        )
        self.session = self._first_session(options.keep_packets)
        self._scan = scan_times(place, self.session.media)
        if self._scan is not None and self._scan.moves:
            self.open_session = partial(self.open_session, scan=self._scan)
            self.session.close()
            self.session = self.open_session(keep_packets=options.keep_packets)
        #: Whether frames are numbered evenly, as the source has no times.
        self.even = self._frame_rate is not None and not place.pictures
        self.clock = self._new_clock()
        media = self.session.media
        self._exposures = ExposureLookup(media.stream.codec_context.name, media.time_base)
        self.ending = EarlyEnd()
        self.tail = TailRecovery(self.open_session if place.again else None)
        self._start_pts: int | None = None
        self._pairs = False
        self._treatment: InterlaceHandling | None = None
        self._fit: SizeFitter | None = None
        self._colours: ColourKeeper | None = None
        self._side_data: SideDataWatch | None = None

    def _first_session(self, keep_packets: bool) -> DecodeSession:
        """The session to begin with.

        Raises:
            SourceError: it cannot be opened, or its video is encrypted.
        """
        place = self._place
        try:
            session = self.open_session(keep_packets=keep_packets)
        except SourceError as exc:
            named = named_encrypted(exc, place.name, place.path, place.head)
            if named is exc:
                raise
            raise named from exc
        media = session.media
        streams = [StreamName(stream.index, stream.id) for stream in media.streams]
        try:
            container, video = media.container_name, media.stream.index
            self._encrypted = refuse_encrypted(place.name, place.path, place.head, container, streams, video)
        except BaseException:
            session.close()
            raise
        return session

    def _new_clock(self) -> TimestampRepair:
        media = self.session.media
        rate = self._frame_rate if self.even else media.rate
        return TimestampRepair(media.time_base, rate, media.start_pts or 0, even=self.even)

    @property
    def notes(self) -> list[str]:
        """What people should know so far, in plain words; complete after the last frame."""
        notes = [*self._place.notes, *self.session.media.notes]
        for part in (self._treatment, self._fit, self._colours, self._side_data):
            notes += [] if part is None else part.notes
        notes += [] if self._treatment is None else self._treatment.later_notes
        scan = self._scan or self.session.media.scan
        notes += [] if scan is None else scan.notes
        if mended := _mended(self.clock, scan):
            notes.append(f"{mended} timestamps were missing or did not rise and have been mended")
        notes += self.session.decoder.notes
        if self.session.media.change is not None:
            notes.append(self.session.media.change)
        return notes + self.ending.notes(self.session.media.failure)

    def frames(self) -> Generator[Frame, None, None]:
        """Frames of the wanted stretch, from its start.

        Raises:
            SourceError, UsageError: there is none, or it cannot be treated as was asked.
        """
        return self._read(None)

    def frames_since(self, pts: int) -> Generator[Frame, None, None]:
        """Those of them from tick ``pts`` on; after the first has been read, and :meth:`frames` has been closed."""
        self.clock = self._new_clock()
        self._quantisers.restart()
        return self._read(pts)

    @property
    def losses(self) -> tuple[tuple[str, str], ...]:
        """What side data have come after the first frame, and are lost: their names, and in which frames."""
        return () if self._side_data is None else self._side_data.losses

    @property
    def captioned(self) -> str | None:
        """In which frames closed captions have come; ``None`` = in none."""
        return None if self._side_data is None else self._side_data.captioned

    def exposure_range(self, first: CameraExposure | None) -> ExposureRange | None:
        """Shortest and longest exposure that the camera wrote down, given that of the first frame."""
        return self._exposures.range(first)

    def close(self) -> None:
        self._exposures.close()
        self.session.close()

    def _read(self, since: int | None) -> Generator[Frame, None, None]:
        first, pictures, start_pts = self._from_earliest(since)
        begin, end = self._wanted.ticks(start_pts, self.session.media.time_base)
        if since is None:
            self._start_pts = start_pts
            pictures = self._begin(first, pictures, start_pts if begin is None else begin, end)
        assert self._treatment is not None
        self.ending.look_in_front(self.session.media, start_pts, end)
        given = 0
        for shown in self._treatment.frames(pictures):
            if (begin is not None and shown.source_tick < begin) or (since is not None and shown.frame.pts < since):
                continue
            if end is not None and shown.source_tick >= end:
                self._collect_until(end)
                break
            given += 1
            if given % _FRAMES_TO_JUDGE == 0:
                self._refuse_made_up(hopeless=True)
            shown = _told(shown, self._exposures, self._quantisers)
            yield self._alike(shown)
        else:
            self.ending.reached(self.session.media, start_pts, self.clock.due, end)
        self._refuse_made_up()
        if not given:
            ended = float((self.clock.due - start_pts) * self.session.media.time_base)
            words = f"no frame is shown {self._wanted.words} in {self._place.name}, which has {ended:.3f} s"
            raise UsageError(words)

    def _alike(self, shown: ShownFrame) -> Frame:
        """The frame in the layout and colour that all have, where that was asked for.

        Raises:
            SourceError: it has another, and cannot be converted or shall not be.
        """
        captions = b"" if self._side_data is None else self._side_data.captions_of(shown.source_tick)
        if captions:
            shown = replace(shown, frame=replace(shown.frame, captions=captions))
        if self._fit is None or self._colours is None:
            return shown.frame
        return self._fit.frame(replace(shown, frame=self._colours.frame(shown)))

    def _refuse_made_up(self, *, hopeless: bool = False) -> None:
        """Refuse a source most of whose pictures the decoder had to make up.

        Raises:
            SourceError: it did.
        """
        if (words := self.session.decoder.made_up(hopeless=hopeless)) is not None and not self._place.pictures:
            raise SourceError(
                f"{words} in {self._place.name}, so the result would be made up by the decoder; "
                "--start and --duration choose a part that is sound"
            )

    def _from_earliest(self, since: int | None) -> tuple[av.VideoFrame, TimedPictures, int]:
        """The first picture that is of use, all from it on with their ticks, and the tick at which the stream starts.

        Raises:
            SourceError: no picture can be decoded.
        """
        start_pts = self.session.media.start_pts if since is None else self._start_pts
        earliest = self._earliest(start_pts, since)
        pictures = self._stamped(self._whole_pictures(self._pictures(earliest), again=since is not None))
        head = next(pictures, None)
        if head is None:
            raise self._no_picture()
        if start_pts is None:
            start_pts = head[1]
            earliest = self._earliest(start_pts, since)
        if earliest is not None:
            # What lies before may be of another size.
            head = next((one for one in chain([head], pictures) if one[1] >= earliest), head)
        return head[0], chain([head], pictures), start_pts

    def _earliest(self, start_pts: int | None, since: int | None) -> int | None:
        """Tick to begin at: before the first wanted frame where fields are completed from the frames around them."""
        media = self.session.media
        begin, _ = self._wanted.ticks(start_pts, media.time_base)
        if since is not None:
            begin = int(since * self.info.video.time_base / media.time_base)
        if begin is None or not media.rate or self._options.interlaced not in ("frame", "field"):
            return begin
        # Where fields are pictures of their own, the rate is theirs.
        return begin - round(4 / (media.rate * media.time_base))

    def _pictures(self, begin: int | None) -> Iterator[av.VideoFrame]:
        """Decoded pictures from ``begin`` or a little earlier to the very last."""
        session = self.session
        whole = begin is None or self.even or session.media.slots is not None
        pictures = session.pictures() if begin is None or whole else session.pictures_from(begin)
        return pictures if self._options.threads == 1 else self.tail.added(pictures, session)

    def _whole_pictures(self, pictures: Iterator[av.VideoFrame], *, again: bool) -> Iterator[av.VideoFrame]:
        """Pictures that are no single fields, unless frames are wanted as they are."""
        first = next(pictures, None)
        if first is None:
            return pictures
        if not again:
            codec = self.session.media.stream.codec_context.name
            self._pairs = self._options.interlaced is not None and are_fields(codec, first)
        pictures = chain([first], pictures)
        return woven_pictures(pictures) if self._pairs else pictures

    def _stamped(self, pictures: Iterable[av.VideoFrame]) -> TimedPictures:
        """Pictures with their ticks."""
        pictures = self._quantisers.seen(pictures)
        if self.session.media.slots is not None:
            pictures = _in_slots(pictures, self.session.media.slots)
        for picture, tick in self._ticks(pictures):
            self._exposures.watch(picture, tick)
            self._quantisers.place(tick)
            if self._side_data is not None:
                self._side_data.watch(picture, tick)
            yield picture, tick

    def _ticks(self, pictures: Iterable[av.VideoFrame]) -> TimedPictures:
        """The same; nothing waits for a later picture where a camera may wait for this one."""
        if self._place.pipe is None or self.session.media.container_name in TRANSPORTS:
            return self.clock.stamped(pictures)
        return ((picture, self.clock.stamp(picture.pts, picture.dts, picture.duration)) for picture in pictures)

    def _begin(self, first: av.VideoFrame, pictures: TimedPictures, begin: int, end: int | None) -> TimedPictures:
        """Find out what the source is and how its pictures are treated; the same pictures."""
        media = self.session.media
        self.header = header = stream_colour(media.stream)
        info = describe(self._place, media, first, self._start_pts or 0, header)
        info = marked(with_first_shape(info, self.session.decoder), self._encrypted)
        self._side_data = SideDataWatch(info.video.codec, info.video.side_data, media.time_base, begin=begin, end=end)
        head = next(iter(pictures))
        self._side_data.watch(*head)
        pictures = chain([head], pictures)
        if self._pairs:
            info = of_pairs(info)
        if not self._place.network:
            self._exposures.begin(info, media.streams, partial(open_again, info, **_BARELY_PROBED))
        self._treatment = InterlaceHandling(info.video, header)
        if self._options.interlaced is not None and may_be_interlaced(info.video):
            if self._place.again and not self._place.network:
                look = look_in_places(self.open_session, info.video, self._wanted)
            else:
                look, pictures = look_ahead(pictures)
            self._treatment.choose(look, self._options.interlaced, self._place.name)
        self.info = replace(info, video=self._treatment.video, scan=self._scan)
        self._exposures.treated_as(self.info.video.interlacing)
        if self._options.size_change is not None:
            self._keep_alike(self._options.size_change, begin, media.time_base)
        return pictures

    def _keep_alike(self, change: SizeChange, begin: int, source_time_base: Fraction) -> None:
        """Have all frames made one size, format and colour, or stop where they differ."""
        shape = self.session.decoder.sample_aspect_ratio

        def pixel_shape() -> Fraction | None:
            now = self.session.decoder.sample_aspect_ratio
            return None if now == shape else now

        def seconds_before(tick: int) -> float:
            return float((tick - begin) * source_time_base)

        self._fit = SizeFitter(self.info.video, change, pixel_shape=pixel_shape, seconds_before=seconds_before)
        self._colours = ColourKeeper(
            self.info.video, start_seconds=self._options.start_seconds, seconds_before=seconds_before
        )

    def _collect_until(self, tick: int) -> None:
        """Read on until the other streams' packets for the frames before ``tick`` must have come."""
        if not self._options.keep_packets:
            return
        media = self.session.media
        limit = tick + _INTERLEAVING_SECONDS / media.time_base
        for packet in media.packets():
            if packet.dts is not None and packet.dts > limit:
                return

    def _no_picture(self) -> SourceError:
        """Why there is no picture at all."""
        claim = refused_claim(self._decode_one, self._place.file_bytes) if self._place.again else None
        reason = self.session.media.failure or self.session.decoder.last_error or "it holds none"
        name = self._place.name
        error = SourceError(f"no frame of {name} can be decoded: {self._place.hint or claim or reason}")
        return named_encrypted(error, name, self._place.path, self._place.head)

    def _decode_one(self) -> None:
        with self.open_session(threads=1) as session:
            next(session.pictures(), None)


def _in_slots(pictures: Iterable[av.VideoFrame], slots: DecodingSlots) -> Iterator[av.VideoFrame]:
    """Pictures with the times at which players show them."""
    for picture in pictures:
        picture.pts = slots.take(picture)
        yield picture


def _mended(clock: TimestampRepair, scan: TimeScan | None) -> int:
    """Timestamps of all streams that were wrong by themselves; those of pictures may have been counted twice."""
    video, others = (0, 0) if scan is None else scan.strays
    return max(clock.repaired, video) + others


def _told(shown: ShownFrame, exposures: ExposureLookup, quantisers: QuantiserLookup) -> ShownFrame:
    """The frame with what the camera wrote of its exposure, and the encoder of its compression."""
    exposure, quantiser = exposures.of_frame(shown.source_tick), quantisers.of_frame(shown.source_tick)
    if exposure is None and quantiser is None:
        return shown
    return replace(shown, frame=replace(shown.frame, exposure=exposure, quantiser=quantiser))
