"""Training of one ablation variant: taps on single pixels first, then joint training, alike for all."""

from __future__ import annotations

import math
import statistics
import time

import torch
from torch import Tensor, nn

from vdeblur.errors import NetworkError
from vdeblur.model.deblur_net import DeblurNet
from vdeblur.model.motion_taps import MotionTaps
from vdeblur.model.network import Estimate
from vdeblur.training.ablation.clips import ByteClips, known
from vdeblur.training.ablation.library_flow import library_motion
from vdeblur.training.ablation.settings import AblationConfig, Variant
from vdeblur.training.losses import charbonnier, frequency_loss, signless_error
from vdeblur.training.pretraining.taps import draw_pixels, learn_taps, true_exposure
from vdeblur.training.synthesis.blur import Clip

#: What learns to restore, while what finds the motion rests, in the second half of separate teaching.
RESTORING = ("guide", "taps", "decode8", "up4", "join4", "decode4", "head")


def train(config: AblationConfig, variant: Variant, seed: int, net: DeblurNet, clips: ByteClips) -> float:
    """Train: the taps first, on single pixels, then everything; return the median processor seconds of a step."""
    net.train()
    if isinstance(net.taps, MotionTaps):
        batches = range(0, min(config.taps_clips, len(clips.blurry)), config.batch)
        drawn = (clips.chosen(range(first, first + config.batch)) for first in batches)
        pixels = draw_pixels(net, drawn, per_frame=config.taps_pixels, seed=seed)
        learn_taps(net.taps, pixels, steps=config.taps_steps, batch=config.taps_batch, seed=seed)
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
        truth = known(clip.motion).flatten(0, 1)
        lookahead = 0 if variant.window == 2 or dropped < config.lookahead_dropped else 1
        teaches = variant.teaching == "at first" and taught < 0.8 * (1 - step / (config.taught_share * config.steps))
        steer = truth if teaches or variant.motion == "true" else None
        estimate = restore(variant, net, clip, lookahead, steer)
        loss = _loss(config, variant, estimate, (clip.sharp - clip.blurry).flatten(0, 1), truth, step)
        if not torch.isfinite(loss):
            raise NetworkError(f"{variant.name}: the loss is {loss.item()} at step {step}: lower learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), config.gradient_clip)
        optimiser.step()
        times.append(time.process_time() - started)
    return statistics.median(times)


def restore(variant: Variant, net: DeblurNet, clip: Clip, lookahead: int, steer: Tensor | None) -> Estimate:
    """Restore clips (B, T, …) as the variant sees them, in bf16."""
    exposure = true_exposure(clip) if variant.motion == "true fraction" else None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if variant.window == 1:
            alone = clip.blurry.flatten(0, 1)[:, None]
            return net.restore_clip(alone, lookahead=0, sampling_motion=steer, exposure=exposure)
        motion = library_motion(clip.blurry, lookahead) if variant.motion == "library" else None
        return net.restore_clip(
            clip.blurry, lookahead=lookahead, sampling_motion=steer, exposure=exposure, motion=motion
        )


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


def _freeze_motion(net: DeblurNet) -> None:
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(RESTORING))
