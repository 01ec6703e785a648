"""Evaluation run: every method on every clip, all arguments checked before the first network runs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vdeblur.config import find_config
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.evaluation.baselines import BASELINES
from vdeblur.evaluation.cases import Case, file_cases, in_step
from vdeblur.evaluation.contact_sheet import ContactSheet, SpotSearch, checked_target
from vdeblur.evaluation.methods import Method, make_methods
from vdeblur.evaluation.motion import motion_errors
from vdeblur.evaluation.results import ClipResult, Evaluation, Speed, Stability
from vdeblur.evaluation.scoring import Alteration, Fidelity, FidelityMean, alteration_of, mean, restored_frames
from vdeblur.evaluation.stability import drift, flicker, seconds_per_frame
from vdeblur.evaluation.synthetic import SyntheticSet, clip_name
from vdeblur.metrics import capped, psnr

#: Clips that the contact sheet shows, at most, shared among the strata.
SHEET_CLIPS = 12

STILLS_HINT = (
    "a synthetic set needs sharp photographs: give their folder with --stills; the published numbers use the 24 Kodak "
    "pictures, https://r0k.us/graphics/kodak/"
)


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is; ``now`` says what comes next."""

    done: int
    total: int
    now: str


@dataclass(frozen=True, eq=False)
class _Survey:
    """What is known of a clip before any method has seen it."""

    case: Case
    size: tuple[int, int]
    input: Fidelity


def evaluate(
    models: Sequence[str],
    data: Sequence[str | Path],
    *,
    stills: str | Path | None = None,
    baselines: Sequence[str] = tuple(BASELINES),
    device: str = "auto",
    precision: str = "auto",
    lookahead: int = 1,
    stability: bool = False,
    sheet: str | Path | None = None,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Evaluation:
    """Score networks and baselines on blurred clips whose truth is known.

    Clips are read frame by frame, once for each method. All pairs of files are read through and compared before the
    first network runs, so that a false pair is named before hours are spent.

    Example::

        from vdeblur.evaluation import evaluate

        found = evaluate(["fast"], ["pairs", "test_synthetic"], stills="kodak", sheet="sheet.png")
        for summary in found.summaries():
            print(summary.dataset, summary.stratum, summary.method, summary.gain_db)

    Args:
        models: names of networks, paths of checkpoints, or "identity".
        data: folders of pairs, and names or paths of synthetic sets ("test_synthetic").
        stills: folder of sharp photographs for the synthetic sets.
        baselines: of "unsharp" and "wiener".
        device, precision, lookahead: as for :class:`vdeblur.engine.deblurrer.Deblurrer`.
        stability: also measure drift and flicker of the networks, on one clip of each stratum.
        sheet: picture file for crops of blurred, restored and true frames.
        progress: called in this thread before each clip and method.

    Raises:
        UsageError: a model, a folder, a config or a pair cannot be; before the first network runs.
        SourceError, NetworkError, DeviceError, TargetError: as for any restoration.
    """
    if not models or not data:
        raise UsageError("give at least one model and one folder of pairs or synthetic set")
    methods = make_methods(models, baselines, device=device, precision=precision, lookahead=lookahead)
    sources = _sources(data, stills)
    crops = (
        None if sheet is None else ContactSheet(checked_target(Path(sheet), sources.files), [m.name for m in methods])
    )
    job = _Job(methods, sources, crops, stability=stability, progress=progress)
    job.run()
    if crops is not None:
        crops.write()
    return job.evaluation()


@dataclass(frozen=True, eq=False)
class _Sources:
    """Everything that is evaluated: pairs of files, and sets whose clips are made."""

    files: list[Case]
    sets: list[SyntheticSet]

    @property
    def count(self) -> int:
        return len(self.files) + sum(sum(made.counts.values()) for made in self.sets)

    def shown(self) -> set[tuple[str, str]]:
        """(data set, clip) of those the contact sheet shows: evenly spread over each folder and stratum."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for case in self.files:
            groups.setdefault(case.dataset, []).append((case.dataset, case.name))
        for made in self.sets:
            for stratum, number in made.counts.items():
                groups[f"{made.name}/{stratum}"] = [(made.name, clip_name(stratum, index)) for index in range(number)]
        share = max(1, SHEET_CLIPS // len(groups))
        return {group[index * len(group) // share] for group in groups.values() for index in range(share)}


class _Job:
    """One evaluation on its way."""

    def __init__(
        self,
        methods: Sequence[Method],
        sources: _Sources,
        sheet: ContactSheet | None,
        *,
        stability: bool,
        progress: Callable[[EvaluationProgress], None] | None,
    ) -> None:
        self._methods, self._sources, self._sheet = methods, sources, sheet
        self._wants_stability, self._progress = stability, progress
        self._shown = sources.shown()
        self._total = sources.count * (len(methods) + 1)
        self._done = 0
        self._clips: list[ClipResult] = []
        self._speeds: dict[tuple[str, tuple[int, int]], Speed] = {}
        self._stability: dict[tuple[str, str, str], Stability] = {}

    def run(self) -> None:
        for survey in self._surveys():
            for method in self._methods:
                self._tell(survey.case, method.name)
                self._clips.append(self._score(method, survey))
                self._time(method, survey)
                if self._wants_stability and not method.is_baseline and survey.input.frames > 1:
                    self._watch(method, survey.case)

    def evaluation(self) -> Evaluation:
        """What has been found."""
        engine = self._methods[-1].deblurrer
        conditions = {
            "device": str(engine.device),
            "precision": str(engine.dtype).removeprefix("torch."),
            "lookahead": engine.lookahead,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "stills": {
                made.name: {"count": len(made.stills), "digest": made.stills_digest} for made in self._sources.sets
            },
        }
        names = tuple(method.name for method in self._methods)
        speeds, stability = tuple(self._speeds.values()), tuple(self._stability.values())
        return Evaluation(names, conditions, tuple(self._clips), speeds, stability)

    def _surveys(self) -> Iterator[_Survey]:
        """Files first, all surveyed before the first is given; synthetic clips as they are made."""
        yield from [self._survey(case) for case in self._sources.files]
        for made in self._sources.sets:
            for case in made.cases():
                yield self._survey(case)

    def _survey(self, case: Case) -> _Survey:
        """Read a pair through: compare it as it is, and choose what the sheet will show."""
        self._tell(case, "as it is")
        tally, search, size = FidelityMean(), SpotSearch(case), (0, 0)
        with case.blurry() as blurry, case.sharp() as sharp:
            for number, (frame, truth) in enumerate(in_step(blurry, sharp, case)):
                pictures = rgb_of(frame), rgb_of(truth)
                tally.add(*pictures)
                search.look(number, *pictures)
                size = frame.size
        found = tally.result()
        if not case.stratum:
            case = replace(case, stratum="videos" if found.frames > 1 else "photos")
        if self._sheet is not None and (case.dataset, case.name) in self._shown:
            self._sheet.begin(case, search.spots())
        return _Survey(case, size, found)

    def _score(self, method: Method, survey: _Survey) -> ClipResult:
        case, tally, changes = survey.case, FidelityMean(), []
        for number, (frame, restored, truth) in enumerate(restored_frames(method.deblurrer, case)):
            before, after, true = rgb_of(frame), rgb_of(restored), rgb_of(truth)
            tally.add(after, true)
            changes.append(capped(psnr(after, before)))
            if self._sheet is not None:
                for column, picture in (("blurred", before), (method.name, after), ("truth", true)):
                    self._sheet.add(case, column, number, picture)
        with case.sharp() as frames:
            harm = alteration_of(method.deblurrer, frames)
        height, width = survey.size
        return ClipResult(
            dataset=case.dataset,
            stratum=case.stratum,
            clip=case.name,
            method=method.name,
            width=width,
            height=height,
            input=survey.input,
            output=tally.result(),
            change=Alteration(mean(changes), min(changes)),
            harm=harm,
            motion=motion_errors(method.deblurrer, case),
        )

    def _time(self, method: Method, survey: _Survey) -> None:
        key = (method.name, survey.size)
        if key not in self._speeds:
            seconds = seconds_per_frame(method.deblurrer, survey.case)
            height, width = survey.size
            self._speeds[key] = Speed(method.name, width, height, seconds)

    def _watch(self, method: Method, case: Case) -> None:
        """Drift and flicker, on the first clip of each stratum."""
        key = (case.dataset, case.stratum, method.name)
        if key not in self._stability:
            long, still = drift(method.deblurrer, case), flicker(method.deblurrer, case)
            self._stability[key] = Stability(case.dataset, case.stratum, case.name, method.name, long, still)

    def _tell(self, case: Case, doing: str) -> None:
        if self._progress is not None:
            self._progress(EvaluationProgress(self._done, self._total, f"{case.dataset}/{case.name}: {doing}"))
        self._done += 1


def _sources(data: Sequence[str | Path], stills: str | Path | None) -> _Sources:
    """Folders of pairs and synthetic sets, checked as far as headers and configs go."""
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
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice: name each folder and each synthetic set once")
    return _Sources(files, sets)


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
