"""Segmented job: the video encoded in segments that outlive a crash, joined at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdeblur.errors import TargetError, UsageError
from vdeblur.video.encode.containers import Container
from vdeblur.video.segments.captions import save_captions
from vdeblur.video.segments.joining import inspect_segment, segment_container
from vdeblur.video.segments.journal import Journal, Position
from vdeblur.video.sink.command_plan import CommandPlan
from vdeblur.video.sink.encoder_process import FrameFeed, SegmentJoin
from vdeblur.video.sink.targets import FileTarget
from vdeblur.video.streams.timeline import Timeline


def container_of_segments(plan: CommandPlan) -> Container | None:
    """Container of the segments of a job; ``None`` where its target cannot be made in segments."""
    if not isinstance(plan.target, FileTarget) or plan.arguments.unknown is not None:
        return None
    return segment_container(plan.video, plan.container, plan.spec)


def cannot_segment(plan: CommandPlan) -> UsageError:
    """The error of resuming a job that cannot be made in segments."""
    option = plan.arguments.unknown
    why = f"with {option}" if option else f"as {plan.video.encoder.name} in {plan.container.name}"
    return UsageError(f"{plan.target.name} cannot be made in pieces {why}, so nothing is there to resume")


class SegmentedJob:
    """Segments of a job in the folder of its journal, where the target's file is made as well.

    Args:
        carrier: container of the segments, from :func:`container_of_segments`.
        terms: everything that determines the output, beside the encoder.
        resume: resume the interrupted job; ``position`` is where it stopped.
        anew: discard an interrupted job.

    Raises:
        UsageError, TargetError: as :meth:`Journal.resume` and :meth:`Journal.begin`.
    """

    def __init__(
        self,
        plan: CommandPlan,
        journal: Journal,
        carrier: Container,
        terms: Mapping[str, Any],
        *,
        resume: bool,
        anew: bool,
    ) -> None:
        assert isinstance(plan.target, FileTarget)
        self._plan, self._journal, self._carrier = plan, journal, carrier
        self.position: Position | None = None
        encoding = {**plan.video.options, "arguments": list(plan.extra)}
        terms = {**terms, "encoding": encoding}
        if resume:
            self.position = journal.resume(terms)
        else:
            journal.begin(terms, anew=anew)
        try:
            plan.target.move_into(journal.folder)
        except BaseException:
            journal.release()
            raise

    def _file(self) -> Path:
        """File of the next segment."""
        return self._journal.next_file(self._carrier.muxer)

    def feed(self, timeline: Timeline) -> FrameFeed:
        """Start encoding the next segment."""
        command = self._plan.segment_command(self._file(), self._carrier)
        segments = self._journal.record.segments
        return FrameFeed(self._plan, command, timeline, after=segments[-1].times[-1] if segments else None)

    def add(self, feed: FrameFeed) -> None:
        """Add the finished segment; it counts once :meth:`commit` has been called.

        Raises:
            TargetError: it is not what was encoded.
        """
        path = self._file()
        segment = inspect_segment(path, feed.times)
        try:
            save_captions(feed.captions if self._plan.keeps_captions else {}, path)
        except OSError as exc:
            raise TargetError(f"cannot write beside {path}: {exc.strerror or exc}") from exc
        self._journal.add(segment)

    def commit(self, position: Position) -> None:
        """Sync all finished segments to the disk, and record the checkpoint.

        Raises:
            TargetError: the disk failed.
        """
        self._journal.commit(position)

    def start_join(self, timeline: Timeline) -> SegmentJoin:
        """Start the FFmpeg that muxes the joined segments; it waits for :meth:`join`."""
        return SegmentJoin(self._plan, timeline, self._carrier)

    def join(self, process: SegmentJoin) -> None:
        """Join all segments.

        Raises:
            TargetError: FFmpeg or the disk failed.
        """
        process.run(self._journal.folder, self._journal.record.segments)

    def release(self) -> None:
        """Release the folder; it stays if the job can be resumed."""
        self._journal.release()

    def remove(self) -> None:
        """Remove the folder; the job is done."""
        self._journal.remove()
