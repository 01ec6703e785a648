"""Network registry: the class of each kind of config, and of the network that it describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vdeblur.config import build, read_yaml
from vdeblur.errors import UsageError
from vdeblur.model.deblur_net import DeblurNet, NetworkConfig
from vdeblur.model.guide.guide_net import GuideConfig, GuideNet
from vdeblur.model.luma_net import LumaConfig, LumaNet
from vdeblur.model.network import NetworkSettings, RestorationNetwork


@dataclass(frozen=True)
class Kind:
    """Registry entry: a kind of config and its network.

    Attributes:
        name: as a config's key ``kind`` has it; None where the key is left out.
        config: a dataclass; of a kind with a name it has a field ``kind``.
        network: makes a network with fresh weights from a config.
    """

    name: str | None
    config: type[NetworkSettings]
    network: Callable[[Any], RestorationNetwork]


KINDS = [
    Kind(None, NetworkConfig, DeblurNet),
    Kind("luma", LumaConfig, LumaNet),
    Kind("guide", GuideConfig, GuideNet),
]


def config_from(data: dict[str, Any], *, where: str) -> NetworkSettings:
    """Build a network's config from a mapping; its ``kind`` selects the class.

    Raises:
        UsageError: there is no such kind, or as :func:`vdeblur.config.build`.
    """
    kind = data.get("kind")
    for entry in KINDS:
        if entry.name == kind:
            return build(entry.config, data, where=where)
    names = ", ".join(entry.name for entry in KINDS if entry.name is not None)
    raise UsageError(f"{where}: kind cannot be {str(kind)[:80]!r}; it is {names}, or left out")


def read_config(path: Path) -> NetworkSettings:
    """Read a network's config from a YAML file.

    Raises:
        UsageError: the file cannot be read, or as :func:`config_from`.
    """
    return config_from(read_yaml(path), where=str(path))


def network_of(config: NetworkSettings) -> RestorationNetwork:
    """Create a network with fresh weights.

    Raises:
        UsageError: the config's class is not registered.
    """
    for entry in KINDS:
        if type(config) is entry.config:
            return entry.network(config)
    raise UsageError(f"no network is registered for a {type(config).__name__}")
