"""Finalisation: range mark and image metadata in the finished file, and its verification."""

from __future__ import annotations

from vdeblur.video.sink.command_plan import CommandPlan
from vdeblur.video.sink.encoder_process import EncoderProcess
from vdeblur.video.sink.matroska_patch import mark_full_range
from vdeblur.video.sink.picture_files import PictureFiles
from vdeblur.video.sink.verification import Expectation, verify_output
from vdeblur.video.streams.outcomes import Outcome
from vdeblur.video.streams.timeline import Timeline


def finalize(plan: CommandPlan, files: PictureFiles) -> None:
    """Write into the finished file what its encoder could not: full range, names and tags of pictures.

    Raises:
        TargetError: the disk failed.
    """
    path = plan.target.partial_path
    if plan.video.mark_full_range and path is not None:
        mark_full_range(path, plan.streams.video_track)
    if plan.container.only_pictures:
        files.complete(plan.target, plan.video.encoder, plan.extra)


def verify(plan: CommandPlan, timeline: Timeline, encoder_process: EncoderProcess) -> tuple[list[Outcome], list[str]]:
    """Outcomes of everything beside the frames, as the finished file shows them, and notes."""
    outcomes, notes = list(plan.streams.outcomes), list[str]()
    tally, path = encoder_process.process.tally, plan.target.partial_path
    if path is not None and not plan.container.only_pictures:
        whole = not timeline.trims_start and timeline.end_seconds is None and not encoder_process.satisfied
        expected = Expectation(plan.info, plan.container, plan.streams, whole, bool(plan.extra))
        outcomes, notes = verify_output(path, expected, tally)
    warnings = tally.notes(lost=any(outcome.fate == "lost" for outcome in outcomes))
    if plan.retimed is not None or plan.info.broken is not None:
        # Where a piece or a recording breaks off, its last packet is not whole.
        warnings = [words for words in warnings if "corrupt" not in words]
    return outcomes, notes + warnings
