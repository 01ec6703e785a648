"""`vdeblur export MODEL -o FILE`: a network for other programs, checked against the package."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from vdeblur.cli.helptext import GroupedCommand, GroupedOption
from vdeblur.cli.options import check_model
from vdeblur.errors import UsageError

EXAMPLES = """\
  vdeblur export fast -o fast.onnx                       for ONNX Runtime, 1280×720
  vdeblur export fast -o fast.onnx --size 640x360 --lookahead 0
  vdeblur export balanced -o balanced.pt2                torch.export programs, one for each place in a clip
"""

SIGNATURE = """\
  inputs    frame, following (1, 3, H, W): R'G'B' in [0, 1], float32; following only with --lookahead 1
            first, last: whether the frame is the first or the last of its shot; last only with --lookahead 1
            memory_0 …: zeros at the first frame, then what came out of the step before
  outputs   sharp (1, 3, H, W), next_memory_0 …
A .pt2 file is a step for one place in a clip (first, next, last, only) and takes no flags.
"""


@click.command("export", cls=GroupedCommand, blocks={"Examples": EXAMPLES, "Inputs and outputs": SIGNATURE})
@click.argument("model")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), required=True, cls=GroupedOption,
              heading="Output", help="NAME.onnx, or NAME.pt2.")  # fmt: skip
@click.option("--size", default="1280x720", metavar="WxH", cls=GroupedOption, heading="What",
              help="Of the frames, in pixels (default: 1280x720).")  # fmt: skip
@click.option("--lookahead", default=1, type=click.IntRange(0, 1), cls=GroupedOption, heading="What",
              help="Frames of the future a step takes (default: 1).")  # fmt: skip
@click.option("-y", "--yes", is_flag=True, cls=GroupedOption, heading="Output", help="Replace an existing file.")
def export(model: str, output: Path, size: str, lookahead: int, yes: bool) -> None:
    """Write MODEL, a network's name or a .safetensors file, for ONNX Runtime or as torch.export programs.

    A clip is restored with what was written, and must come out as the package restores it.
    """
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", size)
    if found is None:
        raise UsageError(f"size cannot be {size!r}; give width and height, like 1280x720")
    check_model(model)
    if output.exists() and not yes:
        raise UsageError(f"{output} exists; -y replaces it")
    from vdeblur.export.run import export_network

    width, height = (int(number) for number in found.groups())
    exported = export_network(model, output, width=width, height=height, lookahead=lookahead, progress=_say)
    for path in exported.files:
        sys.stdout.write(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)\n")
    sys.stdout.write(f"against the package: {exported.agreement}\n")


def _say(words: str) -> None:
    sys.stderr.write(f"vdeblur: {words}\n")
    sys.stderr.flush()
