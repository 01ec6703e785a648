"""Tables of an evaluation under noise."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from vdeblur.cli.tables.plain import Titled, gain_words, number_words, plain_table, print_tables

if TYPE_CHECKING:
    from vdeblur.evaluation.noise import NoiseEvaluation


def write_noise_tables(found: NoiseEvaluation, stream: IO[str]) -> None:
    """Write the scores of every clip, their means, pairs of real noise, and long scenes."""
    print_tables((part(found) for part in (_clips, _means, _photos, _scenes)), stream)


def _clips(found: NoiseEvaluation) -> Titled:
    numbers = ["frames", "input", "clean", "kept", "share", "seen", "denoised", "removed", "sharp", "ms"]
    table = plain_table(["data", "clip", "noise", "method", "setting"], numbers)
    for one in found.clips:
        share = one.kept_gain_db / one.clean_gain_db if one.clean_gain_db > 0 else None
        table.add_row(
            *(one.dataset, one.clip, one.noise, one.method, one.setting, str(one.frames), f"{one.psnr_input:.2f}"),
            *(gain_words(one.clean_gain_db), gain_words(one.kept_gain_db), _percent(share)),
            *map(gain_words, (one.seen_gain_db, one.denoised_gain_db, one.removed_gain_db)),
            number_words(one.sharp_psnr),
            f"{1000 * one.seconds:.1f}",
        )
    return "Clips under noise: gains, dB", table


def _means(found: NoiseEvaluation) -> Titled:
    numbers = [
        "clips",
        "input",
        "clean",
        "kept",
        "share",
        "worst",
        "seen",
        "denoised",
        "removed",
        "worst",
        "sharp",
        "ms",
    ]
    table = plain_table(["data", "noise", "method", "setting"], numbers)
    for mean in found.means():
        table.add_row(
            *(mean.dataset, mean.noise, mean.method, mean.setting, str(mean.clips), f"{mean.psnr_input:.2f}"),
            *(gain_words(mean.clean_gain_db), gain_words(mean.kept_gain_db)),
            *map(_percent, (mean.share, mean.worst_share)),
            *map(gain_words, (mean.seen_gain_db, mean.denoised_gain_db)),
            *map(gain_words, (mean.removed_gain_db, mean.worst_removed_gain_db)),
            number_words(mean.sharp_psnr),
            f"{1000 * mean.seconds:.1f}",
        )
    return "Means under noise: gains, dB", table


def _photos(found: NoiseEvaluation) -> Titled:
    table = plain_table(
        ["data", "method", "setting"], ["pairs", "input", "gain", "worst", "losing", "SSIM", "was", "ms"]
    )
    for mean in found.photo_means():
        table.add_row(
            *(mean.dataset, mean.method, mean.setting, str(mean.pairs), f"{mean.psnr_input:.2f}"),
            *map(gain_words, (mean.gain_db, mean.worst_gain_db)),
            *(str(mean.losing), f"{mean.ssim:.4f}", f"{mean.ssim_input:.4f}", f"{1000 * mean.seconds:.1f}"),
        )
    return "Real noise, the denoiser alone: PSNR as it is, and gain, dB; losing: pairs that lose over 0.1 dB", table


def _scenes(found: NoiseEvaluation) -> Titled:
    numbers = ["frames", "flicker in", "out", "drift", "early", "late"]
    table = plain_table(["data", "clip", "noise", "scene", "method"], numbers)
    for one in found.scenes:
        table.add_row(
            *(one.dataset, one.clip, one.noise, one.scene, one.method, str(one.frames)),
            *(f"{one.flicker_input:.2f}", f"{one.flicker:.2f}", f"{one.drift_levels:+.3f}"),
            *(f"{one.early_psnr:.2f}", f"{one.late_psnr:.2f}"),
        )
    return "Long noisy scenes: temporal deviation of the error and drift, 8-bit levels; PSNR early and late, dB", table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
