"""Synthetic test set: clips defined by seeds and photographs, stratified by strength of blur."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vdeblur.adapters.arrays import ArrayAdapter
from vdeblur.config import build, load_config
from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import Case, TrueMotion, frames_case
from vdeblur.frames import Frame
from vdeblur.metrics import as_8bit
from vdeblur.training.data.clip_cache import fixed_clips
from vdeblur.training.synthesis.blur import Clip, SynthesisConfig
from vdeblur.training.synthesis.stills import find_stills, load_still

#: Clips made at once, and how many are made at most for each one that is wanted.
CLIPS_AT_ONCE, MOST_TRIES = 4, 12


@dataclass(frozen=True, kw_only=True)
class StratumConfig:
    """Clips with blur of one strength."""

    clips: int
    #: Mean motion during the exposure that a clip must have, pixels; others are passed over.
    motion_px: tuple[float, float]
    #: What differs from the set's synthesis.
    synthesis: dict[str, Any]

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UsageError(f"clips must be at least 1, not {self.clips}")


@dataclass(frozen=True, kw_only=True)
class SyntheticSetConfig:
    """A test set; a shipped one states every knob of the synthesis, so that no change of defaults moves it."""

    seed: int
    synthesis: dict[str, Any]
    mild: StratumConfig
    strong: StratumConfig
    #: Near-sharp clips: they count for what is done to clips that need little, not for the gain.
    sharp: StratumConfig

    @property
    def strata(self) -> dict[str, StratumConfig]:
        return {"mild": self.mild, "strong": self.strong, "sharp": self.sharp}


class SyntheticSet:
    """Clips of a config and of photographs, made when their turn comes.

    The same on every machine, up to rounding: each stratum has seeds of its own, and what is drawn depends on them
    and on the photographs alone, in the order of their paths.

    Raises:
        UsageError: the config holds a wrong key, or the folder no photograph that can be read.
    """

    def __init__(self, path: Path, stills: Path) -> None:
        self.config = load_config(SyntheticSetConfig, path)
        self.name = path.stem
        self.stills = find_stills([stills])
        self.synthesis = {
            name: synthesis_of(self.config, stratum, where=f"{path}: {name}")
            for name, stratum in self.config.strata.items()
        }
        #: Short SHA-256 of the photographs' pixels: two tables compare only if theirs agree.
        self.stills_digest = _digest(self.stills)

    @property
    def counts(self) -> dict[str, int]:
        """Clips of each stratum."""
        return {name: stratum.clips for name, stratum in self.config.strata.items()}

    def cases(self) -> Iterator[Case]:
        for number, (name, stratum) in enumerate(self.config.strata.items()):
            for index, clip in enumerate(self._clips(number, name, stratum)):
                yield _case(clip, clip_name(name, index), self.name, name)

    def _clips(self, number: int, name: str, stratum: StratumConfig) -> Iterator[Clip]:
        """Clips of a stratum whose mean motion lies in its range."""
        low, high = stratum.motion_px
        found, span = 0, stratum.clips * MOST_TRIES
        for block in range(-(-span // CLIPS_AT_ONCE)):
            seed = (self.config.seed * 10 + number) * 10_000 + block
            for clip in fixed_clips(self.stills, self.synthesis[name], count=CLIPS_AT_ONCE, seed=seed):
                if found < stratum.clips and low <= mean_motion(clip) <= high:
                    found += 1
                    yield clip
            if found == stratum.clips:
                return
        raise UsageError(
            f"{self.name}: {name}: only {found} of {span} clips have a mean motion of {low:g} to {high:g} px; "
            "widen motion_px, or speed_px and exposure"
        )


def synthesis_of(config: SyntheticSetConfig, stratum: StratumConfig, *, where: str) -> SynthesisConfig:
    """The synthesis of a stratum: the set's, with what the stratum states.

    Raises:
        UsageError: a key or a value is wrong.
    """
    return build(SynthesisConfig, {**config.synthesis, **stratum.synthesis}, where=f"{where}: synthesis")


def unpinned(config: SyntheticSetConfig) -> dict[str, list[str]]:
    """Knobs of the synthesis that a set leaves to their defaults, by stratum."""
    known = [field.name for field in fields(SynthesisConfig)]
    return {
        name: [knob for knob in known if knob not in config.synthesis and knob not in stratum.synthesis]
        for name, stratum in config.strata.items()
    }


def clip_name(stratum: str, index: int) -> str:
    return f"{stratum}{index:02d}"


def mean_motion(clip: Clip) -> float:
    """Mean length of the motion during the exposure, pixels."""
    assert clip.motion is not None
    return float(clip.motion.norm(dim=1).mean())


def _case(clip: Clip, name: str, dataset: str, stratum: str) -> Case:
    assert clip.velocity is not None
    assert clip.motion is not None
    truth = TrueMotion(clip.velocity, clip.motion)
    blurry, sharp = _frames(clip.blurry), _frames(clip.sharp)
    return frames_case(blurry, sharp, name=name, dataset=dataset, stratum=stratum, truth=truth, kind="synthetic")


def _frames(pictures: Tensor) -> list[Frame]:
    """Pictures (T, 3, H, W) in [0, 1] as frames of 8 bits, as a file would have them."""
    arrays = ArrayAdapter("rgb")
    return [
        arrays.frame(picture.permute(1, 2, 0).numpy().astype(np.uint8), number)
        for number, picture in enumerate(as_8bit(pictures))
    ]


def _digest(stills: list[Path]) -> str:
    total = hashlib.sha256()
    for path in stills:
        total.update(load_still(path).numpy().tobytes())
    return total.hexdigest()[:12]
