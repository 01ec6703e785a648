"""`vdeblur bench`: benchmark of the stages, the network and the whole command on this machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from vdeblur import __version__
from vdeblur.atomic_files import write_atomically
from vdeblur.cli.help import GroupedCommand, GroupedOption, given_options, restore_option
from vdeblur.errors import UsageError
from vdeblur.options import OPTIONS, RestoreOptions

if TYPE_CHECKING:
    from vdeblur.bench.comparison import MetricChange
    from vdeblur.bench.results import Results

EXAMPLES = """\
  vdeblur bench                                          720p, fast: about a minute on two cores
  vdeblur bench --size 360p,720p,1080p --model fast,balanced --json now.json
  vdeblur bench --device cuda --size 2160p --timeline t.json   when uploads, network and downloads overlap
  vdeblur bench --compare now.json                       exit code 1 if anything is worse by more than 10 %
"""

NUMBERS = """\
  decode …     frames a second of a stage alone, the machine for itself; "pixels" is planes to R'G'B' and back
  network      alone, warm, synchronised: one encode and one residual in the midst of a clip
  of peak      FLOP/s of its convolutions against the best plain 3×3 convolution, measured in the same run
  in conv.     share of the network's time spent in convolutions (PyTorch's profiler); – with kernels of our own
  whole        the command itself, in a process of its own: frames a second without start, with the end of the file
  of cores     the whole against what the cores allow: the stages' processor time divided among them
  first        seconds from the call of the command to its first restored frame, start included
  memory       most resident memory of the process or of one of its children
"""

#: What an option takes: names with commas between.
_LIST = "NAMES"


@click.command("bench", cls=GroupedCommand, blocks={"Examples": EXAMPLES, "Numbers": NUMBERS})
@click.option(
    "--size",
    "sizes",
    default="720p",
    metavar=_LIST,
    cls=GroupedOption,
    heading="What",
    help="Sizes from 360p, 480p, 720p, 1080p, 1440p, 2160p (default: 720p).",
)
@click.option(
    "-m",
    "--model",
    "models",
    default="fast",
    metavar=_LIST,
    cls=GroupedOption,
    heading="What",
    help="Networks: swift, fast, balanced, quality, or .safetensors files (default: fast).",
)
@click.option(
    "--precision",
    "precisions",
    default="auto",
    metavar=_LIST,
    cls=GroupedOption,
    heading="What",
    help="auto (default), float32, bfloat16, float16.",
)
@click.option(
    "--lookahead",
    "lookaheads",
    default="1",
    metavar=_LIST,
    cls=GroupedOption,
    heading="What",
    help="0, 1 or 0,1 (default: 1).",
)
@restore_option("device", "How")
@click.option("--preset", default="veryfast", cls=GroupedOption, heading="How", help="Of libx264 (default: veryfast).")
@click.option(
    "--runs", default=3, type=int, cls=GroupedOption, heading="How", help="Of each measurement; the median counts."
)
@click.option(
    "--seconds",
    default=5.0,
    type=float,
    cls=GroupedOption,
    heading="How",
    help="About how long a run of the whole lasts (default: 5).",
)
@click.option(
    "--json", "json_to", metavar="FILE", cls=GroupedOption, heading="Output", help="Write everything as JSON; - = here."
)
@click.option(
    "--compare",
    "old",
    metavar="FILE",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    heading="Output",
    help="Compare with earlier JSON; exit code 1 if a number is worse.",
)
@click.option(
    "--timeline",
    "timeline_to",
    metavar="FILE",
    cls=GroupedOption,
    heading="Output",
    help="On a CUDA device: only write as JSON when each frame's transfers and network were under way.",
)
@click.option(
    "--tolerance",
    default=10.0,
    type=float,
    metavar="PERCENT",
    cls=GroupedOption,
    heading="Output",
    help="By how much a number may be worse (default: 10).",
)
def bench(
    sizes: str,
    models: str,
    precisions: str,
    lookaheads: str,
    preset: str,
    runs: int,
    seconds: float,
    json_to: str | None,
    old: Path | None,
    timeline_to: str | None,
    tolerance: float,
    **given: str | None,
) -> int:
    """Measure how fast this machine restores video: each stage alone, the network alone, and the whole command.

    The clip is made by code. Close what else is running: a busy machine is said to be busy, but not corrected for.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler would write to standard error
    from vdeblur.bench.results import read_results
    from vdeblur.bench.run import benchmark, timelines
    from vdeblur.bench.settings import BenchSettings

    settings = BenchSettings(
        sizes=_names(sizes),
        models=_names(models),
        precisions=_names(precisions),
        lookaheads=tuple(OPTIONS["lookahead"].checked(name) for name in _names(lookaheads)),
        device=RestoreOptions(**given_options(given)).device,
        preset=preset,
        runs=runs,
        seconds=seconds,
    )
    if timeline_to is not None:
        file = _json_target(timeline_to, "--timeline")
        _write_json({"vdeblur": __version__, **timelines(settings, _say)}, file)
        return 0
    before = None if old is None else read_results(old)
    target = None if json_to in (None, "-") else _json_target(str(json_to), "--json")
    results = benchmark(settings, _say)
    now = {"vdeblur": __version__, **results.as_dict()}
    if json_to == "-":
        sys.stdout.write(json.dumps(now, indent=2) + "\n")
    else:
        write_results(results, sys.stdout)
    if target is not None:
        _write_json(now, target)
    return 0 if before is None else _compared(before, now, tolerance / 100, sys.stderr)


def write_results(results: Results, stream: IO[str]) -> None:
    """Write machine and load, then two tables: the stages alone, and the whole command."""
    from vdeblur.bench.machine import BUSY

    machine = results.machine
    sets = ", ".join(machine["instruction_sets"]) or "unknown"
    stream.write(
        f"{machine['processor']}, {machine['cores']} cores ({sets}); network on {machine['device']}\n"
        f"torch {machine['torch']} ({machine['torch_threads']} threads), PyAV {machine['pyav']}, "
        f"FFmpeg {machine['ffmpeg']}; {machine['date']}\n"
    )
    busy = results.others_share
    if busy is None:
        stream.write("whether the machine was busy is not known here\n")
    elif busy > BUSY:
        stream.write(f"the machine was busy: others used {busy:.0%} of it, so it is faster than these numbers\n")
    _write_tables(results, stream)


def _write_tables(results: Results, stream: IO[str]) -> None:
    from vdeblur.cli.tables.plain import plain_console, plain_table

    console = plain_console(stream)
    alone = plain_table(
        ["size", "model", "dtype", "ahead"],
        [*results.rows[0].stages, "kMAC/px", "GFLOP/s", "peak", "of peak", "in conv."],
    )
    whole = plain_table(
        ["size", "model", "dtype", "ahead"],
        ["whole, fps", "of slowest stage", "of cores", "first, s", "memory, MiB", "GPU memory, MiB"],
    )
    for row in results.rows:
        entry = row.as_dict()
        words = [row.case.size, row.case.model, row.dtype, str(row.case.lookahead)]
        network, total = entry["network"], entry["whole"]
        speeds = [_shown(stage["fps"]) for stage in entry["stages"].values()]
        alone.add_row(
            *words,
            *speeds,
            f"{network['kmacs_a_pixel']:.1f}",
            f"{network['gflops']:.0f}",
            f"{network['peak_gflops']:.0f}",
            f"{network['share_of_peak']:.0%}",
            "–" if network["convolution_share"] is None else f"{network['convolution_share']:.0%}",
        )
        whole.add_row(
            *words,
            f"{total['fps']:.1f}",
            f"{total['share_of_slowest_stage']:.0%}",
            f"{total['share_of_cores']:.0%}",
            f"{total['first_frame_seconds']:.1f}",
            _shown(total["peak_mib"]),
            _shown(total["device_peak_mib"]),
        )
    for title, table in (("Alone, frames a second", alone), ("The whole", whole)):
        console.print(title, end="")
        console.print(table)


def _shown(number: float | None) -> str:
    return "–" if number is None else f"{number:.0f}" if number >= 100 else f"{number:.1f}"


def _compared(before: dict[str, Any], now: dict[str, Any], tolerance: float, stream: IO[str]) -> int:
    """Report the changes; return 1 if a number is worse.

    Raises:
        UsageError: there is nothing to compare.
    """
    from vdeblur.bench.comparison import changes, differences

    for words in differences(before, now):
        stream.write(f"not the same conditions: {words}\n")
    found = list(changes(before, now))
    if not found:
        raise UsageError("the earlier results have none of these cases")
    worse = [change for change in found if change.worse(tolerance)]
    for change in found:
        stream.write(_change_words(change, tolerance) + "\n")
    verdict = f"worse: {len(worse)} of {len(found)}" if worse else f"nothing is worse by more than {tolerance:.0%}"
    stream.write(f"{verdict}\n")
    return 1 if worse else 0


def _change_words(change: MetricChange, tolerance: float) -> str:
    mark = "WORSE" if change.worse(tolerance) else "ok"
    return f"{mark:<6} {change.case}: {change.number} {change.before:g} -> {change.now:g} ({change.gain:+.0%})"


def _names(words: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in words.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{words!r} names nothing; give one name, or several with commas between")
    return names


def _json_target(name: str, option: str) -> Path:
    """Path of the JSON file; checked before minutes are spent."""
    path = Path(name)
    if path.suffix.lower() != ".json":
        also = ", or - for standard output" if option == "--json" else ""
        raise UsageError(f"{option} cannot be {name!r}: give a name that ends in .json{also}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for {path.name}")
    return path


def _write_json(now: dict[str, Any], path: Path) -> None:
    write_atomically(path, json.dumps(now, indent=2) + "\n")


def _say(words: str) -> None:
    sys.stderr.write(f"vdeblur: {words}\n")
    sys.stderr.flush()
