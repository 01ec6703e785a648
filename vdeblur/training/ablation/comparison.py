"""Ablation run: each variant is trained from scratch, scored and stored; stored ones are not repeated."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from vdeblur.errors import UsageError
from vdeblur.training.ablation.clips import ByteClips, made_clips
from vdeblur.training.ablation.learning import train
from vdeblur.training.ablation.library_flow import dis_flow
from vdeblur.training.ablation.results import Result, append_result, read_results, table
from vdeblur.training.ablation.scoring import kmac, score
from vdeblur.training.ablation.settings import AblationConfig, Variant, network_config, recipe
from vdeblur.training.ablation.variants import NETWORKS

log = logging.getLogger(__name__)


def ablate(config: AblationConfig, folder: Path, *, only: str | None = None) -> str:
    """Train and score all variants that ``folder`` has no result of; return the table, in Markdown.

    Raises:
        UsageError: the stills or the config cannot be used, or there is no variant ``only``.
        NetworkError: a loss is not finite.
    """
    if only is not None and only not in [variant.name for variant in config.variants]:
        raise UsageError(f"no variant {only!r}: choose one of {', '.join(variant.name for variant in config.variants)}")
    wanted = [(variant, seed) for variant in config.variants for seed in variant.seeds if only in (None, variant.name)]
    for variant, _ in wanted:
        _check(config, variant)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.csv"
    known = {(result.name, result.seed, result.recipe) for result in read_results(path)}
    missing = [(v, seed) for v, seed in wanted if (v.name, seed, recipe(config, v)) not in known]
    if missing:
        train_clips, test_clips = (made_clips(config, folder, test=test) for test in (False, True))
    for variant, seed in missing:
        result = run(config, variant, seed, train_clips, test_clips)
        append_result(path, result)
        log.info("%s, seed %d: %+.2f dB, %.2f px", variant.name, seed, result.gain_db, result.motion_px)
    return compared(config, folder)


def compared(config: AblationConfig, folder: Path) -> str:
    """The table, in Markdown, of the results that ``folder`` has; nothing is trained.

    Raises:
        UsageError: there is no result of this config.
    """
    done = read_results(folder / "results.csv")
    rows = []
    for variant in config.variants:
        key = (variant.name, recipe(config, variant))
        rows.append((variant.says, [result for result in done if (result.name, result.recipe) == key]))
    if not any(results for _, results in rows):
        raise UsageError(f"{folder} has no results of this comparison: run it without --table")
    return table(rows)


def run(config: AblationConfig, variant: Variant, seed: int, train_clips: ByteClips, test_clips: ByteClips) -> Result:
    """Train one variant from scratch and score it."""
    torch.manual_seed(seed)
    net = NETWORKS[variant.form](network_config(config, variant)).to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
    times = train(config, variant, seed, net, train_clips)
    scores = score(variant, net, test_clips, config.batch)
    return Result(variant.name, seed, recipe(config, variant), **scores, kmac=kmac(net), step_ms=1e3 * times)


def _check(config: AblationConfig, variant: Variant) -> None:
    """Name what cannot work before anything is made."""
    network_config(config, variant)
    if variant.motion == "library":
        dis_flow()
