"""TIFF source: the pages of one file, or of each file of a sequence, as the frames of a video."""

from __future__ import annotations

import io
import tempfile
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import av
from av.stream import Stream

from vdeblur.errors import SourceError
from vdeblur.frames import Colour, Frame
from vdeblur.video.av_compat import open_input
from vdeblur.video.clock.slots import DecodingSlots
from vdeblur.video.formats.pixel_formats import video_frame_from
from vdeblur.video.info import Crop, PartOfVideo, TimeScan
from vdeblur.video.photo.exif import matrix_of
from vdeblur.video.source.limits import pixel_limit
from vdeblur.video.source.location import DEFAULT_FRAME_RATE, SourceLocation, file_id
from vdeblur.video.source.opening import raise_pipe_failure
from vdeblur.video.source.truncation import Truncation
from vdeblur.video.tiff.directories import HEAD_BYTES, TiffData, is_tiff
from vdeblur.video.tiff.layout import YCBCR, PageLayout
from vdeblur.video.tiff.samples import planes_of_page
from vdeblur.video.tiff.segments import SegmentReader
from vdeblur.video.tiff.stack import read_stack

#: Files of a sequence that are open at once.
_OPEN_FILES = 4
#: What comes through a pipe is kept in memory up to this, and in a temporary file beyond.
_MOST_IN_MEMORY_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 20
#: As FFmpeg says of grey TIFFs: full range and a gamma of 2.2.
_FULL_RANGE, _GAMMA = 2, 4


def begins_as_tiff(place: SourceLocation) -> bool:
    """Whether a source, or the first picture of a sequence, is a TIFF."""
    if place.pipe is not None:
        return is_tiff(place.pipe.peek(HEAD_BYTES))
    path = place.pictures[0] if place.pictures else place.path
    if path is None:
        return False
    try:
        with path.open("rb") as file:
            return is_tiff(file.read(HEAD_BYTES))
    except OSError:
        return False  # whoever opens it says what is wrong


@dataclass
class _OpenFile:
    """One open TIFF file."""

    name: str
    data: TiffData
    segments: SegmentReader
    pages: tuple[PageLayout, ...]
    rate: Fraction | None
    notes: tuple[str, ...]


class TiffPages:
    """Pages of a TIFF file, or the one page of each file of a sequence; a tick is a page.

    Raises:
        SourceError: it cannot be read, or its samples are of a kind that is not supported.
    """

    first_colours: av.VideoFrame | None = None
    crop: Crop | None = None
    parts: Mapping[int, PartOfVideo] = MappingProxyType({})

    def __init__(self, place: SourceLocation, frame_rate: Fraction | None) -> None:
        self._place = place
        self._open: OrderedDict[int, _OpenFile] = OrderedDict()
        self._next = 0
        self._piped = None if place.pipe is None else _all_of(place)
        first = self._file(0)
        self._first = first
        self._count = len(place.pictures) or len(first.pages)
        self.notes = tuple(f"{first.name}: {note}" for note in first.notes)
        # For what FFmpeg says of every stream: a picture of one pixel.
        self._container = open_input(io.BytesIO(_one_pixel()))
        self.stream = self._container.streams.video[0]
        self.streams: list[Stream] = [self.stream]
        rate = frame_rate or first.rate or DEFAULT_FRAME_RATE
        self.time_base = 1 / rate
        self.rate: Fraction | None = rate
        self.start_pts: int | None = 0
        self.frame_count: int | None = self._count
        self.video_seconds: float | None = float(self._count * self.time_base)
        self.duration_seconds: float | None = self.video_seconds
        self.container_name = "image2" if place.pictures else self._container.format.name
        self.chapter_seconds: tuple[Fraction, ...] = ()
        self.metadata: dict[str, str] = {}
        self.input_url = place.pattern_url
        self.input_options = place.pattern_input(rate)
        self.display_matrix = matrix_of(first.pages[0].orientation)
        self.cut: Truncation | None = None
        self.file_id = file_id(place.path)
        self.failure: str | None = None
        self.change: str | None = None
        self.kept: deque[av.Packet[Any]] = deque()
        self.scan: TimeScan | None = None
        self.broken: str | None = None
        self.slots: DecodingSlots | None = None

    def packets(self) -> Iterator[av.Packet[Any]]:
        """A packet for each page, which holds nothing but its number."""
        while self._next < self._count:
            packet: av.Packet[Any] = av.Packet(1)
            packet.pts = packet.dts = self._next
            packet.duration, packet.time_base, packet.is_keyframe = 1, self.time_base, True
            self._next += 1
            yield packet

    def seek(self, tick: int) -> bool:
        self._next = min(max(tick, 0), self._count)
        return True

    def decoding_context(self) -> PageDecoder:
        return PageDecoder(self)

    def page(self, number: int) -> av.VideoFrame:
        """The picture of a page.

        Raises:
            SourceError: it is damaged, or of a kind that is not supported.
        """
        file = self._file(number if self._place.pictures else 0)
        page = file.pages[0 if self._place.pictures else number]
        where = file.name if len(file.pages) == 1 else f"page {number + 1} of {file.name}"
        try:
            planes = planes_of_page(page, file.segments)
        except SourceError as exc:
            raise SourceError(f"{where}: {exc}") from exc
        made = video_frame_from(Frame(planes, page.format, Colour(), number, self.time_base))
        made.duration = 1
        if page.photometric == YCBCR:
            made.colorspace, made.color_range = page.matrix, page.value_range
        elif page.format.family == "gray":
            made.color_range, made.color_trc = _FULL_RANGE, _GAMMA
        return made

    def sample_aspect_ratio(self, number: int) -> Fraction | None:
        """Pixel shape of a page."""
        return self._file(number if self._place.pictures else 0).pages[0].pixel_aspect

    def close(self) -> None:
        self.streams.clear()
        if hasattr(self, "stream"):
            del self.stream
            self._container.close()
        while self._open:
            self._open.popitem()[1].data.close()

    def _file(self, number: int) -> _OpenFile:
        """The file of a number, opened if need be; few stay open."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        pictures = self._place.pictures
        path = pictures[number] if pictures else self._place.path
        name = str(path) if pictures else self._place.name
        data = TiffData(self._piped) if path is None and self._piped is not None else TiffData.of(cast(Path, path))
        try:
            file = _opened(name, data, one=bool(pictures))
        except BaseException:
            data.close()
            raise
        self._open[number] = file
        while len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].data.close()
        return file


class PageDecoder:
    """What the decoder asks of FFmpeg's contexts, for pages."""

    name = "tiff"

    def __init__(self, pages: TiffPages) -> None:
        self._pages = pages
        self.thread_type, self.thread_count, self.flags = "AUTO", 0, 0
        self.options: dict[str, str] = {}
        self.sample_aspect_ratio: Fraction | None = None

    def open(self, strict: bool = True) -> None:
        """Nothing needs to be opened."""

    def decode(self, packet: av.Packet[Any] | None = None) -> list[av.VideoFrame]:
        if packet is None or packet.pts is None:
            return []
        frame = self._pages.page(packet.pts)
        self.sample_aspect_ratio = self._pages.sample_aspect_ratio(packet.pts)
        return [frame]


def _opened(name: str, data: TiffData, *, one: bool) -> _OpenFile:
    """A TIFF with all its pages; ``one`` = there must be one alone."""
    try:
        stack = read_stack(data, pixel_limit(data.size))
    except SourceError as exc:
        raise SourceError(f"cannot read {name}: {exc}") from exc
    if one and len(stack.pages) > 1:
        raise SourceError(
            f"{name} has {len(stack.pages)} pages; a sequence has one picture in each file: give that file by its name"
        )
    return _OpenFile(name, data, SegmentReader(data), stack.pages, stack.rate, stack.notes)


def _all_of(place: SourceLocation) -> BinaryIO:
    """Everything that comes through a pipe: pages may lie anywhere."""
    assert place.pipe is not None
    kept = tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY_BYTES)  # noqa: SIM115
    while part := place.pipe.read(_CHUNK_BYTES):
        kept.write(part)
    if place.pipe.failure is not None:
        kept.close()
        raise_pipe_failure(place.name, place.pipe.failure)
    return cast(BinaryIO, kept)


@cache
def _one_pixel() -> bytes:
    """The smallest TIFF."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="image2pipe") as container:
        stream: Any = container.add_stream("tiff", rate=25)
        stream.width = stream.height = 1
        stream.pix_fmt = "gray"
        for packet in stream.encode(av.VideoFrame(1, 1, "gray")):
            container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return sink.getvalue()
