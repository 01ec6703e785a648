"""Choosing a model: gain by how hard clips are, and one mean over pairs, ladder and synthetic set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vdeblur.evaluation.cases import KINDS, Kind
from vdeblur.evaluation.scoring import mean

#: Names of difficulties, from easy to hard, and the least PSNR of the input for each, dB.
DIFFICULTIES = {"easy": 30.0, "medium": 24.0, "hard": float("-inf")}
#: Strata of a synthetic set whose mean is the gain that counts.
BLURRED_STRATA = ("mild", "strong")

SELECTION_PROTOCOL = (
    "a model is chosen by the mean of three gains, that of development pairs, of the exposure ladder and of the "
    "synthetic set (mild and strong blur), never by one of them; clips that chose a model say nothing of how good it is"
)


class ScoredClip(Protocol):
    """What is asked of a clip's result."""

    @property
    def kind(self) -> Kind: ...
    @property
    def dataset(self) -> str: ...
    @property
    def stratum(self) -> str: ...
    @property
    def clip(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def psnr_input(self) -> float: ...
    @property
    def gain_db(self) -> float | None: ...
    @property
    def aligned_gain_db(self) -> float | None: ...


@dataclass(frozen=True)
class DifficultyMean:
    """One method on the clips whose input is of like quality, whatever data they are from.

    Clips that equal their truth have no gain and do not count.
    """

    #: "easy" (input of 30 dB or more), "medium" (24 to 30) or "hard" (under 24).
    difficulty: str
    method: str
    clips: int
    gain_db: float
    aligned_gain_db: float
    worst_gain_db: float


@dataclass(frozen=True)
class Selection:
    """What a method is chosen by: the mean of three mean gains, dB."""

    method: str
    pairs_db: float
    ladder_db: float
    synthetic_db: float
    mean_db: float


def difficulty_of(psnr_input: float) -> str:
    """Name of the difficulty of a clip whose blurred frames have that mean PSNR in dB."""
    return next(name for name, least in DIFFICULTIES.items() if psnr_input >= least)


def difficulty_means(clips: Sequence[ScoredClip], methods: Sequence[str]) -> list[DifficultyMean]:
    """Means of each difficulty that occurs, from easy to hard, for each method."""
    found = []
    for name in DIFFICULTIES:
        for method in methods:
            here = [clip for clip in clips if clip.method == method and difficulty_of(clip.psnr_input) == name]
            gains = _gains(here)
            if gains:
                aligned = [clip.aligned_gain_db for clip in here if clip.aligned_gain_db is not None]
                found.append(DifficultyMean(name, method, len(gains), mean(gains), mean(aligned), min(gains)))
    return found


def selections(clips: Sequence[ScoredClip], methods: Sequence[str]) -> list[Selection]:
    """The score that chooses for each method; empty unless pairs, ladder and synthetic set were all given."""
    chosen = choosing(clips)
    if any(not chosen[kind] for kind in KINDS):
        return []
    found = []
    for method in methods:
        means = {kind: mean(_gains([clip for clip in chosen[kind] if clip.method == method])) for kind in KINDS}
        combined = mean(means.values())
        found.append(Selection(method, means["pairs"], means["ladder"], means["synthetic"], combined))
    return found


def choosing(clips: Sequence[ScoredClip]) -> dict[Kind, list[ScoredClip]]:
    """Clips that choose a model, by kind: those with a gain, of synthetic sets those with mild and strong blur."""
    counted = [
        clip
        for clip in clips
        if clip.gain_db is not None and (clip.kind != "synthetic" or clip.stratum in BLURRED_STRATA)
    ]
    return {kind: [clip for clip in counted if clip.kind == kind] for kind in KINDS}


def choosing_names(clips: Sequence[ScoredClip]) -> dict[str, list[str]]:
    """Names DATASET/CLIP of the clips that choose a model, by kind, so that a model card can name them."""
    return {
        kind: list(dict.fromkeys(f"{clip.dataset}/{clip.clip}" for clip in some))
        for kind, some in choosing(clips).items()
    }


def _gains(clips: Sequence[ScoredClip]) -> list[float]:
    return [clip.gain_db for clip in clips if clip.gain_db is not None]
