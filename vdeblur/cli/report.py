"""Reporters: progress, messages and results of a run as log lines, JSON events, or nothing.

The library reports :class:`vdeblur.pipeline.deblur_video.Progress` and ``Report``; a reporter formats them. Standard
output carries video or JSON, never prose.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from vdeblur.cli.guidance.error_words import words_in_flags
from vdeblur.cli.io_plan import RunJob
from vdeblur.errors import VdeblurError

if TYPE_CHECKING:
    from vdeblur.pipeline.deblur_video import Progress, Report

#: JSON progress objects a second at most.
JSON_EVENTS_PER_SECOND = 2
#: Seconds between two lines of progress in a log.
LOG_LINE_SECONDS = 10.0


class Reporter:
    """Base class with empty callbacks: the quiet reporter."""

    def start(self, job: RunJob, number: int, count: int) -> None:
        """A job begins; ``number`` of ``count``, from 1."""

    def note(self, words: str) -> None:
        """A message about a conversion, a loss or the source; before the work on a job."""

    def progress(self, progress: Progress) -> None:
        """Frames have been restored; called often."""

    def done(self, job: RunJob, report: Report) -> None:
        """A job is finished."""

    def skipped(self, job: RunJob, reason: str) -> None:
        """A job is skipped."""

    def failed(self, job: RunJob | None, error: VdeblurError, message: str) -> None:
        """A job, or the command as a whole, has failed. The caller writes the message on standard error."""

    def end(self, done: int, skipped: int, failed: int) -> None:
        """All jobs have been processed."""

    @property
    def writes_json_errors(self) -> bool:
        """Whether JSON events go to standard error, where plain error lines would mix with them."""
        return False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Context around all jobs."""
        yield


class LineReporter(Reporter):
    """Plain lines, for logs and for terminals too simple for a bar."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._next_line = 0.0
        self._job: RunJob | None = None
        self._said: set[str] = set()

    def start(self, job: RunJob, number: int, count: int) -> None:
        self._job = job
        self._said.clear()
        self._next_line = time.monotonic() + LOG_LINE_SECONDS
        if count > 1:
            self.line(f"[{number}/{count}] {_name(job.source)} -> {_name(job.target, output=True)}")

    def note(self, words: str) -> None:
        self._said.add(words)
        context = click.get_current_context(silent=True)
        self.line(f"note: {words_in_flags(words, None if context is None else context.command)}")

    def progress(self, progress: Progress) -> None:
        if time.monotonic() >= self._next_line and self._job is not None:
            self._next_line = time.monotonic() + LOG_LINE_SECONDS
            self.line(f"{_name(self._job.source)}: {progress_words(progress)}")

    def done(self, job: RunJob, report: Report) -> None:
        size = "" if report.video is None else f"; {report.video.words}"
        self.line(f"{_name(job.target, output=True)}: {result_words(report)}{size}")
        if report.shutter is not None:
            self.line(f"shutter: {report.shutter.words}")
        if report.noise is not None:
            self.line(f"noise: {report.noise.words}")
        if report.summary:
            self.line(report.summary)
        for words in report.notes:
            if words not in self._said:
                self.note(words)

    def skipped(self, job: RunJob, reason: str) -> None:
        self.line(f"note: {_name(job.source)} is skipped: {reason}")

    def end(self, done: int, skipped: int, failed: int) -> None:
        if done + skipped + failed > 1:
            self.line(f"{done} restored, {skipped} skipped, {failed} failed")

    def line(self, words: str) -> None:
        self._stream.write(f"vdeblur: {words}\n")
        self._stream.flush()


class JsonReporter(Reporter):
    """One JSON object a line: start, note, progress, done, skipped, error, end."""

    def __init__(self, stream: IO[str], *, on_standard_error: bool) -> None:
        self._stream = stream
        self._on_standard_error = on_standard_error
        self._job: RunJob | None = None
        self._next_event = 0.0

    @property
    def writes_json_errors(self) -> bool:
        return self._on_standard_error

    def start(self, job: RunJob, number: int, count: int) -> None:
        self._job = job
        self._next_event = 0.0
        self._emit("start", job, number=number, count=count)

    def note(self, words: str) -> None:
        self._emit("note", self._job, words=words)

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next_event:
            return
        self._next_event = now + 1 / JSON_EVENTS_PER_SECOND
        self._emit(
            "progress",
            self._job,
            frames=progress.frames,
            frames_total=progress.frames_total,
            media_seconds=round(progress.media_seconds, 3),
            elapsed_seconds=round(progress.elapsed_seconds, 3),
            fps=_rounded(progress.frames_per_second),
            speed=_rounded(progress.speed),
            eta_seconds=_rounded(progress.eta_seconds),
        )

    def done(self, job: RunJob, report: Report) -> None:
        read = {"shutter": report.shutter, "noise": report.noise}
        measured: dict[str, Any] = {
            name: None if each is None else dataclasses.asdict(each) for name, each in read.items()
        }
        if report.sharpness is not None:
            names = ("sharpness_before", "sharpness_after")
            measured.update(zip(names, map(_rounded, report.sharpness), strict=True))
        self._emit(
            "done",
            job,
            frames=report.frames,
            skipped_packets=report.skipped_packets,
            elapsed_seconds=round(report.elapsed_seconds, 3),
            notes=list(report.notes),
            summary=report.summary,
            video=None if report.video is None else dataclasses.asdict(report.video),
            streams=[dataclasses.asdict(outcome) for outcome in report.outcomes],
            **measured,
        )

    def skipped(self, job: RunJob, reason: str) -> None:
        self._emit("skipped", job, reason=reason)

    def failed(self, job: RunJob | None, error: VdeblurError, message: str) -> None:
        self._emit("error", job, kind=type(error).__name__, message=message, exit_code=error.exit_code)

    def end(self, done: int, skipped: int, failed: int) -> None:
        self._emit("end", None, done=done, skipped=skipped, failed=failed)

    def _emit(self, event: str, job: RunJob | None, **values: Any) -> None:
        named = {} if job is None else {"source": job.source, "target": job.target}
        self._stream.write(json.dumps({"event": event, **named, **values}) + "\n")
        self._stream.flush()


def progress_words(progress: Progress) -> str:
    """Frames, throughput, speed relative to real time and ETA, as far as they are known."""
    total = f"/{progress.frames_total}" if progress.frames_total else ""
    words = [f"{progress.frames}{total} frames", *_pace(progress.frames_per_second, progress.speed)]
    if progress.eta_seconds is not None:
        words.append(f"{clock(progress.eta_seconds)} left")
    return ", ".join(words)


def result_words(report: Report) -> str:
    new = report.frames - report.frames_before
    pace = new / report.elapsed_seconds if report.elapsed_seconds > 0 else 0.0
    words = f"{report.frames} frame{'s' * (report.frames != 1)}"
    if report.frames_before:
        words += f", {new} of them"
    words += f" in {report.elapsed_seconds:.1f} s, {pace:.1f} fps"
    if report.skipped_packets:
        plural = "s" * (report.skipped_packets != 1)
        words += f", {report.skipped_packets} packet{plural} of the source could not be decoded"
    return words


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:04."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _pace(fps: float | None, speed: float | None) -> list[str]:
    return [f"{fps:.1f} fps"] * (fps is not None) + [f"{speed:.2f}x real time"] * (speed is not None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _name(name: str, *, output: bool = False) -> str:
    if name != "-":
        return name
    return "standard output" if output else "standard input"
