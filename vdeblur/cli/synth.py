"""`vdeblur synth INPUT -o OUT`: a synthetic pair of blurred and sharp clips, as used for training."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vdeblur.cli.help import GroupedCommand, GroupedOption
from vdeblur.cli.io_plan import new_folders
from vdeblur.errors import UsageError

if TYPE_CHECKING:
    from vdeblur.training.synthesis.config import SynthesisConfig

_SUFFIXES = {".mkv", ".mp4", ".mov"}
_LOSSLESS = {".mkv": "ffv1"}

EXAMPLES = """\
  vdeblur synth photo.jpg -o pairs/photo                 pairs/photo.blur.mkv and pairs/photo.sharp.mkv
  vdeblur synth photos -o street.mp4 --size 1280x720 --frames 50 --seed 7
  vdeblur synth slow_motion_240fps.mp4 -o pairs/real     frames averaged, real motion
  vdeblur eval fast pairs
"""


@click.command("synth", cls=GroupedCommand, blocks={"Examples": EXAMPLES})
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), cls=GroupedOption, heading="Output",
    help="OUT makes OUT.blur.mkv and OUT.sharp.mkv, OUT.mp4 OUT.blur.mp4 and so on.",
)  # fmt: skip
@click.option("-y", "--overwrite", is_flag=True, cls=GroupedOption, heading="Output", help="Replace existing files.")
@click.option("--codec", cls=GroupedOption, heading="Output", help="Encoder of both files (default: lossless in MKV).")
@click.option("--crf", type=float, cls=GroupedOption, heading="Output", help="Quality of that encoder.")
@click.option("--config", cls=GroupedOption, heading="Blur", help="YAML with knobs; `synth` lists all of them.")
@click.option("--seed", type=int, default=0, show_default=True, cls=GroupedOption, heading="Blur", help="Which clip.")
@click.option("--frames", type=click.IntRange(1), cls=GroupedOption, heading="Blur", help="Length of the clip.")
@click.option("--size", metavar="WxH", cls=GroupedOption, heading="Blur", help="Default: 3/4 of the picture's sides.")
def synth(
    source: Path,
    output: Path | None,
    overwrite: bool,
    codec: str | None,
    crf: float | None,
    config: str | None,
    seed: int,
    frames: int | None,
    size: str | None,
) -> None:
    """Make a blurred clip and its sharp truth of INPUT: a photograph, a video, or a folder of either.

    Photographs, and single frames of ordinary videos, are moved before a synthetic camera, as in training. Frames of
    videos with 100 frames a second or more are averaged instead.
    """
    targets = pair_names(source, output)
    wanted = None if size is None else parse_size(size)
    settings = load_settings(config)
    if frames is not None:
        settings = replace(settings, frames=frames)
    for target in targets:
        if target.exists() and not overwrite:
            raise UsageError(f"{target} exists; -y replaces it")
    from vdeblur.training.pair_preview import make_pair, write_pair
    from vdeblur.video.sink.writer import EncodeOptions

    levels, words = make_pair(source, settings, seed=seed, size=wanted)
    options = EncodeOptions(codec=codec or _LOSSLESS.get(targets[0].suffix), crf=crf)
    with new_folders([targets[0].parent]):
        write_pair(levels, targets, options=options, overwrite=overwrite)
    height, width = levels.pictures.shape[-2:]
    sys.stdout.write(f"{targets[0]}\n{targets[1]}\n{levels.pictures.shape[1]} frames of {width}×{height}, {words}\n")


def pair_names(source: Path, output: Path | None) -> tuple[Path, Path]:
    """Names of the blurred and the sharp file, as `vdeblur eval` finds them."""
    if output is None:
        raise UsageError(f"no output: add -o NAME, for example -o {source.stem or 'clip'}")
    if output.is_dir():
        output = output / (source.stem or "clip")
    suffix = output.suffix.lower()
    stem = output.name[: -len(suffix)] if suffix in _SUFFIXES else output.name
    if suffix not in _SUFFIXES:
        suffix = ".mkv"
    folder = output.parent
    if not folder.is_dir() and (folder.exists() or not folder.absolute().parent.is_dir()):
        raise UsageError(f"there is no folder {folder} for {stem}.blur{suffix}")
    return output.with_name(f"{stem}.blur{suffix}"), output.with_name(f"{stem}.sharp{suffix}")


def parse_size(words: str) -> tuple[int, int]:
    """(height, width) of "1280x720"."""
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", words)
    if match is None or min(int(side) for side in match.groups()) < 16:
        raise UsageError(f"size cannot be {words!r}; give WIDTHxHEIGHT in pixels, at least 16 each, like 1280x720")
    width, height = (int(side) for side in match.groups())
    return height, width


def load_settings(name: str | None) -> SynthesisConfig:
    """Knobs of a YAML file: of its own, or below the key ``synthesis`` of a training run."""
    from vdeblur.config import build, find_config, read_yaml
    from vdeblur.training.synthesis.config import SynthesisConfig

    if name is None:
        return SynthesisConfig()
    path = find_config(name)
    data = read_yaml(path)
    inner = data.get("synthesis", data)
    if not isinstance(inner, dict):
        raise UsageError(f"{path}: synthesis must be a mapping, not {inner!r}")
    return build(SynthesisConfig, inner, where=str(path))
