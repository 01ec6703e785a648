"""`vdeblur train`: options reach the run, what it says, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.cli_fixtures import Call, call
from support.training_fixtures import pairs, stills, tiny_data
from support.wall_clock import patience, until
from vdeblur.training import trainer
from vdeblur.training.log import read_log

__all__ = ["call", "pairs", "stills"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tiny_data(tmp_path, log_every=2)), encoding="utf-8")
    return path


def test_a_run_by_command(
    call: Call, config: Path, stills: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("train", config, "--stills", stills, "--pairs", pairs, "--steps", 4, "--device", "cpu", "--pieces")
    assert result.code == 0, result.err
    assert result.out.startswith(str(Path("runs", "run", "tiny.safetensors")) + "  gain ")
    assert "1 of 2 photographs are kept back for validation" in result.err
    assert "vdeblur: step 4: gain " in result.err
    assert read_log(tmp_path / "runs" / "run")[-1]["step"] == 4
    assert (tmp_path / "runs" / "run" / "pieces" / "index.json").is_file()
    again = call("train", config, "--stills", stills, "--device", "cpu", "--steps", 5)
    assert again.code == 2
    assert "began with other settings: pairs was " in again.err
    assert "--accept-changes" in again.err
    start = tmp_path / "runs" / "run" / "tiny.safetensors"
    changed = call(
        "train", config, "--stills", stills, "--device", "cpu", "--steps", 5, "--accept-changes", "--start", start, "-q"
    )
    assert (changed.code, changed.err) == (0, "")
    assert read_log(tmp_path / "runs" / "run")[-1]["step"] == 5


def test_ctrl_c_keeps_the_state_and_says_how_to_go_on(
    call: Call, config: Path, stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer.TrainingRun._after_step

    def interrupted(run: trainer.TrainingRun, done: float, frames: int) -> None:
        whole(run, done, frames)
        if run.learner.step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(trainer.TrainingRun, "_after_step", interrupted)
    folder = tmp_path / "mine"
    result = call("train", config, "--stills", stills, "--device", "cpu", "--folder", folder)
    assert result.code == 130
    assert f"interrupted after step 2; its state is in {folder}: the same command goes on" in result.err
    assert (folder / "state.pt").is_file()
    monkeypatch.setattr(trainer.TrainingRun, "_after_step", whole)
    assert call("train", config, "--stills", stills, "--device", "cpu", "--folder", folder).code == 0
    assert read_log(folder)[-1]["step"] == 6


def test_a_finished_run_says_what_would_go_on(call: Call, config: Path, stills: Path, tmp_path: Path) -> None:
    arguments = ["train", config, "--stills", stills, "--device", "cpu", "--folder", tmp_path / "mine"]
    assert call(*arguments, "--steps", 3).code == 0
    result = call(*arguments, "--steps", 3)
    assert result.code == 0
    assert "the schedule has ended at step 3: give --steps above it, or --minutes" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stills", "nowhere"], "no photographs"),
        (["--pairs", "nowhere"], "there is no folder nowhere"),
        ([], "nothing to learn from"),
        (["--minutes", "0"], "minutes"),
        (["--stills", ".", "--device", "abacus"], "device cannot be 'abacus'"),
    ],
)
def test_wrong_arguments_are_named(
    call: Call, config: Path, tmp_path: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("train", config, *arguments)
    assert result.code == 2
    assert words in result.err
    assert len(result.errors) == 1


def test_a_typo_in_the_config_is_named(call: Call, config: Path) -> None:
    config.write_text("network: fast\nlearning_rte: 0.1\n")
    result = call("train", config)
    assert result.code == 2
    assert "unknown key 'learning_rte'; did you mean 'learning_rate'?" in result.err


@pytest.mark.parametrize("name", ["train_swift", "train_fast", "train_balanced", "train_quality", "train_pairs"])
def test_the_shipped_runs_are_valid(name: str) -> None:
    from vdeblur.config import find_config, load_config
    from vdeblur.model.registry import read_config
    from vdeblur.training.config import TrainConfig

    config = load_config(TrainConfig, find_config(name))
    assert read_config(find_config(config.network)).name == config.network


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups there")
def test_ctrl_c_of_a_terminal_ends_worker_processes_quietly(config: Path, stills: Path, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all processes of the command, those that make clips too."""
    config.write_text(yaml.safe_dump(tiny_data(tmp_path, stills=[str(stills)], workers=1, steps=10**6)))
    command = [
        sys.executable,
        "-m",
        "vdeblur",
        "train",
        str(config),
        "--device",
        "cpu",
        "--folder",
        str(tmp_path / "r"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        try:
            until((tmp_path / "r" / "state.pt").is_file, 60)
            os.killpg(run.pid, signal.SIGINT)
            _, said = run.communicate(timeout=patience(60))
        finally:
            with contextlib.suppress(ProcessLookupError):  # where it failed, of what still runs
                os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said
