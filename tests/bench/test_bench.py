"""vdeblur bench: its clip moves, its numbers are what they say, a slower run is found out, wrong calls cost no time."""

from __future__ import annotations

import json
import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from support.cli_fixtures import Call, call, tiny_model  # noqa: F401
from support.wall_clock import scaled, slowness
from vdeblur.bench import stages
from vdeblur.bench.clip import PERIOD, make_clip, pictures
from vdeblur.bench.comparison import changes, differences
from vdeblur.bench.machine import BackgroundLoad, describe_machine, usable_cores
from vdeblur.bench.network import NetworkSpeed, Replay, convolution_share, measure_engine, multiply_adds
from vdeblur.bench.peak import convolution_peak
from vdeblur.bench.results import Row, read_results
from vdeblur.bench.settings import SIZES, BenchCase, BenchSettings
from vdeblur.bench.timing import Timing, timed, typical
from vdeblur.bench.whole import CommandTiming, command_line
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import UsageError
from vdeblur.video.source.reader import Reader

CPU = torch.device("cpu")


def test_the_clip_moves_is_blurred_and_ends_where_it_began(tmp_path: Path) -> None:
    frames = [luma.astype(float) for luma, _, _ in pictures(160, 96)]
    assert len(frames) == PERIOD
    steps = [np.abs(a - b).mean() for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]
    assert min(steps) > 3
    assert steps[-1] == pytest.approx(np.mean(steps[:-1]), rel=0.5)  # no cut where it is repeated

    clip = make_clip(tmp_path, 160, 96, 30)
    with Reader(clip) as reader:
        read = list(reader)
    assert len(read) == 30
    assert (read[0].width, read[0].height, read[0].colour.matrix) == (160, 96, "bt709")
    ticks = {b.pts - a.pts for a, b in pairwise(read)}
    assert len(ticks) == 1
    assert np.abs(read[PERIOD].planes[0].astype(float) - frames[0]).mean() < 4


def test_macs_of_a_convolution_are_counted_whoever_calls_it() -> None:
    layer, x = nn.Conv2d(8, 16, 3, padding=1), torch.rand(1, 8, 10, 12)

    def work() -> None:
        layer(x)
        functional.conv2d(x, layer.weight, stride=2)
        functional.linear(x.flatten(1), torch.rand(5, 960))

    assert multiply_adds(work) == 9 * 8 * 16 * 120 + 9 * 8 * 16 * 4 * 5 + 960 * 5


def test_the_share_of_convolutions_is_all_or_nothing_where_it_must_be() -> None:
    x, weight = torch.rand(1, 64, 256, 256), torch.rand(64, 64, 3, 3)
    assert convolution_share(lambda: functional.conv2d(x, weight), CPU) > 0.9
    assert convolution_share(lambda: x.exp(), CPU) == 0


def test_what_no_operator_does_counts_beside_convolutions() -> None:
    """Kernels of our own, and the interpreter."""
    x, weight = torch.rand(1, 64, 64, 64), torch.rand(64, 64, 3, 3)

    def work() -> None:
        took = timed(lambda: functional.conv2d(x, weight))
        until = time.perf_counter() + 3 * took.seconds
        while time.perf_counter() < until:
            pass

    assert 0.05 < convolution_share(work, CPU) < 0.5


def test_the_peak_is_that_of_the_fastest_convolution() -> None:
    x, weight = torch.rand(1, 64, 90, 160), torch.rand(64, 64, 3, 3)
    seconds = typical(lambda: functional.conv2d(x, weight, padding=1), runs=3, warm_up=1).seconds
    one = 2 * 9 * 64 * 64 * 90 * 160 / seconds
    assert convolution_peak(torch.float32, CPU, runs=3) > 0.3 * one


def test_time_is_divided_among_frames_and_work_shows_as_processor_time() -> None:
    def work() -> None:
        sum(range(3_000_000))

    one, many = timed(work), timed(work, frames=10)
    assert one.cpu_seconds > 0
    assert many.seconds < one.seconds / 2
    assert Timing(3, 2).minus(Timing(1, 4)) == Timing(2, 0)
    assert Timing(0.25, 1).frames_per_second == 4


def test_the_network_is_asked_the_same_again(tmp_path: Path, tiny_model: Path) -> None:  # noqa: F811
    asked: list[str] = []

    class Spy:
        def __init__(self, network: Any) -> None:
            self.network = network
            self.stride, self.minimum_size = network.stride, network.minimum_size

        def encode(self, frame: torch.Tensor, **options: Any) -> Any:
            asked.append("encode")
            return self.network.encode(frame, **options)

        def residual(self, previous: Any, current: Any, following: Any, state: Any, *more: Any) -> Any:
            asked.append(f"residual {previous is not None} {following is not None} {state is not None}")
            return self.network.residual(previous, current, following, state, *more)

        def match_motion(self, *features: Any) -> Any:
            return self.network.match_motion(*features)

    with Reader(make_clip(tmp_path, 160, 96, 5)) as reader:
        frames = list(reader)
    deblurrer = Deblurrer(tiny_model, device="cpu", precision="float32")
    deblurrer.device_step.steps = spy = Spy(deblurrer.device_step.steps)
    replay, beside = measure_engine(deblurrer, frames, runs=1)
    assert deblurrer.device_step.steps is spy
    assert 0 < beside.seconds < scaled(1)
    asked.clear()
    replay.again()
    assert asked == ["encode", "residual True True True"]
    assert isinstance(replay, Replay)


def row(fps: float, milliseconds: float = 50.0) -> Row:
    stage = Timing(0.01, 0.015)
    timings = {"decode": stage, "network": Timing(milliseconds / 1000, 0.06), "encode": stage}
    speed = NetworkSpeed(timings["network"], 10**9, 0.8)
    case = BenchCase(size="720p", model="fast", precision="auto", lookahead=1)
    return Row(case, "float32", timings, speed, 80e9, CommandTiming(100, fps, 2.0, 9.0, 1 << 30), 2)


def results(fps: float, milliseconds: float = 50.0) -> dict[str, Any]:
    machine = {"processor": "one", "cores": 2}
    return {"form": 1, "machine": machine, "settings": {"preset": "fast"}, "rows": [row(fps, milliseconds).as_dict()]}


def test_ratios_are_what_they_say() -> None:
    measured = row(16.0)
    assert measured.share_of_peak == pytest.approx(2e9 / 0.05 / 80e9)
    assert measured.share_of_slowest == pytest.approx(16 * 0.05)
    assert measured.share_of_cores == pytest.approx(16 * 0.09 / 2)
    entry = measured.as_dict()
    assert entry["network"]["kmacs_a_pixel"] == pytest.approx(1e9 / (1280 * 720) / 1000, abs=0.01)
    assert entry["whole"]["peak_mib"] == 1024
    json.dumps(entry)


def test_a_slower_run_is_found_and_a_faster_one_is_not() -> None:
    slower = {change.number: change for change in changes(results(20), results(17, 55))}
    assert slower["whole, fps"].worse(0.1)
    assert slower["network, ms"].gain == pytest.approx(-0.1)
    assert not slower["network, ms"].worse(0.11)
    assert not any(change.worse(0.0) for change in changes(results(17, 55), results(20)))
    other = results(20)
    other["machine"]["processor"] = "another"
    assert differences(results(20), other) == ["processor was one, is another"]


def test_files_that_hold_no_results_are_refused(tmp_path: Path) -> None:
    for text in ("no json", "[]", '{"form": 99, "rows": []}'):
        path = tmp_path / "old.json"
        path.write_text(text)
        with pytest.raises(UsageError, match=r"old\.json"):
            read_results(path)


def test_what_it_runs_on_is_told() -> None:
    machine = describe_machine("cpu")
    assert machine["cores"] == usable_cores() >= 1
    assert machine["torch"] == torch.__version__
    assert all(machine.values())


def test_own_work_is_not_that_of_others() -> None:
    others = BackgroundLoad()
    sum(range(20_000_000))
    share = others.share()
    assert share is None or share <= 1 - 0.5 / (usable_cores() + 1) or usable_cores() == 1


def test_the_command_that_is_measured_says_all_that_was_asked() -> None:
    case = BenchCase(size="360p", model="balanced", precision="float32", lookahead=0)
    words = command_line(case, Path("in.mp4"), Path("out.mp4"), device="cpu", preset="slow")[3:]
    for pair in ("-m balanced", "--precision float32", "--lookahead 0", "--device cpu", "--preset slow", "in.mp4 -o"):
        assert pair in " ".join(words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": ("700p",)}, "700p"),
        ({"lookaheads": (2,)}, "lookahead cannot be 2"),
        ({"runs": 0}, "runs cannot be 0"),
        ({"seconds": math.nan}, "seconds cannot be nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BenchSettings(**options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "huge"],
        ["--size", ","],
        ["--lookahead", "x"],
        ["--json", "numbers.txt"],
        ["--json", "no such folder/x.json"],
        ["--compare", "missing.json"],
        ["--runs", "0"],
    ],
)
def test_a_wrong_call_is_one_line_before_any_work(call: Call, arguments: list[str]) -> None:  # noqa: F811
    result = call("bench", *arguments)
    assert (result.code, result.out, len(result.errors)) == (2, "", 1)
    assert result.err.count("\n") == 1


def test_a_small_benchmark_from_end_to_end(
    call: Call,  # noqa: F811
    tiny_model: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All stages, the whole in a process of its own, JSON, and the comparison with itself."""
    monkeypatch.setitem(SIZES, "360p", (160, 96))
    monkeypatch.setattr(stages, "MOST_FRAMES", 24)
    old = tmp_path / "old.json"
    quick = ["--size", "360p", "--model", tiny_model, "--runs", "1", "--seconds", "0.1", "--precision", "float32"]
    first = call("bench", *quick, "--json", old)
    assert (first.code, first.errors) == (0, [])
    assert "of cores" in first.out

    found = json.loads(old.read_text())
    entry = found["rows"][0]
    assert set(entry["stages"]) == {"decode", "upload", "pixels", "network", "download", "encode"}
    assert all(entry["stages"][name]["fps"] > 1 / slowness() for name in ("decode", "network", "encode"))
    assert entry["network"]["kmacs_a_pixel"] > 0
    assert 0 < entry["network"]["share_of_peak"] < 1
    assert entry["whole"]["frames"] >= 24
    assert entry["whole"]["first_frame_seconds"] < entry["whole"]["seconds"]
    assert entry["whole"]["peak_mib"] is None or entry["whole"]["peak_mib"] > 100

    found["rows"][0]["whole"]["fps"] *= 100
    old.write_text(json.dumps(found))
    again = call("bench", *quick, "--compare", old)
    assert again.code == 1
    assert "WORSE" in again.err
