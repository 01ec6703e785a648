"""Methods under evaluation: networks and classical baselines by name, each in its own engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import UsageError
from vdeblur.evaluation.baselines import BASELINES, Identity
from vdeblur.model.checkpoint import load_network, weights_path
from vdeblur.model.network import Network

#: A MODEL that changes nothing, to see that nothing is gained by it.
IDENTITY = "identity"


@dataclass(frozen=True, eq=False)
class Method:
    """Something that restores, and the name it has in tables."""

    name: str
    deblurrer: Deblurrer
    is_baseline: bool = False


def split_models(words: str) -> list[str]:
    """Models in a list with commas; a path that exists is one model, commas or not."""
    if Path(words).is_file():
        return [words]
    return [name.strip() for name in words.split(",") if name.strip()]


def make_methods(
    models: Sequence[str], baselines: Sequence[str], *, guide: str, device: str, precision: str, lookahead: int
) -> list[Method]:
    """Methods in the order of a table: baselines, then networks, all checked and loaded.

    Baselines compute in float32, without a guide.

    Raises:
        UsageError: there is no such model, or one is given twice.
        NetworkError, DeviceError: it cannot be loaded.
    """
    names = model_names(models, baselines)
    methods = []
    for name in baselines:
        deblurrer = Deblurrer(BASELINES[name](), guide="off", device=device, precision="float32", lookahead=lookahead)
        methods.append(Method(name, deblurrer, is_baseline=True))
    for model, name in zip(models, names, strict=True):
        network: Network = Identity() if model == IDENTITY else load_network(model)  # a guide can be scored, too
        deblurrer = Deblurrer(network, guide=guide, device=device, precision=precision, lookahead=lookahead)
        methods.append(Method(name, deblurrer))
    return methods


def model_names(models: Sequence[str], baselines: Sequence[str]) -> list[str]:
    """Names in tables: file names without folder and ending, as long as they tell the methods apart.

    Raises:
        UsageError: there is no such model, or one is given twice.
    """
    for model in models:
        if model != IDENTITY:
            weights_path(model)
    twice = next((name for name in (*models, *baselines) if [*models, *baselines].count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice: name each model and each baseline once")
    short = [Path(model).stem if Path(model).suffix else model for model in models]
    taken = [*short, *baselines]
    return [name if taken.count(name) == 1 else model for name, model in zip(short, models, strict=True)]
