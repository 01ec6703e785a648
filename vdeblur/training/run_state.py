"""Checkpoint of a training run: everything needed to resume it exactly, written atomically."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vdeblur.atomic_files import replaced_file, write_atomically
from vdeblur.errors import TargetError, UsageError
from vdeblur.training.config import TrainConfig, as_plain, changed_keys
from vdeblur.training.lr_schedule import BEGINNING, ScheduleAnchor

STATE_FILE = "state.pt"
#: What has been learned before the first step.
FIRST_FILE = "first.pt"
PIECES_FOLDER = "pieces"
_INDEX_FILE = "index.json"
#: Largest piece, bytes.
PIECE_BYTES = 16 * 2**20


@dataclass
class RunProgress:
    """What a run remembers beside its learner."""

    anchor: ScheduleAnchor = BEGINNING
    #: Share of the schedule that was done.
    done: float = 0.0
    #: Minutes trained by earlier calls.
    minutes: float = 0.0
    #: Scores of the best weights so far; empty when nothing has been validated.
    best: dict[str, Any] | None = None
    #: Seconds that validation and saving took, for a limit in minutes to be kept.
    validation_seconds: float = 0.0


def save_state(folder: Path, config: TrainConfig, learner_state: dict[str, Any], journey: RunProgress) -> None:
    """Write the state in one move: a run killed at any moment finds the old one or the new one.

    Raises:
        TargetError: it cannot be written.
    """
    kept = {
        **learner_state,
        "config": json.dumps(as_plain(config)),
        "anchor": list(journey.anchor),
        "done": journey.done,
        "minutes": journey.minutes,
        "best": None if journey.best is None else json.dumps(journey.best),
        "validation_seconds": journey.validation_seconds,
    }
    _write(folder / STATE_FILE, kept)


def save_first(
    folder: Path,
    config: TrainConfig,
    net: nn.Module,
    learned: Sequence[str],
    paused: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Keep the parts that have learned before the first step, until there is a state.

    Args:
        paused: what a part that was stopped in the middle goes on from, by its name.

    Raises:
        TargetError: they cannot be written.
    """
    kept = {"weights": net.state_dict(), "learned": list(learned), "config": json.dumps(as_plain(config))}
    kept["paused"] = dict(paused or {})
    _write(folder / FIRST_FILE, kept)


def load_first(
    folder: Path, config: TrainConfig, net: nn.Module, device: str = "cpu"
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Take over the parts that an interrupted call with this config has taught; their names, and what paused ones kept.

    Args:
        device: for what paused parts kept.
    """
    try:
        kept = torch.load(folder / FIRST_FILE, map_location=device, weights_only=True)
        if changed_keys(json.loads(kept["config"]), config):
            return [], {}  # of another run, which began anew
        net.load_state_dict(kept["weights"])
        return list(kept["learned"]), dict(kept["paused"])
    except (OSError, RuntimeError, KeyError, EOFError, ValueError, TypeError, pickle.UnpicklingError):
        return [], {}  # none, or damaged: they learn again


def forget_first(folder: Path) -> None:
    """Remove what :func:`save_first` kept."""
    (folder / FIRST_FILE).unlink(missing_ok=True)


def _write(path: Path, kept: dict[str, Any]) -> None:
    """Write in one move; raises TargetError."""
    try:
        with replaced_file(path, synced=True) as part, part.open("wb") as file:
            torch.save(kept, file)
    except RuntimeError as exc:  # PyTorch's way to say that the disk is full
        raise TargetError(f"cannot write {path}: {' '.join(str(exc).split())}") from exc


def load_state(
    folder: Path, config: TrainConfig, *, accept_changes: bool = False
) -> tuple[dict[str, Any], RunProgress] | None:
    """The state in a folder, from the file or from its pieces; None where there is neither.

    Raises:
        UsageError: it is damaged, or belongs to a run with another config.
    """
    path = folder / STATE_FILE
    if not path.is_file() and not join_pieces(folder):
        return None
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        before = json.loads(kept["config"])
        journey = RunProgress(
            ScheduleAnchor(*kept["anchor"]),
            kept["done"],
            kept["minutes"],
            None if kept["best"] is None else json.loads(kept["best"]),
            kept["validation_seconds"],
        )
    except (OSError, RuntimeError, KeyError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as exc:
        reason = " ".join(str(exc).split())[:120]
        raise UsageError(f"{path} is no state this version can go on from ({reason}): take another folder") from exc
    _check_config(folder, before, config, accept_changes)
    return kept, journey


def _check_config(folder: Path, before: dict[str, object], config: TrainConfig, accept_changes: bool) -> None:
    changes = changed_keys(before, config)
    if before["network"] != config.network:
        raise UsageError(
            f"the run in {folder} trains the network {before['network']!r}, not {config.network!r}: take another folder"
        )
    if changes and not accept_changes:
        raise UsageError(
            f"the run in {folder} began with other settings: {'; '.join(changes)}; set them back, take another "
            "folder, or go on under the new ones with --accept-changes"
        )


def write_pieces(folder: Path, names: list[str]) -> None:
    """Cut files of the folder into pieces of at most 16 MiB below ``pieces/``, and forget older pieces.

    The index is replaced last, so that what it names is always whole.

    Raises:
        TargetError: they cannot be written.
    """
    home = folder / PIECES_FOLDER
    try:
        home.mkdir(exist_ok=True)
        index = {name: _cut(folder / name, home) for name in names}
        write_atomically(home / _INDEX_FILE, json.dumps(index, indent=1))
        kept = {_INDEX_FILE, *(piece for entry in index.values() for piece in entry["pieces"])}
        for path in home.iterdir():
            if path.name not in kept:
                path.unlink()
    except OSError as exc:
        raise TargetError(f"cannot write the pieces in {home}: {exc.strerror or exc}") from exc


def join_pieces(folder: Path) -> bool:
    """Put the files together that are in pieces and not there whole; False where there are no pieces.

    Raises:
        UsageError: a piece is missing or damaged.
    """
    home = folder / PIECES_FOLDER
    if not (home / _INDEX_FILE).is_file():
        return False
    try:
        index = json.loads((home / _INDEX_FILE).read_text(encoding="utf-8"))
        for name, entry in index.items():
            if not (folder / name).is_file():
                _join(home, entry, folder / name)
    except (OSError, ValueError, KeyError) as exc:
        raise UsageError(f"the pieces in {home} cannot be joined: {exc}; fetch them again") from exc
    return True


def _cut(path: Path, home: Path) -> dict[str, Any]:
    """Pieces named by what they hold, so that unchanged ones are not written again."""
    names, whole = [], hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(PIECE_BYTES):
            whole.update(data)
            name = f"{hashlib.sha256(data).hexdigest()[:24]}.piece"
            names.append(name)
            if not (home / name).is_file():
                write_atomically(home / name, data)
    return {"sha256": whole.hexdigest(), "pieces": names}


def _join(home: Path, entry: dict[str, Any], target: Path) -> None:
    whole = hashlib.sha256()
    with replaced_file(target) as part:
        with part.open("wb") as file:
            for name in entry["pieces"]:
                data = (home / name).read_bytes()
                whole.update(data)
                file.write(data)
        if whole.hexdigest() != entry["sha256"]:
            raise ValueError(f"{target.name} does not match its checksum")
