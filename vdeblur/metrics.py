"""Metrics: how close a picture is to the truth. RGB, uint8-rounded, no crop; the protocol stands beside each number."""

from __future__ import annotations

import math

import torch
from kornia.metrics import ssim as ssim_map
from torch import Tensor

#: What a picture equal to the truth counts where values are averaged, dB.
MOST_DECIBELS = 100.0


def as_8bit(rgb: Tensor) -> Tensor:
    """R'G'B' in [0, 1] rounded to the 256 levels a viewer sees, as float32 in [0, 255]."""
    return (rgb.float().clamp(0, 1) * 255).round()


def psnr(picture: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of R'G'B' (…, 3, H, W) in [0, 1], both rounded to 8 bits; inf when equal."""
    return _decibels(as_8bit(picture) - as_8bit(truth))


def capped(decibels: float) -> float:
    """The value, or 100 dB where pictures are equal, so that a mean exists."""
    return min(decibels, MOST_DECIBELS)


def temporal_psnr(previous: Tensor, picture: Tensor, previous_truth: Tensor, truth: Tensor) -> float:
    """How truly a picture follows the one before it, in dB: PSNR of the change between them against the true change.

    The squared error is that of dtSSD (Erofeev et al. 2015), which judges video mattes; here it is taken over R'G'B'
    (…, 3, H, W) in [0, 1], rounded to 8 bits, against a peak of 255. A constant error costs nothing, flicker does.
    inf when the changes are equal.
    """
    change = as_8bit(picture) - as_8bit(previous)
    return _decibels(change - (as_8bit(truth) - as_8bit(previous_truth)))


def ssim(picture: Tensor, truth: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of R'G'B' (B, 3, H, W) in [0, 1]; Gaussian window of 11."""
    values: Tensor = ssim_map(as_8bit(picture) / 255, as_8bit(truth) / 255, window_size=11, max_val=1.0)
    return float(torch.mean(values))


def _decibels(difference: Tensor) -> float:
    error = float(difference.double().square().mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
