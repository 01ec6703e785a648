"""Scores under noise: what the deblurring is worth where the noise stays, and all together where it goes.

Where noise stays in the picture, PSNR against the truth mostly counts the noise. So the *correction*, output minus
input, is judged by itself: it is added to the clip as it was before the noise, and that gain is compared with what the
network gains there (``kept``). It equals the gain of the noisy clip against the sharp one with the same noise, but for
rounding. Noise that the correction itself carries counts as error, and noise that it happens to smooth counts as none;
``seen`` is the plain gain against the truth, where both count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from vdeblur.evaluation.noise.clips import added, corrections, mean_psnr
from vdeblur.evaluation.scoring import mean

PROTOCOL = (
    "R'G'B' rounded to 8 bits, no crop, the first frames of each clip; PSNR in dB, mean over frames; clean: gain of "
    "the network on the clip without noise; kept: gain of that clip with the correction (output minus input) that the "
    "noisy one got, which is the gain against the truth with the same noise; share: kept / clean, of means; seen: gain "
    "of the noisy clip with the noise in it; removed: gain with the noise taken out and the correction added; "
    "denoised: without the correction; sharp: PSNR of the sharp clip with the correction that it got under the same "
    "noise; denoisers are at the setting with the best denoised gain over all clips, by the truth"
)


@dataclass(frozen=True)
class NoiseScore:
    """One method on one clip with one kind of noise; gains in dB, None where the method has none."""

    dataset: str
    noise: str
    clip: str
    method: str
    frames: int
    psnr_input: float
    clean_gain_db: float
    kept_gain_db: float
    seen_gain_db: float
    denoised_gain_db: float | None
    removed_gain_db: float | None
    #: PSNR of the sharp clip with the correction that it got under noise; None where it was not measured.
    sharp_psnr: float | None
    #: Seconds a frame of the whole work with the noise kept; of a denoiser alone.
    seconds: float
    #: Setting of a denoiser; empty for a network.
    setting: str = ""


@dataclass(frozen=True)
class NoiseMean:
    """One method over the clips of a data set with one kind of noise."""

    dataset: str
    noise: str
    method: str
    setting: str
    clips: int
    psnr_input: float
    clean_gain_db: float
    kept_gain_db: float
    #: Kept by clean gain, of the means; None where the network gains nothing on clean clips.
    share: float | None
    worst_share: float | None
    seen_gain_db: float
    denoised_gain_db: float | None
    removed_gain_db: float | None
    worst_removed_gain_db: float | None
    sharp_psnr: float | None
    seconds: float


@dataclass(frozen=True)
class PhotoScore:
    """One denoiser, the guide among them, on one pair of a noisy and a clean picture or clip."""

    dataset: str
    clip: str
    method: str
    setting: str
    psnr_input: float
    ssim_input: float
    psnr: float
    ssim: float
    seconds: float

    @property
    def gain_db(self) -> float:
        return self.psnr - self.psnr_input


@dataclass(frozen=True)
class PhotoMean:
    """One denoiser over all pairs: means, the worst of them, and how many lose more than 0.1 dB."""

    dataset: str
    method: str
    setting: str
    pairs: int
    psnr_input: float
    gain_db: float
    worst_gain_db: float
    losing: int
    ssim_input: float
    ssim: float
    seconds: float


#: Loss in dB from which a pair counts as harmed.
HARM_DB = 0.1


@dataclass(frozen=True)
class Correction:
    """What a method adds to a clip under noise: scores of the part that deblurs."""

    kept_gain_db: float
    seen_gain_db: float


def score_correction(
    after: Sequence[Tensor],
    before: Sequence[Tensor],
    *,
    noisy: Sequence[Tensor],
    clean: Sequence[Tensor],
    sharp: Sequence[Tensor],
) -> Correction:
    """Gains of the change from ``before`` to ``after`` on the clip before its noise, and on the noisy one.

    All are pictures (3, H, W), R'G'B' in [0, 1].
    """
    changes = corrections(after, before)
    kept = mean_psnr(added(clean, changes), sharp) - mean_psnr(clean, sharp)
    return Correction(kept, mean_psnr(added(noisy, changes), sharp) - mean_psnr(noisy, sharp))


def noise_means(scores: Sequence[NoiseScore]) -> list[NoiseMean]:
    """Means of each method, in the order of the scores."""
    keys = dict.fromkeys((score.dataset, score.noise, score.method) for score in scores)
    return [_noise_mean([s for s in scores if (s.dataset, s.noise, s.method) == key]) for key in keys]


def _noise_mean(scores: Sequence[NoiseScore]) -> NoiseMean:
    first = scores[0]
    clean, kept = (mean(getattr(score, name) for score in scores) for name in ("clean_gain_db", "kept_gain_db"))
    shares = [score.kept_gain_db / score.clean_gain_db for score in scores if score.clean_gain_db > 0]
    removed = _known(score.removed_gain_db for score in scores)
    return NoiseMean(
        dataset=first.dataset,
        noise=first.noise,
        method=first.method,
        setting=first.setting,
        clips=len(scores),
        psnr_input=mean(score.psnr_input for score in scores),
        clean_gain_db=clean,
        kept_gain_db=kept,
        share=kept / clean if clean > 0 else None,
        worst_share=min(shares, default=None),
        seen_gain_db=mean(score.seen_gain_db for score in scores),
        denoised_gain_db=_mean_of_known(score.denoised_gain_db for score in scores),
        removed_gain_db=mean(removed) if removed else None,
        worst_removed_gain_db=min(removed, default=None),
        sharp_psnr=_mean_of_known(score.sharp_psnr for score in scores),
        seconds=mean(score.seconds for score in scores),
    )


def photo_means(scores: Sequence[PhotoScore]) -> list[PhotoMean]:
    """Means of each denoiser at each setting, in the order of the scores."""
    keys = dict.fromkeys((score.dataset, score.method, score.setting) for score in scores)
    return [_photo_mean([s for s in scores if (s.dataset, s.method, s.setting) == key]) for key in keys]


def _photo_mean(scores: Sequence[PhotoScore]) -> PhotoMean:
    def over(value: Callable[[PhotoScore], float]) -> float:
        return mean(map(value, scores))

    gains = [score.gain_db for score in scores]
    return PhotoMean(
        dataset=scores[0].dataset,
        method=scores[0].method,
        setting=scores[0].setting,
        pairs=len(scores),
        psnr_input=over(lambda score: score.psnr_input),
        gain_db=mean(gains),
        worst_gain_db=min(gains),
        losing=sum(gain < -HARM_DB for gain in gains),
        ssim_input=over(lambda score: score.ssim_input),
        ssim=over(lambda score: score.ssim),
        seconds=over(lambda score: score.seconds),
    )


def with_best_settings(means: Sequence[PhotoMean]) -> list[PhotoMean]:
    """Of each denoiser, the setting with the largest mean gain."""
    best: dict[tuple[str, str], PhotoMean] = {}
    for one in means:
        key = (one.dataset, one.method)
        if key not in best or one.gain_db > best[key].gain_db:
            best[key] = one
    return list(best.values())


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return mean(known) if known else None
