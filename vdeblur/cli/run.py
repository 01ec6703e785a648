"""`vdeblur INPUT... -o OUTPUT`: restore videos."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vdeblur.cli import error_output, signals
from vdeblur.cli.guidance.error_words import in_flags
from vdeblur.cli.guidance.kernel_notes import kernel_notes
from vdeblur.cli.help import (
    EXAMPLES,
    EXIT_CODES,
    JSON_EVENTS,
    Decorator,
    GroupedCommand,
    GroupedOption,
    restore_option,
)
from vdeblur.cli.io_plan import PIPE, RunJob, new_folders, plan_jobs
from vdeblur.cli.options import RunOptions, check_guide, check_model, merge_options
from vdeblur.cli.report import JsonReporter, LineReporter, Reporter
from vdeblur.cli.scheduling import batch_scheduling
from vdeblur.errors import Interrupted, UsageError, VdeblurError
from vdeblur.options import INTERLACED_MODES, OPTIONS, SIZE_CHANGES
from vdeblur.video.segments.journal import Journal

if TYPE_CHECKING:
    from vdeblur.pipeline.deblur_video import Report


def _option(heading: str, *names: str, **settings: Any) -> Decorator:
    return click.option(*names, cls=GroupedOption, heading=heading, default=None, **settings)


_OUTPUT = functools.partial(_option, "Output")
_INPUT = functools.partial(_option, "Input")
_ENCODING = functools.partial(_option, "Encoding")
_MESSAGES = functools.partial(_option, "Messages")

_OPTIONS: tuple[Decorator, ...] = (
    _OUTPUT("-o", "--output", metavar="PATH", help="File, folder (for several inputs), or - for standard output."),
    _OUTPUT("-y/-n", "--yes/--no", "overwrite", help="Replace existing files / skip them. Otherwise you are asked."),
    _OUTPUT("--compare", type=click.Choice(["side", "split"]), help="Before and after in one picture."),
    _OUTPUT("--plot", metavar="FILE", help="Draw the sharpness of each frame before and after: a .png or .svg file."),
    _OUTPUT("-f", "--format", metavar="NAME", help="Container where the name does not say it, e.g. nut for -o -."),
    _OUTPUT("--resume", is_flag=True, help="Go on with jobs that were interrupted."),
    _OUTPUT(
        "--segments", metavar="SECONDS", help="Work after which what is done outlives a crash (default: 60), or off."
    ),
    *(restore_option(name) for name in OPTIONS),
    _INPUT("--start", metavar="TIME", help="Begin here: seconds, or a time like 1:30 or 00:01:30.500."),
    _INPUT("--duration", metavar="TIME", help="Stop after so much of the video."),
    _INPUT("--frame-rate", metavar="RATE", help="Of picture sequences: 25, 23.976, 30000/1001 (default: 25)."),
    _INPUT(
        "--interlaced",
        type=click.Choice(INTERLACED_MODES),
        help="Interlaced video: restore its fields and keep them (default), or one whole frame a frame or a field.",
    ),
    _INPUT(
        "--size-change",
        type=click.Choice(SIZE_CHANGES),
        help="Where the picture's size changes: stop (default), or fit the rest into the first size.",
    ),
    _INPUT(
        "--video",
        type=int,
        metavar="N",
        help="The video stream to restore where there are several: its number in `vdeblur info`.",
    ),
    _INPUT(
        "--allow-network", is_flag=True, help="Open inputs that are URLs; else nothing but files and pipes is read."
    ),
    _INPUT("--recursive", is_flag=True, help="Of folders, also take the videos in the folders below."),
    _INPUT(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="YAML with any of these options; the command line has the last word.",
    ),
    _ENCODING("--codec", metavar="NAME", help="h264, hevc, av1, vp9, ffv1, prores, auto-gpu, or any FFmpeg encoder."),
    _ENCODING("--crf", type=float, metavar="NUMBER", help="Quality on the codec's scale; smaller is better."),
    _ENCODING("--preset", metavar="NAME", help="Speed against size, in the encoder's own words."),
    _ENCODING("--pix-fmt", metavar="NAME", help="Pixel format of the output (default: the source's)."),
    _ENCODING("--drop", metavar="STREAM", multiple=True, help="Leave streams out: subtitle, attachment, an index …"),
    _ENCODING("--ffmpeg-args", metavar="ARGS", multiple=True, help="More FFmpeg output options, e.g. '-tune grain'."),
    _MESSAGES("--json", is_flag=True, help="One JSON object a line, on standard output (with -o -: standard error)."),
    _MESSAGES("-q", "--quiet", is_flag=True, help="Only errors."),
    _MESSAGES("-v", "--verbose", is_flag=True, help="More, for finding faults."),
)


_BLOCKS = {"Examples": EXAMPLES, "JSON events": JSON_EVENTS, "Exit codes": EXIT_CODES}


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command("run", cls=GroupedCommand, blocks=_BLOCKS)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@_with_options
def run(inputs: tuple[str, ...], config: Path | None, **given: Any) -> int:
    """Take the motion blur out of videos; sound, subtitles, timing and colour stay as they were.

    INPUT is a video, a folder of videos, a pattern of pictures (frame_%05d.png), a folder of pictures, a URL, or - for
    standard input.
    """
    reporter = JsonReporter(sys.stdout, on_standard_error=False) if given.get("json") else Reporter()
    try:
        if not inputs:
            raise UsageError("no input: name a video, for example `vdeblur holiday.mp4 -o sharp.mp4`; --help lists all")
        options = merge_options(config, given)
        reporter = _choose_reporter(options)
        _start_logging(options)
        plan = plan_jobs(inputs, options.output, recursive=options.recursive, named=options.format is None)
        check_model(options.model)
        check_guide(options.guide)
        if options.plot is not None and len(plan.jobs) > 1:
            raise UsageError(f"--plot draws one video, but there are {len(plan.jobs)} inputs; name one")
        decided = _decide(plan.jobs, options)
        for words in plan.notes:
            reporter.note(words)
        compiler = nullcontext() if options.verbose else kernel_notes(reporter.note)
        with batch_scheduling(), compiler, new_folders(plan.new_folders):
            return _Run(options, reporter).all(decided)
    except VdeblurError as exc:
        return _say_failure(exc, reporter)


def _choose_reporter(options: RunOptions) -> Reporter:
    if options.json:
        to_pipe = options.output == PIPE
        return JsonReporter(sys.stderr if to_pipe else sys.stdout, on_standard_error=to_pipe)
    if options.quiet:
        return Reporter()
    if sys.stderr.isatty() and not options.verbose:
        from vdeblur.cli.progress_bar import BarReporter

        return BarReporter(sys.stderr)
    return LineReporter(sys.stderr)


def _start_logging(options: RunOptions) -> None:
    level = logging.DEBUG if options.verbose else logging.ERROR if options.quiet or options.json else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vdeblur: %(levelname)s: %(message)s"))
    logger = logging.getLogger("vdeblur")
    logger.handlers = [handler]
    logger.setLevel(level)


def _decide(jobs: Sequence[RunJob], options: RunOptions) -> list[tuple[RunJob, str]]:
    """Decide on each target before any work: "write", "replace", "resume" or "skip"."""
    if any(job.to_pipe for job in jobs) and sys.stdout.isatty():
        raise UsageError("standard output is a terminal; redirect it, or name a file with -o")
    return [(job, _decide_one(job, options)) for job in jobs]


def _decide_one(job: RunJob, options: RunOptions) -> str:
    if options.resume and not job.to_pipe:
        if Journal(Path(job.target)).unfinished is not None:
            return "resume"
        if os.path.isfile(job.target) and not options.overwrite:
            return "skip"
    if job.to_pipe or not os.path.isfile(job.target):
        return "replace" if options.overwrite else "write"
    if options.overwrite is not None:
        return "replace" if options.overwrite else "skip"
    if sys.stdin.isatty() and job.source != PIPE:
        return "replace" if click.confirm(f"{job.target} exists. Replace it?", err=True) else "skip"
    raise UsageError(f"{job.target} exists; -y replaces it, -n leaves it as it is")


class _Run:
    """The jobs of one command line, one after another."""

    def __init__(self, options: RunOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter

    def all(self, decided: Sequence[tuple[RunJob, str]]) -> int:
        """Do every job; return the exit code of the first failure, or 0. An interruption ends them all."""
        codes: list[int] = []
        skipped = 0
        with self._reporter.running():
            for number, (job, decision) in enumerate(decided, 1):
                if decision == "skip":
                    skipped += 1
                    self._reporter.skipped(job, f"{job.target} exists")
                    continue
                codes.append(self._one(job, number, len(decided), decision))
                if codes[-1] in (error_output.EXIT_INTERRUPTED, error_output.EXIT_BROKEN_PIPE):
                    return codes[-1]
            wrong = [code for code in codes if code]
            self._reporter.end(len(codes) - len(wrong), skipped, len(wrong))
        return wrong[0] if wrong else 0

    def _one(self, job: RunJob, number: int, count: int, decision: str) -> int:
        """Run one job and report its result; return its exit code."""
        self._reporter.start(job, number, count)
        try:
            report = self._restore(job, decision)
        except (Exception, KeyboardInterrupt) as exc:
            if isinstance(exc, BrokenPipeError) or (job.to_pipe and error_output.is_broken_pipe(exc)):
                return error_output.EXIT_BROKEN_PIPE
            error = error_output.to_vdeblur_error(exc)
            if isinstance(error, Interrupted):
                error = Interrupted(f"interrupted; {_unwritten(job)}").with_kept(error.kept)
            return _say_failure(error, self._reporter, cause=exc, job=job, named=count > 1)
        self._reporter.done(job, report)
        return 0

    def _restore(self, job: RunJob, decision: str) -> Report:
        """Restore one video. Ctrl-C waits for the end of a frame once frames are being written to a file."""
        waits = False

        def stop() -> bool:
            nonlocal waits
            waits = self._options.segment_seconds is not None and PIPE not in (job.source, job.target)
            return asked()

        with signals.current.graceful(lambda: waits) as asked:
            return self._restore_until(job, decision, stop)

    def _restore_until(self, job: RunJob, decision: str, stop: Callable[[], bool]) -> Report:
        # Here and not above: PyTorch takes seconds to load, and a wrong call should not wait for it.
        from vdeblur.pipeline.deblur_video import deblur_video
        from vdeblur.video.sink.writer import EncodeOptions

        options = self._options
        return deblur_video(
            job.source,
            job.target,
            model=options.model,
            start_seconds=options.start_seconds,
            duration_seconds=options.duration_seconds,
            compare=options.compare,
            plot=options.plot,
            encode=EncodeOptions(
                codec=options.codec,
                crf=options.crf,
                preset=options.preset,
                pixel_format=options.pix_fmt,
                ffmpeg_args=options.ffmpeg_arguments,
                container=options.format,
                drop=options.drop,
            ),
            overwrite=decision in ("replace", "resume"),
            resume=decision == "resume",
            segment_seconds=options.segment_seconds,
            stop=stop,
            progress=self._reporter.progress,
            note=self._reporter.note,
            frame_rate=options.rate,
            interlaced=options.interlaced,
            size_change=options.size_change,
            video=options.video,
            allow_network=options.allow_network,
            **options.arguments,
        )


def _say_failure(
    error: VdeblurError,
    reporter: Reporter,
    *,
    cause: BaseException | None = None,
    job: RunJob | None = None,
    named: bool = False,
) -> int:
    """Report a failure in one line, with the input's name if there are several; return the exit code."""
    message = in_flags(error, click.get_current_context().command)
    if named and job is not None and job.source not in message:
        message = f"{job.source}: {message}"
    reporter.failed(job, error, message)
    if not reporter.writes_json_errors:
        error_output.write_error_line(message)
    error_output.show_traceback(cause or error)
    return error.exit_code


def _unwritten(job: RunJob) -> str:
    return "the output is incomplete" if job.to_pipe else f"{job.target} was not written"
