"""The pipeline: a frame's whole way, from any source through the network into any target."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from torch import Tensor

from vdeblur.arrays import Arrays, Channels
from vdeblur.compare import CompareMode, Comparison
from vdeblur.engine import Deblurrer, Network
from vdeblur.errors import Interrupted, SourceError, TargetError, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.tiles import TileWish
from vdeblur.video.info import VideoInfo
from vdeblur.video.reader import Reader
from vdeblur.video.writer import EncodeOptions, Writer
from vdeblur.workers import WriteBehind, prefetch

P = TypeVar("P", bound=np.ndarray[Any, Any] | Tensor)

#: Frames that wait on each side of the network: enough to level out key frames, few enough for 4K.
QUEUE_FRAMES = 3


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    #: Frames written.
    frames: int
    #: Frames to write, by the source's header; None where it does not say.
    frames_total: int | None
    #: Length of what has been written, in the video's own time.
    media_seconds: float
    #: Time since the first frame was asked for.
    elapsed_seconds: float

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def speed(self) -> float:
        """Seconds of video for each second of work: 1 is real time."""
        return self.media_seconds / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds still to go, if the header's number of frames is right."""
        if self.frames_total is None or self.frames == 0 or self.frames > self.frames_total:
            return None
        return (self.frames_total - self.frames) * self.elapsed_seconds / self.frames


@dataclass(frozen=True)
class Report:
    """What came of a job."""

    frames: int
    #: Packets of the source that could not be decoded.
    skipped_packets: int
    elapsed_seconds: float
    #: What was converted, mended or not kept, in plain words.
    notes: tuple[str, ...]
    #: The target's name.
    target: str


def deblur_video(
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    *,
    model: str | Path | Network = "fast",
    device: str = "auto",
    precision: str = "auto",
    strength: float = 1.0,
    lookahead: int = 1,
    start_seconds: float | None = None,
    duration_seconds: float | None = None,
    compare: CompareMode | None = None,
    encode: EncodeOptions | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] | None = None,
    frame_rate: Fraction | None = None,
    tile: TileWish = "auto",
) -> Report:
    """Take the motion blur out of a video, and keep everything else in it as it was.

    Decoding, the network and encoding run beside each other; a few frames wait between them, however long the video.
    Every frame keeps its timestamp. Sound, subtitles, chapters, tags and colour description come along where the
    target's container can hold them; the report says what could not. The target appears under its name only when it
    is complete.

    Example::

        from vdeblur import deblur_video

        report = deblur_video("shaky.mp4", "sharp.mp4", progress=lambda p: print(f"{p.frames} frames"))
        print(report.frames, *report.notes, sep="\\n")

        deblur_video("take_%04d.png", "take.mkv", frame_rate=Fraction(24))
        deblur_video("shaky.mp4", "before_after.mp4", compare="side", start_seconds=12.5, duration_seconds=4)

    Args:
        source: a file, a pattern ("frame_%05d.png"), a folder of pictures, a URL, "-" (standard input) or a binary
            file object.
        target: a file (its ending says the container), a pattern, "-" (standard output) or a binary file object.
        model, device, precision, strength, lookahead, tile: as for :class:`vdeblur.engine.Deblurrer`.
        start_seconds, duration_seconds: the stretch of the video to restore, from its start; the target begins at 0.
        compare: write before and after, "side" by side or in one "split" picture.
        encode: codec, quality, pixel format and further FFmpeg options.
        overwrite: replace an existing target.
        progress: called in this thread whenever more frames have been written, and at the end.
        note: called in this thread before work starts, with each thing that is copied, converted or not kept. The
            report has these again, and those that come up later.
        frame_rate: of picture sequences, which have no times of their own (default 25).

    Raises:
        UsageError: an argument cannot be; before any work starts.
        SourceError, NetworkError, DeviceError, TargetError: with the stage and the time of the frame at hand.
        Interrupted: Ctrl-C. In every case no thread, process or half-written target is left.
    """
    read_once = _can_be_read_only_once(source)
    try:
        with Reader(
            source,
            start_seconds=start_seconds,
            duration_seconds=duration_seconds,
            frame_rate=frame_rate,
            keep_packets=read_once,
        ) as reader:
            _refuse_shortfall(reader)
            video = reader.info.video
            deblurrer = Deblurrer(
                model, device=device, precision=precision, strength=strength, lookahead=lookahead, tile=tile
            )
            comparison, (height, width) = None, (video.height, video.width)
            if compare is not None:
                comparison = Comparison(compare, video.format, rotation_degrees=video.rotation_degrees)
                height, width = comparison.size(height, width)
            with Writer(
                target,
                info=reader.info,
                frame_format=video.format,
                colour=video.colour,
                width=width,
                height=height,
                time_base=video.time_base,
                options=encode,
                overwrite=overwrite,
                packets=reader.take_packets if read_once else None,
                templates=reader.stream_templates() if read_once else (),
                start_seconds=start_seconds,
                duration_seconds=duration_seconds,
            ) as writer:
                if note is not None:
                    for words in (*reader.notes, *writer.notes):
                        note(words)
                job = _Job(reader, writer, _frames_total(video, start_seconds, duration_seconds), progress)
                job.run(deblurrer, comparison)
                notes = (*reader.notes, *deblurrer.notes, *writer.notes)
                return Report(job.written, reader.skipped_packets, job.elapsed_seconds, notes, _name(target))
    except KeyboardInterrupt as exc:
        raise Interrupted(f"stopped by Ctrl-C before {_name(target)} was complete") from exc


def deblur_frames(
    frames: Iterable[P],
    *,
    model: str | Path | Network = "fast",
    device: str = "auto",
    precision: str = "auto",
    strength: float = 1.0,
    lookahead: int = 1,
    channels: Channels = "rgb",
    tile: TileWish = "auto",
) -> Generator[P, None, None]:
    """Take the motion blur out of pictures that follow each other. Lazy: one comes out for each that goes in.

    What comes out has the type, dtype, shape and device of what went in. With lookahead 1 it is one picture behind.
    A change of size starts anew, and so does a scene cut. Closing the generator closes ``frames``, if that is a
    generator too.

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
        frames: NumPy arrays (H, W, 3), (H, W, 4) or (H, W), uint8, uint16 or float32; or tensors (3, H, W) or
            (1, 3, H, W), uint8, uint16 or floating, on any device; or one array (T, H, W, 3) or tensor (T, 3, H, W).
            Floats are display-referred R'G'B' in [0, 1].
        model, device, precision, strength, lookahead, tile: as for :class:`vdeblur.engine.Deblurrer`.
        channels: order of the colours, "rgb" or "bgr".

    Raises:
        UsageError: an option cannot be, at once; or a picture, when its turn comes.
        NetworkError, DeviceError: with the number of the picture.
    """
    if isinstance(frames, (str, bytes, Path)) or not isinstance(frames, Iterable):
        raise UsageError(f"frames cannot be {frames!r}; give an iterable of pictures, or use deblur_video for files")
    if isinstance(frames, (np.ndarray, Tensor)) and frames.ndim != 4:
        raise UsageError(f"one array of shape {tuple(frames.shape)} is no sequence of pictures; put it into a list")
    arrays = Arrays(channels)
    deblurrer = Deblurrer(model, device=device, precision=precision, strength=strength, lookahead=lookahead, tile=tile)
    return _restored_pictures(frames, arrays, deblurrer)


def _restored_pictures(pictures: Iterable[P], arrays: Arrays, deblurrer: Deblurrer) -> Generator[P, None, None]:
    waiting: deque[P] = deque()
    iterator = iter(pictures)

    def frames() -> Iterator[Frame]:
        for number, picture in enumerate(iterator):
            frame = arrays.frame(picture, number)
            waiting.append(picture)
            yield frame

    with ExitStack() as stack:
        if isinstance(iterator, Generator):
            stack.enter_context(closing(iterator))
        restored = stack.enter_context(closing(deblurrer.run(frames())))
        try:
            for frame in restored:
                yield arrays.picture(frame, like=waiting.popleft())
        except VdeblurError as exc:
            if exc.time_seconds is not None:  # the number of the frame, which has no time
                exc.args = (f"frame {exc.time_seconds:.0f}: {exc.args[0]}",)
                exc.time_seconds = None
            raise


class _Job:
    """One video on its way: what is written, and who is told."""

    def __init__(
        self, reader: Reader, writer: Writer, frames_total: int | None, progress: Callable[[Progress], None] | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._frames_total = frames_total
        self._progress = progress
        self._began = time.perf_counter()
        self._first: Frame | None = None
        self._last: Frame | None = None
        self._told = 0
        self.written = 0

    @property
    def elapsed_seconds(self) -> float:
        return time.perf_counter() - self._began

    def run(self, deblurrer: Deblurrer, comparison: Comparison | None) -> None:
        """The loop: read ahead, restore, write behind."""
        originals: deque[Frame] = deque()
        with (
            prefetch(self._frames(), depth=QUEUE_FRAMES, name="read", unblock=self._reader.close) as ahead,
            WriteBehind(self._write, depth=QUEUE_FRAMES, name="write", unblock=self._writer.abort) as behind,
            closing(deblurrer.run(_remembered(ahead, originals))) as restored,
        ):
            for frame in restored:
                original = originals.popleft()
                behind.put(frame if comparison is None else comparison.draw(original, frame))
                self._tell()
        with _stage("write", TargetError, self._last):
            self._writer.close()
        self._tell()

    def _frames(self) -> Iterator[Frame]:
        """The reader's frames, in the reading thread."""
        frame: Frame | None = None
        while True:
            with _stage("read", SourceError, frame):
                frame = next(self._reader, None)
                if frame is None:
                    _refuse_shortfall(self._reader)
            if frame is None:
                return
            yield frame

    def _write(self, frame: Frame) -> None:
        """Write a frame, in the writing thread."""
        with _stage("write", TargetError, frame):
            self._writer.write(frame)
        self._first, self._last = self._first or frame, frame
        self.written += 1

    def _tell(self) -> None:
        """Report progress if there is any."""
        written, first, last = self.written, self._first, self._last
        if self._progress is None or written == self._told or first is None or last is None:
            return
        self._told = written
        media_seconds = float((last.pts - first.pts + last.duration) * last.time_base)
        self._progress(Progress(written, self._frames_total, media_seconds, self.elapsed_seconds))


def _refuse_shortfall(reader: Reader) -> None:
    """Do not pass part of a video off as the whole.

    Raises:
        SourceError: it is cut off, or could not be read to its end.
    """
    if reader.shortfall is not None:
        raise SourceError(f"{reader.shortfall}; a shorter duration restores what is there")


def _remembered(frames: Iterable[Frame], memory: deque[Frame]) -> Iterator[Frame]:
    for frame in frames:
        memory.append(frame)
        yield frame


@contextmanager
def _stage(name: str, kind: type[VdeblurError], frame: Frame | None) -> Iterator[None]:
    """Mark what fails with the stage and the time of the frame at hand."""
    seconds = None if frame is None else frame.time_seconds
    try:
        yield
    except VdeblurError as exc:
        exc.at(name, seconds)
        raise
    except Exception as exc:
        text = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise kind(f"{type(exc).__name__}: {text}").at(name, seconds) from exc


def _can_be_read_only_once(source: str | Path | BinaryIO) -> bool:
    """Whether sound and subtitles must be taken while the frames are read, because FFmpeg cannot open it again."""
    if not isinstance(source, (str, Path)):
        return True
    try:
        return str(source) in ("-", "pipe:", "pipe:0") or stat.S_ISFIFO(os.stat(source).st_mode)
    except (OSError, ValueError):  # a URL, a pattern, or a wrong name, of which the reader will speak
        return False


def _frames_total(video: VideoInfo, start_seconds: float | None, duration_seconds: float | None) -> int | None:
    """Frames to come, as far as headers say."""
    if start_seconds is None and duration_seconds is None and video.frame_count_from_header:
        return video.frame_count_from_header
    if video.average_rate is None or (video.duration_seconds is None and duration_seconds is None):
        return None
    left = float("inf") if video.duration_seconds is None else video.duration_seconds - (start_seconds or 0.0)
    wanted = left if duration_seconds is None else min(left, duration_seconds)
    return max(1, round(wanted * video.average_rate))


def _name(target: str | Path | BinaryIO) -> str:
    if isinstance(target, (str, Path)):
        return "standard output" if str(target) == "-" else str(target)
    return str(getattr(target, "name", "file object"))
