"""Loss functions: Charbonnier, frequency (FFT) and motion losses of a restoration against the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.guide.guide_net import ycc_from_rgb
from vdeblur.model.network import Estimate
from vdeblur.training.synthesis.blur import Clip

#: Mean squared error, of values in [0, 1], that is as good as none: 40 dB.
_UNSEEN = 1e-4
#: Weight of chroma's logarithm beside that of luma.
CHROMA_WEIGHT = 0.6


class Losses(NamedTuple):
    """Scalars: pixel, frequency and motion loss, the last one in pixels."""

    pixels: Tensor
    frequencies: Tensor
    motion: Tensor


def charbonnier(difference: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Smooth L1 (Charbonnier et al. 1994; Lai et al. 2017)."""
    return (difference * difference + epsilon * epsilon).sqrt().mean()


#: Weight of squares against sizes of what taps get wrong.
SQUARES = 50.0


def decibels(difference: Tensor) -> Tensor:
    """Mean over frames (N, C, H, W) of the logarithm of the mean squared error: PSNR but for its factor of −10/ln 10.

    As Chen et al. (2021, 2022) train restoration; errors far below what a picture of 8 bits shows hardly count.
    """
    return (difference.square().mean((1, 2, 3)) + _UNSEEN).log().mean()


def luma_decibels(difference: Tensor) -> Tensor:
    """Logarithm of the mean squared error of each frame's luma, and for less of its chroma, mean over frames.

    Args:
        difference: R'G'B' (N, 3, H, W).
    """
    errors = ycc_from_rgb(difference).square().mean((2, 3))
    of_luma, of_chroma = errors[:, 0], errors[:, 1:].mean(1)
    weighed: Tensor = (of_luma + 3e-6).log10() + CHROMA_WEIGHT * (of_chroma + 2e-6).log10()
    return weighed.mean()


def frequency_loss(difference: Tensor) -> Tensor:
    """Mean magnitude of the spectrum of the difference (Cho et al. 2021), orthonormal."""
    spectrum: Tensor = torch.fft.rfft2(difference.float(), norm="ortho")
    return spectrum.abs().mean()


def motion_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean L1 distance in pixels; the truth (N, 2, H, W) is averaged over the estimate's cells."""
    cell = truth.shape[-1] // estimate.shape[-1]
    error: Tensor = (estimate.float() - F.avg_pool2d(truth, cell)).abs().sum(dim=1).mean()
    return error


_MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "charbonnier": charbonnier,
    "decibels": decibels,
    "luma decibels": luma_decibels,
}


def losses(estimate: Estimate, clip: Clip, measure: str = "charbonnier") -> Losses:
    """Compare an estimate with its clip (B, T, C, H, W); of pictures alone where nobody knows the true motion."""
    difference = clip.blurry.flatten(0, 1) + estimate.residual - clip.sharp.flatten(0, 1)
    motion = difference.new_zeros(())
    if clip.motion is not None:
        motion = signless_error(estimate.motion, clip.motion.flatten(0, 1))
    return Losses(_MEASURES[measure](difference), frequency_loss(difference), motion)


def signless_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """Distance of motions during the exposure in pixels; a blur looks the same in both directions."""
    cell = truth.shape[-1] // estimate.shape[-1]
    truth = F.avg_pool2d(truth, cell)
    estimate = estimate.float()
    forth = (estimate - truth).abs().sum(dim=1)
    back = (estimate + truth).abs().sum(dim=1)
    return torch.minimum(forth, back).mean()
