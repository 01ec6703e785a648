"""`vdeblur eval MODEL DATA`: evaluation of networks on pairs of clips, beside classical baselines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from vdeblur import __version__
from vdeblur.atomic_files import write_atomically
from vdeblur.cli.help import GroupedCommand, GroupedOption, given_options, restore_option
from vdeblur.cli.report import LOG_LINE_SECONDS
from vdeblur.errors import UsageError
from vdeblur.options import RestoreOptions

if TYPE_CHECKING:
    from vdeblur.evaluation import Evaluation, EvaluationProgress
    from vdeblur.evaluation.noise import NoiseEvaluation

    #: Results, and what writes their tables.
    _Found = tuple[Evaluation | NoiseEvaluation, Callable[[IO[str]], None]]

EXAMPLES = """\
  vdeblur eval fast pairs                                a folder of NAME.blur.EXT beside NAME.sharp.EXT
  vdeblur eval fast,balanced pairs --sheet look.png      two networks side by side, and crops to look at
  vdeblur eval fast test_synthetic --stills kodak        the synthetic test set over the Kodak pictures
  vdeblur eval mine.safetensors pairs --drift --json scores.json
  vdeblur eval fast --ladder slow_motion_240fps.mp4      one clip at six known exposures, and how well they are read
  vdeblur eval fast pairs --add-noise white10,crf23      what noise and a codec leave of the gain, beside denoisers
  vdeblur eval fast --noise-pairs photos                 real noise: NAME.noisy.EXT beside NAME.clean.EXT
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
  clean        gain on the clip before noise was added; input: PSNR of the noisy one
  kept, share  gain of that clip with the correction (output minus input) of the noisy one: what deblurring is left
               where the noise stays; its share of clean. seen: gain of the noisy clip, the noise counting in both
  removed      gain with the noise taken out and the blur, too; denoised: the noise alone
  sharp        PSNR of the sharp clip with the correction that it got under noise
  setting      of a denoiser: the best one over all clips by the truth, which nobody else knows: it is flattered
  flicker      temporal standard deviation of output minus truth, in a scene of 500 frames that stands still or pans
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
    "--add-noise",
    metavar="KINDS",
    cls=GroupedOption,
    heading="What",
    help="Lay noise over the clips first: all, or some of white10 (its deviation, of 255), poisson and crf23 (x264), "
    "or two together like white8+crf23.",
)
@click.option(
    "--noise-pairs",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    heading="What",
    help="Pictures with real noise, NAME.noisy.EXT beside NAME.clean.EXT: the denoiser alone is judged.",
)
@click.option(
    "--baselines",
    metavar="NAMES",
    cls=GroupedOption,
    heading="What",
    help="Compare with all (default), none, or some of unsharp,wiener; under noise with all, none (default), or some "
    "of bilateral,nlmeans,hqdn3d,ffmpeg-nlmeans,vaguedenoiser,atadenoise,bm3d (not in all: it takes minutes).",
)
@click.option(
    "--drift",
    is_flag=True,
    cls=GroupedOption,
    heading="What",
    help="Also restore a clip of 500 frames and a static scene of each group: drift and flicker. Under noise: a noisy "
    "scene of 500 frames, still and panning.",
)
@restore_option("guide", "How")
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
    add_noise: str | None,
    noise_pairs: Path | None,
    baselines: str | None,
    drift: bool,
    sheet: Path | None,
    json_to: str | None,
    **given: str | None,
) -> None:
    """Score MODEL on DATA: folders of pairs (NAME.blur.EXT beside NAME.sharp.EXT, videos or photos) or synthetic sets.

    With --ladder or --noise-pairs, DATA may be left out.

    MODEL is a network's name, a .safetensors file, "identity", or several of these with commas between.
    """
    if ladder_step is not None and not ladders:
        raise UsageError(f"--ladder-step {ladder_step} without a ladder: add --ladder CLIP")
    asked = _Asked(model, data, stills, ladders, ladder_step, baselines, drift, RestoreOptions(**given_options(given)))
    known = dict(map(_true_exposure, true_exposures))
    target = None if json_to is None else _json_target(json_to)
    if add_noise is None and noise_pairs is None:
        found, write = _as_it_is(asked, known, sheet)
    elif known or sheet is not None:
        raise UsageError(f"{'--true-exposure' if known else '--sheet'} says nothing under noise; leave it out")
    else:
        found, write = _under_noise(asked, add_noise, noise_pairs)
    if json_to != "-":
        write(sys.stdout)
    if json_to is not None:
        _write_json(found, target)


@dataclass(frozen=True)
class _Asked:
    """What both kinds of evaluation need to know."""

    model: str
    data: tuple[str, ...]
    stills: Path | None
    ladders: tuple[str, ...]
    ladder_step: int | None
    baselines: str | None
    drift: bool
    options: RestoreOptions

    @property
    def engine(self) -> dict[str, Any]:
        """How the networks run."""
        return self.options.values(("guide", "device", "precision", "lookahead"))


def _as_it_is(asked: _Asked, exposures: dict[str, float], sheet: Path | None) -> _Found:
    """Evaluate clips as they are."""
    from vdeblur.cli.tables.evaluation import write_tables
    from vdeblur.evaluation import evaluate as evaluate_all
    from vdeblur.evaluation.baselines import baseline_names
    from vdeblur.evaluation.ladder import LADDER_STEP
    from vdeblur.evaluation.methods import split_models

    with _progress() as told:
        found = evaluate_all(
            split_models(asked.model),
            asked.data,
            stills=asked.stills,
            ladders=asked.ladders,
            ladder_step=asked.ladder_step or LADDER_STEP,
            true_exposures=exposures,
            baselines=baseline_names(asked.baselines or "all"),
            stability=asked.drift,
            sheet=sheet,
            progress=told,
            **asked.engine,
        )
    return found, partial(write_tables, found)


def _under_noise(asked: _Asked, kinds: str | None, pairs: Path | None) -> _Found:
    """Evaluate clips with noise laid over them, and pairs of real noise."""
    from vdeblur.cli.tables.noise import write_noise_tables
    from vdeblur.evaluation.ladder import LADDER_STEP
    from vdeblur.evaluation.methods import split_models
    from vdeblur.evaluation.noise import NoiseSources, evaluate_noise, noise_kinds
    from vdeblur.evaluation.noise.denoisers import denoiser_names

    sources = NoiseSources(
        data=asked.data,
        stills=asked.stills,
        ladders=asked.ladders,
        ladder_step=asked.ladder_step or LADDER_STEP,
        kinds=() if kinds is None else noise_kinds(kinds),
        noise_pairs=pairs,
    )
    with _progress() as told:
        found = evaluate_noise(
            split_models(asked.model),
            sources,
            denoisers=denoiser_names(asked.baselines or "none"),
            stability=asked.drift,
            progress=told,
            **asked.engine,
        )
    return found, partial(write_noise_tables, found)


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


def _write_json(found: Evaluation | NoiseEvaluation, path: Path | None) -> None:
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
            total = "" if step.total is None else f"/{step.total}"
            sys.stderr.write(f"vdeblur: {step.done}{total} {step.now}\n")
            sys.stderr.flush()

    return tell
