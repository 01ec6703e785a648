"""Real noise: pairs of a noisy picture and a clean one, the mean of many shots; the denoiser alone is judged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.evaluation.cases import Case, file_cases
from vdeblur.evaluation.noise.clips import MOST_FRAMES, TrueClip, mean_psnr, timed
from vdeblur.evaluation.noise.denoisers import Denoiser, run_denoiser
from vdeblur.evaluation.noise.scores import PhotoScore
from vdeblur.evaluation.scoring import mean
from vdeblur.metrics import ssim

#: What the guide is called in tables: nothing but noise is taken out.
GUIDE = "guide of {}"


def noise_pair_cases(folder: Path) -> list[Case]:
    """Pairs NAME.noisy.EXT beside NAME.clean.EXT below a folder.

    Raises:
        UsageError: there is no such folder, no pair, half of one is missing, or their sizes differ.
        SourceError: a file cannot be read.
    """
    return file_cases(folder, dataset=folder.resolve().name, words=("noisy", "clean"))


def score_photo_network(case: Case, clip: TrueClip, network: str, denoised: Deblurrer) -> PhotoScore:
    """What the guide makes of a pair: all noise removed, no blur. The frames are the reader's, with their quantiser.

    Args:
        clip: the case's pictures.
        denoised: an engine that takes noise out and leaves blur.
    """
    with case.blurry() as frames:
        kept = list(islice(frames, MOST_FRAMES))
    run = timed(denoised, kept)
    height, width = clip.sharp[0].shape[-2:]
    pictures = [picture[:, :height, :width] for picture in run.pictures]
    return _score(clip, GUIDE.format(network), "", pictures, run.seconds)


def score_photo_denoiser(clip: TrueClip, denoiser: Denoiser) -> list[PhotoScore]:
    """What a denoiser makes of a pair, at each of its settings."""
    found = []
    for setting in denoiser.settings:
        run = run_denoiser(denoiser, torch.stack(clip.blurred), setting)
        found.append(_score(clip, denoiser.name, setting, list(run.pictures), run.seconds))
    return found


def _score(clip: TrueClip, method: str, setting: str, pictures: Sequence[Tensor], seconds: float) -> PhotoScore:
    return PhotoScore(
        dataset=clip.dataset,
        clip=clip.name,
        method=method,
        setting=setting,
        psnr_input=mean_psnr(clip.blurred, clip.sharp),
        ssim_input=_mean_ssim(clip.blurred, clip.sharp),
        psnr=mean_psnr(pictures, clip.sharp),
        ssim=_mean_ssim(pictures, clip.sharp),
        seconds=seconds,
    )


def _mean_ssim(pictures: Sequence[Tensor], truths: Sequence[Tensor]) -> float:
    return mean(ssim(one[None], true[None]) for one, true in zip(pictures, truths, strict=True))
