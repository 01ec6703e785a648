"""The trainer's promises: a run goes on exactly, ends in time, keeps its best weights, and says what is wrong."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.training_fixtures import pairs, stills, tiny_data, tiny_run
from support.wall_clock import patience, scaled
from vdeblur.errors import Interrupted, NetworkError, UsageError
from vdeblur.model.checkpoint import load_network, read_provenance
from vdeblur.training import run_state, trainer
from vdeblur.training.config import TrainConfig
from vdeblur.training.log import read_log
from vdeblur.training.trainer import TrainingProgress, train

__all__ = ["pairs", "stills"]

CHILD = """
import json, os, signal, sys
from pathlib import Path
from vdeblur.config import build
from vdeblur.training.trainer import TrainConfig, train
folder, data, kill_at = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
def progress(progress):
    if progress.step == kill_at:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
train(build(TrainConfig, data, where="child"), folder, device="cpu", progress=progress)
"""


def run_child(folder: Path, data: dict[str, Any], *, kill_at: int = -1, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), json.dumps(data), str(kill_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **variables}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def rows(folder: Path) -> list[dict[str, str]]:
    """The log without the clock."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "minutes"} for row in csv.DictReader(file)]


def state(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    return kept


def assert_same_run(one: Path, other: Path) -> None:
    """Same losses, same weights, same average, same moments, bit for bit."""
    assert rows(one) == rows(other)
    first, second = state(one), state(other)
    assert first["step"] == second["step"]
    for part in ("network", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), f"{part}: {name}"
    for index, moments in first["optimiser"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, second["optimiser"]["state"][index][name]), f"moment {name} of {index}"


def test_a_run_writes_weights_log_plot_and_state_and_goes_on(stills: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = tiny_run(tmp_path, stills=[str(stills)])
    weights = train(config, folder, device="cpu")
    assert weights == folder / "tiny.safetensors"
    assert load_network(weights).config.name == "tiny"
    assert state(folder)["step"] == 6
    train(config, folder, steps=9, device="cpu")
    assert [row["step"] for row in read_log(folder)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [row["step"] for row in read_log(folder) if "gain_db" in row] == [0, 3, 6, 9]
    assert "<svg" in (folder / "log.svg").read_text(encoding="utf-8")


def test_a_killed_run_goes_on_exactly(stills: Path, pairs: Path, tmp_path: Path) -> None:
    """Killed between two states, with pairs and photographs mixed and clips that grow and are matched in twos."""
    data = tiny_data(
        tmp_path, stills=[str(stills)], pairs=[str(pairs)], steps=10, frames=[[0, 2], [0.6, 3]], save_every=2,
        validate_every=5, log_every=3, matched_together=2,
    )  # fmt: skip
    config = tiny_run(tmp_path, **data)
    train(config, tmp_path / "straight", device="cpu")
    child = run_child(tmp_path / "killed", data, kill_at=9)
    _, errors = child.communicate(timeout=patience(120))
    assert child.returncode not in (0, 1), errors
    assert state(tmp_path / "killed")["step"] == 8
    train(config, tmp_path / "killed", device="cpu")
    assert_same_run(tmp_path / "straight", tmp_path / "killed")
    assert {row["frames"] for row in rows(tmp_path / "straight")} == {"", "2", "3"}


def test_what_was_logged_after_the_last_state_is_cut(stills: Path, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, stills=[str(stills)])
    train(config, tmp_path / "run", device="cpu")
    with (tmp_path / "run" / "log.csv").open("a", encoding="utf-8") as file:
        file.write("7,0.1,0.0001,3,0.1,0.1,0.1,0.1,0.1,,,,,,,\r\n8,0.1,0.00")
    train(config, tmp_path / "run", steps=7, device="cpu")
    assert [row["step"] for row in read_log(tmp_path / "run")] == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_goes_on_exactly(stills: Path, tmp_path: Path, name: str) -> None:
    config = tiny_run(tmp_path, stills=[str(stills)])
    train(config, tmp_path / "straight", device="cpu")

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 4:
            signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"interrupted after step 4; .*the same command goes on"):
        train(config, tmp_path / "stopped", device="cpu", progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    train(config, tmp_path / "stopped", device="cpu")
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "steps"), [("SIGINT", 6), ("SIGTERM", 4)])
def test_in_the_background_only_termination_interrupts_a_run(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, steps: int
) -> None:
    """A shell lets its background jobs ignore Ctrl-C."""

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 4:
            signal.raise_signal(getattr(signal, name))

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with contextlib.nullcontext() if name == "SIGINT" else pytest.raises(Interrupted, match="after step 4"):
            train(tiny_run(tmp_path, stills=[str(stills)]), tmp_path / "run", steps=6, device="cpu", progress=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert state(tmp_path / "run")["step"] == steps


def test_two_processes_learn_what_one_learns(pairs: Path, tmp_path: Path) -> None:
    """Two ranks with 2 clips each are one process with 4: same averages, to rounding."""
    changes = {"pairs": [str(pairs)], "precision": "float32", "gradient_clip": 1e3}
    train(tiny_run(tmp_path, batch=4, **changes), tmp_path / "one", device="cpu")
    data = tiny_data(tmp_path, batch=2, **changes)
    port = str(20_000 + os.getpid() % 20_000)
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [run_child(tmp_path / "two", data, RANK=str(rank), LOCAL_RANK=str(rank), **meeting) for rank in range(2)]
    errors = [rank.communicate(timeout=patience(120))[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    fresh = trainer.Learner(tiny_run(tmp_path), trainer.ProcessTeam(torch.device("cpu"))).net.state_dict()
    moved = max(float((value - fresh[name]).abs().max()) for name, value in one["network"].items())
    apart = max(float((value - two["network"][name]).abs().max()) for name, value in one["network"].items())
    assert apart < 0.02 * moved
    for first, second in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        if first["loss"]:
            assert float(first["gradient"]) > 0.1
            for name in ("loss", "gradient"):
                assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-3)


def test_an_infinite_loss_stops_the_run_and_leaves_the_last_good_state(stills: Path, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, stills=[str(stills)], save_every=2, validate_every=2)
    train(config, tmp_path / "run", device="cpu")
    hot = replace(config, learning_rate=1e30, gradient_clip=1e30)
    with pytest.raises(NetworkError, match=r"not finite at step \d+: lower learning_rate"):
        train(hot, tmp_path / "run", steps=40, device="cpu", accept_changes=True)
    kept = state(tmp_path / "run")
    assert kept["step"] >= 6
    assert all(bool(torch.isfinite(value).all()) for value in kept["network"].values())
    train(config, tmp_path / "run", steps=kept["step"] + 1, device="cpu", accept_changes=True)


def test_a_changed_config_is_named(stills: Path, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, stills=[str(stills)])
    train(config, tmp_path / "run", device="cpu")
    other = replace(config, learning_rate=1e-3, synthesis=replace(config.synthesis, frames=2), workers=1)
    with pytest.raises(UsageError, match=r"synthesis\.frames was 3 and is 2; learning_rate was 0\.0005 and is 0\.001"):
        train(other, tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match=r"trains the network .*take another folder"):
        train(replace(config, network="fast"), tmp_path / "run", device="cpu", accept_changes=True)
    train(replace(config, learning_rate=1e-3), tmp_path / "run", steps=7, device="cpu", accept_changes=True)
    assert state(tmp_path / "run")["step"] == 7


def test_a_run_goes_on_from_pieces_alone(stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_state, "PIECE_BYTES", 30_000)
    config, folder = tiny_run(tmp_path, stills=[str(stills)]), tmp_path / "run"
    train(config, tmp_path / "straight", steps=8, device="cpu")

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        train(config, folder, steps=8, device="cpu", pieces=True, progress=stop)
    files = [path for path in (folder / "pieces").iterdir() if path.suffix == ".piece"]
    assert len(files) > 5
    assert max(path.stat().st_size for path in files) <= 30_000
    (folder / "state.pt").unlink()
    (folder / "tiny.safetensors").unlink()
    train(config, folder, steps=8, device="cpu", pieces=True)
    assert_same_run(tmp_path / "straight", folder)
    assert read_provenance(folder / "tiny.safetensors") == read_provenance(tmp_path / "straight" / "tiny.safetensors")

    (folder / "state.pt").unlink()
    index = json.loads((folder / "pieces" / "index.json").read_text())
    (folder / "pieces" / index["state.pt"]["pieces"][0]).write_bytes(bytes(30_000))
    with pytest.raises(UsageError, match=r"pieces .* cannot be joined"):
        train(config, folder, device="cpu")


def test_a_damaged_state_is_named(stills: Path, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, stills=[str(stills)])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"no state")
    with pytest.raises(UsageError, match=r"state\.pt is no state this version can go on from"):
        train(config, tmp_path / "run", device="cpu")


def test_a_limit_in_minutes_ends_the_schedule_with_it(stills: Path, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, stills=[str(stills)], steps=10**6, validate_every=10**6, log_every=1)
    train(config, tmp_path / "run", minutes=scaled(0.05), device="cpu")
    rates = [row["learning_rate"] for row in read_log(tmp_path / "run") if "learning_rate" in row]
    assert rates[-1] < 0.3 * max(rates)
    kept = state(tmp_path / "run")
    assert kept["done"] >= 1
    assert "gain_db" in read_log(tmp_path / "run")[-1]
    train(config, tmp_path / "run", minutes=scaled(0.02), device="cpu")
    assert state(tmp_path / "run")["step"] > kept["step"]


def test_a_run_starts_from_what_fits(stills: Path, tmp_path: Path) -> None:
    first = train(tiny_run(tmp_path, stills=[str(stills)]), tmp_path / "first", device="cpu")
    config = tiny_run(tmp_path, stills=[str(stills)], start=str(first), steps=1, learning_rate=1e-12)
    train(config, tmp_path / "second", device="cpu")
    for name, value in load_network(first).state_dict().items():
        torch.testing.assert_close(state(tmp_path / "second")["network"][name], value, atol=2e-3, rtol=1e-3)
    with pytest.raises(UsageError, match="no network 'nowhere'"):
        train(tiny_run(tmp_path, stills=[str(stills)], start="nowhere"), tmp_path / "third", device="cpu")


def test_the_best_weights_are_kept_and_sharp_clips_come_first(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of average and network, at each validation, the one that gains most without harm."""
    found = iter([
        (0.0, 100.0), (0.0, 100.0),  # step 0
        (0.1, 50.0), (0.3, 40.0),  # step 3: the network is better
        (0.9, 30.0), (0.2, 60.0),  # step 6: the average harms sharp clips
    ])  # fmt: skip

    def scored(*_: object, **__: object) -> dict[str, float]:
        gain, kept = next(found)
        return {"gain_db": gain, "kept_db": kept, "worst_gain_db": gain}

    monkeypatch.setattr(trainer, "validate", scored)
    weights = train(tiny_run(tmp_path, stills=[str(stills)]), tmp_path / "run", device="cpu")
    scores = read_provenance(weights)["scores"]
    assert scores == {"step": 3, "weights": "raw", "gain_db": 0.3, "kept_db": 40.0, "worst_gain_db": 0.3}
    last = read_log(tmp_path / "run")[-1]
    assert (last["gain_db"], last["raw_gain_db"]) == (0.9, 0.2)


def test_progress_is_told_after_each_step(stills: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[TrainingProgress] = []
    with caplog.at_level(logging.INFO, logger="vdeblur"):
        train(tiny_run(tmp_path, stills=[str(stills)]), tmp_path / "run", device="cpu", progress=told.append)
    assert [progress.step for progress in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].done == 1
    assert told[2].means["loss"] > 0
    assert "1 of 2 photographs are kept back for validation" in caplog.messages
    assert any(message.startswith("step 6: gain") for message in caplog.messages)


def test_own_data_take_the_place_of_the_config(stills: Path, tmp_path: Path) -> None:
    asked = []

    class Own:
        def __init__(self, frames: int) -> None:
            self.frames = frames

        def batches(self, first_step: int) -> Any:
            asked.append((self.frames, first_step))
            while True:
                blurry, motion = torch.rand(1, self.frames, 3, 32, 32), torch.zeros(1, self.frames, 2, 32, 32)
                yield trainer.Clip(blurry, blurry, motion, motion)

    config: TrainConfig = tiny_run(tmp_path, stills=[str(stills)], frames=[[0, 2], [0.5, 4]])
    train(config, tmp_path / "run", device="cpu", data_for=Own)
    assert asked == [(2, 0), (4, 3)]
