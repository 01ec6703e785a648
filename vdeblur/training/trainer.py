"""Training, read from top to bottom: data, step, average, validation, checkpoint; limited by steps or minutes."""

from __future__ import annotations

import csv
import logging
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vdeblur.config import find_config, load_config
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.checkpoint import load_network, save_network
from vdeblur.model.network import DeblurNet, NetworkConfig
from vdeblur.training.data import SyntheticData, fixed_clips, stack
from vdeblur.training.losses import losses, motion_error, signless_error
from vdeblur.training.stills import find_stills
from vdeblur.training.synthesis import Clip, SynthesisConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run; a YAML file states only what differs from these values."""

    #: Name of a network config.
    network: str
    #: Folders of sharp photographs to learn from, and others to validate on.
    stills: tuple[str, ...]
    validation_stills: tuple[str, ...]
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    seed: int = 1
    #: Clips a step.
    batch: int = 4
    #: Length of the whole schedule; ``minutes`` ends it earlier.
    steps: int = 20_000
    learning_rate: float = 5e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    gradient_clip: float = 0.5
    ema_decay: float = 0.999
    frequency_weight: float = 0.05
    #: Weight of the motion loss, per pixel of error.
    motion_weight: float = 0.01
    #: Share of steps without the future frame.
    lookahead_dropped: float = 0.3
    #: Over so many steps the true motion steers instead of the one found, in a share that falls from 0.8 to 0.
    taught_steps: int = 2500
    #: How often a clip is used, and worker processes that make clips.
    reuse: int = 4
    workers: int = 1
    validation_clips: int = 24
    validate_every: int = 500
    save_every: int = 250
    #: A checkpoint (name or path) to start from: every tensor that fits by name and shape is taken over.
    start: str | None = None


def train(config: TrainConfig, folder: Path, *, minutes: float | None = None, device: str = "cpu") -> Path:
    """Train a network in ``folder``, which keeps state, log and weights; an earlier state there is continued.

    Args:
        minutes: stop after so much time; the learning rate then falls to its end within it.
        device: where to train, "cpu" or "cuda".

    Returns:
        Path of the averaged weights.

    Raises:
        UsageError: the stills or the config cannot be used.
        NetworkError: the loss is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    net = _new_network(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))  # type: ignore[no-untyped-call]
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    step = _resume(folder, net, average, optimiser)
    data = SyntheticData(
        config.synthesis,
        stills=find_stills([Path(name) for name in config.stills]),
        seed=config.seed,
        batch=config.batch,
        reuse=config.reuse,
        workers=config.workers,
        device=device,
    )
    validation = fixed_clips(
        find_stills([Path(name) for name in config.validation_stills]),
        config.synthesis,
        count=config.validation_clips,
        seed=0,
    )
    started, first_step = time.monotonic(), step
    totals: dict[str, float] = {}
    for clip in data.batches(step):
        minutes_gone = (time.monotonic() - started) / 60
        done = _share_done(config, step, first_step, minutes_gone, minutes)
        if done >= 1:
            break
        rate = learning_rate(config, step, done)
        for group in optimiser.param_groups:
            group["lr"] = rate
        values = _step(net, clip, config, optimiser, step)
        average.update_parameters(net)
        step += 1
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + value
        if step % config.save_every == 0:
            _save(folder, config, net, average, optimiser, step, None)
        if step % config.validate_every == 0:
            scores = validate(average.module, validation, config.batch, device)
            mean = {name: value / config.validate_every for name, value in totals.items()}
            totals = {}
            _log(folder, {"step": step, "minutes": minutes_gone, "learning_rate": rate, **mean, **scores})
    scores = validate(average.module, validation, config.batch, device)
    return _save(folder, config, net, average, optimiser, step, scores)


def learning_rate(config: TrainConfig, step: int, done: float) -> float:
    """Linear warm-up, then a cosine from the first to the final rate over the share that is done."""
    span = config.learning_rate - config.final_learning_rate
    rate = config.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return rate * min(1.0, (step + 1) / config.warmup_steps)


def validate(net: nn.Module, clips: list[Clip], batch: int, device: str) -> dict[str, float]:
    """Gain in PSNR over the blurred input (dB, RGB, mean over clips) and motion errors (pixels)."""
    net.eval()
    gains, plain, errors, exposed = [], [], [], []
    with torch.inference_mode(), _autocast(device):
        for first in range(0, len(clips), batch):
            packed = stack(clips[first : first + batch]).to(device)
            blurry, sharp, velocity, motion = (tensor.flatten(0, 1) for tensor in packed)
            estimate = net.restore_clip(packed.blurry, lookahead=1)  # type: ignore[operator]
            restored = (blurry + estimate.residual).clamp(0, 1)
            for before, after in zip(*(_errors(p, sharp, packed) for p in (blurry, restored)), strict=True):
                gains.append(10 * math.log10(before / after))
                plain.append(-10 * math.log10(before))
            errors.append(float(motion_error(estimate.velocities[-1], velocity)))
            exposed.append(float(signless_error(estimate.motion, motion)))
    net.train()
    hard = [gain for gain, psnr in zip(gains, plain, strict=True) if psnr < 30]
    return {
        "gain_db": sum(gains) / len(gains),
        "gain_blurred_db": sum(hard) / max(1, len(hard)),
        "worst_gain_db": min(gains),
        "velocity_error_px": sum(errors) / len(errors),
        "exposure_error_px": sum(exposed) / len(exposed),
    }


def _errors(pictures: Tensor, sharp: Tensor, packed: Clip) -> list[float]:
    """Mean squared error of each clip of a packed batch."""
    squares = (pictures - sharp).square().view(len(packed.blurry), -1)
    errors: list[float] = squares.mean(dim=1).tolist()
    return errors


def _step(
    net: DeblurNet, clip: Clip, config: TrainConfig, optimiser: torch.optim.Optimizer, step: int
) -> dict[str, float]:
    draws = torch.rand(2, generator=torch.Generator().manual_seed(config.seed * 7919 + step)).tolist()
    lookahead = 0 if draws[0] < config.lookahead_dropped else 1
    taught = draws[1] < 0.8 * (1 - step / config.taught_steps)
    steer = F.avg_pool2d(clip.motion.flatten(0, 1), 8) if taught else None
    with _autocast(clip.blurry.device.type):
        estimate = net.restore_clip(clip.blurry, lookahead=lookahead, steer=steer)
    parts = losses(estimate, clip)
    total = parts.pixels + config.frequency_weight * parts.frequencies + config.motion_weight * parts.motion
    if not torch.isfinite(total):
        raise NetworkError(f"the loss is {total.item()} at step {step}: lower learning_rate or gradient_clip")
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(net.parameters(), config.gradient_clip)
    optimiser.step()
    return {"pixels": parts.pixels.item(), "motion": parts.motion.item(), "gradient": norm.item()}


def _autocast(device: str) -> torch.autocast:
    return torch.autocast(device, dtype=torch.bfloat16)


def _share_done(config: TrainConfig, step: int, first_step: int, minutes_gone: float, minutes: float | None) -> float:
    """Share of the schedule that is done: by steps, or, under a time limit, by this call's time if that is sooner."""
    by_steps = step / config.steps
    if minutes is None:
        return by_steps
    start = first_step / config.steps
    return max(by_steps, start + (1 - start) * minutes_gone / minutes)


def _new_network(config: TrainConfig) -> DeblurNet:
    net = DeblurNet(load_config(NetworkConfig, find_config(config.network)))
    if config.start is not None:
        own, given = net.state_dict(), load_network(config.start).state_dict()
        fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
        if not fitting:
            raise UsageError(f"start: nothing in {config.start} fits the network {config.network!r}")
        log.info("%d of %d tensors start from %s", len(fitting), len(own), config.start)
        net.load_state_dict({**own, **fitting})
    return net.train()


def _resume(folder: Path, net: DeblurNet, average: AveragedModel, optimiser: torch.optim.Optimizer) -> int:
    path = folder / "state.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save(
    folder: Path,
    config: TrainConfig,
    net: DeblurNet,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    step: int,
    scores: dict[str, float] | None,
) -> Path:
    part, path = folder / "state.pt.part", folder / "state.pt"
    state = {"network": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**state, "step": step}, part)
    part.replace(path)
    provenance: dict[str, Any] = {"steps": step, "training": asdict(config), "scores": scores or {}}
    weights = folder / f"{config.network}.safetensors"
    save_network(average.module, weights, provenance)  # type: ignore[arg-type]
    return weights


def _log(folder: Path, row: dict[str, float]) -> None:
    path = folder / "log.csv"
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()})
    log.info("%s", "  ".join(f"{name} {value:.4g}" for name, value in row.items()))
