"""`vdeblur eval MODEL DATA`: evaluation of networks on pairs of clips, beside classical baselines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vdeblur import __version__
from vdeblur.atomic_files import write_atomically
from vdeblur.cli.help import GroupedCommand, GroupedOption, given_options, restore_option
from vdeblur.cli.report import LOG_LINE_SECONDS
from vdeblur.errors import UsageError
from vdeblur.options import RestoreOptions

if TYPE_CHECKING:
    from vdeblur.evaluation import Evaluation, EvaluationProgress

EXAMPLES = """\
  vdeblur eval fast pairs                                a folder of NAME.blur.EXT beside NAME.sharp.EXT
  vdeblur eval fast,balanced pairs --sheet look.png      two networks side by side, and crops to look at
  vdeblur eval fast test_synthetic --stills kodak        the synthetic test set over the Kodak pictures
  vdeblur eval mine.safetensors pairs --drift --json scores.json
  vdeblur eval fast --ladder slow_motion_240fps.mp4      one clip at six known exposures, and how well they are read
  vdeblur eval mine.safetensors pairs test_synthetic --stills kodak --ladder slow.mp4     the score to choose models by
"""

NUMBERS = """\
  PSNR, SSIM   R'G'B' rounded to 8 bits, no crop, mean over all frames, then over clips
  gain         PSNR after minus PSNR before, dB; worst: of a single clip; in a frame: of a single frame
  aligned      the same against the truth moved by the shift that lays it on the blurred clip, 1 px each way at most,
               without 2 px at the border: real pairs are up to half a pixel apart
  temporal     PSNR of the change from frame to frame against the true change (squared dtSSD): flicker costs
  touched      PSNR of output against input on the blurred clips themselves: low where much was changed
  harm         PSNR of output against input when the sharp clip goes in; 100 = untouched; mean, worst clip, worst frame
  velocity     mean endpoint error of the motion between frames, pixels; exposure: of that during the exposure
  true, read   exposure fraction of the frame interval, as it was and as the network read it, later frames of the shot
               included, as in any file; error: mean absolute difference; all from the third frame on
  easy … hard  clips with an input of 30 dB or more, 24 to 30, under 24
  selection    mean of the gains on pairs, ladder and synthetic set (mild, strong): choose a model by it, not by one
  drift        a clip played forth and back: PSNR of frames from 400 on minus that of the same frames from 20 on
"""


@click.command("eval", cls=GroupedCommand, blocks={"Examples": EXAMPLES, "Numbers": NUMBERS})
@click.argument("model")
@click.argument("data", nargs=-1)
@click.option(
    "--stills",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    heading="What",
    help="Sharp photographs for a synthetic set; the published numbers use the 24 Kodak pictures.",
)
@click.option(
    "--ladder",
    "ladders",
    metavar="CLIP",
    multiple=True,
    cls=GroupedOption,
    heading="What",
    help="A high-rate clip, averaged over 1, 3, 5 … 11 of every 11 frames: blur of known exposure. May be repeated.",
)
@click.option(
    "--ladder-step",
    type=int,
    metavar="N",
    cls=GroupedOption,
    heading="What",
    help="High-rate frames that make one frame of the ladder (default 11).",
)
@click.option(
    "--true-exposure",
    "true_exposures",
    metavar="[NAME=]FRACTION",
    multiple=True,
    cls=GroupedOption,
    heading="What",
    help="Exposure fraction of the pairs, if you know it: of all, or of a folder or FOLDER/CLIP. May be repeated.",
)
@click.option(
    "--baselines",
    default="all",
    metavar="NAMES",
    cls=GroupedOption,
    heading="What",
    help="Compare with all (default), none, or some of unsharp,wiener.",
)
@click.option(
    "--drift",
    is_flag=True,
    cls=GroupedOption,
    heading="What",
    help="Also restore a clip of 500 frames and a static scene of each group: drift and flicker.",
)
@restore_option("device", "How")
@restore_option("precision", "How")
@restore_option("lookahead", "How")
@click.option(
    "--sheet",
    metavar="FILE",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    heading="Output",
    help="Write crops of blurred, restored and true frames side by side (.png or .jpg).",
)
@click.option(
    "--json", "json_to", metavar="FILE", cls=GroupedOption, heading="Output", help="Write everything as JSON; - = here."
)
def evaluate(
    model: str,
    data: tuple[str, ...],
    stills: Path | None,
    ladders: tuple[str, ...],
    ladder_step: int | None,
    true_exposures: tuple[str, ...],
    baselines: str,
    drift: bool,
    sheet: Path | None,
    json_to: str | None,
    **given: str | None,
) -> None:
    """Score MODEL on DATA: folders of pairs (NAME.blur.EXT beside NAME.sharp.EXT, videos or photos) or synthetic sets.

    With --ladder, DATA may be left out.

    MODEL is a network's name, a .safetensors file, "identity", or several of these with commas between.
    """
    from vdeblur.evaluation import evaluate as evaluate_all
    from vdeblur.evaluation.baselines import baseline_names
    from vdeblur.evaluation.ladder import LADDER_STEP
    from vdeblur.evaluation.methods import split_models

    if ladder_step is not None and not ladders:
        raise UsageError(f"--ladder-step {ladder_step} without a ladder: add --ladder CLIP")
    known = dict(map(_true_exposure, true_exposures))
    target = None if json_to is None else _json_target(json_to)
    restore = RestoreOptions(**given_options(given))
    with _progress() as told:
        found = evaluate_all(
            split_models(model),
            data,
            stills=stills,
            ladders=ladders,
            ladder_step=LADDER_STEP if ladder_step is None else ladder_step,
            true_exposures=known,
            baselines=baseline_names(baselines),
            device=restore.device,
            precision=restore.precision,
            lookahead=restore.lookahead,
            stability=drift,
            sheet=sheet,
            progress=told,
        )
    if json_to != "-":
        from vdeblur.cli.tables import write_tables

        write_tables(found, sys.stdout)
    if json_to is not None:
        _write_json(found, target)


def _true_exposure(words: str) -> tuple[str, float]:
    """(name, fraction) of "0.5" or "pairs/walk=0.5"; the name is empty where it holds for all pairs."""
    name, _, number = words.rpartition("=")
    try:
        return name, float(number)
    except ValueError:
        raise UsageError(
            f"--true-exposure cannot be {words!r}; give a share of the frame interval like 0.5, or NAME=0.5"
        ) from None


def _json_target(name: str) -> Path | None:
    """Path of the JSON file, None for standard output; checked before hours are spent."""
    if name == "-":
        return None
    path = Path(name)
    if path.suffix.lower() != ".json":
        raise UsageError(f"--json cannot be {name!r}: give a name that ends in .json, or - for standard output")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for {path.name}")
    return path


def _write_json(found: Evaluation, path: Path | None) -> None:
    text = json.dumps({"vdeblur": __version__, **found.as_dict()}, indent=2) + "\n"
    if path is None:
        sys.stdout.write(text)
        return
    write_atomically(path, text)


@contextmanager
def _progress() -> Iterator[Callable[[EvaluationProgress], None]]:
    """A bar on standard error, or, if that is no terminal, a line now and then."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()
    words = TextColumn("{task.description}", markup=False)
    with Progress(*columns, words, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda step: bar.update(task, completed=step.done, total=step.total, description=step.now)


def _lines() -> Callable[[EvaluationProgress], None]:
    next_line = time.monotonic() + LOG_LINE_SECONDS

    def tell(step: EvaluationProgress) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + LOG_LINE_SECONDS
            sys.stderr.write(f"vdeblur: {step.done}/{step.total} {step.now}\n")
            sys.stderr.flush()

    return tell
