"""Pipeline loop: prefetching reader, restoration and write-behind writer, with progress and segment ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.stream_state import Snapshot
from vdeblur.errors import Interrupted, SourceError, TargetError, VdeblurError
from vdeblur.frames import Frame
from vdeblur.kernels.compilation_count import compiled_kernels
from vdeblur.pipeline.comparison import Comparison
from vdeblur.pipeline.interlaced import restorations
from vdeblur.pipeline.noise_tally import NoiseTally, UsedNoise
from vdeblur.pipeline.resume import SEGMENT_SECONDS, SegmentTimer, checksum, load_snapshot, save_snapshot
from vdeblur.pipeline.sharpness import SharpnessPlot
from vdeblur.pipeline.shutter_tally import ShutterTally, UsedShutter
from vdeblur.runtime.workers import Prefetch, WriteBehind, prefetch
from vdeblur.video.info import VideoInfo
from vdeblur.video.segments.journal import Journal, Position
from vdeblur.video.sink.writer import Writer
from vdeblur.video.source.reader import Reader

#: Frames that wait on each side of the network: enough to level out key frames, few enough for 4K.
QUEUE_FRAMES = 3
#: Frames and seconds of steady pace before there is an ETA.
STEADY_FRAMES, STEADY_SECONDS = 8, 1.0


@dataclass(frozen=True)
class Progress:
    """Progress of a job."""

    #: Frames written.
    frames: int
    #: Frames to write, by the source's header; None where it does not say.
    frames_total: int | None
    #: Length of what has been written, in the video's own time.
    media_seconds: float
    #: Time since the first frame was asked for.
    elapsed_seconds: float
    #: Frames, and their length, already written by the interrupted job that this one resumes.
    frames_before: int = 0
    media_seconds_before: float = 0.0
    #: Frames of this job, and seconds, until the pace became steady: kernels were compiled, frames read ahead. None: it
    #: is not steady yet.
    warm_up: tuple[int, float] | None = (0, 0.0)

    @property
    def frames_per_second(self) -> float:
        return (self.frames - self.frames_before) / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def speed(self) -> float:
        """Seconds of video for each second of work: 1 is real time."""
        new = self.media_seconds - self.media_seconds_before
        return new / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds still to go at the steady pace, if the header's number of frames is right."""
        if self.frames_total is None or self.frames > self.frames_total:
            return None
        left = self.frames_total - self.frames
        if left == 0 or self.warm_up is None:
            return 0.0 if left == 0 else None
        frames, seconds = self.warm_up
        new = self.frames - self.frames_before - frames
        return left * (self.elapsed_seconds - seconds) / new if new > 0 else None


class SteadyPace:
    """Finds from when on the pace says how long the rest will take: behind the start, and behind compiling."""

    def __init__(self) -> None:
        self._compiled = -1
        self._from = (0, 0.0)

    def warm_up(self, frames: int, seconds: float) -> tuple[int, float] | None:
        """Frames and seconds that do not count, after so many of both; None while too little does."""
        if self._compiled != (compiled := compiled_kernels()):
            self._compiled, self._from = compiled, (frames, seconds)
        first, began = self._from
        return self._from if frames - first >= STEADY_FRAMES and seconds - began >= STEADY_SECONDS else None


@dataclass(frozen=True)
class SegmentEnd:
    """End of a segment, queued for the writing thread behind the segment's last frame."""

    #: The last frame as the source has it.
    original: Frame
    snapshot: Snapshot
    #: Tick of the frame before, where going on needs it.
    run_up_pts: int | None
    #: Frames of the whole video up to here.
    frames: int


class Loop:
    """Runs one video through reader, network and writer.

    Args:
        frames_total: frames to come, as far as is known.
        progress: callback whenever more frames have been written.
        stop: callback after every frame; True ends the job, keeping finished segments where there are any.
        journal: journal of segments, if the writer makes any; snapshots are saved beside them.
        piece_seconds: seconds of work after which a segment ends.
        plot: measures every frame, and is written at the end.
        read_ahead: as for :meth:`vdeblur.engine.deblurrer.Deblurrer.run`.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        frames_total: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
        journal: Journal | None = None,
        piece_seconds: float = SEGMENT_SECONDS,
        plot: SharpnessPlot | None = None,
        read_ahead: int = 0,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._frames_total = frames_total
        self._progress = progress
        self._stop = stop
        self._journal = journal if writer.segmented else None
        self._segment_timer = SegmentTimer(piece_seconds)
        self._plot = plot
        self._read_ahead = read_ahead
        self._shutters = ShutterTally(of_fields=reader.info.video.interlacing.order is not None)
        self._noises = NoiseTally()
        self._before = position = writer.position
        self._began = time.perf_counter()
        self._first_pts = None if position is None else position.first_pts
        self._last: Frame | None = None
        self._told = 0
        self._pace = SteadyPace()
        self.written = 0 if position is None else position.frames

    @property
    def elapsed_seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def skipped_packets(self) -> int:
        earlier = 0 if self._before is None else self._before.skipped_packets
        return earlier + self._reader.skipped_packets

    @property
    def shutter(self) -> UsedShutter | None:
        """Which exposure the frames were restored with; those of a resumed job from the resume point on."""
        return self._shutters.result()

    @property
    def noise(self) -> UsedNoise | None:
        """How noisy the frames were, as :attr:`shutter`; None if they were clean."""
        return self._noises.result()

    @property
    def clean(self) -> bool:
        """Noise was looked for in all frames, and there was none; False for a resumed job."""
        return self._before is None and self._noises.clean

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages about the source, those of the interrupted job included."""
        earlier = () if self._before is None else self._before.notes
        return tuple(dict.fromkeys([*earlier, *self._reader.notes]))

    @property
    def late_losses(self) -> tuple[tuple[str, str], ...]:
        """As :attr:`vdeblur.video.source.reader.Reader.late_losses`."""
        return self._reader.late_losses

    @property
    def captioned(self) -> str | None:
        """As :attr:`vdeblur.video.source.reader.Reader.captioned`."""
        return self._reader.captioned

    def run(self, deblurrer: Deblurrer, comparison: Comparison | None, done: Sequence[Frame] = ()) -> None:
        """Prefetch, restore, write behind; ``done`` are the last frames of the interrupted job that goes on."""
        if self._before is None or not self._before.complete:
            self._restore(deblurrer, comparison, done)
        with _stage("write", TargetError, self._last):
            self._writer.close()
        self._tell()
        if self._plot is not None:
            if self._before is not None and self._last is not None and self._plot.start_seconds is None:
                self._plot.start_seconds = float(self._before.first_pts * self._last.time_base)
            self._plot.write()

    def _restore(self, deblurrer: Deblurrer, comparison: Comparison | None, done: Sequence[Frame]) -> None:
        originals: deque[Frame] = deque()
        after, number, before = self._recalled(), self.written, done[-1] if done else None
        order = self._reader.info.video.interlacing.order
        terms: dict[str, Any] = {"after": after, "done": done, "read_ahead": self._read_ahead}
        with (
            prefetch(self._frames(), depth=QUEUE_FRAMES, name="read", unblock=self._reader.close) as ahead,
            WriteBehind(self._write, depth=QUEUE_FRAMES, name="write", unblock=self._writer.abort) as behind,
            closing(
                restorations(
                    deblurrer, _remembered(ahead, originals), order, ready=partial(self._is_ready, ahead), **terms
                )
            ) as restored,
        ):
            for each in restored:
                number += 1
                original = originals.popleft()
                self._shutters.add(each.shutter)
                self._noises.add(each.noise)
                if self._plot is not None:
                    self._plot.add(original, each.frame)
                behind.put(each.frame if comparison is None else comparison.draw(original, each.frame))
                self._tell()
                run_up_pts = None if order is None or before is None else before.pts
                self._end_piece(behind, SegmentEnd(original, each.snapshot, run_up_pts, number))
                before = original
        if self._journal is not None:
            self._writer.cut(self._position(None, number))

    def _is_ready(self, ahead: Prefetch[Frame]) -> bool:
        """Whether the next frame is there, or will be without anybody's doing: who writes a pipe may wait for ours."""
        return self._read_ahead > 0 or ahead.ready > 0

    def _end_piece(self, behind: WriteBehind[Frame | SegmentEnd], cut: SegmentEnd) -> None:
        """Queue the end of a segment behind a frame if it is due; end the job if that is requested.

        Raises:
            Interrupted: the stop callback returned True.
        """
        wanted = self._stop is not None and self._stop()
        if self._journal is not None and (self._segment_timer.due() or wanted):
            behind.put(cut)
            self._segment_timer.restart()
        if wanted:
            if self._journal is not None:
                behind.finish()
            raise Interrupted(f"stopped after {cut.frames} frames")

    def _frames(self) -> Iterator[Frame]:
        """The reader's frames, in the reading thread."""
        frame: Frame | None = None
        while True:
            with _stage("read", SourceError, frame):
                frame = next(self._reader, None)
                if frame is None:
                    refuse_truncated(self._reader)
            if frame is None:
                return
            yield frame

    def _write(self, item: Frame | SegmentEnd) -> None:
        """Write a frame or end a segment, in the writing thread."""
        if isinstance(item, SegmentEnd):
            with _stage("write", TargetError, item.original):
                self._writer.cut(self._position(item, item.frames))
            return
        with _stage("write", TargetError, item):
            self._writer.write(item)
        self._first_pts = item.pts if self._first_pts is None else self._first_pts
        self._last = item
        self.written += 1

    def _position(self, cut: SegmentEnd | None, frames: int) -> Position:
        """Position of the job at the end of a segment, or of the video (``None``)."""
        last = self._last if cut is None else cut.original
        position = Position(
            frames=frames,
            first_pts=self._first_pts or 0,
            pts=0 if last is None else last.pts,
            checksum=0,
            memory={},
            memory_file="",
            complete=cut is None,
            run_up_pts=None if cut is None else cut.run_up_pts,
            notes=self.notes,
            skipped_packets=self.skipped_packets,
        )
        if cut is None or self._journal is None:
            return position
        name = f"memory-{frames:08d}.safetensors"
        memory = save_snapshot(cut.snapshot, self._journal.folder / name)
        return replace(position, checksum=checksum(cut.original), memory=memory, memory_file=name)

    def _recalled(self) -> Snapshot | None:
        """Snapshot at which the job was interrupted."""
        if self._before is None or self._journal is None:
            return None
        return load_snapshot(self._before.memory, self._journal.folder / self._before.memory_file)

    def _tell(self) -> None:
        """Report progress if there is any."""
        written, last = self.written, self._last
        if self._progress is None or written == self._told or last is None:
            return
        self._told = written
        first = last.pts if self._first_pts is None else self._first_pts
        seconds = float((last.pts - first + last.duration) * last.time_base)
        before, seconds_before = 0, 0.0
        if self._before is not None:
            before, seconds_before = self._before.frames, float((self._before.pts - first) * last.time_base)
        elapsed = self.elapsed_seconds
        warm_up = self._pace.warm_up(written - before, elapsed)
        self._progress(Progress(written, self._frames_total, seconds, elapsed, before, seconds_before, warm_up))


def refuse_truncated(reader: Reader) -> None:
    """Refuse a truncated source.

    Raises:
        SourceError: it is truncated, or could not be read to its end.
    """
    if reader.shortfall is not None:
        raise SourceError(f"{reader.shortfall}; a shorter duration restores what is there")


def expected_frames(video: VideoInfo, start_seconds: float | None, duration_seconds: float | None) -> int | None:
    """Expected number of frames by the headers; None if unknown."""
    if start_seconds is None and duration_seconds is None and video.frame_count_from_header:
        return video.frame_count_from_header
    if video.average_rate is None or (video.duration_seconds is None and duration_seconds is None):
        return None
    left = float("inf") if video.duration_seconds is None else video.duration_seconds - (start_seconds or 0.0)
    wanted = left if duration_seconds is None else min(left, duration_seconds)
    return max(1, round(wanted * video.average_rate))


def _remembered(frames: Iterable[Frame], memory: deque[Frame]) -> Iterator[Frame]:
    for frame in frames:
        memory.append(frame)
        yield frame


@contextmanager
def _stage(name: str, kind: type[VdeblurError], frame: Frame | None) -> Iterator[None]:
    """Annotate exceptions with the stage and the time of the current frame."""
    seconds = None if frame is None else frame.time_seconds
    try:
        yield
    except VdeblurError as exc:
        exc.at(name, seconds)
        raise
    except Exception as exc:
        text = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise kind(f"{type(exc).__name__}: {text}").at(name, seconds) from exc
