"""`vdeblur train CONFIG`: trains a network on photographs (synthetic blur), videos or pairs."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from vdeblur.cli.help import GroupedCommand, GroupedOption, given_options, restore_option
from vdeblur.cli.report import LOG_LINE_SECONDS, clock
from vdeblur.errors import Interrupted, UsageError
from vdeblur.options import RestoreOptions

if TYPE_CHECKING:
    from vdeblur.training.adaptation.run import AdaptationProgress
    from vdeblur.training.trainer import TrainConfig, TrainingProgress

DATA = "Data"
RUN = "Run"

EXAMPLES = """\
  vdeblur train train_fast --stills photos --minutes 90     from your own photographs
  vdeblur train train_pairs --pairs GoPro/train             fine-tune on blurred and sharp frames
  vdeblur train train_noise --own dark.mp4                  adapt the guide to a noisy clip
  vdeblur train my.yaml --folder runs/mine                  the same again goes on where it stopped
  torchrun --nproc-per-node 4 -m vdeblur train my.yaml      on four GPUs
"""


@click.command("train", cls=GroupedCommand, blocks={"Examples": EXAMPLES})
@click.argument("config")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    heading=RUN,
    help="State, log, plot and weights; continued if there is a state. [runs/CONFIG]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    cls=GroupedOption,
    heading=RUN,
    help="End within so many minutes, the schedule with them.",
)
@click.option("--steps", type=click.IntRange(min=0), cls=GroupedOption, heading=RUN, help="Length of the schedule.")
@restore_option("device", RUN)
@click.option(
    "--pieces", is_flag=True, cls=GroupedOption, heading=RUN, help="Also keep the state in pieces of at most 16 MiB."
)
@click.option(
    "--accept-changes", is_flag=True, cls=GroupedOption, heading=RUN, help="Go on although the config has changed."
)
@click.option(
    "--start",
    metavar="WEIGHTS",
    cls=GroupedOption,
    heading=DATA,
    help="Begin with a network's weights, by name or file.",
)
@click.option(
    "--stills",
    multiple=True,
    metavar="DIR",
    cls=GroupedOption,
    heading=DATA,
    help="Sharp photographs, in place of the config's; more than once for several folders.",
)
@click.option(
    "--videos",
    multiple=True,
    metavar="DIR",
    cls=GroupedOption,
    heading=DATA,
    help="Sharp videos, in place of the config's: further pictures to blur.",
)
@click.option(
    "--pairs",
    multiple=True,
    metavar="DIR",
    cls=GroupedOption,
    heading=DATA,
    help="Blurred and sharp frames, in place of the config's: GoPro, REDS or BSD layout, or NAME.blur.EXT "
    "beside NAME.sharp.EXT.",
)
@click.option(
    "--own",
    metavar="CLIP",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    heading=DATA,
    help="Adapt a guide (train_noise) to a noisy clip of your own, without truth; some minutes on a CPU.",
)
@click.option("--quiet", "-q", is_flag=True, cls=GroupedOption, help="Say nothing but errors and the result.")
def train(
    config: str,
    folder: Path | None,
    minutes: float | None,
    steps: int | None,
    pieces: bool,
    accept_changes: bool,
    start: str | None,
    stills: tuple[str, ...],
    videos: tuple[str, ...],
    pairs: tuple[str, ...],
    own: Path | None,
    quiet: bool,
    **given: str | None,
) -> None:
    """Train a network as CONFIG says: a YAML file, or a name such as train_fast.

    The folder keeps everything: the best weights by gain on clips that training never sees, the state, log.csv and
    log.svg. Ctrl-C keeps the state; the same command goes on exactly where it stopped.
    """  # fmt: skip
    from vdeblur.config import find_config, load_config
    from vdeblur.model.checkpoint import read_provenance
    from vdeblur.training.trainer import TrainConfig
    from vdeblur.training.trainer import train as run

    device = RestoreOptions(**given_options(given)).device
    path = find_config(config)
    chosen = _with_options(load_config(TrainConfig, path), start, stills=stills, videos=videos, pairs=pairs)
    if own is not None:
        words = {"stills": stills, "videos": videos, "pairs": pairs, "pieces": pieces, "accept-changes": accept_changes}
        _refuse_beside_own({**words, f"device {device}": device not in ("auto", "cpu")})
        _adapt(
            chosen, own, folder or Path("runs") / f"{path.stem}-{own.stem}", minutes=minutes, steps=steps, quiet=quiet
        )
        return
    leads = os.environ.get("RANK", "0") == "0"
    reporter = TrainingReporter(sys.stderr, quiet=quiet or not leads)
    target = folder or Path("runs") / path.stem
    try:
        with reporter.running():
            weights = run(
                chosen, target, minutes=minutes, steps=steps, device=device, pieces=pieces,
                accept_changes=accept_changes, progress=reporter.progress,
            )  # fmt: skip
    except Interrupted as exc:
        if leads:
            sys.stderr.write(f"vdeblur: {exc}\n")
        raise
    if leads:
        scores = read_provenance(weights)["scores"]
        sys.stdout.write(f"{weights}  gain {scores['gain_db']:+.2f} dB at step {scores['step']}\n")


def _refuse_beside_own(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value:
            raise UsageError(f"--own learns from its clip alone, on the CPU: leave --{name} out")


def _adapt(
    config: TrainConfig, clip: Path, folder: Path, *, minutes: float | None, steps: int | None, quiet: bool
) -> None:
    from vdeblur.training.adaptation.run import adapt

    reporter = TrainingReporter(sys.stderr, quiet=quiet)
    with reporter.running():
        weights, outcome = adapt(config, clip, folder, minutes=minutes, steps=steps, progress=reporter.adapting)
    sys.stdout.write(f"{weights}  {outcome}\n")


def _with_options(config: TrainConfig, start: str | None, **folders: tuple[str, ...]) -> TrainConfig:
    """The config with what the command line says in its place."""
    given = {"start": start, **folders}
    changes = {name: value for name, value in given.items() if value}
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


class TrainingReporter:
    """Reports training progress: a bar on a terminal, else periodic lines; and each validation in a line."""

    def __init__(self, stream: IO[str], *, quiet: bool) -> None:
        self._stream, self._quiet = stream, quiet
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar: Bar | None = None
        if not quiet and self._console.is_terminal:
            self._bar = Bar(
                BarColumn(bar_width=24), TextColumn("{task.description}", markup=False), console=self._console,
                transient=True, refresh_per_second=4,
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=1.0)
        self._next_line = time.monotonic() + LOG_LINE_SECONDS
        self._first: tuple[int, float, float] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Context around the run: shows the bar, and the trainer's log as lines."""
        handler = _Lines(self.line)
        logger = logging.getLogger("vdeblur")
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING if self._quiet else logging.INFO)
        try:
            with self._bar or contextlib.nullcontext():
                yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)

    def progress(self, progress: TrainingProgress) -> None:
        """Report a training step."""
        if self._first is None:
            self._first = (progress.step - 1, progress.done, progress.seconds)
        if self._bar is not None:
            self._bar.update(self._task, completed=min(1.0, progress.done), description=self._words(progress))
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LOG_LINE_SECONDS
            self.line(self._words(progress))

    def adapting(self, progress: AdaptationProgress) -> None:
        """Report a step of an adaptation."""
        left = progress.seconds * (1 - progress.done) / progress.done if progress.done else 0.0
        words = f"step {progress.step}  {clock(max(0.0, left))} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=min(1.0, progress.done), description=words)
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LOG_LINE_SECONDS
            self.line(words)

    def line(self, words: str) -> None:
        """A line of its own, above the bar."""
        if self._bar is not None:
            self._console.print(f"vdeblur: {words}", markup=False)
        else:
            self._stream.write(f"vdeblur: {words}\n")
            self._stream.flush()

    def _words(self, progress: TrainingProgress) -> str:
        assert self._first is not None
        first_step, first_done, first_seconds = self._first
        seconds = progress.seconds - first_seconds
        words = [f"step {progress.step}"]
        if seconds > 0 and progress.step > first_step + 1:
            words.append(f"{(progress.step - first_step - 1) / seconds:.2f} steps/s")
        if "loss" in progress.means:
            words.append(f"loss {progress.means['loss']:.4g}")
        if "gain_db" in progress.scores:
            words.append(f"gain {progress.scores['gain_db']:+.2f} dB")
        if progress.done > first_done and seconds > 0:
            left = seconds * (1 - progress.done) / (progress.done - first_done)
            words.append(f"{clock(max(0.0, left))} left")
        return "  ".join(words)


class _Lines(logging.Handler):
    """Logging handler that writes each record as a line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())
