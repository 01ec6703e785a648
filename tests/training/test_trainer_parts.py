"""The trainer's parts alone: settings, schedule, average, validation, log and plot."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from support.training_fixtures import texture, tiny_run
from support.wall_clock import patience
from vdeblur.errors import UsageError
from vdeblur.model.network import Estimate, NetworkTraits
from vdeblur.training import lr_schedule
from vdeblur.training.data.sources import MixedData
from vdeblur.training.distributed import ProcessTeam
from vdeblur.training.learner import Learner, MatchedClip
from vdeblur.training.log import append_row, read_log
from vdeblur.training.lr_schedule import BEGINNING, Schedule, ScheduleAnchor, average_decay, frames_at, learning_rate
from vdeblur.training.plot import COLOURS, drawing, write_plot
from vdeblur.training.synthesis.augmentation import stack
from vdeblur.training.synthesis.blur import Clip
from vdeblur.training.validation import better, validate

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 0}, "batch cannot be 0; it is 1 or more"),
        ({"pairs_share": 1.5}, "pairs_share cannot be 1.5"),
        ({"learning_rate": 0.0}, "learning_rate cannot be 0.0; it is above 0"),
        ({"frames": [[0.1, 6]]}, r"frames cannot be \[\[0\.1, 6\]\]"),
        ({"frames": [[0, 6], [0, 8]]}, "frames cannot be"),
        ({"synthesis": {"size_px": 40}}, "size_px cannot be 40; it is a multiple of 16"),
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'"),
        ({"precision": "float16"}, "precision cannot be 'float16'"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tiny_run(tmp_path, **changes)


def test_the_learning_rate_rises_and_falls(tmp_path: Path) -> None:
    config = replace(tiny_run(tmp_path), warmup_steps=10, steps=100)
    rates = [learning_rate(config, step, step / 100) for step in range(101)]
    assert rates[0] < rates[9]
    assert max(rates) <= config.learning_rate
    assert rates[100] == pytest.approx(config.final_learning_rate)


def test_clips_grow_at_their_share_of_the_schedule(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, frames=[[0, 6], [0.5, 8], [0.8, 12]])
    assert [frames_at(config, done) for done in (0, 0.49, 0.5, 0.79, 0.8, 1.0)] == [6, 6, 8, 8, 12, 12]
    assert frames_at(tiny_run(tmp_path), 0.9) == 3


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lr_schedule, "time", clock)
    return clock


def test_a_schedule_by_the_clock_leaves_time_for_the_last_validation(clock: Clock) -> None:
    schedule = Schedule(1000, 10.0)
    schedule.reserve_seconds = 60.0
    clock.seconds = 270.0
    assert schedule.done(3) == pytest.approx(0.5)
    clock.seconds = 540.0
    assert schedule.done(5) == pytest.approx(1.0)
    schedule.reserve_seconds = 10_000.0
    assert schedule.done(5) == pytest.approx(540 / 420)  # never more than 30 % of the limit


def test_a_schedule_goes_on_from_where_it_stood(clock: Clock) -> None:
    by_steps = Schedule(100, None)
    by_steps.go_on(40, 0.4, BEGINNING, 5.0)
    assert by_steps.done(50) == 0.5
    by_clock = Schedule(100, 10.0)
    by_clock.go_on(40, 0.4, BEGINNING, 5.0)
    clock.seconds = 300.0
    assert by_clock.done(41) == pytest.approx(0.7)
    assert by_clock.anchor_at(41) == ScheduleAnchor(41, pytest.approx(0.7))
    stretched = Schedule(100, 10.0)
    stretched.go_on(500, 1.0, BEGINNING, 30.0)
    assert stretched.done(500) == pytest.approx(0.75)
    by_steps_again = Schedule(1000, None)
    by_steps_again.go_on(500, 1.0, ScheduleAnchor(500, 1.0), 30.0)
    assert by_steps_again.done(500) == 0.5
    half_by_clock = Schedule(100, None)
    half_by_clock.go_on(40, 0.7, ScheduleAnchor(40, 0.7), 5.0)
    assert half_by_clock.done(70) == pytest.approx(0.85)


def still_clip(frames: int = 2, *, motion_px: float = 0.0, seed: int = 1, noise: float = 0.0) -> Clip:
    sharp = (texture(seed, 32, 32) / 255).expand(frames, 3, 32, 32)
    blurry = (sharp + noise * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)
    motion = torch.full((frames, 2, 32, 32), motion_px)
    return Clip(blurry, sharp, motion, motion)


def test_the_average_follows_the_network_and_quickly_at_first(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, ema_decay=0.9)
    learner = Learner(config, ProcessTeam(CPU))
    name, parameter = next(iter(learner.net.named_parameters()))
    expected = parameter.detach().clone()
    packed = stack([still_clip(motion_px=3.0, noise=0.1)])
    for step in range(4):
        learner.learn(packed, 1e-3)
        decay = average_decay(config, step)
        expected = decay * expected + (1 - decay) * parameter.detach()
    torch.testing.assert_close(dict(learner.average.named_parameters())[name].detach(), expected)
    assert not torch.equal(expected, parameter)
    assert average_decay(config, 0) == pytest.approx(0.1)
    assert average_decay(config, 10_000) == 0.9


LUMA = "{kind: luma, name: tiny, flow_finest: 4, taps: 5, reach: 1.0, tap_hidden: 8, tap_depth: 1}"


@pytest.mark.parametrize("kind", ["trunk", "luma"])
def test_clips_matched_together_teach_as_those_alone(kind: str, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, matched_together=3, lookahead_dropped=0.5, measure="decibels")
    if kind == "luma":
        (tmp_path / "tiny.yaml").write_text(LUMA)
    clips = [stack([still_clip(3, motion_px=3.0, seed=seed, noise=0.1)]) for seed in range(6)]
    together, alone = Learner(config, ProcessTeam(CPU)), Learner(config, ProcessTeam(CPU))
    seen = []
    while clips[together.step :]:
        group = clips[together.step :][: together.together]
        for matched in together.match(group):
            seen.append(matched.lookahead)
            together.learn(matched, 1e-3)
    assert seen[:3] == [seen[0]] * 3
    assert seen[3:] == [1 - seen[0]] * 3, "this seed has both"
    for clip, lookahead in zip(clips, seen, strict=True):
        alone.learn(MatchedClip(clip, lookahead, None), 1e-3)
    for one, other in zip(together.net.parameters(), alone.net.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert together.means()["pixels"] == pytest.approx(alone.means()["pixels"], rel=1e-4)


def test_a_run_that_goes_on_meets_the_same_groups(tmp_path: Path) -> None:
    learner = Learner(tiny_run(tmp_path, matched_together=4), ProcessTeam(CPU))
    clip = stack([still_clip()])
    found = []
    for step in range(24):
        learner.step = step
        found.append((learner.together, learner.match([clip])[0].lookahead))
    assert [count for count, _ in found] == [4, 3, 2, 1] * 6
    groups = [{lookahead for _, lookahead in found[first : first + 4]} for first in range(0, 24, 4)]
    assert all(len(group) == 1 for group in groups)
    assert set.union(*groups) == {0, 1}


def test_true_motion_may_be_unknown(tmp_path: Path) -> None:
    learner = Learner(tiny_run(tmp_path), ProcessTeam(CPU))
    known = still_clip(motion_px=3.0)
    learner.learn(Clip(known.blurry[None], known.sharp[None], None, None), 1e-3)
    assert "motion" not in learner.means()
    learner.learn(stack([known]), 1e-3)
    assert learner.means()["motion"] > 1
    assert learner.means()["pixels"] > 0
    learner.check()


class Adder(nn.Module):
    """A network that adds the same to every pixel and finds no motion."""

    traits = NetworkTraits(estimates_motion=True)

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def restore_clip(self, clip: torch.Tensor, *, lookahead: int) -> Estimate:
        assert lookahead == 1
        frames = clip.flatten(0, 1)
        none = frames.new_zeros(len(frames), 2, 4, 4)
        return Estimate(torch.full_like(frames, self.value), none, none, none[:, :1, :1, :1])


def scores(net: nn.Module, clips: list[Clip]) -> dict[str, float]:
    from contextlib import nullcontext

    return validate(net, clips, batch=2, device=CPU, autocast=nullcontext)  # type: ignore[arg-type]


def test_validation_tells_gain_and_harm() -> None:
    blurred = still_clip(motion_px=3.0)
    darker = blurred._replace(blurry=(blurred.sharp - 0.1).clamp(0, 1))
    unknown = still_clip(3)._replace(velocity=None, motion=None)
    clips = [still_clip(), darker, unknown]
    nothing = scores(Adder(0.0), clips)
    assert nothing["gain_db"] == nothing["worst_gain_db"] == 0
    assert nothing["kept_db"] == 100
    assert nothing["velocity_error_px"] == 3  # (0 + 6) / 2 over the two that know
    brighter = scores(Adder(0.1), clips)
    assert brighter["gain_blurred_db"] > 10
    assert brighter["kept_db"] == pytest.approx(20, abs=0.6)
    assert brighter["worst_gain_db"] == pytest.approx(-80, abs=0.6)


def test_sharp_clips_are_kept_first_then_the_gain_counts() -> None:
    def is_better(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return better(*({"gain_db": gain, "kept_db": kept} for gain, kept in (one, other)), least_kept_db=36)

    assert better({"gain_db": -1.0}, None, least_kept_db=36)
    assert is_better((0.5, 37), (0.4, 50))
    assert not is_better((0.5, 35), (0.0, 100))
    assert is_better((0.1, 34), (0.5, 33))


def test_steps_are_shared_between_two_streams() -> None:
    class Numbers:
        def __init__(self, sign: int) -> None:
            self.sign = sign

        def batches(self, first_step: int) -> Any:
            while True:
                yield self.sign * (first_step + 1)
                first_step += 1

    mixed = MixedData(Numbers(1), Numbers(-1), 0.3)  # type: ignore[arg-type]
    stream = mixed.batches(0)
    straight = [next(stream) for _ in range(20)]
    stream.close()
    assert sum(number < 0 for number in straight) == 6  # type: ignore[operator]
    assert sorted(map(abs, straight)) == sorted([*range(1, 15), *range(1, 7)])  # type: ignore[arg-type]
    later = mixed.batches(7)
    assert [next(later) for _ in range(13)] == straight[7:]
    later.close()


def test_the_log_reads_back_and_draws(tmp_path: Path) -> None:
    append_row(tmp_path, {"step": 0, "minutes": 0.0, "gain_db": 0.0, "raw_gain_db": -0.5})
    for step in range(1, 60):
        append_row(tmp_path, {"step": step, "minutes": step / 10, "loss": 1 / step, "frames": 6.0})
    append_row(tmp_path, {"step": 60, "minutes": 6.0, "gain_db": 0.75, "kept_db": 44.0})
    assert read_log(tmp_path)[0] == {"step": 0, "minutes": 0, "gain_db": 0, "raw_gain_db": -0.5}
    root = ElementTree.parse(write_plot(tmp_path, "a <b>")).getroot()
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b>: loss" in words
    assert not any("motion errors" in (each or "") for each in words)
    assert {"whole", "average", "last weights", "kept"} <= set(words)
    assert not {"Charbonnier", "on blurred clips", "worst clip"} & set(words), "columns without a figure"
    curves = [line for line in root.iter("{http://www.w3.org/2000/svg}polyline") if line.get("stroke") in COLOURS]
    # loss; the average's line and its two dots; one dot each of the last weights and what was kept; four legends
    assert sorted(len(curve.attrib["points"].split()) for curve in curves) == [2] * 9 + [59]


def test_a_plot_of_nothing_is_a_picture_too() -> None:
    assert ElementTree.fromstring(drawing([], "none")).attrib["width"]


def test_compile_reaches_every_part_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda part: compiled.append(part))
    learner = Learner(tiny_run(tmp_path, compile=True), ProcessTeam(CPU))
    assert compiled == list(learner.net.children())
    Learner(tiny_run(tmp_path), ProcessTeam(CPU))
    assert len(compiled) == len(list(learner.net.children()))


DEAF = """
import signal, subprocess, sys
from vdeblur.training.signals import children_deaf_to_ctrl_c
child = [sys.executable, "-c", "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"]
with children_deaf_to_ctrl_c():
    inside = subprocess.run(child, capture_output=True, text=True).stdout
outside = subprocess.run(child, capture_output=True, text=True).stdout
print(inside.strip(), outside.strip())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signal masks there")
def test_children_of_the_block_do_not_hear_ctrl_c() -> None:
    said = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=patience(60)).stdout
    assert said.split() == ["True", "False"]
