"""The writer: frames become a video file through the FFmpeg program, and everything else in the source comes along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
from av.stream import Stream

from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.video.attachments import extract_attached
from vdeblur.video.companions import Companions
from vdeblur.video.containers import Container, choose_container
from vdeblur.video.encoding import plan_video
from vdeblur.video.evenness import Evenness
from vdeblur.video.feed import Feed, Joining
from vdeblur.video.info import SourceInfo
from vdeblur.video.job import Job
from vdeblur.video.journal import Journal, Position
from vdeblur.video.matroska import mark_full_range
from vdeblur.video.outcomes import Outcome
from vdeblur.video.picture import Picture
from vdeblur.video.picture_files import PictureFiles
from vdeblur.video.places import check_unchanged
from vdeblur.video.scratch import scratch_folder
from vdeblur.video.segments import carrier_for, inspect
from vdeblur.video.settings import EncodeOptions
from vdeblur.video.streams import plan_streams
from vdeblur.video.stretch import Stretch
from vdeblur.video.targets import FileTarget, is_pattern, open_target
from vdeblur.video.verification import Promise, check_result

__all__ = ["EncodeOptions", "Writer"]


class Writer:
    """Writes frames, and with them the source's sound, subtitles, chapters, tags and whatever else the target holds.

    A context manager. All that can be checked is checked when it is made: the target's place, the codec, its options
    and the container are tried out, and ``notes`` says what is copied, converted and lost. FFmpeg starts with the first
    frame. ``close`` puts the finished file into place; leaving the context with an exception calls ``abort``.
    One thread may write while another aborts.

    Args:
        target: a path, a pattern for pictures ("out_%05d.png"), a folder for pictures under their own names, "-"
            (standard output) or a binary file object.
        info: the source, as the reader found it.
        frame_format, colour, width, height, time_base: of the frames that will come.
        overwrite: replace an existing target.
        start_seconds, duration_seconds: the stretch of the source the frames are from, as given to the reader. With a
            start, all times move so that the start becomes 0, those of the sound too.
        journal: makes the video in pieces that outlive a crash, where target and codec allow it (``segmented``);
            ``cut`` ends a piece.
        terms: everything that decides what comes out, beside the encoder; an interrupted job goes on only if they are
            still the same.
        resume: go on with the interrupted job of this target; ``position`` says where it stopped.
        packets: for a source that cannot be opened twice, gives the packets of its other streams read since the last
            call (``Reader.take_packets``); the reader must stay open until ``close`` has returned.
        templates: those streams (``Reader.stream_templates()``).

    Raises:
        UsageError: the target, the codec, an option or the pair of container and streams cannot be.
        TargetError: the target cannot be written.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        *,
        info: SourceInfo,
        frame_format: PixelFormat,
        colour: Colour,
        width: int,
        height: int,
        time_base: Fraction,
        options: EncodeOptions | None = None,
        overwrite: bool = False,
        start_seconds: float | None = None,
        duration_seconds: float | None = None,
        packets: Callable[[], list[av.Packet[Any]]] | None = None,
        templates: Sequence[Stream] = (),
        journal: Journal | None = None,
        terms: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        options = EncodeOptions() if options is None else options
        picture = Picture.of(
            info.video, frame_format=frame_format, colour=colour, width=width, height=height, time_base=time_base
        )
        self._files = files = PictureFiles(target, info, asked=options.container)
        named = info.pictures[0].name if files.into_folder else target
        container = choose_container(named, picture, options.container)
        self._single = container.one_file_a_frame and not (is_pattern(target) or files.into_folder)
        if self._single and (count := _pictures_to_come(info, start_seconds, duration_seconds)) > 1:
            raise UsageError(_many_pictures(target, f"{count} frames would come"))
        self._picture = picture
        self._stretch = Stretch.of(info, time_base, start_seconds, duration_seconds)
        self._companions = Companions(packets, templates) if packets is not None and info.input_url is None else None
        self._lock = threading.Lock()
        self._open = True
        self._last_pts: int | None = None
        self._feed: Feed | None = None
        self._evenness = Evenness(container, picture)
        self._joining: Joining | None = None
        self._target = open_target(
            target,
            pictures=container.one_file_a_frame,
            overwrite=overwrite,
            info=info,
            names=files.names if files.into_folder and container.one_file_a_frame else (),
        )
        self._folder = scratch_folder()
        self._journal: Journal | None = None
        #: Where an interrupted job stopped, if one goes on.
        self.position: Position | None = None
        try:
            self._job = self._plan(info, container, options)
            self._carrier = self._choose_carrier()
            if journal is not None and (self._carrier is not None or resume):
                self._open_journal(journal, dict(terms or {}), resume=resume, overwrite=overwrite)
        except BaseException:
            self._throw_away()
            raise
        #: What is copied, converted and not kept, in plain words; may grow until ``close``.
        self.notes: list[str] = list(self._job.notes)
        #: What becomes of everything beside the frames; after ``close`` as the finished file shows it.
        self.outcomes: list[Outcome] = list(self._job.streams.outcomes)

    def _plan(self, info: SourceInfo, container: Container, options: EncodeOptions) -> Job:
        video = plan_video(container, self._picture, options, seekable=self._target.seekable)
        streams = plan_streams(
            info, container, companions=self._companions, drop=options.drop, extra=options.ffmpeg_args
        )
        attached = tuple(extract_attached(info, streams.attached, Path(self._folder.name)))
        return Job(
            info, container, self._picture, video, streams, attached, options.ffmpeg_args, self._target, self._single
        )

    def _choose_carrier(self) -> str | None:
        """Container for the pieces; ``None`` where the target cannot be made of pieces."""
        if self._companions is not None or not isinstance(self._target, FileTarget):
            return None
        if self._job.arguments.unknown is not None:
            return None
        return carrier_for(self._job.video, self._job.container.muxer, self._picture)

    def _open_journal(self, journal: Journal, terms: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        if self._carrier is None or not isinstance(self._target, FileTarget):
            option = self._job.arguments.unknown
            why = f"with {option}" if option else f"as {self._job.video.encoder} in {self._job.container.name}"
            raise UsageError(f"{self._target.name} cannot be made in pieces {why}, so nothing is there to resume")
        terms["encoding"] = {**self._job.video.options, "arguments": list(self._job.extra)}
        if resume:
            self.position = journal.go_on(terms)
            self._stretch = self._stretch.beginning_at(self.position.first_pts)
            self._last_pts = self.position.pts
            self._evenness.saw((self.position.first_pts - self._stretch.origin) * self._picture.time_base)
        else:
            journal.begin(terms, anew=overwrite)
        self._journal = journal
        self._target.move_into(journal.folder)

    @property
    def segmented(self) -> bool:
        """Whether the video is made in pieces, so that ``cut`` makes what is done outlive a crash."""
        return self._journal is not None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, frame: Frame) -> None:
        """Encode one frame; frames come in the order they are shown.

        Raises:
            TargetError: FFmpeg or the disk failed, or the frame does not fit the others. The writer is closed then.
        """
        with self._lock:
            if not self._open:
                raise TargetError(f"cannot write to {self._target.name}: the writer is closed")
            try:
                self._check(frame)
                if self._feed is None:
                    self._feed = self._start(frame)
                self._feed.send(frame)
            except BaseException:
                self._throw_away()
                raise
            self._last_pts = frame.pts
            self._files.add(frame.pts)
            self._watch(frame.pts)

    def cut(self, position: Position) -> None:
        """End the present piece, if one was begun: everything up to ``position`` then outlives whatever happens.

        The file with what was remembered must have been written into the journal's folder before.

        Raises:
            TargetError: FFmpeg or the disk failed. The writer is closed then.
        """
        with self._lock:
            if not self._open or self._journal is None:
                raise TargetError(f"{self._target.name} is not being made in pieces")
            try:
                self._end_piece(self._journal)
                self._journal.settle(position)
            except BaseException:
                self._throw_away()
                raise

    def _end_piece(self, journal: Journal) -> None:
        if self._feed is not None:
            self._feed.finish()
            path, times, self._feed = journal.next_file(str(self._carrier)), self._feed.times, None
            journal.add(inspect(path, times))

    def close(self) -> None:
        """Finish, and put the output into place.

        Raises:
            TargetError: FFmpeg or the disk failed, or no frame was written; nothing is left behind.
        """
        with self._lock:
            if not self._open:
                return
            try:
                if self._last_pts is None:
                    raise TargetError(f"no frame was written to {self._target.name}")
                self._finish()
                self._mark()
                self._check_result()
            except BaseException:
                self._throw_away()
                raise
            self._open = False
            self._folder.cleanup()
            if self._feed is not None and self._feed.satisfied:
                self.notes.append("FFmpeg ended before the last frame, as its options asked")
            self._note(self._evenness.end_note())
            self._target.commit()
            if self._journal is not None:
                self._journal.remove()

    def _finish(self) -> None:
        """Let FFmpeg finish, or put the pieces together."""
        if self._journal is None:
            assert self._feed is not None
            self._feed.finish()
            return
        self._end_piece(self._journal)
        self._check_source()
        self._joining = Joining(self._job, self._stretch, str(self._carrier))
        self._joining.run(self._journal.folder, self._journal.record.segments)

    def abort(self) -> None:
        """End FFmpeg and leave the target as it was; safe in any state, from any thread, and more than once."""
        for work in (self._feed, self._joining):
            if self._open and work is not None:
                # Before the lock: this wakes a write that waits for FFmpeg.
                work.encode.process.interrupt()
        with self._lock:
            if self._open:
                self._throw_away()

    def _start(self, first: Frame) -> Feed:
        """A running encode of all frames, or of a piece."""
        self._check_source()
        stretch = self._stretch.beginning_at(first.pts)
        if stretch is not self._stretch:
            earlier = float(stretch.moved_seconds - self._stretch.moved_seconds)
            self.notes.append(f"the video begins before 0; everything is shown {earlier:.6g} s later")
            self._stretch = stretch
        if self._journal is not None:
            path = self._journal.next_file(str(self._carrier))
            return Feed(self._job, self._job.segment_command(path, str(self._carrier)), stretch)
        if self._companions is not None:
            stretch = stretch.with_lead()
        return Feed(self._job, self._job.command(stretch), stretch, self._companions)

    def _watch(self, pts: int) -> None:
        """Find out how far the container misses a frame's time."""
        first = not self._evenness.count
        self._evenness.saw((pts - self._stretch.origin) * self._picture.time_base)
        if first:
            self._note(self._evenness.begin_note())

    def _note(self, words: str | None) -> None:
        if words is not None:
            self.notes.append(words)

    def _check_source(self) -> None:
        """Let FFmpeg open the source only if it is still the file whose frames these are."""
        info = self._job.info
        check_unchanged(info.name, info.path, info.file_id)

    def _check(self, frame: Frame) -> None:
        picture = self._picture
        if (frame.width, frame.height, frame.format) != (picture.width, picture.height, picture.format):
            raise TargetError(
                f"a frame of {frame.width}×{frame.height} {frame.format.name} does not fit {self._target.name}, "
                f"begun with {picture.width}×{picture.height} {picture.format.name}"
            )
        if frame.time_base != picture.time_base:
            raise TargetError(f"a frame's time base {frame.time_base} is not the target's {picture.time_base}")
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise TargetError(f"a frame at tick {frame.pts} cannot follow one at tick {self._last_pts}")
        if self._single and self._last_pts is not None:
            raise UsageError(_many_pictures(self._target.name, "more frames have come"))

    def _mark(self) -> None:
        """Tell the finished file what its encoder could not say."""
        path, streams = self._target.unfinished, self._job.streams
        if self._job.video.mark_full_range and path is not None:
            mark_full_range(path, streams.track_of_video)
        if self._job.container.only_pictures:
            self._files.complete(self._target, self._job.video.encoder, self._job.extra)

    def _check_result(self) -> None:
        """Look whether the finished file holds what was promised."""
        work = self._joining or self._feed
        assert work is not None
        tally, path, job = work.encode.process.tally, self._target.unfinished, self._job
        if path is not None and not job.container.only_pictures:
            whole = not self._stretch.cut and self._stretch.end_seconds is None and not work.encode.satisfied
            promise = Promise(job.info, job.container, job.streams, whole, bool(job.extra))
            self.outcomes, notes = check_result(path, promise, tally)
            self.notes += notes
        self.notes += tally.notes(lost=any(outcome.fate == "lost" for outcome in self.outcomes))

    def _throw_away(self) -> None:
        """End everything and remove what has been written."""
        self._open = False
        try:
            for work in (self._feed, self._joining):
                if work is not None:
                    work.discard()
        finally:
            self._target.discard()
            self._folder.cleanup()
            if self._journal is not None:
                self._journal.release()


def _pictures_to_come(info: SourceInfo, start_seconds: float | None, duration_seconds: float | None) -> int:
    """Frames the source announces for the stretch; 0 = it does not say."""
    video = info.video
    if duration_seconds is not None and video.average_rate is not None:
        return max(1, round(duration_seconds * video.average_rate))
    return (video.frame_count_from_header or 0) if start_seconds is None else 0


def _many_pictures(target: object, why: str) -> str:
    path = Path(str(target))
    return f"{target} is one picture but {why}; write to a pattern like {path.stem}_%05d{path.suffix}"
