"""A video made in pieces that outlive a crash, and put together at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdeblur.errors import UsageError
from vdeblur.video.encode.containers import Container
from vdeblur.video.segments.joining import carrier_for, inspect
from vdeblur.video.segments.journal import Journal, Position
from vdeblur.video.sink.command_plan import Job
from vdeblur.video.sink.encoder_process import Feed, Joining
from vdeblur.video.sink.targets import FileTarget
from vdeblur.video.streams.timeline import Stretch


def carrier_of(job: Job) -> Container | None:
    """Container for the pieces of a job; ``None`` where its target cannot be made of pieces."""
    if not isinstance(job.target, FileTarget) or job.arguments.unknown is not None:
        return None
    return carrier_for(job.video, job.container, job.picture)


def no_pieces(job: Job) -> UsageError:
    """Why there is nothing to go on with, where there is no such container."""
    option = job.arguments.unknown
    why = f"with {option}" if option else f"as {job.video.encoder.name} in {job.container.name}"
    return UsageError(f"{job.target.name} cannot be made in pieces {why}, so nothing is there to resume")


class Piecework:
    """The pieces of a job, in the folder of a journal, where the target's file is made as well.

    Args:
        carrier: container of the pieces, from :func:`carrier_of`.
        terms: everything that decides what comes out, beside the encoder.
        resume: go on with the interrupted job; ``position`` says where it stopped.
        anew: forget an interrupted job.

    Raises:
        UsageError, TargetError: as :meth:`Journal.go_on` and :meth:`Journal.begin`.
    """

    def __init__(
        self, job: Job, journal: Journal, carrier: Container, terms: Mapping[str, Any], *, resume: bool, anew: bool
    ) -> None:
        assert isinstance(job.target, FileTarget)
        self._job, self._journal, self._carrier = job, journal, carrier
        self.position: Position | None = None
        encoding = {**job.video.options, "arguments": list(job.extra)}
        terms = {**terms, "encoding": encoding}
        if resume:
            self.position = journal.go_on(terms)
        else:
            journal.begin(terms, anew=anew)
        try:
            job.target.move_into(journal.folder)
        except BaseException:
            journal.release()
            raise

    def _file(self) -> Path:
        """The file of the next piece."""
        return self._journal.next_file(self._carrier.muxer)

    def feed(self, stretch: Stretch) -> Feed:
        """The encode of the next piece."""
        command = self._job.segment_command(self._file(), self._carrier)
        return Feed(self._job, command, stretch)

    def add(self, feed: Feed) -> None:
        """Take in the present piece, which is finished; it counts once :meth:`settle` has been called.

        Raises:
            TargetError: it is not what was encoded.
        """
        self._journal.add(inspect(self._file(), feed.times))

    def settle(self, position: Position) -> None:
        """Make all finished pieces count.

        Raises:
            TargetError: the disk failed.
        """
        self._journal.settle(position)

    def joining(self, stretch: Stretch) -> Joining:
        """The encode that puts all pieces together; it waits for :meth:`join`."""
        return Joining(self._job, stretch, self._carrier)

    def join(self, joining: Joining) -> None:
        """Put all pieces together.

        Raises:
            TargetError: FFmpeg or the disk failed.
        """
        joining.run(self._journal.folder, self._journal.record.segments)

    def release(self) -> None:
        """Let go of the folder: it stays if there is something to go on with."""
        self._journal.release()

    def remove(self) -> None:
        """Remove the folder; the job is done."""
        self._journal.remove()
