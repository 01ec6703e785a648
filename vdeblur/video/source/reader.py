"""Reader: frames of any source with exact timestamps, in the source's own samples."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
from av.stream import Stream

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import Frame
from vdeblur.options import InterlacedMode, ReadOptions, SizeChange
from vdeblur.video.info import ExposureRange, SourceInfo
from vdeblur.video.source.frame_stream import FrameStream
from vdeblur.video.source.location import locate
from vdeblur.video.source.samples import sampled_frames


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
        video: number of the video stream to read, in the order of the container's streams (``StreamInfo.index``); None
            = the one marked as default, else the largest, else the first.
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
        video: int | None = None,
        allow_network: bool = False,
    ) -> None:
        options = ReadOptions(
            start_seconds=start_seconds,
            duration_seconds=duration_seconds,
            threads=threads,
            frame_rate=frame_rate,
            keep_packets=keep_packets,
            interlaced=interlaced,
            size_change=size_change,
            video=video,
            allow_network=allow_network,
        )
        self._lock = threading.Lock()
        self._closed = False
        self._place = locate(source, allow_network=allow_network)
        self._reading = FrameStream(self._place, options)
        self._frames = self._reading.frames()
        try:
            self._first: Frame | None = next(self._frames)
        except BaseException:
            self.close()
            raise
        self.info = self._reading.info

    @property
    def can_jump(self) -> bool:
        """Whether :meth:`skip_to` may be tried: times are the source's own, and it can be read from anywhere."""
        return self._place.again and not self._reading.even and not self._reading.clock.repaired

    @property
    def skipped_packets(self) -> int:
        """Packets so far that could not be decoded."""
        return self._reading.session.decoder.skipped + self._reading.tail.lost

    @property
    def notes(self) -> list[str]:
        """What people should know of the source so far, in plain words; complete after the last frame."""
        return self._reading.notes

    @property
    def late_losses(self) -> tuple[tuple[str, str], ...]:
        """Metadata inside the pictures that began after the first one and are not kept: what, and in which frames."""
        return self._reading.losses

    @property
    def captioned(self) -> str | None:
        """In which frames closed captions have come so far, in words; ``None`` = in none."""
        return self._reading.captioned

    @property
    def shortfall(self) -> str | None:
        """Why frames that were asked for are missing at the end, in plain words; ``None`` if they are there.

        Known from the start where the file says so in front, else after the last frame.
        """
        return self._reading.ending.shortfall

    def exposure_range(self) -> ExposureRange | None:
        """Shortest and longest exposure that the camera wrote into the file, read from all that lies beside the video.

        ``None`` where it wrote none, or where the first frame has been taken or the reader is closed.
        """
        with self._lock:
            return None if self._first is None else self._reading.exposure_range(self._first.exposure)

    def samples(self) -> list[Frame]:
        """A few frames from places spread over the source, with their quantisers, beside those that are iterated.

        Only the first where the source can be read but once; none where that has been taken or the reader is closed.
        """
        with self._lock:
            if self._first is None:
                return []
            place, reading = self._place, self._reading
            if not place.again or place.network or reading.even:
                return [self._first]
            return list(sampled_frames(reading.open_session, self.info.video, reading.header))

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
            self._frames = self._reading.frames_since(pts)
            try:
                self._first = next(self._frames, None)
            except (SourceError, UsageError):
                return False
            return self._first is not None and self._first.pts == pts

    def take_packets(self) -> list[av.Packet[Any]]:
        """Packets of the other streams read since the last call, in file order; the reader forgets them.

        They and their ``packet.stream`` are of use only until the reader is closed: write them before.
        """
        kept, taken = self._reading.session.media.kept, []
        while kept:
            taken.append(kept.popleft())
        return taken

    def stream_templates(self) -> tuple[Stream, ...]:
        """The other streams, in the order of the container, for ``add_stream_from_template``; until closed."""
        media = self._reading.session.media
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
                self._reading.close()
