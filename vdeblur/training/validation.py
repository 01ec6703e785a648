"""Validation during training: PSNR gain on held-out clips, and harm done to sharp ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.metrics import psnr
from vdeblur.model.guide.guide_net import ycc_from_rgb
from vdeblur.model.network import RestorationNetwork, traits_of
from vdeblur.training.data.clip_cache import stack
from vdeblur.training.losses import motion_error, signless_error
from vdeblur.training.synthesis.blur import Clip

#: A clip whose motion during the exposure is shorter than this on average is near-sharp.
NEAR_SHARP_PX = 0.5
#: So is one of unknown motion that is this close to its truth, dB.
NEAR_SHARP_DB = 36.0
#: A clip farther than this from its truth is a blurred one, dB.
BLURRED_DB = 30.0
#: What counts for a picture equal to the truth, dB.
EQUAL_DB = 100.0


def validate(
    net: RestorationNetwork,
    clips: Sequence[Clip],
    *,
    batch: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> dict[str, float]:
    """Scores of a network on clips (T, C, H, W), with one frame of lookahead.

    PSNR is that of :func:`vdeblur.metrics.psnr` over all frames of a clip; then means over clips. ``gain_db``,
    ``worst_gain_db`` and ``gain_blurred_db`` are gains over the blurred input; ``kept_db`` is the PSNR of output
    against input on near-sharp clips; the motion errors are L1 distances in pixels. What no clip tells is left out.

    Clips of a guide, which are told something, count by what ails them: ``gain_raw_db`` noise without a codec,
    ``gain_coded_db`` noise and codec, ``gain_db`` both, in luma; ``kept_db`` is that of clean ones.
    """
    scores: dict[str, list[float]] = {}
    was_training = net.training
    net.eval()
    with torch.inference_mode():
        for part in _batches(clips, batch):
            packed = stack(part).to(device)
            with autocast():
                if packed.told is None:
                    estimate = net.restore_clip(packed.blurry, lookahead=1)
                else:
                    estimate = net.restore_told_clip(packed.blurry, packed.told)
            restored = (packed.blurry.flatten(0, 1) + estimate.residual).float().clamp(0, 1).view_as(packed.blurry)
            for clip, output in zip(part, restored.cpu(), strict=True):
                for name, value in _clip_scores(clip, output).items():
                    scores.setdefault(name, []).append(value)
            if traits_of(net).estimates_motion and packed.motion is not None and packed.velocity is not None:
                velocity, motion = packed.velocity.flatten(0, 1), packed.motion.flatten(0, 1)
                errors = (motion_error(estimate.velocity, velocity), signless_error(estimate.motion, motion))
                for name, error in zip(("velocity_error_px", "exposure_error_px"), errors, strict=True):
                    scores.setdefault(name, []).extend([float(error)] * len(part))
    net.train(was_training)
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    if "gain_db" not in means:
        raise UsageError("every clip to validate on is clean: raise validation_clips")
    return {**means, "worst_gain_db": min(scores["gain_db"])}


def better(one: dict[str, Any], other: dict[str, Any] | None, *, least_kept_db: float) -> bool:
    """Whether scores are better than others: sharp clips are kept first, then the gain counts.

    Weights that keep sharp clips at ``least_kept_db`` come before all that do not; among these, what keeps more.
    """

    def rank(scores: dict[str, Any]) -> tuple[float, float]:
        return min(scores.get("kept_db", EQUAL_DB), least_kept_db), scores["gain_db"]

    return other is None or rank(one) > rank(other)


def _clip_scores(clip: Clip, output: Tensor) -> dict[str, float]:
    if clip.told is not None:
        return _guide_scores(clip, output)
    before = min(EQUAL_DB, psnr(clip.blurry, clip.sharp))
    gain = min(EQUAL_DB, psnr(output, clip.sharp)) - before
    scores = {"gain_db": gain}
    if before < BLURRED_DB:
        scores["gain_blurred_db"] = gain
    if _near_sharp(clip, before):
        scores["kept_db"] = min(EQUAL_DB, psnr(output, clip.blurry))
    return scores


def _guide_scores(clip: Clip, output: Tensor) -> dict[str, float]:
    if torch.equal(clip.blurry, clip.sharp):
        return {"kept_db": min(EQUAL_DB, psnr(output, clip.sharp.clamp(0, 1)))}
    luma, before, truth = (ycc_from_rgb(part)[:, :1] for part in (output, clip.blurry, clip.sharp))
    gain = min(EQUAL_DB, psnr(luma, truth)) - min(EQUAL_DB, psnr(before, truth))
    assert clip.told is not None
    return {"gain_db": gain, "gain_raw_db" if clip.told.quantiser.isnan() else "gain_coded_db": gain}


def _near_sharp(clip: Clip, before: float) -> bool:
    if clip.motion is None:
        return before >= NEAR_SHARP_DB
    return float(clip.motion.norm(dim=1).mean()) < NEAR_SHARP_PX


def _batches(clips: Sequence[Clip], batch: int) -> Iterator[list[Clip]]:
    """Runs of clips of one shape and kind, at most ``batch`` of them."""
    for _, group in itertools.groupby(clips, key=lambda clip: (clip.blurry.shape, clip.motion is None)):
        alike = list(group)
        for first in range(0, len(alike), batch):
            yield alike[first : first + batch]
