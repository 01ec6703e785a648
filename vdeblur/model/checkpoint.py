"""Checkpoints: safetensors files with the network's config and provenance in their metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vdeblur.atomic_files import replaced_file
from vdeblur.config import WEIGHTS_FOLDER
from vdeblur.errors import NetworkError, TargetError, UsageError
from vdeblur.model.network import LARGEST_NUMBER, NetworkSettings, RestorationNetwork
from vdeblur.model.registry import config_from, network_of


def available_models() -> list[str]:
    """Names of the networks whose weights ship with the package."""
    return sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors"))


def weights_path(name_or_path: str | Path) -> Path:
    """Path of a network's weights by name ("fast") or of a checkpoint file.

    Raises:
        UsageError: there is no such file; the message lists the names that exist.
    """
    path = Path(name_or_path)
    shipped = WEIGHTS_FOLDER / f"{path.name}.safetensors"
    if path.parent == Path() and path.suffix == "" and shipped.is_file():
        return shipped
    if path.is_file():
        return path
    raise UsageError(f"no network {str(name_or_path)!r}: choose {', '.join(available_models())} or a .safetensors file")


def load_network(name_or_path: str | Path) -> RestorationNetwork:
    """Load a network, float32 on the CPU, in evaluation mode; loading never executes code from the file.

    Raises:
        UsageError: no such name or file.
        NetworkError: the file is no vdeblur checkpoint, or it is damaged.
    """
    path = weights_path(name_or_path)
    header = _read_header(path)
    try:
        config = config_from(_parse_mapping(header["config"]), where="config")
        _check_size(config, path.stat().st_size)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("there are weights that are no numbers")
        net = network_of(config)
        net.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError, TypeError, ArithmeticError, OSError, SafetensorError) as exc:
        reason = " ".join(str(exc).split())[:160]
        raise NetworkError(f"{path} is no vdeblur checkpoint that this version can load: {reason}") from exc
    return net.eval()


def _parse_mapping(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: the text is something else.
    """
    try:
        parsed = json.loads(text)
    except RecursionError as exc:
        raise ValueError("the config's lists lie too deep in one another") from exc
    if not isinstance(parsed, dict):
        raise ValueError(f"a {type(parsed).__name__} stands where a mapping should")
    return parsed


def _check_size(config: NetworkSettings, file_bytes: int) -> None:
    """Reject a config whose network cannot fit into its file, before a layer is allocated.

    Raises:
        ValueError: it cannot, or a number is out of range.
    """
    if not all(0 <= number <= LARGEST_NUMBER for number in _whole_numbers(asdict(config))):
        raise ValueError(f"the config has a number below 0 or above {LARGEST_NUMBER}")
    if config.least_weights() > file_bytes:  # a weight takes a byte at least
        raise ValueError("the config is that of a network larger than the file")


def _whole_numbers(value: Any) -> Iterator[int]:
    """Integers of a config, nested in tuples and mappings too."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _whole_numbers(part)


def save_network(net: RestorationNetwork, path: Path, provenance: dict[str, Any]) -> None:
    """Save weights as float16, with config and provenance (data, steps, commit, scores) in the metadata.

    Raises:
        TargetError: the file cannot be written; an older one is untouched.
    """
    tensors = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in net.state_dict().items()}
    metadata = {"config": json.dumps(asdict(net.config)), "provenance": json.dumps(provenance)}
    with replaced_file(path) as part:
        try:
            save_file(tensors, part, metadata=metadata)
        except SafetensorError as exc:  # the disk is full, say
            raise TargetError(f"cannot write {path}: {exc}") from exc


def read_provenance(name_or_path: str | Path) -> dict[str, Any]:
    """Provenance of a checkpoint as the trainer recorded it; empty if there is none."""
    path = weights_path(name_or_path)
    try:
        return _parse_mapping(_read_header(path).get("provenance", "{}"))
    except ValueError as exc:
        raise NetworkError(f"{path} does not say where it comes from: {exc}") from exc


def _read_header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as exc:
        raise NetworkError(f"{path} is no safetensors file, or it is damaged: {exc}") from exc
    if "config" not in header:
        raise NetworkError(f"{path} carries no network config: give a checkpoint written by vdeblur")
    return header
