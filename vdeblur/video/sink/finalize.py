"""Finalisation: range mark and image metadata in the finished file, and its verification."""

from __future__ import annotations

from collections.abc import Sequence

from vdeblur.video.sink.command_plan import CommandPlan
from vdeblur.video.sink.encoder_process import EncoderProcess
from vdeblur.video.sink.iso_patch import write_creation_time
from vdeblur.video.sink.matroska_patch import mark_range
from vdeblur.video.sink.picture_files import PictureFiles
from vdeblur.video.sink.riff_patch import write_riff_tags
from vdeblur.video.sink.verification import Expectation, verify_output
from vdeblur.video.streams.file_tags import date_of, software_of
from vdeblur.video.streams.outcomes import Outcome
from vdeblur.video.streams.timeline import Timeline


def finalize(plan: CommandPlan, files: PictureFiles) -> list[str]:
    """Write into the finished file what its encoder could not: range, date, projection, names and tags of pictures.

    Returns:
        What the file has no room for after all, in words.

    Raises:
        TargetError: the disk failed.
    """
    path, unwritten = plan.target.partial_path, list[str]()
    if plan.video.mark_range is not None and path is not None:
        mark_range(path, plan.streams.video_track, plan.video.mark_range)
    date, software = date_of(plan.info.metadata, plan.info.path), software_of(plan.info)
    if path is not None and date is not None and plan.newer_list:
        write_creation_time(path, date)
    if path is not None and plan.container.riff_tags and (date or software):
        write_riff_tags(path, date, software)
    if plan.marks.is_for_later and path is not None:
        index = plan.info.video.stream_index
        if not plan.marks.write(path, plan.streams.videos_before(index), plan.info.streams[index].title):
            unwritten.append("the description of 360° or 3D video")
    if plan.container.only_pictures:
        files.complete(plan.target, plan.video.encoder, plan.extra)
    return unwritten


def verify(
    plan: CommandPlan, timeline: Timeline, encoder_process: EncoderProcess, unwritten: Sequence[str] = ()
) -> tuple[list[Outcome], list[str]]:
    """Outcomes of everything beside the frames, as the finished file shows them, and notes; ``unwritten`` is lost."""
    outcomes, notes = list(plan.streams.outcomes), list[str]()
    tally, path = encoder_process.process.tally, plan.target.partial_path
    if path is not None and not plan.container.only_pictures:
        whole = not timeline.trims_start and timeline.end_seconds is None and not encoder_process.satisfied
        expected = Expectation(plan.info, plan.container, plan.streams, whole, bool(plan.extra))
        outcomes, notes = verify_output(path, expected, tally)
    outcomes += plan.lost_outcomes
    if unwritten:
        outcomes += [Outcome("left out", "tag", words, f"no room in {plan.container.name}") for words in unwritten]
        notes.append(f"not kept: {', '.join(unwritten)}")
    warnings = tally.notes(lost=any(outcome.fate == "lost" for outcome in outcomes))
    if plan.info.broken is not None or (plan.info.scan is not None and plan.info.scan.pieces > 1):
        # Where a piece or a recording breaks off, its last packet is not whole.
        warnings = [words for words in warnings if "corrupt" not in words]
    return outcomes, notes + warnings
