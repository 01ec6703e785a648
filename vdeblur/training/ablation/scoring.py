"""Ablation scores: gain on the test clips and cost of one variant."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vdeblur.errors import UsageError
from vdeblur.kernels.dispatch import without_kernels
from vdeblur.metrics import psnr
from vdeblur.model.deblur_net import DeblurNet
from vdeblur.model.exposure import motion_profile
from vdeblur.training.ablation.clips import ByteClips, known
from vdeblur.training.ablation.learning import restore
from vdeblur.training.ablation.settings import Variant
from vdeblur.training.losses import signless_error

#: Clips below this PSNR against the truth count as blurred, the others as near-sharp.
BLURRED_BELOW_DB = 32.0


def score(variant: Variant, net: DeblurNet, clips: ByteClips, batch: int) -> dict[str, float]:
    """Scores of a network on the test clips, as :class:`vdeblur.training.ablation.results.Result` names them."""
    net.eval()
    rows: list[dict[str, float]] = []
    with torch.inference_mode():
        for first in range(0, len(clips.blurry), batch):
            index = range(first, min(first + batch, len(clips.blurry)))
            clip = clips.chosen(index)
            blurry, sharp = clip.blurry, clip.sharp
            truth = known(clip.motion).flatten(0, 1)
            steer = truth if variant.motion == "true" else None
            estimates = [restore(variant, net, clip, lookahead, steer) for lookahead in (1, 0)]
            estimates.append(restore(variant, net, clip, 1, truth))
            restored = [(blurry + estimate.residual.view_as(blurry)).clamp(0, 1) for estimate in estimates]
            errors = [
                float(signless_error(*pair))
                for pair in zip(estimates[0].motion.chunk(len(index)), truth.chunk(len(index)), strict=True)
            ]
            rows += [
                _scores(blurry[i], sharp[i], [pictures[i] for pictures in restored], errors[i])
                for i in range(len(index))
            ]
    return _means(rows)


def _scores(blurry: Tensor, sharp: Tensor, restored: list[Tensor], motion_px: float) -> dict[str, float]:
    before = psnr(blurry, sharp)
    names = ("gain_db", "gain_lookahead0_db", "gain_true_motion_db")
    gains = {name: psnr(picture, sharp) - before for name, picture in zip(names, restored, strict=True)}
    return {**gains, "before_db": before, "kept_db": min(60.0, psnr(restored[0], blurry)), "motion_px": motion_px}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over blurred and over near-sharp clips."""
    blurred = [row for row in rows if row["before_db"] < BLURRED_BELOW_DB]
    sharp = [row for row in rows if row["before_db"] >= BLURRED_BELOW_DB]
    if not blurred or not sharp:
        raise UsageError(f"{len(blurred)} of {len(rows)} test clips are blurred: more test_clips would have both kinds")

    def mean(chosen: list[dict[str, float]], name: str) -> float:
        return statistics.fmean(row[name] for row in chosen)

    names = ("gain_db", "gain_lookahead0_db", "gain_true_motion_db")
    return {
        **{name: mean(blurred, name) for name in names},
        "gain_near_sharp_db": mean(sharp, "gain_db"),
        "kept_db": mean(sharp, "kept_db"),
        "motion_px": mean(rows, "motion_px"),
    }


def kmac(net: DeblurNet, side: int = 128, frames: int = 3) -> float:
    """Thousands of multiply-adds a pixel of convolutions, attention and matrices, as PyTorch counts them.

    Sampling, the parameter-free flow and profile, and what works on single values are not counted.
    """
    clip, still = torch.zeros(1, frames, 3, side, side), torch.zeros(frames, 2, side // 8, side // 8)
    flops = []
    for work in (lambda: net.restore_clip(clip, lookahead=1), lambda: motion_profile(clip[0], still)):
        with FlopCounterMode(display=False) as counter, torch.inference_mode(), without_kernels():
            work()
        flops.append(int(counter.get_total_flops()))
    return (flops[0] - flops[1]) / 2 / (frames * side * side) / 1e3
