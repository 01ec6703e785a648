"""Writer: encodes frames with the FFmpeg program, and passes all other streams and metadata of the source through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.encode.timing_loss import TimingLoss
from vdeblur.video.encode.trial_encode import trial_video
from vdeblur.video.encode.video_plan import can_hold_video, plan_video
from vdeblur.video.info import SourceInfo
from vdeblur.video.segments.journal import Journal, Position
from vdeblur.video.sink.alpha_stream import AlphaPlan
from vdeblur.video.sink.command_plan import CommandPlan
from vdeblur.video.sink.encoder_process import FrameFeed, SegmentJoin
from vdeblur.video.sink.finalize import finalize, verify
from vdeblur.video.sink.picture_files import PictureFiles, expected_pictures, one_picture_only
from vdeblur.video.sink.segmented_job import SegmentedJob, cannot_segment, container_of_segments
from vdeblur.video.sink.stack_target import StackTarget, becomes_stack
from vdeblur.video.sink.targets import FileTarget, Target, is_pattern, open_target
from vdeblur.video.source.location import check_unchanged
from vdeblur.video.streams.attachments import extract_attachments
from vdeblur.video.streams.outcomes import Outcome
from vdeblur.video.streams.passthrough import PassthroughPackets
from vdeblur.video.streams.plan import plan_streams, with_copy
from vdeblur.video.streams.retimed_copy import write_retimed_copy
from vdeblur.video.streams.timeline import Timeline
from vdeblur.video.temp_folders import scratch_folder

__all__ = ["EncodeOptions", "Writer"]


class Writer:
    """Encodes frames into a target, with the source's audio, subtitles, chapters, tags and attachments.

    A context manager. All that can be checked is checked when it is made: the target is reserved, codec, options and
    container pass a trial encode, and ``notes`` lists copies, conversions and losses. FFmpeg starts with the first
    frame. ``close`` commits the finished file; leaving the context with an exception calls ``abort``.
    One thread may write while another aborts.

    Args:
        target: a path, a pattern for pictures ("out_%05d.png"), a folder for pictures under their own names, "-"
            (standard output) or a binary file object.
        info: the source, from the reader.
        frame_format, colour, width, height, time_base: of the frames to be written.
        overwrite: replace an existing target.
        start_seconds, duration_seconds: time range of the source, as given to the reader. With a start, all timestamps
            move so that the start becomes 0, those of the audio too.
        journal: encodes in segments that outlive a crash, where target and codec allow it (``segmented``); ``cut`` ends
            a segment.
        terms: everything that determines the output, beside the encoder; an interrupted job resumes only if they are
            the same.
        resume: resume the interrupted job of this target; ``position`` is where it stopped.
        packets: for a source that cannot be opened twice, returns the packets of its other streams demuxed since the
            last call (``Reader.take_packets``); the reader must stay open until ``close`` has returned.
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
        self._spec = RawVideoSpec.of(
            info.video, frame_format=frame_format, colour=colour, width=width, height=height, time_base=time_base
        )
        self._files = PictureFiles(target, info, asked=options.container)
        named = info.pictures[0].name if self._files.into_folder else target
        container = choose_container(named, self._spec, options.container)
        self._alpha = AlphaPlan.of(info, self._spec, container, options)
        info, self._spec = self._alpha.info, self._alpha.spec
        self._stack = becomes_stack(target, info, container)
        several = is_pattern(target) or self._files.into_folder or self._stack
        self._single = container.one_file_a_frame and not several
        if self._single and (count := expected_pictures(info, start_seconds, duration_seconds)) > 1:
            raise UsageError(one_picture_only(target, f"{count} frames would come"))
        self._timeline = Timeline.of(info, time_base, start_seconds, duration_seconds)
        self._timing_loss = TimingLoss(container, self._spec)
        self._passthrough: PassthroughPackets | None = None
        if packets is not None and info.input_url is None:
            self._passthrough = PassthroughPackets(packets, templates)
        self._lock = threading.Lock()
        self._open = True
        self._last_pts: int | None = None
        self._feed: FrameFeed | None = None
        self._segments: SegmentedJob | None = None
        self._join: SegmentJoin | None = None
        #: Checkpoint of the interrupted job that is resumed.
        self.position: Position | None = None
        self._target = self._open_target(target, container, info, overwrite=overwrite)
        self._folder = scratch_folder()
        try:
            self._plan = self._make_plan(info, container, options)
            if journal is not None:
                self._begin_segments(journal, terms or {}, resume=resume, overwrite=overwrite)
        except BaseException:
            self._discard()
            raise
        #: Copies, conversions and losses, for people; may grow until ``close``.
        self.notes: list[str] = list(self._plan.notes)
        #: Outcomes of everything beside the frames; after ``close`` as the finished file shows them.
        self.outcomes: list[Outcome] = [*self._plan.streams.outcomes, *self._plan.lost_outcomes]

    def _open_target(
        self, target: str | Path | BinaryIO, container: Container, info: SourceInfo, *, overwrite: bool
    ) -> Target:
        """Reserve the target: a folder of the source's names, or what the target's own name says."""
        names = self._files.names if self._files.into_folder and container.one_file_a_frame else ()
        pictures = container.one_file_a_frame
        made = open_target(target, pictures=pictures, overwrite=overwrite, info=info, names=names)
        return StackTarget(made) if self._stack and isinstance(made, FileTarget) else made

    def _make_plan(self, info: SourceInfo, container: Container, options: EncodeOptions) -> CommandPlan:
        video = plan_video(container, self._spec, options, seekable=self._target.seekable)
        trial = trial_video(self._spec, video.input_options, video.options) if container.needs_video else None
        streams = plan_streams(
            info, container, passthrough=self._passthrough, drop=options.drop, extra=options.ffmpeg_args, video=trial,
            holds_video=lambda other: can_hold_video(other, self._spec, options),
        )  # fmt: skip
        folder, others = Path(self._folder.name), [stream.index for stream in streams.streams if not stream.from_pipe]
        attached = tuple(extract_attachments(info, streams.attached, folder))
        retimed = write_retimed_copy(info, others, folder)
        if retimed is not None:
            streams = with_copy(streams, info, container, retimed)
        return CommandPlan(
            info, container, self._spec, video, streams, attached, options.ffmpeg_args, self._target, self._single,
            retimed=retimed,
        )  # fmt: skip

    def _begin_segments(self, journal: Journal, terms: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Encode in segments, if target and codec allow it; or resume from those that are there."""
        carrier = container_of_segments(self._plan) if self._passthrough is None else None
        if carrier is None:
            if resume:
                raise cannot_segment(self._plan)
            return
        self._plan = replace(self._plan, keeps_captions=self._plan.video.encoder.carries_captions)
        self._segments = SegmentedJob(self._plan, journal, carrier, terms, resume=resume, anew=overwrite)
        self.position = self._segments.position
        if self.position is not None:
            self._timeline = self._timeline.starting_at(self.position.first_pts)
            self._last_pts = self.position.pts
            self._timing_loss.add_frame((self.position.first_pts - self._timeline.origin) * self._spec.time_base)

    @property
    def segmented(self) -> bool:
        """Whether the video is encoded in segments, so that ``cut`` makes them outlive a crash."""
        return self._segments is not None

    @property
    def keeps_captions(self) -> bool:
        """Whether closed captions of the frames enter the pictures of the target."""
        return self._plan.keeps_captions

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
        """Encode one frame; frames come in presentation order.

        Raises:
            TargetError: FFmpeg or the disk failed, or the frame does not fit the others. The writer is closed then.
        """
        with self._lock:
            if not self._open:
                raise TargetError(f"cannot write to {self._target.name}: the writer is closed")
            try:
                frame = self._alpha.frame(frame)
                self._check(frame)
                if self._feed is None:
                    self._feed = self._start(frame)
                self._feed.send(frame)
            except BaseException:
                self._discard()
                raise
            self._last_pts = frame.pts
            self._files.add(frame.pts)
            self._measure_timing(frame.pts)

    def cut(self, position: Position) -> None:
        """End the current segment, if there is one: everything up to ``position`` then outlives a crash.

        The file with the stream state must have been written into the journal's folder before.

        Raises:
            TargetError: FFmpeg or the disk failed. The writer is closed then.
        """
        with self._lock:
            if not self._open or self._segments is None:
                raise TargetError(f"{self._target.name} is not being made in pieces")
            try:
                self._end_segment(self._segments)
                self._segments.commit(position)
            except BaseException:
                self._discard()
                raise

    def _end_segment(self, segments: SegmentedJob) -> None:
        if self._feed is not None:
            self._feed.finish()
            feed, self._feed = self._feed, None
            segments.add(feed)

    def close(self) -> None:
        """Finish encoding, and commit the output.

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
                self._verify(finalize(self._plan, self._files))
            except BaseException:
                self._discard()
                raise
            self._open = False
            self._folder.cleanup()
            if self._feed is not None and self._feed.satisfied:
                self.notes.append("FFmpeg ended before the last frame, as its options asked")
            self._note(self._timing_loss.end_note())
            try:
                self._target.commit()
            except KeyboardInterrupt:
                self._target.discard()
                raise
            if self._segments is not None:
                self._segments.remove()

    def _finish(self) -> None:
        """Let FFmpeg finish, or join the segments."""
        if self._segments is None:
            assert self._feed is not None
            self._feed.finish()
            return
        self._end_segment(self._segments)
        self._check_source()
        self._join = self._segments.start_join(self._timeline)
        self._segments.join(self._join)

    def _verify(self, unwritten: Sequence[str]) -> None:
        work = self._join or self._feed
        assert work is not None
        self.outcomes, notes = verify(self._plan, self._timeline, work.encoder_process, unwritten)
        self.notes += notes

    def abort(self) -> None:
        """Interrupt FFmpeg and leave the target as it was; idempotent, in any state and from any thread."""
        for work in (self._feed, self._join):
            if self._open and work is not None:
                # Before the lock: this wakes a write that waits for FFmpeg.
                work.encoder_process.process.interrupt()
        with self._lock:
            if self._open:
                self._discard()

    def _start(self, first: Frame) -> FrameFeed:
        """Start encoding all frames, or a segment."""
        self._check_source()
        timeline = self._timeline.starting_at(first.pts)
        if timeline is not self._timeline:
            earlier = float(timeline.offset_seconds - self._timeline.offset_seconds)
            self.notes.append(f"the video begins before 0; everything is shown {earlier:.6g} s later")
            self._timeline = timeline
        if self._segments is not None:
            return self._segments.feed(timeline)
        if self._passthrough is not None:
            timeline = timeline.with_lead()
        return FrameFeed(self._plan, self._plan.command(timeline), timeline, self._passthrough)

    def _measure_timing(self, pts: int) -> None:
        """Measure how far the container moves a frame from its timestamp."""
        first = not self._timing_loss.count
        self._timing_loss.add_frame((pts - self._timeline.origin) * self._spec.time_base)
        if first:
            self._note(self._timing_loss.start_note())

    def _note(self, words: str | None) -> None:
        if words is not None:
            self.notes.append(words)

    def _check_source(self) -> None:
        """Check that the source is still the file whose frames these are, before FFmpeg opens it."""
        info = self._plan.info
        check_unchanged(info.name, info.path, info.file_id)

    def _check(self, frame: Frame) -> None:
        self._spec.check(frame, self._target.name)
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise TargetError(f"a frame at tick {frame.pts} cannot follow one at tick {self._last_pts}")
        if self._single and self._last_pts is not None:
            raise UsageError(one_picture_only(self._target.name, "more frames have come"))

    def _discard(self) -> None:
        """Interrupt everything and remove what has been written."""
        self._open = False
        try:
            for work in (self._feed, self._join):
                if work is not None:
                    work.discard()
        finally:
            self._target.discard()
            self._folder.cleanup()
            if self._segments is not None:
                self._segments.release()
