"""Evaluation run: every method on every clip, all arguments checked before the first network runs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.evaluation.alignment import Shift, ShiftSearch
from vdeblur.evaluation.baselines import BASELINES
from vdeblur.evaluation.cases import Case, in_step
from vdeblur.evaluation.clip_tally import ClipTally
from vdeblur.evaluation.contact_sheet import ContactSheet, SpotSearch, checked_target
from vdeblur.evaluation.exposure_readings import exposure_score, restored_and_read
from vdeblur.evaluation.ladder import LADDER_STEP
from vdeblur.evaluation.methods import Method, make_methods
from vdeblur.evaluation.motion import motion_errors
from vdeblur.evaluation.progress import EvaluationProgress
from vdeblur.evaluation.results import ClipResult, Evaluation, Speed, Stability
from vdeblur.evaluation.scoring import Alteration, Fidelity, FidelityMean, alteration_of, restored_beside_truth
from vdeblur.evaluation.sources import Sources, find_sources
from vdeblur.evaluation.stability import drift, flicker, seconds_per_frame


@dataclass(frozen=True, eq=False)
class _Survey:
    """What is known of a clip before any method has seen it."""

    case: Case
    size: tuple[int, int]
    input: Fidelity
    #: What lays the truth on the blurred clip.
    shift: Shift


def evaluate(
    models: Sequence[str],
    data: Sequence[str | Path] = (),
    *,
    stills: str | Path | None = None,
    ladders: Sequence[str | Path] = (),
    ladder_step: int = LADDER_STEP,
    true_exposures: Mapping[str, float] | None = None,
    baselines: Sequence[str] = tuple(BASELINES),
    guide: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    lookahead: int = 1,
    stability: bool = False,
    sheet: str | Path | None = None,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Evaluation:
    """Score networks and baselines on blurred clips whose truth is known.

    Clips are read frame by frame, once for each method, and restored as ``deblur_video`` restores files: the exposure
    is read from later frames, too. Only the speed is measured without that, one frame in, one out. All pairs
    of files are read through and compared before the first network runs, so that a false pair is named before hours
    are spent.

    Example::

        from vdeblur.evaluation import evaluate

        found = evaluate(["fast"], ["pairs", "test_synthetic"], stills="kodak", ladders=["slow_motion_240fps.mp4"])
        for summary in found.summaries():
            print(summary.dataset, summary.stratum, summary.method, summary.gain_db)
        print(found.selections())

    Args:
        models: names of networks, paths of checkpoints, or "identity".
        data: folders of pairs, and names or paths of synthetic sets ("test_synthetic").
        stills: folder of sharp photographs for the synthetic sets.
        ladders: high-rate clips, each averaged over 1, 3, 5 … of every ``ladder_step`` frames
            (:class:`vdeblur.evaluation.ladder.Ladder`).
        true_exposures: exposure fraction of pairs, where it is known: by folder, by FOLDER/CLIP, or by "" for all.
        baselines: of "unsharp" and "wiener".
        guide, device, precision, lookahead: as for :class:`vdeblur.engine.deblurrer.Deblurrer`.
        stability: also measure drift and flicker of the networks, on one clip of each stratum.
        sheet: picture file for crops of blurred, restored and true frames.
        progress: called in this thread before each clip and method.

    Raises:
        UsageError: a model, a folder, a config or a pair cannot be; before the first network runs.
        SourceError, NetworkError, DeviceError, TargetError: as for any restoration.
    """
    if not models or not (data or ladders):
        raise UsageError("give at least one model and one folder of pairs, synthetic set or --ladder")
    methods = make_methods(models, baselines, guide=guide, device=device, precision=precision, lookahead=lookahead)
    sources = find_sources(
        data, stills=stills, ladders=ladders, ladder_step=ladder_step, true_exposures=true_exposures or {}
    )
    crops = (
        None if sheet is None else ContactSheet(checked_target(Path(sheet), sources.files), [m.name for m in methods])
    )
    job = _Job(methods, sources, crops, stability=stability, progress=progress)
    job.run()
    if crops is not None:
        crops.write()
    return job.evaluation()


class _Job:
    """One evaluation on its way."""

    def __init__(
        self,
        methods: Sequence[Method],
        sources: Sources,
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
        #: By method and by truth, which the rungs of a ladder share.
        self._harm: dict[tuple[str, str], Alteration] = {}
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
            "ladders": {
                ladder.name: {"step": ladder.step, "frames": ladder.frames} for ladder in self._sources.ladders
            },
        }
        names = tuple(method.name for method in self._methods)
        speeds, stability = tuple(self._speeds.values()), tuple(self._stability.values())
        return Evaluation(names, conditions, tuple(self._clips), speeds, stability)

    def _surveys(self) -> Iterator[_Survey]:
        """Files first, all surveyed before the first is given; rungs and synthetic clips as they are made."""
        yield from [self._survey(case) for case in self._sources.files]
        for made in self._sources.makers:
            for case in made.cases():
                yield self._survey(case)

    def _survey(self, case: Case) -> _Survey:
        """Read a pair through: compare it as it is, find its shift, and choose what the sheet will show."""
        self._tell(case, "as it is")
        tally, search, shift, size = FidelityMean(), SpotSearch(case), ShiftSearch(), (0, 0)
        with case.blurry() as blurry, case.sharp() as sharp:
            for number, (frame, truth) in enumerate(in_step(blurry, sharp, case)):
                pictures = rgb_of(frame), rgb_of(truth)
                tally.add(*pictures)
                search.look(number, *pictures)
                shift.add(*pictures)
                size = frame.size
        found = tally.result()
        if not case.stratum:
            case = replace(case, stratum="videos" if found.frames > 1 else "photos")
        if self._sheet is not None and (case.dataset, case.name) in self._shown:
            self._sheet.begin(case, search.spots())
        return _Survey(case, size, found, shift.result())

    def _score(self, method: Method, survey: _Survey) -> ClipResult:
        case, tally, readings = survey.case, ClipTally(survey.shift), list[float]()
        restored = restored_beside_truth(case, lambda frames: restored_and_read(method.deblurrer, frames, readings))
        for number, each in enumerate(restored):
            before, after, true = (rgb_of(frame) for frame in each)
            tally.add(before, after, true)
            if self._sheet is not None:
                for column, picture in (("blurred", before), (method.name, after), ("truth", true)):
                    self._sheet.add(case, column, number, picture)
        height, width = survey.size
        return ClipResult(
            kind=case.kind,
            dataset=case.dataset,
            stratum=case.stratum,
            clip=case.name,
            method=method.name,
            width=width,
            height=height,
            input=survey.input,
            output=tally.output.result(),
            worst_frame_gain_db=tally.worst_frame_gain_db,
            aligned=tally.aligned(),
            change=tally.change(),
            harm=self._harm_of(method, case),
            exposure=exposure_score(case, readings),
            motion=motion_errors(method.deblurrer, case),
        )

    def _harm_of(self, method: Method, case: Case) -> Alteration:
        key = (method.name, case.sharp_name)
        if key not in self._harm:
            with case.sharp() as frames:
                self._harm[key] = alteration_of(method.deblurrer, frames)
        return self._harm[key]

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
