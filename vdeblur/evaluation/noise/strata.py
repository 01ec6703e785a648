"""Strata of noise: clips with one kind of it, restored by networks and by denoisers before a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vdeblur.evaluation.noise.clips import (
    TrueClip,
    added,
    as_8bit_frames,
    as_frames,
    corrections,
    mean_psnr,
    restored,
    rgb_pictures,
    timed,
)
from vdeblur.evaluation.noise.denoisers import Denoiser, run_denoiser
from vdeblur.evaluation.noise.kinds import NoiseKind
from vdeblur.evaluation.noise.methods import GuidedNetwork
from vdeblur.evaluation.noise.scores import Correction, NoiseScore, score_correction
from vdeblur.evaluation.scoring import mean
from vdeblur.frames import Frame

#: What a network without its guide is called.
NO_GUIDE = ", no guide"
#: Another noise than that of the blurred clips, for sharp ones.
_SHARP_SEED = 1_000_000


@dataclass(frozen=True, eq=False)
class Stratum:
    """Clips of a data set with one kind of noise.

    Args:
        clean_gains: gain on clean clips by clip and network, which all strata of a data set share.
    """

    kind: NoiseKind
    networks: Sequence[GuidedNetwork]
    clean_gains: dict[tuple[str, str], float]

    def score_networks(self, clip: TrueClip) -> list[NoiseScore]:
        """Scores of every network, without and with its guide."""
        frames = self.kind.frames(clip.blurred)
        sharp_frames = self.kind.frames(clip.sharp, seed=_SHARP_SEED)
        return [
            self._score(clip, frames, sharp_frames, network, guided=guided)
            for network in self.networks
            for guided in (False, True)
            if not guided or network.kept is not None
        ]

    def score_denoiser(self, denoiser: Denoiser, clips: Callable[[], Iterable[TrueClip]]) -> list[NoiseScore]:
        """Scores of a denoiser before the first network, at the setting that is best over all clips."""
        gains: dict[str, list[float]] = {setting: [] for setting in denoiser.settings}
        for clip in clips():
            noisy = rgb_pictures(self.kind.frames(clip.blurred))
            before = mean_psnr(noisy, clip.sharp)
            for setting, values in gains.items():
                denoised = run_denoiser(denoiser, torch.stack(noisy), setting).pictures
                values.append(mean_psnr(list(denoised), clip.sharp) - before)
        best = max(gains, key=lambda setting: mean(gains[setting]))
        return [self._score_denoised(clip, denoiser, best) for clip in clips()]

    def _score(
        self, clip: TrueClip, frames: list[Frame], sharp_frames: list[Frame], network: GuidedNetwork, *, guided: bool
    ) -> NoiseScore:
        deblurrer = network.kept if guided else network.plain
        assert deblurrer is not None
        noisy = rgb_pictures(frames)
        run = timed(deblurrer, frames)
        harm = corrections(restored(deblurrer, sharp_frames), rgb_pictures(sharp_frames))
        before = mean_psnr(noisy, clip.sharp)
        denoised, removed = (
            None if each is None or not guided else mean_psnr(restored(each, frames), clip.sharp) - before
            for each in (network.denoised, network.removed)
        )
        return self._named(
            clip,
            noisy,
            network,
            score_correction(run.pictures, noisy, noisy=noisy, clean=clip.blurred, sharp=clip.sharp),
            method=network.name if guided else network.name + NO_GUIDE,
            denoised_gain_db=denoised,
            removed_gain_db=removed,
            sharp_psnr=mean_psnr(added(clip.sharp, harm), clip.sharp),
            seconds=run.seconds,
        )

    def _score_denoised(self, clip: TrueClip, denoiser: Denoiser, setting: str) -> NoiseScore:
        network = self.networks[0]
        noisy = rgb_pictures(self.kind.frames(clip.blurred))
        before = mean_psnr(noisy, clip.sharp)
        run = run_denoiser(denoiser, torch.stack(noisy), setting)
        denoised = [picture.clamp(0, 1) for picture in run.pictures]
        after = restored(network.plain, as_frames(denoised))
        return self._named(
            clip,
            noisy,
            network,
            score_correction(after, denoised, noisy=noisy, clean=clip.blurred, sharp=clip.sharp),
            method=f"{denoiser.name}, {network.name}",
            setting=setting,
            denoised_gain_db=mean_psnr(denoised, clip.sharp) - before,
            removed_gain_db=mean_psnr(after, clip.sharp) - before,
            sharp_psnr=None,
            seconds=run.seconds,
        )

    def _named(
        self, clip: TrueClip, noisy: Sequence[Tensor], network: GuidedNetwork, correction: Correction, **words: Any
    ) -> NoiseScore:
        """A score with what is common to all methods."""
        return NoiseScore(
            dataset=clip.dataset,
            noise=self.kind.name,
            clip=clip.name,
            frames=len(noisy),
            psnr_input=mean_psnr(noisy, clip.sharp),
            clean_gain_db=self._clean_gain(clip, network),
            kept_gain_db=correction.kept_gain_db,
            seen_gain_db=correction.seen_gain_db,
            **words,
        )

    def _clean_gain(self, clip: TrueClip, network: GuidedNetwork) -> float:
        """What the network gains on the clip before its noise."""
        key = (clip.name, network.name)
        if key not in self.clean_gains:
            after = restored(network.plain, as_8bit_frames(clip.blurred))
            self.clean_gains[key] = mean_psnr(after, clip.sharp) - mean_psnr(clip.blurred, clip.sharp)
        return self.clean_gains[key]
