"""Video pipeline: decode, restore and encode a source into a target, with every other stream passed through."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO, Unpack

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.read_ahead import READ_AHEAD
from vdeblur.errors import Interrupted, UsageError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.model.network import Network
from vdeblur.options import (
    InterlacedMode,
    ReadOptions,
    RestoreArguments,
    RestoreOptions,
    SizeChange,
    with_restore_signature,
)
from vdeblur.pipeline.comparison import CompareMode, Comparison
from vdeblur.pipeline.loop import Loop, Progress, expected_frames, refuse_truncated
from vdeblur.pipeline.noise_tally import UsedNoise
from vdeblur.pipeline.resume import SEGMENT_SECONDS, asked_terms, job_terms, seek_to_position, told_by_options
from vdeblur.pipeline.sharpness import SharpnessPlot, check_plot_path
from vdeblur.pipeline.shutter_tally import UsedShutter
from vdeblur.removal import NONE
from vdeblur.video.info import SourceInfo, VideoInfo, display_turn
from vdeblur.video.segments.journal import Journal
from vdeblur.video.sink.writer import EncodeOptions, Writer
from vdeblur.video.sink.written_video import WrittenVideo, written_video
from vdeblur.video.source.access import scheme_of
from vdeblur.video.source.reader import Reader
from vdeblur.video.streams.outcomes import Outcome, summary_words

__all__ = ["EncodeOptions", "Progress", "Report", "deblur_video"]

#: What to say of a single frame.
ALONE = "one picture has no neighbours that would show how things moved, so its blur stays"
#: Noise was to be removed, and there was none.
NOTHING_TO_REMOVE = "the picture is clean, so there was no noise to remove"


@dataclass(frozen=True)
class Report:
    """Result of a job."""

    frames: int
    #: Packets of the source that could not be decoded.
    skipped_packets: int
    elapsed_seconds: float
    #: Messages about conversions, repairs and losses.
    notes: tuple[str, ...]
    #: The target's name.
    target: str
    #: Outcome of every stream beside the video, of chapters and tags, verified on the finished file.
    outcomes: tuple[Outcome, ...] = ()
    #: Frames already written by the interrupted job that this one resumed.
    frames_before: int = 0
    #: Mean sharpness before and after, measured for a plot; see :func:`vdeblur.pipeline.sharpness.sharpness`.
    sharpness: tuple[float, float] | None = None
    #: Which exposure the frames were restored with, of a resumed job from the resume point on; None of a network that
    #: uses none.
    shutter: UsedShutter | None = None
    #: How noisy the frames were, likewise; None if they were clean, or without a guide.
    noise: UsedNoise | None = None
    #: Codec and size of the finished file; None of a pipe, a device and pictures.
    video: WrittenVideo | None = None

    @property
    def summary(self) -> str:
        """The outcomes in one line: "kept: 2 audio, 1 font · converted: subtitle 3 SRT → mov_text"; may be empty."""
        return summary_words(self.outcomes)


@with_restore_signature
def deblur_video(
    source: str | Path | BinaryIO,
    target: str | Path | BinaryIO,
    *,
    model: str | Path | Network = RestoreOptions.model,
    start_seconds: float | None = None,
    duration_seconds: float | None = None,
    compare: CompareMode | None = None,
    plot: str | Path | None = None,
    encode: EncodeOptions | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] | None = None,
    frame_rate: Fraction | None = None,
    allow_network: bool = False,
    interlaced: InterlacedMode = "keep",
    size_change: SizeChange = "stop",
    video: int | None = None,
    segment_seconds: float | None = None,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
    **restoration: Unpack[RestoreArguments],
) -> Report:
    """Take the motion blur out of a video, and keep everything else in it as it was.

    Decoding, inference and encoding run concurrently with bounded queues between them, so memory does not grow with
    the video. In files, the exposure of a frame is read from up to 24 later frames of its shot, too; a pipe or a URL,
    which may be live, is restored without that delay. Every frame keeps its timestamp. Audio, subtitles, chapters,
    tags and colour description are passed through where the target's container can hold them; the report lists the
    losses. The target appears under its name only when it is complete.

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
        model, device, precision, strength, lookahead, shutter, tile, reduce, overlays, keep, remove, noise,
            grain, guide: as for :class:`vdeblur.engine.deblurrer.Deblurrer`. Regions to keep are those of the picture
            as players show it, turned as a phone was held.
        start_seconds, duration_seconds: time range to restore, from the start of the video; the target begins at 0.
        compare: write before and after, "side" by side or in one "split" picture.
        plot: a .png or .svg file for the sharpness of each frame, before and after, over time. It appears at the end;
            that of a resumed job shows the frames from the resume point on. Times are the source's.
        encode: codec, quality, pixel format and further FFmpeg options.
        overwrite: replace an existing target, and an existing plot.
        progress: callback in this thread whenever more frames have been written, and at the end.
        note: callback in this thread before work starts, with a message on each stream or tag that is copied,
            converted or dropped. The report repeats these, with later ones.
        frame_rate: of picture sequences, which have no timestamps (default 25).
        interlaced: handling of interlaced video, detected by flags and pictures: "keep" restores each field and
            gives interlaced video again, "frame" makes one whole frame of each frame, "field" one of each field, and
            "refuse" raises UsageError. Whole frames are restored as they are in every case.
        size_change: handling of a change of size or pixel format in mid-stream: "stop" with a SourceError, or "fit"
            all later frames into the first size, with bars, and into the first format.
        video: number of the video stream to restore, as :func:`vdeblur.probe` lists them; other videos are copied as
            they are. None = the one marked as default, else the largest, else the first.
        allow_network: open a URL (http, https, rtmp, rtsp, srt …). Without it nothing is read but the file itself, and
            playlists, which name other files, are never opened from a file.
        segment_seconds: write the video in segments of so many seconds of work. Finished segments outlive a failure,
            a crash and a power cut, in a hidden folder beside the target, for ``resume``. Ignored where the target or
            its codec cannot be segmented.
        resume: continue the interrupted job of this target. All other arguments must be the same.
        stop: callback after every frame; True ends the job with Interrupted, and keeps finished segments.

    Raises:
        UsageError: an argument is invalid; before any work starts.
        SourceError, NetworkError, DeviceError, TargetError: with the stage and the time of the frame at hand.
        Interrupted: Ctrl-C, or ``stop``. In every case no thread, process or half-written target is left.
            ``error.kept`` tells the kept frames.
    """
    restore = RestoreOptions(model=model, **restoration)
    read = ReadOptions(
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        frame_rate=frame_rate,
        keep_packets=_can_be_read_only_once(source),
        interlaced=interlaced,
        size_change=size_change,
        video=video,
        allow_network=allow_network,
    )
    journal = _journal_of(target, segment_seconds, resume=resume, read_once=read.keep_packets)
    _check_plot(plot, source, target, overwrite=overwrite)
    open_reader = partial(Reader, source, **read.arguments)
    with _telling_what_is_kept(journal, _name(target)), ExitStack() as stack:
        reader = stack.enter_context(open_reader())
        refuse_truncated(reader)
        deblurrer = _deblurrer_for(reader.info.video, restore)
        comparison = _comparison(compare, reader.info.video)
        chart = _chart(plot, reader.info, in_part=start_seconds is not None, overwrite=overwrite)
        read_ahead = READ_AHEAD if _is_file(source) else 0
        known = {} if journal is None else job_terms(reader.info, deblurrer, read, compare, read_ahead)
        terms = known | asked_terms(model, restore.guide, encode)
        to_target = partial(
            Writer, target, options=encode, overwrite=overwrite, journal=journal, terms=terms, resume=resume
        )
        with told_by_options():
            writer = stack.enter_context(_open_writer(to_target, read, reader, comparison))
        _tell_notes(note, reader, writer)
        reader, done = _continued(reader, writer, open_reader, stack)
        total = expected_frames(reader.info.video, start_seconds, duration_seconds)
        loop = Loop(
            reader, writer, frames_total=total, progress=progress, stop=stop, journal=journal, plot=chart,
            piece_seconds=SEGMENT_SECONDS if segment_seconds is None else segment_seconds, read_ahead=read_ahead,
        )  # fmt: skip
        loop.run(deblurrer, comparison, done)
        return _report(loop, deblurrer, writer, target, chart)


@contextmanager
def _telling_what_is_kept(journal: Journal | None, target: str) -> Iterator[None]:
    """Add to an exception the note on kept frames; convert KeyboardInterrupt into Interrupted."""
    try:
        yield
    except VdeblurError as exc:
        exc.with_kept(_kept(journal))
        raise
    except KeyboardInterrupt as exc:
        raise Interrupted(f"stopped by Ctrl-C before {target} was complete").with_kept(_kept(journal)) from exc


def _deblurrer_for(video: VideoInfo, restore: RestoreOptions) -> Deblurrer:
    """A deblurrer whose regions to keep are those of the picture as players show it, and lie within."""
    deblurrer = Deblurrer(restore.model, **restore.arguments)
    turn = display_turn(video.rotation_degrees, video.display_matrix)
    deblurrer.device_step.kept.turn(degrees=turn[0], mirrored=turn[1])
    deblurrer.device_step.kept.check((video.height, video.width))
    return deblurrer


def _comparison(mode: CompareMode | None, video: VideoInfo) -> Comparison | None:
    return None if mode is None else Comparison(mode, video.format, rotation_degrees=video.rotation_degrees)


def _chart(plot: str | Path | None, info: SourceInfo, *, in_part: bool, overwrite: bool) -> SharpnessPlot | None:
    if plot is None:
        return None
    chart = SharpnessPlot(plot, info.name, field=info.video.interlacing.order is not None, overwrite=overwrite)
    if in_part and info.video.start_pts is not None:
        chart.start_seconds = float(info.video.start_pts * info.video.time_base)
    return chart


def _continued(
    reader: Reader, writer: Writer, open_reader: Callable[[], Reader], stack: ExitStack
) -> tuple[Reader, tuple[Frame, ...]]:
    """The reader at the resume point and the last frames before it; without one, the reader as it is."""
    if writer.position is None or writer.position.complete:
        return reader, ()
    return seek_to_position(writer.position, reader, open_reader, stack)


def _tell_notes(note: Callable[[str], None] | None, reader: Reader, writer: Writer) -> None:
    if note is not None:
        for words in (*reader.notes, *writer.notes):
            note(words)


def _open_writer(
    to_target: Callable[..., Writer], read: ReadOptions, reader: Reader, comparison: Comparison | None
) -> Writer:
    """Writer for the reader's frames, or for their comparison with the restored ones."""
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
        packets=reader.take_packets if read.keep_packets else None,
        templates=reader.stream_templates() if read.keep_packets else (),
        start_seconds=read.start_seconds,
        duration_seconds=read.duration_seconds,
    )


def _report(
    loop: Loop, deblurrer: Deblurrer, writer: Writer, target: str | Path | BinaryIO, chart: SharpnessPlot | None
) -> Report:
    alone = (ALONE,) if loop.written == 1 else ()
    clean = (NOTHING_TO_REMOVE,) if loop.clean and deblurrer.remove != NONE else ()
    drawn = () if chart is None else (f"{chart.path} shows the sharpness of each frame: {chart.words}",)
    captions, lost = _captions(loop, writer)
    notes = (*loop.notes, *captions, *deblurrer.notes, *writer.notes, *alone, *clean, *drawn)
    before = 0 if writer.position is None else writer.position.frames
    means = None if chart is None else chart.means
    late = (Outcome("left out", "tag", what, where) for what, where in (*loop.late_losses, *lost))
    return Report(
        loop.written,
        loop.skipped_packets,
        loop.elapsed_seconds,
        notes,
        _name(target),
        (*writer.outcomes, *late),
        before,
        means,
        loop.shutter,
        loop.noise,
        written_video(Path(target)) if isinstance(target, (str, Path)) else None,
    )


def _captions(loop: Loop, writer: Writer) -> tuple[list[str], list[tuple[str, str]]]:
    """A note on closed captions inside the pictures, and what of them is lost that was not known before."""
    what, where = "closed captions inside the pictures", loop.captioned
    if where is None:
        return [], []
    if writer.keeps_captions:
        return [f"{what} kept {where}"], []
    if any(outcome.what == what for outcome in writer.outcomes):
        return [], []
    return [f"not kept: {what} {where}"], [(what, where)]


def _check_plot(
    plot: str | Path | None, source: str | Path | BinaryIO, target: str | Path | BinaryIO, *, overwrite: bool
) -> None:
    """Validate the plot's path before anything is opened."""
    if plot is None:
        return
    path = check_plot_path(plot, overwrite=overwrite).absolute()
    for what, other in (("source", source), ("target", target)):
        if isinstance(other, (str, Path)) and Path(other).absolute() == path:
            raise UsageError(f"the plot cannot be {plot}, which is the {what}")


def _journal_of(
    target: str | Path | BinaryIO, segment_seconds: float | None, *, resume: bool, read_once: bool
) -> Journal | None:
    """Journal of finished segments, if requested and possible."""
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
    """Note on the frames that outlive a failure."""
    if journal is None or journal.record.position is None:
        return None
    frames = journal.record.position.frames
    return f"{frames} frame{'s are' if frames > 1 else ' is'} kept: the same again with resume=True goes on"


def _can_be_read_only_once(source: str | Path | BinaryIO) -> bool:
    """Whether FFmpeg cannot reopen the source, so that its other packets must be collected while reading."""
    if not isinstance(source, (str, Path)):
        return True
    try:
        return str(source) in ("-", "pipe:", "pipe:0") or stat.S_ISFIFO(os.stat(source).st_mode)
    except (OSError, ValueError):  # a URL, a pattern, or a wrong name, of which the reader will speak
        return False


def _is_file(source: str | Path | BinaryIO) -> bool:
    """Whether later frames of a source are there already, so that reading ahead makes nobody wait."""
    if isinstance(source, (str, Path)):
        url = isinstance(source, str) and scheme_of(source) not in (None, "file")
        return not url and not _can_be_read_only_once(source)
    seekable = getattr(source, "seekable", None)
    return bool(seekable and seekable())


def _name(target: str | Path | BinaryIO) -> str:
    if isinstance(target, (str, Path)):
        return "standard output" if str(target) == "-" else str(target)
    return str(getattr(target, "name", "file object"))
