"""What learns before the first step obeys the clock, says how far it is, and goes on exactly after Ctrl-C."""

from __future__ import annotations

import copy
import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from support.synthetic import CLEAN, tiles
from support.training_fixtures import stills, tiny_run
from vdeblur.errors import Interrupted
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.luma_net import LumaConfig, LumaNet
from vdeblur.training.config import ExposurePretraining, TapsPretraining, TrainConfig
from vdeblur.training.lr_schedule import FIRST_SHARE, Schedule
from vdeblur.training.pretraining import pace as pace_module
from vdeblur.training.pretraining.pace import Pace
from vdeblur.training.pretraining.stages import Watch, learn_first
from vdeblur.training.run_state import load_first
from vdeblur.training.synthesis.blur import Clip, synthesise
from vdeblur.training.synthesis.config import SynthesisConfig
from vdeblur.training.synthesis.stills import Textures
from vdeblur.training.trainer import train

#: Fixtures.
__all__ = ["stills"]

MOVING = replace(CLEAN, size_px=64, frames=2, speed_px=(3.0, 5.0), exposure=(0.5, 0.9))
CLIPS, STEPS = 6, 5


class Stream:
    """Synthetic clips by the number of their step; the second one does not tell its motion."""

    textures = Textures([tiles(seed, 160) for seed in range(2)])

    def __init__(self, config: SynthesisConfig) -> None:
        self.config = config

    def batches(self, first_step: int) -> Iterator[Clip]:
        for step in itertools.count(first_step):
            clip = synthesise(self.textures, self.config, seed=3, numbers=[2 * step, 2 * step + 1])
            yield clip._replace(velocity=None, motion=None) if step == 1 else clip


def deblur_net() -> DeblurNet:
    torch.manual_seed(2)
    return DeblurNet(
        NetworkConfig(
            name="tiny", channels=(8, 8, 8), blocks=(1, 1, 1), decoder_blocks=(1, 1), flow_finest=2, tap_guides=2,
            taps=5, reach=1.5, tap_scale=1, tap_hidden=8, tap_depth=1, tap_features=2, tap_neighbours=1,
        )
    )  # fmt: skip


def luma_net() -> LumaNet:
    torch.manual_seed(0)
    return LumaNet(
        LumaConfig(
            kind="luma", name="mixed", flow_finest=4, taps=5, reach=1.5, tap_hidden=8, tap_depth=0, tap_neighbours=3,
            tap_experts=2, tap_code=8,
        )
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], Any]] = {"pixels": deblur_net, "cells": luma_net}


def config() -> TrainConfig:
    return TrainConfig(
        network="tiny", synthesis=MOVING, batch=2, workers=0,
        fraction_first=ExposurePretraining(clips=CLIPS, steps=STEPS, synthesis=MOVING),
        taps_first=TapsPretraining(clips=CLIPS, pixels=640, steps=STEPS, batch=128),
    )  # fmt: skip


def weights(net: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(net.state_dict())


@pytest.mark.parametrize("kind", NETWORKS)
def test_stages_that_are_stopped_at_any_moment_go_on_exactly(kind: str) -> None:
    """Stopped after every single batch and step, the parts learn what they learn without a stop."""
    whole, broken = NETWORKS[kind](), NETWORKS[kind]()
    learn_first(whole, config(), Stream)
    kept: dict[str, dict[str, Any]] = {}
    done: list[str] = []
    stops = 0
    while len(done) < 2:
        learn_first(
            broken, config(), Stream, done=tuple(done), learned=done.append,
            watch=Watch(stopped=lambda: True, kept=copy.deepcopy(kept), keep=kept.__setitem__),
        )  # fmt: skip
        stops += 1
    assert done == ["fraction", "taps"]
    assert stops >= 2 * (CLIPS // 2 + STEPS)
    for name, value in weights(whole).items():
        torch.testing.assert_close(broken.state_dict()[name], value, rtol=0, atol=0)


class Clock:
    """A clock that moves on by itself, a quarter of a second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module.time, "monotonic", clock)
    return clock


def test_the_clock_ends_both_stages(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """With thousands of clips and steps wanted, both parts have learned something when the time is over."""
    long = replace(
        config(),
        fraction_first=ExposurePretraining(clips=40_000, steps=90_000, synthesis=MOVING),
        taps_first=TapsPretraining(clips=40_000, pixels=640, steps=90_000, batch=128),
    )
    net, done = deblur_net(), list[str]()
    before, began = weights(net), clock.now
    with caplog.at_level(logging.INFO):
        learn_first(net, long, Stream, learned=done.append, watch=Watch(seconds=60.0))
    assert done == ["fraction", "taps"]
    assert 55 < clock.now - began < 66
    changed = {name.split(".")[0] for name, value in weights(net).items() if not torch.equal(value, before[name])}
    assert changed == {"fraction", "taps"}
    lines = [record.getMessage() for record in caplog.records]
    for words in ("exposure fraction: ", "taps: "):
        assert any(line.startswith(words) and "clips drawn" in line for line in lines), lines
        assert any(line.startswith(words) and "of 90000, loss" in line for line in lines), lines
        assert any(line.startswith(words) and line.endswith("of 40000 clips fit into the time") for line in lines)


def test_enough_time_changes_nothing() -> None:
    nets = [deblur_net(), deblur_net()]
    for net, seconds in zip(nets, (None, 1e6), strict=True):
        learn_first(net, config(), Stream, watch=Watch(seconds=seconds))
    for name, value in weights(nets[0]).items():
        torch.testing.assert_close(nets[1].state_dict()[name], value)


def test_a_stage_without_time_takes_one_batch_and_one_step() -> None:
    net, done = deblur_net(), list[str]()
    learn_first(net, config(), Stream, learned=done.append, watch=Watch(seconds=0.0))
    assert done == ["fraction", "taps"]


def test_a_fit_that_goes_on_has_the_rest_of_its_schedule(clock: Clock) -> None:
    pace = Pace("taps", seconds=100.0, kept={"fit": {"share": 0.5}})
    assert pace.share(0.1) == pytest.approx(0.5)
    clock.now += 50
    assert pace.share(0.1) == pytest.approx(0.75, abs=0.01)
    assert pace.share(0.9) == 0.9
    clock.now += 60
    assert pace.share(0.1) >= 1


def test_the_schedule_begins_behind_what_learns_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("vdeblur.training.lr_schedule.time.monotonic", lambda: now)
    course = Schedule(steps=1000, minutes=1.0)
    now += 10
    assert course.first_seconds == FIRST_SHARE * 60 - 10
    now += 20
    course.begin()
    assert course.done(0) == 0.0
    now += 15
    assert course.done(3) == pytest.approx(0.5)
    now += 15
    assert course.done(3) == pytest.approx(1.0)
    late = Schedule(steps=1000, minutes=0.1)
    now += 60
    late.begin()
    assert late.done(0) == 1.0
    assert Schedule(steps=1000, minutes=None).first_seconds is None


def test_ctrl_c_before_the_first_step_keeps_the_state(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on, and ends with the weights of a run that was never stopped."""
    settings = tiny_run(
        tmp_path, stills=[str(stills)], steps=2,
        taps_first={"clips": 6, "pixels": 60, "steps": 9, "batch": 64},
    )  # fmt: skip
    whole = train(settings, tmp_path / "whole", device="cpu")
    told = Pace.tell
    count = itertools.count(1)

    def interrupted(self: Pace, words: Callable[[], str]) -> None:
        if next(count) == 7:  # in the midst of the fit
            signal.raise_signal(signal.SIGINT)
        told(self, words)

    with monkeypatch.context() as patch:
        patch.setattr(Pace, "tell", interrupted)
        with pytest.raises(Interrupted, match=r"interrupted before the first step; .*the same command goes on"):
            train(settings, tmp_path / "stopped", device="cpu")
    learned, paused = load_first(tmp_path / "stopped", settings, torch.nn.Module())
    assert (learned, paused) == ([], {}), "of another network"
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == ["first.pt"]
    resumed = load_file(train(settings, tmp_path / "stopped", device="cpu"))
    for name, value in load_file(whole).items():
        assert torch.equal(resumed[name], value), name
    assert not (tmp_path / "stopped" / "first.pt").exists()


def test_a_limit_in_minutes_holds_before_the_first_step_too(stills: Path, tmp_path: Path) -> None:
    settings = tiny_run(
        tmp_path, stills=[str(stills)],
        taps_first={"clips": 100_000, "pixels": 60, "steps": 1_000_000, "batch": 64},
    )  # fmt: skip
    began = time.monotonic()
    assert train(settings, tmp_path / "run", minutes=0.05, device="cpu").is_file()
    assert time.monotonic() - began < 60, "three seconds, with what a busy machine needs besides"
