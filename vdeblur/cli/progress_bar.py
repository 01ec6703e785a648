"""Progress bar (rich) for terminals: frames, throughput, speed relative to real time, ETA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from vdeblur.cli.io_plan import RunJob
from vdeblur.cli.report import LineReporter, clock
from vdeblur.errors import VdeblurError

if TYPE_CHECKING:
    from vdeblur.pipeline.deblur_video import Progress, Report


class BarReporter(LineReporter):
    """Shows a bar for each job, and messages as lines above it."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
            console=self._console,
            transient=True,
            refresh_per_second=5,
        )
        self._task: TaskID | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._bar:
            yield

    def start(self, job: RunJob, number: int, count: int) -> None:
        place = f"[{number}/{count}] " if count > 1 else ""
        self._said.clear()
        self._remove()
        name = "standard input" if job.source == "-" else PurePath(job.source).name
        self._task = self._bar.add_task(f"{place}{name}", total=None, words="starting")

    def progress(self, progress: Progress) -> None:
        if self._task is None:
            return
        total = f"/{progress.frames_total}" if progress.frames_total else ""
        words = [f"{progress.frames}{total}"]
        if progress.frames_per_second is not None:
            words.append(f"{progress.frames_per_second:.1f} fps")
        if progress.speed is not None:
            words.append(f"{progress.speed:.2f}x")
        if progress.eta_seconds is not None:
            words.append(f"{clock(progress.eta_seconds)} left")
        self._bar.update(
            self._task, completed=progress.frames, total=progress.frames_total or None, words="  ".join(words)
        )

    def done(self, job: RunJob, report: Report) -> None:
        self._remove()
        super().done(job, report)

    def failed(self, job: RunJob | None, error: VdeblurError, message: str) -> None:
        self._remove()

    def line(self, words: str) -> None:
        self._console.print(f"vdeblur: {words}", markup=False)

    def _remove(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
            self._bar.refresh()
