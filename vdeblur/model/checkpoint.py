"""Checkpoints: safetensors files that carry the network's config and where its weights come from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vdeblur.config import WEIGHTS_FOLDER, build
from vdeblur.errors import NetworkError, UsageError
from vdeblur.model.network import DeblurNet, NetworkConfig


def available_models() -> list[str]:
    """Names of the networks whose weights come with the package."""
    return sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.safetensors"))


def weights_path(name_or_path: str | Path) -> Path:
    """File of a network by name ("fast") or of the user's own checkpoint.

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


def load_network(name_or_path: str | Path) -> DeblurNet:
    """Network with its weights, float32 on the CPU, in evaluation mode. Loading runs no code from the file.

    Raises:
        UsageError: no such name or file.
        NetworkError: the file is no vdeblur checkpoint, or it is damaged.
    """
    path = weights_path(name_or_path)
    header = _read_header(path)
    try:
        config = build(NetworkConfig, json.loads(header["config"]), where=str(path))
        net = DeblurNet(config)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        net.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError, SafetensorError) as exc:
        reason = " ".join(str(exc).split())[:160]
        raise NetworkError(f"{path} is no vdeblur checkpoint that this version can load: {reason}") from exc
    return net.eval()


def save_network(net: DeblurNet, path: Path, provenance: dict[str, Any]) -> None:
    """Write weights as float16 with the config and the provenance (data, steps, commit, scores) in the header."""
    tensors = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in net.state_dict().items()}
    metadata = {"config": json.dumps(asdict(net.config)), "provenance": json.dumps(provenance)}
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata=metadata)
    part.replace(path)


def read_provenance(name_or_path: str | Path) -> dict[str, Any]:
    """Where a checkpoint comes from, as its trainer wrote it down; empty when it says nothing."""
    provenance: dict[str, Any] = json.loads(_read_header(weights_path(name_or_path)).get("provenance", "{}"))
    return provenance


def _read_header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as exc:
        raise NetworkError(f"{path} is no safetensors file, or it is damaged: {exc}") from exc
    if "config" not in header:
        raise NetworkError(f"{path} carries no network config: give a checkpoint written by vdeblur")
    return header
