"""Learner: network, exponential moving average and optimiser, and the update of one step."""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vdeblur.config import find_config
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.checkpoint import load_network
from vdeblur.model.motion import Motion
from vdeblur.model.network import Estimate, RestorationNetwork
from vdeblur.model.registry import network_of, read_config
from vdeblur.runtime.device import choose_dtype
from vdeblur.training.config import TrainConfig
from vdeblur.training.distributed import ProcessTeam
from vdeblur.training.losses import Losses, losses
from vdeblur.training.lr_schedule import average_decay
from vdeblur.training.pretraining.taps import true_exposure
from vdeblur.training.synthesis.blur import Clip

logger = logging.getLogger(__name__)


#: What is summed over steps, on the device.
SUMMED = ("loss", "pixels", "frequencies", "motion", "motion_steps", "gradient")


class MatchedClip(NamedTuple):
    """A clip with what was drawn for its step: whether the next frame is seen, and the motions found, if known yet."""

    clip: Clip
    lookahead: int
    motion: Motion | None


class Learner:
    """Network, average and AdamW on a device.

    Args:
        config: the run; its ``network`` and ``start`` say which weights.
        team: the processes that train together; gradients are averaged over them.
    """

    def __init__(self, config: TrainConfig, team: ProcessTeam) -> None:
        self.config, self.team = config, team
        device = team.device
        torch.backends.cudnn.benchmark = (
            device.type == "cuda"
        )  # shapes stay, so the fastest convolutions are worth finding
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            net = new_network(config)
        self.net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for part in _frozen_parts(self.net, config):
            part.requires_grad_(False)
        self.average: RestorationNetwork = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=device.type == "cuda",
        )
        self.step = 0
        #: Sums since the last line of the log, in the order of ``SUMMED``, and their number of steps.
        self.sums = torch.zeros(len(SUMMED), device=device, dtype=torch.float64)
        self.summed_steps = 0
        self._first_bad_step = torch.full((), math.inf, device=device, dtype=torch.float64)
        self._dtype = choose_dtype(config.precision, device)
        if config.compile:
            for part in self.net.children():
                part.compile()

    def begin_average(self) -> None:
        """Let the average be the network as it is now."""
        self.average.load_state_dict(self.net.state_dict())

    @property
    def together(self) -> int:
        """How many of the next steps are to be matched in one go; a run that goes on meets the same groups."""
        return self.config.matched_together - self.step % self.config.matched_together

    @torch.no_grad()
    def match(self, clips: Sequence[Clip]) -> list[MatchedClip]:
        """The next steps' clips with their motions, found in one go: on a GPU matching many takes as long as few."""
        lookahead = self._drawn(self.step + self.together - self.config.matched_together)[0]
        matched: list[MatchedClip] = []
        for _, group in itertools.groupby(clips, key=lambda clip: clip.blurry.shape):  # pairs may be shorter
            alike = list(group)
            if not self.net.traits.estimates_motion:
                matched += [MatchedClip(clip, lookahead, None) for clip in alike]
                continue
            found = self.net.clip_motion(torch.cat([clip.blurry for clip in alike]), lookahead=lookahead)
            parts = zip(*(tensor.chunk(len(alike)) for tensor in found), strict=True)
            matched += [MatchedClip(clip, lookahead, Motion(*part)) for clip, part in zip(alike, parts, strict=True)]
        return matched

    def learn(self, clip: Clip | MatchedClip, rate: float) -> None:
        """One step on a batch (B, T, C, H, W): forward, backward, averaged over the team, clipped, applied.

        On a GPU nothing is read back; whether all was finite, :meth:`check` tells.
        """
        matched = clip if isinstance(clip, MatchedClip) else MatchedClip(clip, self._drawn(self.step)[0], None)
        if not self.net.traits.estimates_motion:
            matched = matched._replace(clip=matched.clip._replace(motion=None, velocity=None))
        clip = matched.clip
        estimate, parts = self._forward(matched)
        total = parts.pixels + self.config.frequency_weight * parts.frequencies
        total = total + self.config.motion_weight * parts.motion
        self._watch(total, estimate.motion.sum())
        if self.team.device.type == "cpu":
            self.check()  # there, sampling at places that are no numbers crashes on the way back
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(self.net.parameters())
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.config.gradient_clip)
        self._watch(norm)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self._follow()
        self.step += 1
        known = torch.full_like(parts.motion, float(clip.motion is not None))
        values = (total, parts.pixels, parts.frequencies, parts.motion, known, norm)
        self.sums += torch.stack([value.detach().double() for value in values])
        self.summed_steps += 1

    def check(self) -> None:
        """Make sure that every step so far was finite; this waits for the device.

        Raises:
            NetworkError: a loss or a gradient was not, and so the weights are spoilt.
        """
        first = self._first_bad_step.item()
        if math.isfinite(first):
            raise NetworkError(
                f"the loss or its gradient is not finite at step {first:.0f}: lower learning_rate or gradient_clip, "
                "or try precision: float32, and go on from the last good state with --accept-changes"
            )

    def means(self) -> dict[str, float]:
        """Means since the last call of :meth:`forget`, over the team; the motion loss where it is known."""
        if not self.summed_steps:
            return {}
        sums = self.team.mean(self.sums).tolist()
        values = dict(zip(SUMMED, sums, strict=True))
        told = values.pop("motion_steps")
        motion = values.pop("motion")
        means = {name: value / self.summed_steps for name, value in values.items()}
        return means | ({"motion": motion / told} if told else {})

    def forget(self) -> None:
        """Begin new sums."""
        self.sums.zero_()
        self.summed_steps = 0

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass."""
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.team.device.type, dtype=self._dtype)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "network": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "sums": self.sums.cpu(),
            "summed_steps": self.summed_steps,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state; it must be of the same network."""
        self.net.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.summed_steps = state["step"], state["summed_steps"]
        self.sums.copy_(state["sums"])

    @torch.no_grad()
    def _watch(self, *values: Tensor) -> None:
        """Note on the device if one of the scalars is not finite at this step."""
        for value in values:
            bad = torch.where(torch.isfinite(value), math.inf, float(self.step + 1)).double()
            self._first_bad_step = torch.minimum(self._first_bad_step, bad)

    def _drawn(self, step: int) -> tuple[int, bool]:
        """Whether the next frame is seen at a step, and whether the true exposure fraction is told."""
        draws = torch.rand(2, generator=torch.Generator().manual_seed(self.config.seed * 7919 + step)).tolist()
        return 0 if draws[0] < self.config.lookahead_dropped else 1, draws[1] < self.config.exposure_told

    def _forward(self, matched: MatchedClip) -> tuple[Estimate, Losses]:
        clip = matched.clip
        told = self._drawn(self.step)[1] and clip.motion is not None
        exposure = true_exposure(clip) if told else None
        with self.autocast():
            if clip.told is not None:
                estimate = self.net.restore_told_clip(clip.blurry, clip.told)
            else:
                estimate = self.net.restore_clip(
                    clip.blurry, lookahead=matched.lookahead, exposure=exposure, motion=matched.motion
                )
        return estimate, losses(estimate, clip, self.config.measure)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the network."""
        share = 1 - average_decay(self.config, self.step)
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), share)
        for mine, theirs in zip(self.average.buffers(), self.net.buffers(), strict=True):
            mine.copy_(theirs)


def _frozen_parts(net: RestorationNetwork, config: TrainConfig) -> Iterator[nn.Module]:
    """Parts that stay as they are.

    Raises:
        UsageError: the network has no such part.
    """
    parts = dict(net.named_modules())
    for name in config.frozen:
        if name in parts:
            yield parts[name]
        elif name != "fraction" or net.traits.reads_exposure:
            raise UsageError(f"frozen: the network {net.config.name!r} has no part {name!r}")


def new_network(config: TrainConfig) -> RestorationNetwork:
    """The config's network, its weights fresh, or taken from ``start`` where name and shape fit.

    Raises:
        UsageError: there is no such network or checkpoint, or nothing of it fits.
    """
    net = network_of(read_config(find_config(config.network)))
    if net.traits.takes_told != (config.noise is not None):
        wrong = "needs a section `noise`" if net.traits.takes_told else "is no guide: leave `noise` out"
        raise UsageError(f"the network {config.network!r} {wrong}")
    if config.start is not None:
        own, given = net.state_dict(), load_network(config.start).state_dict()
        fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
        if not fitting:
            raise UsageError(f"start: nothing in {config.start} fits the network {config.network!r}")
        logger.info("%d of %d tensors start from %s", len(fitting), len(own), config.start)
        net.load_state_dict({**own, **fitting})
    return net.train()
