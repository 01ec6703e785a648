"""Ablation: variants of the network and of its training, each trained and scored alike, as a table.

`python -m vdeblur.training.ablation configs/ablation.yaml --folder FOLDER [--only NAME]`. All variants see the same
clips in the same order for the same number of steps, from scratch. Finished ones are kept in FOLDER/results.csv.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vdeblur.config import build, find_config, load_config
from vdeblur.errors import NetworkError, UsageError, VdeblurError
from vdeblur.metrics import psnr
from vdeblur.model.network import DeblurNet, Estimate, NetworkConfig
from vdeblur.model.steering import SteeredTaps
from vdeblur.training.ablation_results import Result, append_result, read_results, table
from vdeblur.training.data import fixed_clips
from vdeblur.training.library_flow import dis_flow, library_motion
from vdeblur.training.losses import charbonnier, frequency_loss, signless_error
from vdeblur.training.stills import find_stills
from vdeblur.training.synthesis import Clip, SynthesisConfig
from vdeblur.training.taps import draw_pixels, learn_taps
from vdeblur.training.variants import NETWORKS

log = logging.getLogger(__name__)

#: What learns to restore, while what finds the motion rests, in the second half of separate teaching.
RESTORING = ("guide", "taps", "decode8", "up4", "join4", "decode4", "head")
#: Clips below this PSNR against the truth count as blurred, the others as near-sharp.
BLURRED_BELOW_DB = 32.0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table: what differs from the base, in plain words and in settings."""

    name: str
    #: What the row changes, for the table.
    says: str
    #: A class of :data:`vdeblur.training.variants.NETWORKS`.
    form: str = "as it is"
    #: Settings of the network that differ.
    network: dict[str, Any] = field(default_factory=dict)
    #: Where motion comes from: our flow, a library's, or the truth (then also in the evaluation).
    motion: Literal["found", "library", "true"] = "found"
    #: Frames the network sees: 3 with the next one dropped in a share of the steps, 2 never the next, 1 no neighbour.
    window: Literal[1, 2, 3] = 3
    #: Whether the true motion steers at first, never, or motion and restoration learn one after the other.
    teaching: Literal["at first", "never", "separate"] = "at first"
    #: One run a seed: start values, order of the clips.
    seeds: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if self.form not in NETWORKS:
            raise UsageError(f"{self.name}: no form {self.form!r}; choose one of {', '.join(NETWORKS)}")


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What all variants share; the first variant is the base that the others are compared with."""

    #: Name of a network config.
    network: str
    #: Folders of sharp photographs to learn from, and others to score on.
    stills: tuple[str, ...]
    test_stills: tuple[str, ...]
    synthesis: SynthesisConfig
    variants: tuple[Variant, ...]
    #: Clips to learn from, made once, and side and frames of the clips to score on.
    clips: int = 600
    test_clips: int = 40
    test_size_px: int = 128
    test_frames: int = 8
    batch: int = 4
    #: First the taps learn alone: from so many clips, pixels of each frame, for so many steps.
    taps_clips: int = 240
    taps_pixels: int = 1000
    taps_steps: int = 2000
    #: Then everything learns together.
    steps: int = 200
    learning_rate: float = 2e-3
    warmup_steps: int = 20
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    frequency_weight: float = 0.05
    #: Weight of the motion loss, per pixel of error.
    motion_weight: float = 0.02
    #: Share of steps without the future frame.
    lookahead_dropped: float = 0.3
    #: Share of the run over which the true motion steers at first, ever more seldom.
    taught_share: float = 0.6


class Pack(NamedTuple):
    """Clips in little memory: ``blurry``, ``sharp`` (N, T, 3, H, W) uint8; the rest (N, T, 2, H/8, W/8) pixels."""

    blurry: Tensor
    sharp: Tensor
    velocity: Tensor
    motion: Tensor

    def chosen(self, index: Sequence[int]) -> Clip:
        """A batch of clips with pictures in [0, 1] and vectors at 1/8."""
        rows = torch.tensor(index)
        return Clip(self.blurry[rows] / 255, self.sharp[rows] / 255, self.velocity[rows], self.motion[rows])


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
    done = read_results(path)
    known = {(result.name, result.seed, result.recipe) for result in done}
    missing = [(v, seed) for v, seed in wanted if (v.name, seed, _recipe(config, v)) not in known]
    if missing:
        train_clips, test_clips = (_pack(config, folder, test=test) for test in (False, True))
    for variant, seed in missing:
        result = run(config, variant, seed, train_clips, test_clips)
        done.append(result)
        append_result(path, result)
        log.info("%s, seed %d: %+.2f dB, %.2f px", variant.name, seed, result.gain_db, result.motion_px)
    return table(
        [(v.says, [r for r in done if (r.name, r.recipe) == (v.name, _recipe(config, v))]) for v in config.variants]
    )


def run(config: AblationConfig, variant: Variant, seed: int, train_clips: Pack, test_clips: Pack) -> Result:
    """Train one variant from scratch and score it."""
    torch.manual_seed(seed)
    net = NETWORKS[variant.form](_settings(config, variant)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    times = train(config, variant, seed, net, train_clips)
    scores = score(variant, net, test_clips, config.batch)
    return Result(variant.name, seed, _recipe(config, variant), **scores, kmac=kmac(net), step_ms=1e3 * times)


def train(config: AblationConfig, variant: Variant, seed: int, net: DeblurNet, clips: Pack) -> float:
    """Train: the taps first, on single pixels, then everything; return the median processor seconds of a step."""
    net.train()
    if isinstance(net.taps, SteeredTaps):
        batches = range(0, min(config.taps_clips, len(clips.blurry)), config.batch)
        drawn = (clips.chosen(range(first, first + config.batch)) for first in batches)
        pixels = draw_pixels(net, drawn, per_frame=config.taps_pixels, seed=seed)
        learn_taps(net.taps, pixels, steps=config.taps_steps, seed=seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    times = []
    for step in range(config.steps):
        if len(order) < config.batch:
            order = torch.randperm(len(clips.blurry), generator=generator).tolist()
        index, order = order[: config.batch], order[config.batch :]
        dropped, taught = torch.rand(2, generator=generator).tolist()
        started = time.process_time()
        if variant.teaching == "separate" and step == config.steps // 2:
            _freeze_motion(net)
        for group in optimiser.param_groups:
            group["lr"] = _rate(config, step)
        clip = clips.chosen(index)
        truth = _packed(clip.motion)
        lookahead = 0 if variant.window == 2 or dropped < config.lookahead_dropped else 1
        teaches = variant.teaching == "at first" and taught < 0.8 * (1 - step / (config.taught_share * config.steps))
        steer = truth if teaches or variant.motion == "true" else None
        estimate = restore(variant, net, clip.blurry, lookahead, steer)
        loss = _loss(config, variant, estimate, (clip.sharp - clip.blurry).flatten(0, 1), truth, step)
        if not torch.isfinite(loss):
            raise NetworkError(f"{variant.name}: the loss is {loss.item()} at step {step}: lower learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), config.gradient_clip)
        optimiser.step()
        times.append(time.process_time() - started)
    return statistics.median(times)


def restore(variant: Variant, net: DeblurNet, blurry: Tensor, lookahead: int, steer: Tensor | None) -> Estimate:
    """Restore clips (B, T, 3, H, W) as the variant sees them, in bf16 where autocast takes it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if variant.window == 1:
            return net.restore_clip(blurry.flatten(0, 1)[:, None], lookahead=0, steer=steer)
        motion = library_motion(blurry, lookahead) if variant.motion == "library" else None
        return net.restore_clip(blurry, lookahead=lookahead, steer=steer, motion=motion)


def score(variant: Variant, net: DeblurNet, clips: Pack, batch: int) -> dict[str, float]:
    """Scores of a network on the test clips, as :class:`Result` names them."""
    net.eval()
    rows: list[dict[str, float]] = []
    with torch.inference_mode():
        for first in range(0, len(clips.blurry), batch):
            index = range(first, min(first + batch, len(clips.blurry)))
            blurry, sharp, _, motion = clips.chosen(index)
            truth = _packed(motion)
            steer = truth if variant.motion == "true" else None
            estimates = [restore(variant, net, blurry, lookahead, steer) for lookahead in (1, 0)]
            estimates.append(restore(variant, net, blurry, 1, truth))
            restored = [(blurry + estimate.residual.view_as(blurry)).clamp(0, 1) for estimate in estimates]
            errors = [
                float(signless_error(*pair))
                for pair in zip(estimates[0].motion.chunk(len(index)), truth.chunk(len(index)), strict=True)
            ]
            rows += [
                _scores(blurry[i], sharp[i], [pictures[i] for pictures in restored], errors[i])
                for i in range(len(index))
            ]
    return _means(rows)


def _scores(blurry: Tensor, sharp: Tensor, restored: list[Tensor], motion_px: float) -> dict[str, float]:
    before = psnr(blurry, sharp)
    names = ("gain_db", "gain_lookahead0_db", "gain_true_motion_db")
    gains = {name: psnr(picture, sharp) - before for name, picture in zip(names, restored, strict=True)}
    return {**gains, "before_db": before, "kept_db": min(60.0, psnr(restored[0], blurry)), "motion_px": motion_px}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over blurred and over near-sharp clips."""
    blurred = [row for row in rows if row["before_db"] < BLURRED_BELOW_DB]
    sharp = [row for row in rows if row["before_db"] >= BLURRED_BELOW_DB]
    if not blurred or not sharp:
        raise UsageError(f"{len(blurred)} of {len(rows)} test clips are blurred: more test_clips would have both kinds")

    def mean(chosen: list[dict[str, float]], name: str) -> float:
        return statistics.fmean(row[name] for row in chosen)

    names = ("gain_db", "gain_lookahead0_db", "gain_true_motion_db")
    return {
        **{name: mean(blurred, name) for name in names},
        "gain_near_sharp_db": mean(sharp, "gain_db"),
        "kept_db": mean(sharp, "kept_db"),
        "motion_px": mean(rows, "motion_px"),
    }


def kmac(net: DeblurNet, side: int = 128, frames: int = 3) -> float:
    """Thousands of multiply-adds a pixel of convolutions, attention and matrices, as PyTorch counts them.

    Sampling, the parameter-free flow and what works on single values are not counted.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.restore_clip(torch.zeros(1, frames, 3, side, side), lookahead=1)
    return int(counter.get_total_flops()) / 2 / (frames * side * side) / 1e3


def _packed(vectors: Tensor | None) -> Tensor:
    """(B, T, …) → (B·T, …)."""
    return _known(vectors).flatten(0, 1)


def _known(vectors: Tensor | None) -> Tensor:
    assert vectors is not None, "synthetic clips tell their motion"
    return vectors


def _loss(
    config: AblationConfig, variant: Variant, estimate: Estimate, wanted: Tensor, truth: Tensor, step: int
) -> Tensor:
    difference = estimate.residual - wanted
    pixels = charbonnier(difference) + config.frequency_weight * frequency_loss(difference)
    motion = config.motion_weight * signless_error(estimate.motion, truth)
    if variant.teaching != "separate":
        return pixels + motion
    return motion if step < config.steps // 2 else pixels


def _rate(config: AblationConfig, step: int) -> float:
    """Linear warm-up, then a cosine to 2 % of the rate."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.learning_rate * cosine * min(1.0, (step + 1) / config.warmup_steps)


def _settings(config: AblationConfig, variant: Variant) -> NetworkConfig:
    base = load_config(NetworkConfig, find_config(config.network))
    return build(NetworkConfig, {**asdict(base), **variant.network}, where=variant.name)


def _check(config: AblationConfig, variant: Variant) -> None:
    """Name what cannot work before anything is made."""
    _settings(config, variant)
    if variant.motion == "library":
        dis_flow()


def _freeze_motion(net: DeblurNet) -> None:
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(RESTORING))


def _pack(config: AblationConfig, folder: Path, *, test: bool) -> Pack:
    """Clips to learn from or to score on: made once, then read from the folder."""
    synthesis = config.synthesis
    if test:
        synthesis = replace(synthesis, size_px=config.test_size_px, frames=config.test_frames)
    names, count = (config.test_stills, config.test_clips) if test else (config.stills, config.clips)
    path = folder / f"clips-{_digest([names, count, asdict(synthesis)])}.pt"
    if not path.is_file():
        clips = fixed_clips(find_stills([Path(name) for name in names]), synthesis, count=count, seed=int(test))
        blurry, sharp = (
            torch.stack([(_known(clip[side]).clamp(0, 1) * 255).round().to(torch.uint8) for clip in clips])
            for side in (0, 1)
        )
        velocity, motion = (torch.stack([F.avg_pool2d(_known(clip[side]), 8) for clip in clips]) for side in (2, 3))
        part = path.with_suffix(".part")
        torch.save([blurry, sharp, velocity, motion], part)
        part.replace(path)
    return Pack(*torch.load(path, weights_only=True))


def _recipe(config: AblationConfig, variant: Variant) -> str:
    """Digest of what decides a variant's scores."""
    shared = {name: value for name, value in asdict(config).items() if name != "variants"}
    own = {name: value for name, value in asdict(variant).items() if name not in ("says", "seeds")}
    return _digest([shared, own])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m vdeblur.training.ablation", description="Compare variants.")
    parser.add_argument("config", help="an ablation YAML, by path or by name in configs/")
    parser.add_argument("--folder", type=Path, required=True, help="clips and results; continued if there are any")
    parser.add_argument("--only", metavar="NAME", help="run this variant alone")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = load_config(AblationConfig, find_config(options.config))
        print(ablate(config, options.folder, only=options.only))
    except VdeblurError as exc:
        print(f"vdeblur: error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
