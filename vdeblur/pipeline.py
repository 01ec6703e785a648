"""The pipeline: a frame's whole way, from any source through the network into any target."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from torch import Tensor

from vdeblur.arrays import Arrays, Channels
from vdeblur.compare import CompareMode, Comparison
from vdeblur.engine import Deblurrer, Network
from vdeblur.errors import Interrupted, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.loop import Loop, Progress, frames_total, refuse_shortfall
from vdeblur.resuming import SEGMENT_SECONDS, reach, terms_of
from vdeblur.tiles import TileWish
from vdeblur.video.fit import SizeChange
from vdeblur.video.interlacing import InterlacedMode
from vdeblur.video.journal import Journal
from vdeblur.video.outcomes import Outcome, summary_words
from vdeblur.video.reader import Reader
from vdeblur.video.writer import EncodeOptions, Writer

__all__ = ["EncodeOptions", "Progress", "Report", "deblur_frames", "deblur_video"]

#: What to say of a single frame.
ALONE = "one picture has no neighbours that would show how things moved, so its blur stays"

P = TypeVar("P", bound=np.ndarray[Any, Any] | Tensor)


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
    #: What became of every stream beside the video, of the chapters and the tags, as the finished file shows it.
    outcomes: tuple[Outcome, ...] = ()
    #: Those of the frames that were there before, because an interrupted job went on.
    frames_before: int = 0

    @property
    def summary(self) -> str:
        """The outcomes in one line: "kept: 2 audio, 1 font · converted: subtitle 3 SRT → mov_text"; may be empty."""
        return summary_words(self.outcomes)


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
    allow_network: bool = False,
    interlaced: InterlacedMode = "keep",
    size_change: SizeChange = "stop",
    tile: TileWish = "auto",
    reduce: int = 1,
    segment_seconds: float | None = None,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
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
        target: a file (its ending says the container), a pattern, a folder (for pictures under their own names), "-"
            (standard output) or a binary file object.
        model, device, precision, strength, lookahead, tile, reduce: as for :class:`vdeblur.engine.Deblurrer`.
        start_seconds, duration_seconds: the stretch of the video to restore, from its start; the target begins at 0.
        compare: write before and after, "side" by side or in one "split" picture.
        encode: codec, quality, pixel format and further FFmpeg options.
        overwrite: replace an existing target.
        progress: called in this thread whenever more frames have been written, and at the end.
        note: called in this thread before work starts, with each thing that is copied, converted or not kept. The
            report has these again, and those that come up later.
        frame_rate: of picture sequences, which have no times of their own (default 25).
        interlaced: what to do with interlaced video, by its flags and its pictures: "keep" restores each field and
            gives interlaced video again, "frame" makes one whole frame of each frame, "field" one of each field, and
            "refuse" raises UsageError. Whole frames are restored as they are in every case.
        size_change: what to do where the size or the pixel format of the source changes: "stop" with a SourceError, or
            "fit" all later frames into the first size, with bars, and into the first format.
        allow_network: open a URL (http, https, rtmp, rtsp, srt …). Without it nothing is read but the file itself, and
            playlists, which name other files, are never opened from a file.
        segment_seconds: make the video in pieces of so many seconds of work. Finished pieces outlive a failure, a
            crash and a power cut, in a hidden folder beside the target; ``resume`` goes on with them. Ignored where
            the target or its codec cannot be made in pieces.
        resume: go on where the interrupted job of this target stopped. Everything else must be as it was then.
        stop: asked after every frame; True ends the job with Interrupted, and keeps what is done where pieces are made.

    Raises:
        UsageError: an argument cannot be; before any work starts.
        SourceError, NetworkError, DeviceError, TargetError: with the stage and the time of the frame at hand.
        Interrupted: Ctrl-C, or ``stop``. In every case no thread, process or half-written target is left.
            ``error.kept`` says what of the work is kept.
    """
    origin = _Origin(
        source,
        start_seconds,
        duration_seconds,
        frame_rate,
        interlaced,
        size_change,
        allow_network,
        _can_be_read_only_once(source),
    )
    journal = _journal_of(target, segment_seconds, resume=resume, read_once=origin.read_once)
    try:
        with ExitStack() as stack:
            reader = stack.enter_context(origin.open())
            refuse_shortfall(reader)
            deblurrer = Deblurrer(
                model,
                device=device,
                precision=precision,
                strength=strength,
                lookahead=lookahead,
                tile=tile,
                reduce=reduce,
            )
            video, comparison = reader.info.video, None
            if compare is not None:
                comparison = Comparison(compare, video.format, rotation_degrees=video.rotation_degrees)
            terms = {} if journal is None else {**terms_of(reader.info, deblurrer), "compare": compare, **origin.terms}
            to_target = partial(
                Writer, target, options=encode, overwrite=overwrite, journal=journal, terms=terms, resume=resume
            )
            writer = stack.enter_context(_open_writer(to_target, origin, reader, comparison))
            if note is not None:
                for words in (*reader.notes, *writer.notes):
                    note(words)
            done: tuple[Frame, ...] = ()
            if writer.position is not None and not writer.position.complete:
                reader, done = reach(writer.position, reader, origin.open, stack)
            total = frames_total(video, start_seconds, duration_seconds)
            pieces = SEGMENT_SECONDS if segment_seconds is None else segment_seconds
            loop = Loop(
                reader, writer, frames_total=total, progress=progress, stop=stop, journal=journal, piece_seconds=pieces
            )
            loop.run(deblurrer, comparison, done)
            return _report(loop, deblurrer, writer, _name(target))
    except VdeblurError as exc:
        exc.with_kept(_kept(journal))
        raise
    except KeyboardInterrupt as exc:
        raise Interrupted(f"stopped by Ctrl-C before {_name(target)} was complete").with_kept(_kept(journal)) from exc


@dataclass(frozen=True)
class _Origin:
    """Where frames come from, and how they are read."""

    source: str | Path | BinaryIO
    start_seconds: float | None
    duration_seconds: float | None
    frame_rate: Fraction | None
    interlaced: InterlacedMode
    size_change: SizeChange
    allow_network: bool
    #: Sound and subtitles must be taken while the frames are read.
    read_once: bool

    def open(self) -> Reader:
        return Reader(
            self.source,
            start_seconds=self.start_seconds,
            duration_seconds=self.duration_seconds,
            frame_rate=self.frame_rate,
            keep_packets=self.read_once,
            interlaced=self.interlaced,
            size_change=self.size_change,
            allow_network=self.allow_network,
        )

    @property
    def terms(self) -> dict[str, Any]:
        """What decides which frames come, and how."""
        return {
            "start_seconds": self.start_seconds,
            "duration_seconds": self.duration_seconds,
            "frame_rate": str(self.frame_rate),
            "interlaced": self.interlaced,
            "size_change": self.size_change,
            "allow_network": self.allow_network,
        }


def _open_writer(
    to_target: Callable[..., Writer], origin: _Origin, reader: Reader, comparison: Comparison | None
) -> Writer:
    """The writer of the frames that the reader gives, or of their comparison with what becomes of them."""
    video = reader.info.video
    height, width = video.height, video.width
    if comparison is not None:
        height, width = comparison.size(height, width)
    return to_target(
        info=reader.info,
        frame_format=video.format,
        colour=video.colour,
        width=width,
        height=height,
        time_base=video.time_base,
        packets=reader.take_packets if origin.read_once else None,
        templates=reader.stream_templates() if origin.read_once else (),
        start_seconds=origin.start_seconds,
        duration_seconds=origin.duration_seconds,
    )


def _report(loop: Loop, deblurrer: Deblurrer, writer: Writer, target: str) -> Report:
    alone = (ALONE,) if loop.written == 1 else ()
    notes = (*loop.notes, *deblurrer.notes, *writer.notes, *alone)
    before = 0 if writer.position is None else writer.position.frames
    return Report(
        loop.written, loop.skipped_packets, loop.elapsed_seconds, notes, target, tuple(writer.outcomes), before
    )


def _journal_of(
    target: str | Path | BinaryIO, segment_seconds: float | None, *, resume: bool, read_once: bool
) -> Journal | None:
    """Where to keep what is finished, if that is wanted and can be."""
    if segment_seconds is not None and not segment_seconds >= 0:
        raise UsageError(f"segment_seconds cannot be {segment_seconds}; it is a number of seconds from 0, or None")
    if not resume and segment_seconds is None:
        return None
    if isinstance(target, (str, Path)) and str(target) not in ("", "-") and not read_once:
        return Journal(Path(target))
    if resume:
        raise UsageError(f"nothing is there to resume: {_name(target)} or its source is a pipe")
    return None


def _kept(journal: Journal | None) -> str | None:
    """What of the work outlives a failure, in plain words."""
    if journal is None or journal.record.position is None:
        return None
    frames = journal.record.position.frames
    return f"{frames} frame{'s are' if frames > 1 else ' is'} kept: the same again with --resume goes on"


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


def _can_be_read_only_once(source: str | Path | BinaryIO) -> bool:
    """Whether sound and subtitles must be taken while the frames are read, because FFmpeg cannot open it again."""
    if not isinstance(source, (str, Path)):
        return True
    try:
        return str(source) in ("-", "pipe:", "pipe:0") or stat.S_ISFIFO(os.stat(source).st_mode)
    except (OSError, ValueError):  # a URL, a pattern, or a wrong name, of which the reader will speak
        return False


def _name(target: str | Path | BinaryIO) -> str:
    if isinstance(target, (str, Path)):
        return "standard output" if str(target) == "-" else str(target)
    return str(getattr(target, "name", "file object"))
