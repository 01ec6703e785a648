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
from vdeblur.video.encode.containers import Container, choose_container
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.encode.raw_video import Picture
from vdeblur.video.encode.timing_loss import Evenness
from vdeblur.video.encode.video_plan import plan_video
from vdeblur.video.info import SourceInfo
from vdeblur.video.segments.journal import Journal, Position
from vdeblur.video.sink.command_plan import Job
from vdeblur.video.sink.encoder_process import Feed, Joining
from vdeblur.video.sink.finalize import mark, outcomes_of
from vdeblur.video.sink.picture_files import PictureFiles, many_pictures, pictures_to_come
from vdeblur.video.sink.segmented_job import Piecework, carrier_of, no_pieces
from vdeblur.video.sink.targets import is_pattern, open_target
from vdeblur.video.source.location import check_unchanged
from vdeblur.video.streams.attachments import extract_attached
from vdeblur.video.streams.outcomes import Outcome
from vdeblur.video.streams.passthrough import Companions
from vdeblur.video.streams.plan import plan_streams
from vdeblur.video.streams.timeline import Stretch
from vdeblur.video.temp_folders import scratch_folder

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
        if self._single and (count := pictures_to_come(info, start_seconds, duration_seconds)) > 1:
            raise UsageError(many_pictures(target, f"{count} frames would come"))
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
        self._pieces: Piecework | None = None
        #: Where an interrupted job stopped, if one goes on.
        self.position: Position | None = None
        try:
            self._job = self._plan(info, container, options)
            if journal is not None:
                self._begin_pieces(journal, terms or {}, resume=resume, overwrite=overwrite)
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

    def _begin_pieces(self, journal: Journal, terms: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the video in pieces, if it can be; or go on with those that are there."""
        carrier = carrier_of(self._job) if self._companions is None else None
        if carrier is None:
            if resume:
                raise no_pieces(self._job)
            return
        self._pieces = Piecework(self._job, journal, carrier, terms, resume=resume, anew=overwrite)
        self.position = self._pieces.position
        if self.position is not None:
            self._stretch = self._stretch.beginning_at(self.position.first_pts)
            self._last_pts = self.position.pts
            self._evenness.saw((self.position.first_pts - self._stretch.origin) * self._picture.time_base)

    @property
    def segmented(self) -> bool:
        """Whether the video is made in pieces, so that ``cut`` makes what is done outlive a crash."""
        return self._pieces is not None

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
            if not self._open or self._pieces is None:
                raise TargetError(f"{self._target.name} is not being made in pieces")
            try:
                self._end_piece(self._pieces)
                self._pieces.settle(position)
            except BaseException:
                self._throw_away()
                raise

    def _end_piece(self, pieces: Piecework) -> None:
        if self._feed is not None:
            self._feed.finish()
            feed, self._feed = self._feed, None
            pieces.add(feed)

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
                mark(self._job, self._files)
                self._look_at_result()
            except BaseException:
                self._throw_away()
                raise
            self._open = False
            self._folder.cleanup()
            if self._feed is not None and self._feed.satisfied:
                self.notes.append("FFmpeg ended before the last frame, as its options asked")
            self._note(self._evenness.end_note())
            self._target.commit()
            if self._pieces is not None:
                self._pieces.remove()

    def _finish(self) -> None:
        """Let FFmpeg finish, or put the pieces together."""
        if self._pieces is None:
            assert self._feed is not None
            self._feed.finish()
            return
        self._end_piece(self._pieces)
        self._check_source()
        self._joining = self._pieces.joining(self._stretch)
        self._pieces.join(self._joining)

    def _look_at_result(self) -> None:
        work = self._joining or self._feed
        assert work is not None
        self.outcomes, notes = outcomes_of(self._job, self._stretch, work.encode)
        self.notes += notes

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
        if self._pieces is not None:
            return self._pieces.feed(stretch)
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
        self._picture.check(frame, self._target.name)
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise TargetError(f"a frame at tick {frame.pts} cannot follow one at tick {self._last_pts}")
        if self._single and self._last_pts is not None:
            raise UsageError(many_pictures(self._target.name, "more frames have come"))

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
            if self._pieces is not None:
                self._pieces.release()
