"""Ablation configuration: the training that all variants share, and the changes of each one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vdeblur.config import build, find_config, load_config
from vdeblur.errors import UsageError
from vdeblur.model.deblur_net import NetworkConfig
from vdeblur.training.ablation.variants import NETWORKS
from vdeblur.training.synthesis.blur import SynthesisConfig


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table: what differs from the base, in plain words and in settings."""

    name: str
    #: What the row changes, for the table.
    says: str
    #: A class of :data:`vdeblur.training.ablation.variants.NETWORKS`.
    form: str = "as it is"
    #: Settings of the network that differ.
    network: dict[str, Any] = field(default_factory=dict)
    #: Where motion comes from, in scoring too: our flow, a library's, the truth, or our flow times the true exposure
    #: fraction.
    motion: Literal["found", "library", "true", "true fraction"] = "found"
    #: Frames the network sees: 3 with the next one dropped in a share of the steps, 2 never the next, 1 no neighbour.
    window: Literal[1, 2, 3] = 3
    #: Whether the true motion steers at first, never, or motion and restoration learn one after the other.
    teaching: Literal["at first", "never", "separate"] = "at first"
    #: One run a seed: start values, order of the clips.
    seeds: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if self.form not in NETWORKS:
            raise UsageError(f"{self.name}: no form {self.form!r}; choose one of {', '.join(NETWORKS)}")


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What all variants share; the first variant is the base that the others are compared with."""

    #: Name of a network config.
    network: str
    #: Settings of the network that differ from it in all variants.
    network_changes: dict[str, Any] = field(default_factory=dict)
    #: Folders of sharp photographs to learn from, and others to score on.
    stills: tuple[str, ...]
    test_stills: tuple[str, ...]
    synthesis: SynthesisConfig
    variants: tuple[Variant, ...]
    #: Clips to learn from, made once, and side and frames of the clips to score on.
    clips: int = 600
    test_clips: int = 40
    test_size_px: int = 128
    test_frames: int = 8
    batch: int = 4
    #: First the taps learn alone: from so many clips, pixels of each frame, for so many steps of so many pixels.
    taps_clips: int = 240
    taps_pixels: int = 1000
    taps_steps: int = 1200
    taps_batch: int = 4096
    #: Then everything learns together.
    steps: int = 200
    learning_rate: float = 2e-3
    warmup_steps: int = 20
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    frequency_weight: float = 0.05
    #: Weight of the motion loss, per pixel of error.
    motion_weight: float = 0.02
    #: Share of steps without the future frame.
    lookahead_dropped: float = 0.3
    #: Share of the run over which the true motion steers at first, ever more seldom.
    taught_share: float = 0.6


def network_config(config: AblationConfig, variant: Variant) -> NetworkConfig:
    """Settings of a variant's network.

    Raises:
        UsageError: the variant changes a setting that there is not, or to what cannot be.
    """
    base = load_config(NetworkConfig, find_config(config.network))
    return build(NetworkConfig, {**asdict(base), **config.network_changes, **variant.network}, where=variant.name)


def recipe(config: AblationConfig, variant: Variant) -> str:
    """Digest of what decides a variant's scores."""
    shared = {
        name: value for name, value in asdict(config).items() if name not in ("variants", "network", "network_changes")
    }
    own = {name: value for name, value in asdict(variant).items() if name not in ("says", "seeds", "network")}
    return digest([shared, own, asdict(network_config(config, variant))])


def digest(value: object) -> str:
    """Twelve hexadecimal digits that stand for what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
