"""Noise evaluation: every network and denoiser on every clip with every kind of noise, and on pairs of real noise."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import Case
from vdeblur.evaluation.ladder import LADDER_STEP, SHARP
from vdeblur.evaluation.noise.clips import MOST_FRAMES, TrueClip, true_clip
from vdeblur.evaluation.noise.denoisers import DENOISERS, Denoiser
from vdeblur.evaluation.noise.kinds import NoiseKind
from vdeblur.evaluation.noise.methods import GuidedNetwork, guided_networks
from vdeblur.evaluation.noise.photos import noise_pair_cases, score_photo_denoiser, score_photo_network
from vdeblur.evaluation.noise.results import NoiseEvaluation
from vdeblur.evaluation.noise.scores import NoiseScore, PhotoScore
from vdeblur.evaluation.noise.steadiness import SCENES, Steadiness, steadiness
from vdeblur.evaluation.noise.strata import Stratum
from vdeblur.evaluation.progress import EvaluationProgress
from vdeblur.evaluation.sources import find_sources


@dataclass(frozen=True, kw_only=True)
class NoiseSources:
    """What is looked at: clips of pairs, ladders and synthetic sets, each with kinds of noise; pairs of real noise."""

    data: Sequence[str | Path] = ()
    stills: str | Path | None = None
    ladders: Sequence[str | Path] = ()
    ladder_step: int = LADDER_STEP
    kinds: Sequence[NoiseKind] = ()
    #: Folder of NAME.noisy.EXT beside NAME.clean.EXT.
    noise_pairs: str | Path | None = None

    def __post_init__(self) -> None:
        if self.kinds and not (self.data or self.ladders):
            raise UsageError("--add-noise is laid over clips: give a folder of pairs, a synthetic set or --ladder")
        if not self.kinds and self.noise_pairs is None:
            raise UsageError("give kinds of noise, or a folder of noisy and clean pictures")
        if not self.kinds and (self.data or self.ladders):
            raise UsageError("--noise-pairs alone takes no other data: add --add-noise, or leave DATA out")

    def data_sets(self) -> list[list[Case]]:
        """Clips of each data set; rungs of a ladder and synthetic clips that are sharp have no deblurring to lose.

        Raises:
            UsageError, SourceError: as :func:`vdeblur.evaluation.sources.find_sources`.
        """
        if not self.kinds:
            return []
        found = find_sources(
            self.data, stills=self.stills, ladders=self.ladders, ladder_step=self.ladder_step, true_exposures={}
        )
        cases = [*found.files, *(case for maker in found.makers for case in maker.cases())]
        cases = [case for case in cases if case.stratum != SHARP]
        names = dict.fromkeys(case.dataset for case in cases)
        return [[case for case in cases if case.dataset == name] for name in names]


def evaluate_noise(
    models: Sequence[str],
    sources: NoiseSources,
    *,
    denoisers: Sequence[str] = (),
    guide: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    lookahead: int = 1,
    stability: bool = False,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> NoiseEvaluation:
    """Score networks under noise, beside denoisers.

    Clips are cut to their first 60 frames and held in memory. Each network runs without a guide, with the noise kept,
    and with the noise taken out; the first of them also runs behind each denoiser at its best setting.

    Example::

        from vdeblur.evaluation.noise import NoiseSources, evaluate_noise, noise_kinds

        sources = NoiseSources(data=["pairs"], kinds=noise_kinds("white10,crf23"))
        found = evaluate_noise(["fast"], sources, denoisers=["bilateral"])
        for mean in found.means():
            print(mean.noise, mean.method, mean.share, mean.removed_gain_db)

    Args:
        models: names of networks, paths of checkpoints, or "identity".
        denoisers: names of :data:`vdeblur.evaluation.noise.denoisers.DENOISERS`.
        guide, device, precision, lookahead: as for :class:`vdeblur.engine.deblurrer.Deblurrer`.
        stability: also restore a still and a panning scene of 500 frames, made of each data set's first clip.
        progress: called in this thread before each piece of work.

    Raises:
        UsageError: a model, a folder, a config or a pair cannot be.
        SourceError, NetworkError, DeviceError, TargetError: as for any restoration.
    """
    if not models:
        raise UsageError("give at least one model")
    if stability and all(kind.crf is not None for kind in sources.kinds):
        raise UsageError("long scenes are made of noise that is not coded: add white10 or another such kind to it")
    networks = guided_networks(models, guide=guide, device=device, precision=precision, lookahead=lookahead)
    pairs = [] if sources.noise_pairs is None else noise_pair_cases(Path(sources.noise_pairs))
    job = _Job(networks, [DENOISERS[name] for name in denoisers], sources.kinds, sources.data_sets(), progress)
    job.strata()
    job.photos(pairs)
    if stability:
        job.scenes()
    conditions = {
        "device": str(networks[0].plain.device),
        "guide": guide,
        "lookahead": lookahead,
        "most_frames": MOST_FRAMES,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return NoiseEvaluation(conditions, tuple(job.scores), tuple(job.photo_scores), tuple(job.steady))


@dataclass(eq=False)
class _Job:
    """One evaluation on its way."""

    networks: Sequence[GuidedNetwork]
    denoisers: Sequence[Denoiser]
    kinds: Sequence[NoiseKind]
    data_sets: Sequence[Sequence[Case]]
    progress: Callable[[EvaluationProgress], None] | None
    scores: list[NoiseScore] = field(default_factory=list)
    photo_scores: list[PhotoScore] = field(default_factory=list)
    steady: list[Steadiness] = field(default_factory=list)
    _done: int = 0

    def strata(self) -> None:
        """Every data set with every kind of noise."""
        for cases in self.data_sets:
            clean_gains: dict[tuple[str, str], float] = {}
            for kind in self.kinds:
                stratum = Stratum(kind, self.networks, clean_gains)
                for case in cases:
                    self._tell(f"{case.dataset}/{case.name}: {kind.name}")
                    self.scores += stratum.score_networks(true_clip(case))
                for denoiser in self.denoisers:
                    self._tell(f"{cases[0].dataset}: {kind.name}: {denoiser.name}")
                    self.scores += stratum.score_denoiser(denoiser, partial(map, true_clip, cases))

    def photos(self, pairs: Sequence[Case]) -> None:
        """Every pair of a noisy and a clean picture."""
        for case in pairs:
            self._tell(f"{case.dataset}/{case.name}")
            clip = true_clip(case)
            for network in self.networks:
                if network.denoised is not None:
                    self.photo_scores.append(score_photo_network(case, clip, network.name, network.denoised))
            for denoiser in self.denoisers:
                self.photo_scores += score_photo_denoiser(clip, denoiser)

    def scenes(self) -> None:
        """Long scenes made of the first clip of each data set."""
        kinds = [kind for kind in self.kinds if kind.crf is None]
        for cases in self.data_sets:
            clip = true_clip(cases[0])
            for kind in kinds:
                for network in self.networks:
                    self._watch(clip, kind, network)

    def _watch(self, clip: TrueClip, kind: NoiseKind, network: GuidedNetwork) -> None:
        for how, deblurrer in (("", network.kept or network.plain), (", noise removed", network.removed)):
            for scene in SCENES:
                if deblurrer is not None:
                    name = network.name + how
                    self._tell(f"{clip.dataset}/{clip.name}: {kind.name}: {scene}: {name}")
                    self.steady.append(steadiness(deblurrer, clip, kind, scene=scene, method=name))

    def _tell(self, now: str) -> None:
        if self.progress is not None:
            self.progress(EvaluationProgress(self._done, None, now))
        self._done += 1
