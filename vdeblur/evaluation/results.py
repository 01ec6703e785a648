"""Evaluation results: scores of each clip, their means by stratum, and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from vdeblur.evaluation.cases import Kind
from vdeblur.evaluation.clip_tally import AlignedFidelity
from vdeblur.evaluation.exposure_readings import ExposureScore
from vdeblur.evaluation.motion import MotionErrors
from vdeblur.evaluation.scoring import Alteration, Fidelity, mean
from vdeblur.evaluation.selection import (
    BLURRED_STRATA,
    SELECTION_PROTOCOL,
    DifficultyMean,
    Selection,
    choosing_names,
    difficulty_means,
    selections,
)
from vdeblur.evaluation.stability import Drift, Flicker
from vdeblur.metrics import MOST_DECIBELS

#: What the mean of a synthetic set's mild and strong blur is called.
BLURRED = "blurred"

PROTOCOL = (
    "R'G'B' rounded to 8 bits, no crop, all frames; PSNR in dB is the mean over frames, a frame equal to the truth "
    "counting as 100 dB; means over clips weigh each clip the same; a clip that equals its truth has no gain; aligned: "
    "against the truth moved by the least-squares shift between it and the blurred clip, one for the clip and the same "
    "for input and outputs, 1 px each way at most, by a windowed sinc, without 2 px at each border; exposure: fraction "
    "of the frame interval, means and mean absolute error from the third frame on"
)


@dataclass(frozen=True)
class ClipResult:
    """One method on one clip. ``input`` is the blurred clip against the truth, ``output`` the restored one."""

    kind: Kind
    dataset: str
    stratum: str
    clip: str
    method: str
    width: int
    height: int
    input: Fidelity
    output: Fidelity
    #: The most negative gain of a single frame; None where all equal the truth as they come.
    worst_frame_gain_db: float | None
    #: Both against the aligned truth.
    aligned: AlignedFidelity
    #: Output against input, when the blurred clip goes in and when the true one does ("do no harm").
    change: Alteration
    harm: Alteration
    exposure: ExposureScore
    motion: MotionErrors | None

    @property
    def psnr_input(self) -> float:
        return self.input.psnr

    @property
    def gain_db(self) -> float | None:
        """PSNR after minus PSNR before; None if the blurred clip equals its truth, so that nothing can be gained."""
        return None if self.input.psnr == MOST_DECIBELS else self.output.psnr - self.input.psnr

    @property
    def aligned_gain_db(self) -> float | None:
        """The same against the aligned truth."""
        return None if self.gain_db is None else self.aligned.psnr - self.aligned.psnr_input


@dataclass(frozen=True)
class Summary:
    """One method on the clips of one stratum."""

    dataset: str
    stratum: str
    method: str
    clips: int
    psnr_input: float
    psnr: float
    #: Means over the clips that do not equal their truth; the worst clip, and the worst single frame.
    gain_db: float | None
    aligned_gain_db: float | None
    worst_gain_db: float | None
    worst_frame_gain_db: float | None
    ssim_input: float
    ssim: float
    temporal_psnr_input: float | None
    temporal_psnr: float | None
    #: Output against input on the blurred clips themselves, mean.
    change_psnr: float
    #: Output against input when the true clips go in: mean, worst clip and worst frame.
    harm_psnr: float
    harm_worst_clip_psnr: float
    harm_worst_frame_psnr: float
    #: Mean absolute error of the exposure fraction that was read, where the true one is known.
    exposure_error: float | None
    motion: MotionErrors | None


@dataclass(frozen=True)
class Speed:
    """Median seconds a frame of one size, without reading and writing."""

    method: str
    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class Stability:
    """A long clip and a static scene made from one clip."""

    dataset: str
    stratum: str
    clip: str
    method: str
    drift: Drift
    flicker: Flicker


@dataclass(frozen=True)
class Evaluation:
    """All that was found."""

    methods: tuple[str, ...]
    #: Device, precision and lookahead; versions; the photographs behind synthetic clips.
    conditions: dict[str, Any]
    clips: tuple[ClipResult, ...]
    speeds: tuple[Speed, ...]
    stability: tuple[Stability, ...]

    def summaries(self) -> list[Summary]:
        """Means of every stratum, in the order of the clips; mild and strong blur also together as "blurred"."""
        found = []
        for dataset in _unique(clip.dataset for clip in self.clips):
            here = [clip for clip in self.clips if clip.dataset == dataset]
            strata: dict[str, tuple[str, ...]] = {
                stratum: (stratum,) for stratum in _unique(clip.stratum for clip in here)
            }
            if all(stratum in strata for stratum in BLURRED_STRATA):
                strata[BLURRED] = BLURRED_STRATA
            for name, parts in strata.items():
                for method in self.methods:
                    clips = [clip for clip in here if clip.stratum in parts and clip.method == method]
                    found.append(_summary(name, clips))
        return found

    def difficulties(self) -> list[DifficultyMean]:
        """Means by the input's PSNR, over all data together."""
        return difficulty_means(self.clips, self.methods)

    def selections(self) -> list[Selection]:
        """The score that chooses a model; empty unless pairs, a ladder and a synthetic set were all given."""
        return selections(self.clips, self.methods)

    def as_dict(self) -> dict[str, Any]:
        """Everything as what JSON has words for."""
        return {
            "protocol": PROTOCOL,
            "conditions": self.conditions,
            "methods": list(self.methods),
            "summaries": [asdict(summary) for summary in self.summaries()],
            "difficulties": [asdict(each) for each in self.difficulties()],
            "selection": self._selection(),
            "speeds": [asdict(speed) for speed in self.speeds],
            "stability": [{**asdict(entry), "drift_db": entry.drift.drift_db} for entry in self.stability],
            "clips": [
                {**asdict(clip), "gain_db": clip.gain_db, "aligned_gain_db": clip.aligned_gain_db}
                for clip in self.clips
            ],
        }

    def _selection(self) -> dict[str, Any] | None:
        """Scores that choose a model, and the clips that chose it."""
        scores = [asdict(each) for each in self.selections()]
        if not scores:
            return None
        return {"protocol": SELECTION_PROTOCOL, "clips": choosing_names(self.clips), "scores": scores}


def _summary(stratum: str, clips: Sequence[ClipResult]) -> Summary:
    def over(value: Callable[[ClipResult], float]) -> float:
        return mean(value(clip) for clip in clips)

    pairs = [(c.input.temporal_psnr, c.output.temporal_psnr) for c in clips]
    temporal = [(before, after) for before, after in pairs if before is not None and after is not None]
    motions = [clip.motion for clip in clips if clip.motion is not None]
    gains = [clip.gain_db for clip in clips if clip.gain_db is not None]
    aligned = [clip.aligned_gain_db for clip in clips if clip.aligned_gain_db is not None]
    frame_gains = [clip.worst_frame_gain_db for clip in clips if clip.worst_frame_gain_db is not None]
    errors = [clip.exposure.error for clip in clips if clip.exposure.error is not None]
    return Summary(
        dataset=clips[0].dataset,
        stratum=stratum,
        method=clips[0].method,
        clips=len(clips),
        psnr_input=over(lambda clip: clip.input.psnr),
        psnr=over(lambda clip: clip.output.psnr),
        gain_db=mean(gains) if gains else None,
        aligned_gain_db=mean(aligned) if aligned else None,
        worst_gain_db=min(gains, default=None),
        worst_frame_gain_db=min(frame_gains, default=None),
        ssim_input=over(lambda clip: clip.input.ssim),
        ssim=over(lambda clip: clip.output.ssim),
        temporal_psnr_input=mean(before for before, _ in temporal) if temporal else None,
        temporal_psnr=mean(after for _, after in temporal) if temporal else None,
        change_psnr=over(lambda clip: clip.change.psnr),
        harm_psnr=over(lambda clip: clip.harm.psnr),
        harm_worst_clip_psnr=min(clip.harm.psnr for clip in clips),
        harm_worst_frame_psnr=min(clip.harm.worst_frame_psnr for clip in clips),
        exposure_error=mean(errors) if errors else None,
        motion=_mean_motion(motions) if motions else None,
    )


def _mean_motion(errors: Sequence[MotionErrors]) -> MotionErrors:
    columns = zip(*(astuple(error) for error in errors), strict=True)
    return MotionErrors(*(mean(column) for column in columns))


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
