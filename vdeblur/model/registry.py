"""Kinds of networks: which class a config belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vdeblur.config import build, read_yaml
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.luma_net import LumaConfig, LumaNet

Config = NetworkConfig | LumaConfig
Net = DeblurNet | LumaNet


def config_from(data: dict[str, Any], *, where: str) -> Config:
    """A network's config from a mapping; ``kind: luma`` makes it that of a :class:`LumaNet`.

    Raises:
        UsageError: as :func:`vdeblur.config.build`.
    """
    kind: type[Any] = LumaConfig if data.get("kind") == "luma" else NetworkConfig
    config: Config = build(kind, data, where=where)
    return config


def read_config(path: Path) -> Config:
    """A network's config from a YAML file.

    Raises:
        UsageError: the file cannot be read, or as :func:`config_from`.
    """
    return config_from(read_yaml(path), where=str(path))


def network_of(config: Config) -> Net:
    """A network with fresh weights."""
    return LumaNet(config) if isinstance(config, LumaConfig) else DeblurNet(config)
