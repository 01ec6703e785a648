"""Evaluation sources: folders of pairs, exposure ladders and synthetic sets, checked before a network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vdeblur.config import find_config
from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import Case, file_cases
from vdeblur.evaluation.ladder import Ladder
from vdeblur.evaluation.synthetic import SyntheticSet, clip_name

#: Clips that the contact sheet shows, at most, shared among the strata.
SHEET_CLIPS = 12
#: Key of the exposure fraction that holds for all pairs.
ALL_PAIRS = ""

STILLS_HINT = (
    "a synthetic set needs sharp photographs: give their folder with --stills; the published numbers use the 24 Kodak "
    "pictures, https://r0k.us/graphics/kodak/"
)


@dataclass(frozen=True, eq=False)
class Sources:
    """Everything that is evaluated: pairs of files, and ladders and sets whose clips are made."""

    files: list[Case]
    ladders: list[Ladder]
    sets: list[SyntheticSet]

    @property
    def makers(self) -> list[Ladder | SyntheticSet]:
        """Those whose clips are made when their turn comes."""
        return [*self.ladders, *self.sets]

    @property
    def count(self) -> int:
        made = sum(len(ladder.counts) for ladder in self.ladders)
        return len(self.files) + made + sum(sum(each.counts.values()) for each in self.sets)

    def shown(self) -> set[tuple[str, str]]:
        """(data set, clip) of those the contact sheet shows: evenly spread over each folder, ladder and stratum."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for case in self.files:
            groups.setdefault(case.dataset, []).append((case.dataset, case.name))
        for ladder in self.ladders:
            groups[ladder.name] = [(ladder.name, ladder.rung_name(count)) for count in ladder.counts]
        for made in self.sets:
            for stratum, number in made.counts.items():
                groups[f"{made.name}/{stratum}"] = [(made.name, clip_name(stratum, index)) for index in range(number)]
        share = max(1, SHEET_CLIPS // len(groups))
        return {group[index * len(group) // share] for group in groups.values() for index in range(share)}


def find_sources(
    data: Sequence[str | Path],
    *,
    stills: str | Path | None,
    ladders: Sequence[str | Path],
    ladder_step: int,
    true_exposures: Mapping[str, float],
) -> Sources:
    """Everything that is evaluated, checked as far as headers and configs go.

    Args:
        true_exposures: exposure fraction of pairs, by folder, FOLDER/CLIP, or "" for all; the most special one holds.

    Raises:
        UsageError: a folder, a clip or a config cannot be, or is given twice.
        SourceError: a file cannot be read.
    """
    files: list[Case] = []
    sets: list[SyntheticSet] = []
    names: list[str] = []
    for each in data:
        folder = Path(each)
        if folder.is_dir():
            name = folder.resolve().name
            names.append(name if name not in names else str(folder))
            files += file_cases(folder, dataset=names[-1])
        else:
            sets.append(_synthetic_set(each, stills))
            names.append(sets[-1].name)
    climbed = []
    for path in ladders:
        name = Path(path).stem
        climbed.append(Ladder(path, step=ladder_step, name=name if name not in names else str(path)))
        names.append(climbed[-1].name)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice: name each folder, each synthetic set and each ladder once")
    return Sources(_with_exposures(files, true_exposures), climbed, sets)


def _with_exposures(files: Sequence[Case], exposures: Mapping[str, float]) -> list[Case]:
    """The pairs, each with the exposure fraction that the user knows of it."""
    used: set[str] = set()
    known = []
    for case in files:
        names = (f"{case.dataset}/{case.name}", case.dataset, ALL_PAIRS)
        name = next((name for name in names if name in exposures), None)
        used.update(name for name in names if name in exposures)
        known.append(case if name is None else replace(case, exposure=exposures[name]))
    for name, fraction in exposures.items():
        if not 0 < fraction <= 1:
            raise UsageError(f"a true exposure cannot be {fraction:g}; it is a share of the frame interval, 0 < it ≤ 1")
        if name not in used:
            told = f"no pairs {name!r}" if name else "no pairs"
            raise UsageError(f"a true exposure of {fraction:g} for {told}: name a folder of DATA, or FOLDER/CLIP of it")
    return known


def _synthetic_set(name: str | Path, stills: str | Path | None) -> SyntheticSet:
    try:
        path = find_config(str(name))
    except UsageError as exc:
        raise UsageError(f"no folder of pairs and no synthetic set {str(name)!r}: {exc}") from exc
    if stills is None:
        raise UsageError(f"{path.stem}: {STILLS_HINT}")
    if not Path(stills).is_dir():
        raise UsageError(f"--stills: {stills} is no folder; {STILLS_HINT}")
    return SyntheticSet(path, Path(stills))
