"""What is left to do with a finished file: marks its encoder could not make, tags, and a look at what it holds."""

from __future__ import annotations

from vdeblur.video.sink.command_plan import Job
from vdeblur.video.sink.encoder_process import Encode
from vdeblur.video.sink.matroska_patch import mark_full_range
from vdeblur.video.sink.picture_files import PictureFiles
from vdeblur.video.sink.verification import Promise, check_result
from vdeblur.video.streams.outcomes import Outcome
from vdeblur.video.streams.timeline import Stretch


def mark(job: Job, files: PictureFiles) -> None:
    """Tell the finished file what its encoder could not say.

    Raises:
        TargetError: the disk failed.
    """
    path = job.target.unfinished
    if job.video.mark_full_range and path is not None:
        mark_full_range(path, job.streams.track_of_video)
    if job.container.only_pictures:
        files.complete(job.target, job.video.encoder, job.extra)


def outcomes_of(job: Job, stretch: Stretch, encode: Encode) -> tuple[list[Outcome], list[str]]:
    """What became of everything beside the frames, as the finished file shows it, and what is to be said of it."""
    outcomes, notes = list(job.streams.outcomes), list[str]()
    tally, path = encode.process.tally, job.target.unfinished
    if path is not None and not job.container.only_pictures:
        whole = not stretch.cut and stretch.end_seconds is None and not encode.satisfied
        promise = Promise(job.info, job.container, job.streams, whole, bool(job.extra))
        outcomes, notes = check_result(path, promise, tally)
    return outcomes, notes + tally.notes(lost=any(outcome.fate == "lost" for outcome in outcomes))
