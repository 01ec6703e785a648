"""Demuxer: packets of the video stream one by one, from any point, and those of the other streams beside them."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Protocol

import av
from av.container import InputContainer
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from vdeblur.errors import SourceError, UsageError
from vdeblur.video.av_compat import fraction_or_none, stored_bytes, tags_of
from vdeblur.video.broken_off import walk_path
from vdeblur.video.clock.scan import TRANSPORTS, clock_of, may_be_joined, result_of, scan
from vdeblur.video.clock.shared_clock import SharedClock
from vdeblur.video.clock.slots import DecodingSlots
from vdeblur.video.info import Crop, PartOfVideo, TimeScan
from vdeblur.video.source.access import reopening_options
from vdeblur.video.source.animated_webp import AnimatedWebp
from vdeblur.video.source.decoder import DecodingContext, decoding_context
from vdeblur.video.source.location import DEFAULT_FRAME_RATE, SourceLocation, file_id
from vdeblur.video.source.opening import (
    check_container,
    choose_video,
    open_container,
    open_picture,
    raise_pipe_failure,
    read_picture,
    reason_of,
)
from vdeblur.video.source.parts.container_crop import container_crop
from vdeblur.video.source.parts.heif_parts import heif_parts
from vdeblur.video.source.parts.paired_alpha import PairedAlpha
from vdeblur.video.source.pictures.tiff_pages import TiffPages, begins_as_tiff
from vdeblur.video.source.truncation import Truncation, find_cut
from vdeblur.video.source.webp_parser import is_animated_webp

_log = logging.getLogger(__name__)

#: Containers that recorders write as the pictures come.
_RECORDED = frozenset({"avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})
_STILLS_NOTE = "the still picture that is shown before the animation plays is left out"
#: No camera takes as many frames a second as a header may say.
_HIGHEST_RATE = 1000
_DURATION_TAG = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,12})?)")


class PacketSource(Protocol):
    """What the reader needs of a source."""

    stream: VideoStream
    #: All streams, the chosen video among them.
    streams: list[Stream]
    time_base: Fraction
    rate: Fraction | None
    #: Tick at which the video starts, by its header.
    start_pts: int | None
    #: Numbers of the headers; ``None`` where they say nothing.
    frame_count: int | None
    video_seconds: float | None
    duration_seconds: float | None
    container_name: str
    #: Where the chapters start.
    chapter_seconds: tuple[Fraction, ...]
    metadata: dict[str, str]
    #: What FFmpeg takes to read the same again; ``None`` = it cannot be read twice.
    input_url: str | None
    input_options: dict[str, str]
    #: Where the file has been cut off, if it has.
    cut: Truncation | None
    #: Which file it is, where it is one.
    file_id: tuple[int, int] | None
    #: Why reading stopped before the end, if it did.
    failure: str | None
    #: What happened to the file while it was read, in plain words.
    change: str | None
    #: How the recording breaks off, in plain words: of a file at once, of a pipe at its end.
    broken: str | None
    #: How the pictures are turned when they are shown, where no frame says it.
    display_matrix: tuple[int, ...] | None
    #: What the container cuts off the decoded pictures.
    crop: Crop | None
    #: Streams that are part of the video (its alpha, a still of an animation), by their indexes.
    parts: Mapping[int, PartOfVideo]
    #: What people should know of the source, in plain words.
    notes: tuple[str, ...]
    #: Packets of the other streams, if they are kept.
    kept: deque[av.Packet[Any]]
    #: Where pictures are shown, if the container does not say.
    slots: DecodingSlots | None

    @property
    def scan(self) -> TimeScan | None:
        """What was seen of the source's clock: of a file before work, of a pipe so far; ``None`` = nobody looked."""

    def packets(self) -> Iterator[av.Packet[Any]]:
        """Packets of the video stream from the present position to the end."""

    def seek(self, tick: int) -> bool:
        """Go to a key frame near ``tick``; False if this cannot be done."""

    def decoding_context(self) -> DecodingContext:
        """The decoder of the video stream."""

    @property
    def first_colours(self) -> av.VideoFrame | None:
        """The first picture as its decoder gave it, where another has been made of it."""

    def close(self) -> None: ...


def open_media(
    place: SourceLocation,
    *,
    frame_rate: Fraction | None,
    keep_packets: bool = False,
    video: int | None = None,
    scan: TimeScan | None = None,
) -> PacketSource:
    """Open a source and choose its video: the stream of that number, or the main one.

    ``scan`` is what :func:`scan_times` has found in it.

    Raises:
        SourceError: it cannot be read or holds no video.
        UsageError: ``frame_rate`` is given for a source that has timestamps, or no video has that number.
    """
    tiff = begins_as_tiff(place)
    if video and (tiff or place.pictures or (place.path is not None and is_animated_webp(place.path))):
        raise UsageError(f"there is no stream {video} in {place.name}, which has only pictures")
    if tiff:
        return TiffPages(place, frame_rate)
    if place.pictures:
        return ImageSequence(place, frame_rate or DEFAULT_FRAME_RATE)
    if place.path is not None and is_animated_webp(place.path):
        return AnimatedWebp(place.path, frame_rate)
    return Demuxer(place, frame_rate=frame_rate, keep_packets=keep_packets, video=video, scan=scan)


def scan_times(place: SourceLocation, media: PacketSource) -> TimeScan | None:
    """Read the times of all packets of a file whose clock may start again; ``None`` where none can, or nobody knows."""
    if place.path is None or not place.twice or not may_be_joined(media.container_name, place.path):
        return None
    try:
        with open_container(place, None) as container:
            return scan(container, media.stream.index)
    except (SourceError, UsageError, av.error.FFmpegError):
        return None


class Demuxer:
    """A container: a file, a URL, a pipe."""

    display_matrix: tuple[int, ...] | None = None

    def __init__(
        self,
        place: SourceLocation,
        *,
        frame_rate: Fraction | None,
        keep_packets: bool,
        video: int | None,
        scan: TimeScan | None = None,
    ) -> None:
        self.failure: str | None = None
        self.kept: deque[av.Packet[Any]] = deque()
        self._place = place
        self._keep = keep_packets
        self.change: str | None = None
        self._ended = False
        self._container = container = open_container(place, frame_rate)
        self.file_id, self._file_bytes = file_id(place.path), place.file_bytes
        try:
            check_container(container, place, frame_rate)
            self.stream = stream = choose_video(container, place, video)
            self._heif = heif_parts(container.streams.video, stream, tags_of(container))
            if self._heif is not None:
                self.stream = stream = self._heif.colours
        except BaseException:
            container.close()
            raise
        self.streams: list[Stream] = list(container.streams)
        self.time_base = fraction_or_none(stream.time_base) or Fraction(1, av.time_base)
        self.rate = _frame_rate(stream, self.time_base)
        self.container_name = container.format.name
        self.crop = container_crop(stream)
        self.start_pts = stream.start_time
        self.frame_count = stream.frames or None
        self.video_seconds = header_seconds(stream)
        self.cut = find_cut(container, stream, place.path) if place.path is not None else None
        self.broken = self._find_break()
        self.duration_seconds = _container_seconds(container)
        self.chapter_seconds = chapter_times(container)
        self.metadata = tags_of(container)
        live = place.network and self.duration_seconds is None and not stored_bytes(container)
        self.input_url = place.url if place.twice and not live else None
        self.input_options = reopening_options(self.container_name, network=place.network)
        if self.container_name == "image2":
            self.input_options["pattern_type"] = "none"
        if frame_rate is not None:
            self.input_options["framerate"] = str(frame_rate)
        reordered = bool(stream.codec_context.has_b_frames)
        self.slots = DecodingSlots.of(self.container_name, has_b_frames=reordered)
        self._scan = scan
        self._clock = self._new_clock()
        self._paired: PairedAlpha | None = None
        self._alpha_packets: deque[av.Packet[Any]] = deque()
        self._take_parts()
        if scan is not None and scan.moves:
            self._take_times(scan)
        else:
            self._discard_others()

    def _take_parts(self) -> None:
        """Tell the streams that belong to the video from the others."""
        heif = self._heif
        self._alpha = None if heif is None else heif.alpha
        stills = () if heif is None else heif.stills
        self.parts: Mapping[int, PartOfVideo] = {} if heif is None else heif.roles
        self._read_here = frozenset(index for index, role in self.parts.items() if role != "copied alpha")
        self.notes: tuple[str, ...] = (_STILLS_NOTE,) if stills else ()

    def _discard_others(self) -> None:
        """Let FFmpeg pass over the streams that nobody reads here."""
        for other in self.streams:
            kept = self._keep and other.index not in self._read_here
            if other is not self.stream and other is not self._alpha and not kept:
                other.discard = Discard.all

    def _new_clock(self) -> SharedClock | None:
        """What mends the times: of a file that needs it, and of every pipe that may."""
        if self._scan is not None:
            return clock_of(self._container, self.stream.index) if self._scan.moves else None
        if self._place.pipe is None or not may_be_joined(self.container_name, None):
            return None
        # A camera may wait for a picture's result before it gives the next: nothing waits but for a step back.
        waits = self.container_name in TRANSPORTS
        return clock_of(self._container, self.stream.index, waits_forward=waits)

    def _take_times(self, scan: TimeScan) -> None:
        """Replace what the header says of times by what the packets do."""
        begin, end = scan.spans[self.stream.index]
        self.start_pts = round(begin / self.time_base)
        self.video_seconds = float(end - begin)
        self.duration_seconds = float(max(e for _, e in scan.spans.values()) - min(b for b, _ in scan.spans.values()))
        self.frame_count = None

    @property
    def scan(self) -> TimeScan | None:
        if self._scan is not None or self._clock is None:
            return self._scan
        return result_of(self._clock, self.stream.index)

    def packets(self) -> Iterator[av.Packet[Any]]:
        packets = self._all_packets()
        if self._clock is not None:
            packets = self._clock.mended(packets)
        yield from self._of_video(packets) if self.slots is None else self.slots.watched(self._of_video(packets))
        self._check_pipe()
        self._check_file()
        if self._place.pipe is not None:
            self.broken = self.broken or self._find_break()

    def _find_break(self) -> str | None:
        """How the recording breaks off, as far as is known by now."""
        pipe, path = self._place.pipe, self._place.path
        walk = walk_path(path) if path is not None else None if pipe is None or not self._ended else pipe.walked()
        if walk is not None and (verdict := walk.verdict) is not None and (self.cut is None or not self.cut.certain):
            return verdict
        if self.cut is not None and not self.cut.certain and self.container_name in _RECORDED:
            return f"{self.cut.file_bytes} of its {self.cut.whole_bytes} bytes are there"
        return None

    def _of_video(self, packets: Iterator[av.Packet[Any]]) -> Iterator[av.Packet[Any]]:
        """The packets of the video; those of other streams are kept if that is wanted."""
        for packet in packets:
            if packet.stream is self.stream:
                yield packet
            elif packet.stream is self._alpha:
                self._alpha_packets.append(packet)
            elif self._keep and packet.stream_index not in self._read_here:
                self.kept.append(packet)

    def _all_packets(self) -> Iterator[av.Packet[Any]]:
        """Packets of all wanted streams that hold something, to the last that can be read."""
        moves = self._scan is not None and self._scan.moves
        own = [self.stream] if self._alpha is None else [self.stream, self._alpha]
        wanted = self.streams if self._keep or moves else own
        try:
            yield from (packet for packet in self._container.demux(wanted) if packet.size)
            self._ended = True
        except av.error.BlockingIOError:
            # FFmpeg says so where it finds no further packet in what follows.
            self._check_pipe()
            self._ended, self.broken = True, self.broken or "nothing that follows can be read"
        except av.error.FFmpegError as exc:
            self._check_pipe()
            self.failure = reason_of(exc)
        except IndexError:
            # A stream that begins in mid-file (FLV, MPEG-TS) is unknown to PyAV, which stumbles over it at the very
            # end: behind the last packet it looks through FFmpeg's streams, and not through its own.
            _log.debug("%s has a stream that begins late", self._place.name)

    def seek(self, tick: int) -> bool:
        # Where the clock starts again, a time says no place.
        if not self._place.twice or self._clock is not None:
            return False
        try:
            self._container.seek(tick, stream=self.stream)
        except av.error.FFmpegError:
            return False
        if self._paired is not None:
            self._paired.forget()
        return True

    def decoding_context(self) -> DecodingContext:
        if self._alpha is None:
            return decoding_context(self.stream)
        colours, alpha = decoding_context(self.stream), decoding_context(self._alpha)
        ratio = (fraction_or_none(self._alpha.time_base) or self.time_base) / self.time_base
        self._paired = PairedAlpha(colours, alpha, self._alpha_packets, ratio)
        return self._paired

    @property
    def first_colours(self) -> av.VideoFrame | None:
        return None if self._paired is None else self._paired.first

    def close(self) -> None:
        self.kept.clear()
        self._alpha_packets.clear()
        self._alpha = self._heif = self._paired = None
        self.streams.clear()
        del self.stream
        self._container.close()

    def _check_file(self) -> None:
        """Notice a file that has changed its length while it was read."""
        before, after = self._file_bytes, self._place.file_bytes
        if self._place.path is None or before is None or file_id(self._place.path) != self.file_id or after is None:
            return
        if after < before:
            self.failure = self.failure or "the file has become shorter while it was read"
        elif after > before:
            self.change = "the file has grown while it was read; what came late may be missing"

    def _check_pipe(self) -> None:
        """Raise what happened while the file object was read; FFmpeg took it for the end of the data."""
        pipe = self._place.pipe
        if pipe is not None and pipe.failure is not None:
            raise_pipe_failure(self._place.name, pipe.failure)


class ImageSequence:
    """Files of one picture each, decoded as the packets of one stream."""

    display_matrix: tuple[int, ...] | None = None
    first_colours: av.VideoFrame | None = None
    crop: Crop | None = None
    parts: Mapping[int, PartOfVideo] = MappingProxyType({})
    notes: tuple[str, ...] = ()

    def __init__(self, place: SourceLocation, rate: Fraction) -> None:
        self._paths = place.pictures
        self._next = 0
        self._container = open_picture(self._paths[0])
        self.stream = choose_video(self._container, SourceLocation(str(self._paths[0])))
        self.streams: list[Stream] = [self.stream]
        self.time_base = 1 / rate
        self.rate: Fraction | None = rate
        self.start_pts: int | None = 0
        self.frame_count: int | None = len(self._paths)
        self.video_seconds: float | None = float(len(self._paths) * self.time_base)
        self.duration_seconds: float | None = self.video_seconds
        self.cut: Truncation | None = None
        self.file_id: tuple[int, int] | None = None
        self.change: str | None = None
        self.container_name = "image2"
        self.chapter_seconds: tuple[Fraction, ...] = ()
        self.metadata: dict[str, str] = {}
        self.input_url = place.pattern_url
        self.input_options = place.pattern_input(rate)
        self.failure: str | None = None
        self.kept: deque[av.Packet[Any]] = deque()
        self.scan: TimeScan | None = None
        self.broken: str | None = None
        self.slots: DecodingSlots | None = None

    def packets(self) -> Iterator[av.Packet[Any]]:
        while self._next < len(self._paths):
            index = self._next
            self._next += 1
            data = read_picture(self._paths[index])
            # A packet around Python's own bytes is freed under the GIL, also in a decoder's thread: whoever closes the
            # decoder then waits for it forever. FFmpeg's own memory needs no GIL.
            packet: av.Packet[Any] = av.Packet(len(data))
            packet.update(data)
            packet.pts = packet.dts = index
            packet.duration = 1
            packet.time_base = self.time_base
            packet.is_keyframe = True
            yield packet

    def seek(self, tick: int) -> bool:
        self._next = min(max(tick, 0), len(self._paths))
        return True

    def decoding_context(self) -> DecodingContext:
        return decoding_context(self.stream)

    def close(self) -> None:
        self.streams.clear()
        del self.stream
        self._container.close()


def chapter_times(container: InputContainer) -> tuple[Fraction, ...]:
    """Seconds at which the chapters start."""
    return tuple(c["start"] * (fraction_or_none(c["time_base"]) or Fraction(0)) for c in container.chapters())


def _frame_rate(stream: VideoStream, time_base: Fraction) -> Fraction | None:
    """Frames a second by the header; of raw DV FFmpeg says 60000, one for each of its ticks, and guesses right."""
    average, guessed = fraction_or_none(stream.average_rate), fraction_or_none(stream.guessed_rate)
    if average is not None and guessed is not None and average == 1 / time_base > _HIGHEST_RATE >= guessed:
        return guessed
    return average or guessed


def header_seconds(stream: Stream) -> float | None:
    """Length of a stream by its header or, in Matroska, by a tag with the time at which it ends."""
    tick = fraction_or_none(stream.time_base) or Fraction(0)
    if stream.duration is not None:
        return float(stream.duration * tick)
    tag = _DURATION_TAG.match(tags_of(stream).get("DURATION", ""))
    if tag is None:
        return None
    return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - float((stream.start_time or 0) * tick)


def _container_seconds(container: InputContainer) -> float | None:
    """Length of the whole by the header; FFmpeg writes the time of the end into Matroska."""
    if container.duration is None:
        return None
    start = container.start_time or 0 if container.format.name == "matroska,webm" else 0
    return (container.duration - start) / av.time_base
