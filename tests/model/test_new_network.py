"""A network in one file, with a config and a row in the registry, goes through every door."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.cli_fixtures import Call, call, media
from support.doubles import Identity, clip, planes_equal
from support.engines import assert_same, by_steps, on_cpu
from support.live_doubles import KeepsEvery, Rounds
from support.networks.toy_network import ROW, ToyConfig, ToyNetwork
from support.pairs import case, moving, write_clip
from support.paths import PACKAGE, PYTHONPATH
from support.training_fixtures import stills, tiny_run
from vdeblur import Deblurrer, deblur_frames, deblur_streams, deblur_video
from vdeblur.bench import stages, whole
from vdeblur.bench.settings import SIZES
from vdeblur.engine.stream_state import Snapshot
from vdeblur.errors import NetworkError, UsageError
from vdeblur.evaluation.cases import TrueMotion
from vdeblur.evaluation.motion import motion_errors
from vdeblur.live.session import LiveSession, LiveSettings
from vdeblur.model import registry
from vdeblur.model.checkpoint import load_network, read_provenance, save_network
from vdeblur.model.network import NetworkTraits, TileTraits, traits_of
from vdeblur.model.registry import read_config
from vdeblur.training.log import read_log
from vdeblur.training.trainer import train

__all__ = ["call", "media", "stills"]

CONFIG = ToyConfig(kind="toy", name="toy")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KINDS", [*registry.KINDS, ROW])


@pytest.fixture
def network() -> ToyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ToyNetwork(CONFIG).eval()


@pytest.fixture
def model(network: ToyNetwork, tmp_path: Path) -> Path:
    path = tmp_path / "toy.safetensors"
    save_network(network, path, {"steps": 7})
    return path


# --- Checkpoint -------------------------------------------------------------------------------------------------------


def test_it_is_saved_and_loaded(network: ToyNetwork, model: Path) -> None:
    loaded = load_network(model)
    assert type(loaded) is ToyNetwork
    assert loaded.config == CONFIG
    assert read_provenance(model) == {"steps": 7}
    for name, weights in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weights.half().float())


def test_a_checkpoint_larger_than_its_file_is_refused(network: ToyNetwork, model: Path) -> None:
    for hidden, words in ((1000, "larger than the file"), (10**9, "above 1024"), (-1, "below 0")):
        network.config = replace(CONFIG, hidden=hidden)
        save_network(network, model, {})
        with pytest.raises(NetworkError, match=words):
            load_network(model)


def test_unknown_kinds_and_configs_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text("{kind: toy, name: toy, hiden: 3}")
    with pytest.raises(UsageError, match="unknown key 'hiden'; did you mean 'hidden'"):
        read_config(tmp_path / "toy.yaml")
    for text in ("{kind: toi, name: toy}", "{kind: [1], name: toy}"):
        (tmp_path / "toi.yaml").write_text(text)
        with pytest.raises(UsageError, match=r"kind cannot be .*; it is luma, guide, toy, or left out"):
            read_config(tmp_path / "toi.yaml")
    monkeypatch.setattr(registry, "KINDS", registry.KINDS[:-1])
    with pytest.raises(UsageError, match="no network is registered for a ToyConfig"):
        registry.network_of(CONFIG)


# --- Engine and library -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
def test_it_goes_through_the_engine(network: ToyNetwork, lookahead: int) -> None:
    frames = list(clip(7, cuts=(4,)))
    deblurrer = on_cpu(network, lookahead=lookahead)
    at_once = list(deblurrer.run(frames))
    assert not any(planes_equal(one, other) for one, other in zip(frames, at_once, strict=True))
    assert_same(by_steps(deblurrer, frames), at_once)

    deblurrer.step(frames[0])  # whatever was there before
    deblurrer.reset()
    pairs = [deblurrer.step_many([frame, frame]) for frame in frames]
    pairs.append(deblurrer.flush_many())
    for found in zip(*pairs, strict=True):
        assert_close([frame for frame in found if frame is not None], at_once)
    for found in zip(*deblurrer.run_many([frames, frames]), strict=True):
        assert_close(list(found), at_once)


def assert_close(found: list[Any], expected: list[Any]) -> None:
    """The same but for the rounding of sums, which a batch changes."""
    assert [frame.pts for frame in found] == [frame.pts for frame in expected]
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_it_resumes_from_the_tensors_of_a_snapshot(network: ToyNetwork) -> None:
    frames = list(clip(6))
    with closing(on_cpu(network).restorations(frames)) as restorations:
        restored = [next(restorations) for _ in range(3)]
    snapshot = restored[-1].snapshot
    kept = Snapshot(
        snapshot.tensors(), snapshot.ahead, snapshot.cut_detector, repeats=snapshot.repeats, twin=snapshot.twin
    )
    rest = [each.frame for each in on_cpu(network).restorations(frames[2:], after=kept)]
    assert_same([each.frame for each in restored] + rest, list(on_cpu(network).run(frames)))


def test_it_goes_through_the_library(network: ToyNetwork, model: Path) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 255, (30, 41, 3), np.uint8) for seed in range(3)]
    options: dict[str, Any] = {"device": "cpu", "precision": "float32"}
    by_name = list(deblur_frames(pictures, model=str(model), **options))
    assert [picture.shape for picture in by_name] == [(30, 41, 3)] * 3
    assert not any(np.array_equal(one, other) for one, other in zip(pictures, by_name, strict=True))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half())  # as a checkpoint keeps them
    for one, other in zip(deblur_frames(pictures, model=network, **options), by_name, strict=True):
        assert np.array_equal(one, other)
    for pair in deblur_streams([pictures, pictures], model=network, **options):
        assert all(picture is not None and picture.shape == (30, 41, 3) for picture in pair)


def test_it_is_reduced_and_refuses_tiles(network: ToyNetwork) -> None:
    frames = list(clip(3))
    assert len(list(on_cpu(network, reduce=2).run(frames))) == 3
    with pytest.raises(UsageError, match="this network cannot work in tiles of 64 pixels"):
        on_cpu(network, tile=64)


def test_it_restores_a_video(network: ToyNetwork, media: Path, tmp_path: Path) -> None:
    report = deblur_video(media / "clip.mp4", tmp_path / "out.mp4", model=network, device="cpu", progress=None)
    assert report.frames == 10
    assert (tmp_path / "out.mp4").stat().st_size > 1000


# --- Command line -----------------------------------------------------------------------------------------------------


def test_the_command_line_takes_it(call: Call, model: Path, media: Path, tmp_path: Path) -> None:
    result = call(media / "clip.mp4", "-o", tmp_path / "out.mkv", "--model", model, "--device", "cpu")
    assert (result.code, result.errors) == (0, [])
    assert (tmp_path / "out.mkv").is_file()


def test_it_is_scored(call: Call, model: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    write_clip(tmp_path / "pairs" / "walk.blur.y4m", [0, 3, 3, 3])
    write_clip(tmp_path / "pairs" / "walk.sharp.y4m", [0] * 4)
    words = ["eval", model, tmp_path / "pairs", "--baselines", "none", "--device", "cpu", "--json", "-"]
    result = call(*words)
    assert (result.code, result.errors) == (0, [])
    (scored,) = json.loads(result.out)["clips"]
    assert scored["method"] == "toy"
    assert scored["output"]["psnr"] != scored["input"]["psnr"]


def test_motion_it_does_not_estimate_is_not_scored(network: ToyNetwork) -> None:
    pictures = moving(3, size=32)
    still = TrueMotion(torch.zeros(3, 2, 32, 32), torch.zeros(3, 2, 32, 32))
    assert motion_errors(on_cpu(network), case(pictures, pictures, truth=still)) is None


def test_an_export_is_refused_before_any_work(call: Call, model: Path, tmp_path: Path) -> None:
    result = call("export", model, "-o", tmp_path / "toy.pt2")
    assert result.code == 2
    assert "cannot be exported: its step cannot be traced" in result.errors[0]
    assert not (tmp_path / "toy.pt2").exists()


def test_it_is_measured(call: Call, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole runs in a process of its own, which must know the network, too."""
    given = whole.command_line

    def with_toy(*arguments: Any, **options: Any) -> list[str]:
        python, _, _, *words = given(*arguments, **options)
        return [python, "-m", "support.networks.toy_network", *words]

    monkeypatch.setattr(whole, "command_line", with_toy)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setitem(SIZES, "360p", (160, 96))
    monkeypatch.setattr(stages, "MOST_FRAMES", 24)
    quick = ["--size", "360p", "--model", model, "--runs", "1", "--seconds", "0.1", "--device", "cpu"]
    result = call("bench", *quick, "--json", tmp_path / "found.json")
    assert (result.code, result.errors) == (0, [])
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert row["network"]["kmacs_a_pixel"] == pytest.approx(9 * (9 + 3) * CONFIG.hidden / 1000, abs=0.01)
    assert row["whole"]["fps"] > 0


def test_a_process_without_it_says_so(model: Path, media: Path, tmp_path: Path) -> None:
    words = [str(media / "clip.mp4"), "-o", str(tmp_path / "out.mkv"), "--model", str(model)]
    run = subprocess.run([sys.executable, "-m", "vdeblur", *words], capture_output=True, text=True, check=False)
    assert run.returncode == 6
    assert "kind cannot be 'toy'; it is luma, guide, or left out" in run.stderr


# --- Live -------------------------------------------------------------------------------------------------------------


def test_a_live_session_takes_it(model: Path, network: ToyNetwork) -> None:
    frames, sink = list(clip(6)), KeepsEvery()
    settings = LiveSettings(model=str(model), auto=False, device="cpu", precision="float32", lookahead=0)
    with LiveSession(Rounds(list(frames), seconds=0.2), settings, [sink]) as running:  # type: ignore[list-item]
        assert running.wait(20)
    expected = Deblurrer(model, device="cpu", precision="float32", lookahead=0).run(frames)
    assert all(planes_equal(one.sharp, other) for one, other in zip(sink.shown, expected, strict=True))


# --- Training ---------------------------------------------------------------------------------------------------------


def toy_run(where: Path, **changes: Any) -> Any:
    (where / "toy.yaml").write_text("{kind: toy, name: toy, hidden: 3}")
    return tiny_run(where, **{"network": str(where / "toy.yaml"), **changes})


@pytest.mark.parametrize("matched_together", [1, 2])
def test_it_is_trained(tmp_path: Path, stills: Path, matched_together: int) -> None:
    config = toy_run(tmp_path, stills=[str(stills)], matched_together=matched_together, exposure_told=1.0)
    weights = train(config, tmp_path / "run", device="cpu", steps=4)
    trained = load_network(weights)
    assert weights.name == "toy.safetensors"
    assert type(trained) is ToyNetwork
    rows = read_log(tmp_path / "run")
    assert rows[-1]["gain_db"] < 100
    assert not {"motion", "velocity_error_px"} & {name for row in rows for name in row}, "it estimates no motion"
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] == 4


def test_a_clip_at_once_is_the_clip_frame_by_frame(network: ToyNetwork) -> None:
    clips = torch.rand(2, 4, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        estimate = network.restore_clip(clips, lookahead=1)
        for number, pictures in enumerate(clips):
            features, state = [network.encode(picture[None]) for picture in pictures], None
            for t, current in enumerate(features):
                sides = [features[t - 1] if t else None, features[t + 1] if t < 3 else None]
                residual, state = network.residual(sides[0], current, sides[1], state)
                torch.testing.assert_close(estimate.residual[4 * number + t], residual[0])
    assert not estimate.motion.any()


@pytest.mark.parametrize("part", ["fraction_first", "taps_first"])
def test_parts_it_does_not_have_cannot_be_trained_first(tmp_path: Path, stills: Path, part: str) -> None:
    config = toy_run(tmp_path, stills=[str(stills)], **{part: {"clips": 2}})
    with pytest.raises(UsageError, match=f"{part}: the network 'toy' "):
        train(config, tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="frozen: the network 'toy' has no part 'trunk'"):
        train(toy_run(tmp_path, stills=[str(stills)], frozen=["trunk"]), tmp_path / "run", device="cpu")


# --- Traits -----------------------------------------------------------------------------------------------------------


class Plain:
    """No module, no traits: what the documented protocol asks for, and nothing else."""

    stride = 1
    minimum_size = 1

    def encode(self, frame: Tensor, /) -> Tensor:
        assert frame.shape[:2] == (1, 3)
        return frame

    def residual(self, previous: Any, current: Tensor, following: Any, state: Any, /) -> tuple[Tensor, Any]:
        count = 1 if state is None else state + 1
        return torch.full_like(current, count / 255), count


def test_a_network_without_traits_has_the_defaults() -> None:
    assert traits_of(Plain()) == traits_of(Identity()) == NetworkTraits()
    frames = list(clip(3))
    found = list(on_cpu(Plain()).run(frames))
    luma = [one.planes[0].astype(int) - other.planes[0] for one, other in zip(found, frames, strict=True)]
    assert [int(np.median(change)) for change in luma] == [1, 2, 3]


def test_traits_that_are_none_are_refused() -> None:
    network = Plain()
    network.traits = {"channels": 1}  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="traits must be NetworkTraits, not dict"):
        on_cpu(network)


class Luma(Plain):
    """Is given luma, and corrects it in two halves."""

    traits = NetworkTraits(channels=1, halves=True, tiles=TileTraits(smallest=8))

    def __init__(self) -> None:
        self.matched = self.corrected = 0

    def encode(self, frame: Tensor, /, *, side: int | None = None) -> Tensor:
        assert frame.shape[:2] == (1, 1)
        return frame

    def match(self, previous: Any, current: Tensor, following: Any, state: Any, /) -> tuple[Tensor, Any]:
        self.matched += 1
        return current, None

    def correct(self, matched: Tensor, /, *, side: int | None = None) -> Tensor:
        self.corrected += 1
        return torch.full_like(matched, 3 / 219)

    def residual(
        self, previous: Any, current: Tensor, following: Any, state: Any, /, *, side: int | None = None
    ) -> tuple[Tensor, Any]:
        matched, state = self.match(previous, current, following, state)
        return self.correct(matched, side=side), state


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("tile", ["auto", 64])
def test_traits_decide_what_a_network_is_asked(tile: Any, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        network = Luma()
        frames = list(clip(3, 90, 80))
        found = list(on_cpu(network, tile=tile).run(frames))
    finally:
        torch.set_num_threads(before)
    assert (network.matched, network.corrected) == (3, 3)
    for one, other in zip(found, frames, strict=True):
        assert np.abs(one.planes[0].astype(int) - other.planes[0] - 3).max() <= 1
        assert all(np.array_equal(a, b) for a, b in zip(one.planes[1:], other.planes[1:], strict=True))


def test_nobody_probes_a_network() -> None:
    """What a network can do is asked of its traits; only wrappers hand on attributes whose names they do not know."""
    allowed = {"model/network.py", "runtime/cuda_graphs.py", "bench/network.py"}
    found = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or name in allowed:
                continue
            words = [ast.unparse(argument) for argument in node.args]
            probe = node.func.id in ("getattr", "hasattr") and words[0].split(".")[-1] in ("network", "net", "steps")
            tells = node.func.id == "isinstance" and any(kind in words[1] for kind in ("DeblurNet", "LumaNet"))
            if probe or tells:
                found.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert not found
