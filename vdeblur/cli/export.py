"""`vdeblur export MODEL -o FILE`: ONNX or torch.export of a network, verified against the package."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from vdeblur.cli.help import GroupedCommand, GroupedOption, given_options, restore_option
from vdeblur.cli.options import check_model
from vdeblur.errors import UsageError
from vdeblur.options import RestoreOptions

EXAMPLES = """\
  vdeblur export fast -o fast.onnx                       for ONNX Runtime, frames of any size
  vdeblur export fast -o fast.onnx --size 1280x720 --lookahead 0
  vdeblur export balanced -o balanced.pt2                a torch.export program
"""

SIGNATURE = """\
  inputs    frame (B, 3, H, W): R'G'B' in [0, 1], float32
            following (B, 3, H, W), last (B,): the frame after; boolean, true where there is none, and following does
            not matter. Only with --lookahead 1
            memory_0 …: zeros at the first frame of a shot, then what came out of the step before
  outputs   sharp (B, 3, H, W), next_memory_0 …
B is 1 where a size is given. Else it is any number of clips side by side, and height and width are multiples of 8,
of 16 for balanced, from 80 on.
"""


@click.command("export", cls=GroupedCommand, blocks={"Examples": EXAMPLES, "Inputs and outputs": SIGNATURE})
@click.argument("model")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), required=True, cls=GroupedOption,
              heading="Output", help="NAME.onnx, or NAME.pt2.")  # fmt: skip
@click.option("--size", default="any", metavar="WxH", cls=GroupedOption, heading="What",
              help="Of the frames, in pixels; made in less time than a file for any, the default.")  # fmt: skip
@restore_option("lookahead", "What")
@click.option("-y", "--yes", is_flag=True, cls=GroupedOption, heading="Output", help="Replace an existing file.")
def export(model: str, output: Path, size: str, yes: bool, **given: str | None) -> None:
    """Write MODEL, a network's name or a .safetensors file, for ONNX Runtime or as a torch.export program.

    Clips are restored with what was written, and must come out as the package restores them.
    """
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", size)
    if found is None and size != "any":
        raise UsageError(f"size cannot be {size!r}; give width and height, like 1280x720, or any")
    check_model(model)
    lookahead = RestoreOptions(**given_options(given)).lookahead
    if output.exists() and not yes:
        raise UsageError(f"{output} exists; -y replaces it")
    from vdeblur.export.run import export_network

    sides = None if found is None else (int(found[1]), int(found[2]))
    exported = export_network(model, output, size=sides, lookahead=lookahead, progress=_say)
    sys.stdout.write(f"{output} ({output.stat().st_size / 2**20:.1f} MiB)\n")
    for (height, width), agreement in exported.agreements.items():
        sys.stdout.write(f"against the package at {width}x{height}: {agreement}\n")


def _say(words: str) -> None:
    sys.stderr.write(f"vdeblur: {words}\n")
    sys.stderr.flush()
