"""Adaptation of the guide to one clip: read, look whether it can be, learn from neighbours, guard, keep."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vdeblur.config import WEIGHTS_FOLDER
from vdeblur.errors import Interrupted, TargetError, UsageError
from vdeblur.model.checkpoint import load_network, save_network
from vdeblur.model.guide.guide_net import GuideNet, Told
from vdeblur.training.adaptation.footage import ClipWindow, read_windows
from vdeblur.training.adaptation.guard import LEAST_GAIN_DB, DriftGuard
from vdeblur.training.adaptation.neighbours import (
    LEAST_MATCHED,
    Targets,
    disagreement,
    guides_of,
    neighbour_targets,
    repeated_noise,
)
from vdeblur.training.adaptation.synthetic_clips import Rehearsal
from vdeblur.training.config import OwnConfig, TrainConfig, as_plain
from vdeblur.training.run_state import PIECES_FOLDER, STATE_FILE
from vdeblur.training.synthesis.rng import Draw

logger = logging.getLogger(__name__)

SHIPPED_GUIDE = WEIGHTS_FOLDER / "guides" / "noise.safetensors"
#: Share of the network's change that must be taken somewhere, or there is no noise to learn of.
_LEAST_USED = 0.1
#: Correlation of neighbours' noise, and quantiser as H.264 counts it, from which a codec has copied the noise.
MOST_REPEATED, MOST_QUANTISER = 0.15, 18.0
_WARM_UP = 20
_EMA = 0.98


class AdaptationProgress(NamedTuple):
    """Step, share of the schedule that is done, and seconds since the first step."""

    step: int
    done: float
    seconds: float


class Lesson(NamedTuple):
    """A window of the clip with its first guides and what each frame's neighbours say."""

    window: ClipWindow
    following: Targets
    previous: Targets


def adapt(
    config: TrainConfig,
    clip: Path,
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    progress: Callable[[AdaptationProgress], None] | None = None,
) -> tuple[Path, str]:
    """Adapt a guide to a clip that has no truth; on the CPU.

    Args:
        config: its ``start`` says which guide (None: the one that ships), its ``own`` how.
        minutes: in place of the config's.
        steps: likewise.

    Returns:
        Path of the weights, and in a sentence what became of them. Where the guard finds that nothing was won, they are
        those it began with.

    Raises:
        UsageError: the clip cannot be used (too short or small, no noise), the config trains no guide, or the folder is
            that of a training run.
        SourceError: it cannot be read.
        Interrupted: Ctrl-C; the best weights so far are kept.
    """
    if config.noise is None:
        raise UsageError("a clip of one's own teaches a guide alone, and this config trains none: use train_noise")
    began, own = time.monotonic(), config.own or OwnConfig()
    for name in (STATE_FILE, PIECES_FOLDER):
        if (folder / name).exists():
            raise UsageError(f"{folder} holds a training run, whose weights would be replaced: take another folder")
    start = _guide(config.start or str(SHIPPED_GUIDE))
    target = folder / f"{start.config.name}.safetensors"
    windows = read_windows(clip, size_px=own.size_px, seed=config.seed)
    lessons, refusal = _lessons(start, windows, clip)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise TargetError(f"cannot make the folder {folder}: {exc.strerror or exc}") from exc
    provenance = {"training": as_plain(config), "own": clip.name, "start": config.start or "shipped"}
    if refusal:
        save_network(start, target, {**provenance, "adapted": False})
        return target, f"not adapted, the weights are those it began with: {refusal}"
    guard = DriftGuard(start, [(lesson.window, lesson.following) for lesson in lessons], own.margin_db)
    learning = _Learning(start, lessons, own, config.seed)
    limit = 60 * (minutes or own.minutes) - (time.monotonic() - began) - guard.seconds
    try:
        step = learning.learn(guard, steps or own.steps, limit, progress or (lambda _: None))
    except KeyboardInterrupt as exc:
        save_network(guard.best_net, target, {**provenance, "adapted": guard.helped, "steps": guard.best_step})
        raise Interrupted(f"interrupted; the best weights so far are in {target}") from exc
    net = guard.best_net if guard.helped else start
    scores = {"held_out_db": guard.first.held_db - guard.best.held_db, "synthetic_db": guard.best.synthetic_db}
    save_network(net, target, {**provenance, "adapted": guard.helped, "steps": guard.best_step, "scores": scores})
    return target, _sentence(guard, step)


def _guide(name: str) -> GuideNet:
    net = load_network(name)
    if not isinstance(net, GuideNet):
        raise UsageError(f"{name} is no guide: give the weights of one, or leave --start out")
    return net


def _lessons(start: GuideNet, windows: list[ClipWindow], clip: Path) -> tuple[list[Lesson], str]:
    """What the clip teaches; and why nothing may be learned from it, if so.

    Raises:
        UsageError: there is no noise in it.
    """
    lessons, alike, shares = [], [], []
    for window in windows:
        guides, used = guides_of(start, window.frames, window.quantiser)
        shares.append(used)
        if used < _LEAST_USED:
            continue
        alike.append(repeated_noise(window.frames, guides))
        following, previous = (neighbour_targets(window.frames, guides, step) for step in (1, -1))
        lessons.append(Lesson(window, following, previous))
    if not lessons:
        raise UsageError(f"{clip} shows no noise, so the guide is not used on it: there is nothing to adapt to")
    coded = [window.quantiser for window in windows if not math.isnan(window.quantiser)]
    if coded and sum(coded) / len(coded) >= MOST_QUANTISER:
        return (
            lessons,
            f"at a quantiser of {sum(coded) / len(coded):.0f} the codec copies its noise from frame to frame",
        )
    matched = sum(float(lesson.following.weight.mean()) for lesson in lessons) / len(lessons)
    if matched < LEAST_MATCHED:
        return lessons, f"only {matched:.0%} of a frame are found again in the next one"
    repeated = sum(alike) / len(alike)
    if repeated > MOST_REPEATED:
        return lessons, f"the noise of a frame is repeated in the next one (correlation {repeated:.2f})"
    return lessons, ""


class _Learning:
    """Fine-tuning on crops of the windows, frames of which :class:`DriftGuard` measures on are left out."""

    def __init__(self, start: GuideNet, lessons: list[Lesson], own: OwnConfig, seed: int) -> None:
        self.own, self.lessons, self._draw = own, lessons, Draw.of(seed, "own")
        self._rehearsal = Rehearsal(seed, own.size_px, own.frames) if own.rehearsed else None
        self.net: GuideNet = copy.deepcopy(start).train()
        self.average: GuideNet = copy.deepcopy(start).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=own.learning_rate, betas=(0.9, 0.98))

    def learn(
        self, guard: DriftGuard, steps: int, limit_seconds: float, progress: Callable[[AdaptationProgress], None]
    ) -> int:
        """Learn until the steps, the time or the guard's patience end; returns the last step."""
        began, step, checked = time.monotonic(), 0, 0
        while True:
            seconds = time.monotonic() - began
            done = 1.0 if seconds >= limit_seconds else max(step / steps, seconds / limit_seconds)
            if (step and done * self.own.checks >= checked + 1) or (done >= 1 and checked < self.own.checks):
                checked = max(checked + 1, int(done * self.own.checks))
                now = guard.check(self.average, step)
                logger.info(
                    "step %d: held-out frames %+.2f dB, synthetic clips %+.2f dB",
                    step, guard.first.held_db - now.held_db, now.synthetic_db - guard.first.synthetic_db,
                )  # fmt: skip
            if done >= 1 or guard.reason:
                return step
            self._step(step, done)
            step += 1
            progress(AdaptationProgress(step, done, seconds))

    def _step(self, step: int, done: float) -> None:
        rate = self.own.learning_rate * min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        parts = [self._crop() for _ in range(self.own.batch)]
        if self._rehearsal is not None:
            first = step * self.own.rehearsed
            parts += [self._rehearsal.crop(first + number) for number in range(self.own.rehearsed)]
        crops, known = zip(*parts, strict=True)
        frames, targets, weights = (torch.stack(several) for several in zip(*crops, strict=True))  # (B, T, …)
        quantisers = torch.tensor(known)
        told = Told(quantisers, torch.full_like(quantisers, torch.nan))
        state, total = None, frames.new_zeros(())
        for number in range(frames.shape[1]):
            guide, state = self.net.guide(frames[:, number], told, state)
            total = total + disagreement(guide, Targets(targets[:, number], weights[:, number]))
        self.optimiser.zero_grad(set_to_none=True)
        (total / frames.shape[1]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        share = 1 - min(_EMA, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), share)

    def _crop(self) -> tuple[list[Tensor], float]:
        """Frames, targets and weights (T, C, size, size) from a random place, forwards or backwards; the quantiser."""
        draw, own = self._draw, self.own
        lesson = self.lessons[draw.integer(len(self.lessons))]
        window, forwards = lesson.window, draw.chance(0.5)
        length = own.frames
        first = draw.integer(window.held - length) + (0 if forwards else 1)
        if not forwards:
            first = min(first, window.held - length)
        targets = lesson.following if forwards else lesson.previous
        top, left = (draw.integer((side - own.size_px) // 8 + 1) * 8 for side in window.frames.shape[-2:])
        parts = [
            part[first : first + length, :, top : top + own.size_px, left : left + own.size_px]
            for part in (window.frames, targets.frames, targets.weight)
        ]
        if not forwards:
            parts = [part.flip(0) for part in parts]
        if draw.chance(0.5):
            parts = [part.flip(-1) for part in parts]
        if draw.chance(0.5):
            parts = [part.transpose(-1, -2) for part in parts]
        return [part.contiguous() for part in parts], window.quantiser


def _sentence(guard: DriftGuard, step: int) -> str:
    won = guard.first.held_db - guard.best.held_db
    why = f" ({guard.reason})" if guard.reason else ""
    if not guard.helped:
        small = f": {won:+.2f} dB, and less than {LEAST_GAIN_DB} may be chance" if won > 0 else ""
        return (
            "not adapted, the weights are those it began with: "
            f"{step} steps won {'too little' if small else 'nothing'} on held-out frames{small}{why}"
        )
    drift = guard.best.synthetic_db - guard.first.synthetic_db
    return (
        f"adapted: held-out frames {won:+.2f} dB after {guard.best_step} of {step} steps, "
        f"synthetic clips {drift:+.2f} dB{why}"
    )
