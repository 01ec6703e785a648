"""`vdeblur eval MODEL DATA`: how much closer to the truth a network brings blurred clips."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from vdeblur.cli.helptext import GroupedCommand, GroupedOption


@click.command("eval", cls=GroupedCommand)
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--device", default="auto", cls=GroupedOption, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--precision", default="auto", cls=GroupedOption, help="auto, float32, bfloat16 or float16.")
@click.option("--lookahead", default=1, type=click.IntRange(0, 1), cls=GroupedOption, help="Frames of the future seen.")
@click.option("--json", "as_json", is_flag=True, cls=GroupedOption, help="As one JSON object.")
def evaluate(model: str, data: Path, device: str, precision: str, lookahead: int, as_json: bool) -> None:
    """Score MODEL on DATA, a folder of pairs named NAME.blur.EXT and NAME.sharp.EXT (videos or photos).

    PSNR in dB and SSIM in R'G'B' rounded to 8 bits, no crop, mean over all frames.
    """
    from vdeblur.engine import Deblurrer
    from vdeblur.evaluation import find_pairs, score_pair

    pairs = find_pairs(data)
    deblurrer = Deblurrer(model, device=device, precision=precision, lookahead=lookahead)
    rows = {}
    if not as_json:
        sys.stdout.write(f"{'clip':24} {'frames':>6} {'blurred':>8} {'restored':>8} {'gain dB':>8} {'SSIM':>15}\n")
    for name, blurry, sharp in pairs:
        scores = score_pair(deblurrer, blurry, sharp)
        rows[name] = {**dataclasses.asdict(scores), "gain_db": scores.gain_db}
        if not as_json:
            sys.stdout.write(
                f"{name:24} {scores.frames:6} {scores.psnr_blurry:8.3f} {scores.psnr_restored:8.3f}"
                f" {scores.gain_db:+8.3f} {scores.ssim_blurry:7.4f} {scores.ssim_restored:7.4f}\n"
            )
            sys.stdout.flush()
    mean = sum(row["gain_db"] for row in rows.values()) / len(rows)
    if as_json:
        sys.stdout.write(json.dumps({"model": model, "mean_gain_db": mean, "clips": rows}, indent=2) + "\n")
    else:
        sys.stdout.write(f"{'mean':24} {'':6} {'':8} {'':8} {mean:+8.3f}\n")
