"""Motion error: endpoint error of the estimated motion where the true motion is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.evaluation.cases import Case
from vdeblur.model.network import traits_of


@dataclass(frozen=True)
class MotionErrors:
    """Mean endpoint errors (Baker et al. 2011) in pixels, over the cells of the network's estimate.

    Beside each stands the error of finding no motion at all, which is the mean length of the true one.
    """

    velocity_px: float
    velocity_if_none_px: float
    #: Of the motion during the exposure; a blur looks the same in both directions, so the nearer sign counts.
    motion_px: float
    motion_if_none_px: float


def motion_errors(deblurrer: Deblurrer, case: Case) -> MotionErrors | None:
    """Errors on a clip whose true motion is known; None for other clips, and for methods that estimate none."""
    network: Any = deblurrer.network
    if case.truth is None or not traits_of(network).estimates_motion:
        return None
    with case.blurry() as frames:
        clip = torch.cat([rgb_of(frame) for frame in frames])[None].to(deblurrer.device)  # (1, T, 3, H, W)
    with torch.inference_mode():
        estimate = network.restore_clip(clip, lookahead=deblurrer.lookahead)
    velocity = endpoint_error(estimate.velocity, case.truth.velocity)
    motion = endpoint_error(estimate.motion, case.truth.motion, signless=True)
    return MotionErrors(velocity[0], velocity[1], motion[0], motion[1])


def endpoint_error(estimate: Tensor, truth: Tensor, *, signless: bool = False) -> tuple[float, float]:
    """Mean Euclidean distance in pixels of an estimate (N, 2, h, w) and of zero from the truth (N, 2, H, W).

    The truth is averaged over the estimate's cells. Where it is not known (nan) nothing counts.
    """
    estimate = estimate.float().cpu()
    cells = F.avg_pool2d(truth, truth.shape[-1] // estimate.shape[-1])
    error = (estimate - cells).norm(dim=1)
    if signless:
        error = torch.minimum(error, (estimate + cells).norm(dim=1))
    return float(error.nanmean()), float(cells.norm(dim=1).nanmean())
