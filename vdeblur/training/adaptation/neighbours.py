"""Noise-to-noise between neighbours: what the next frame says of this one, along the motion.

The noise of two frames is independent, and a recurrent guide has not seen the next frame. So that frame, noisy as it is
and warped along the optical flow, serves as the truth on average (Lehtinen et al. 2018, "Noise2Noise"; Ehret et al.
2019, "Model-blind video denoising via frame-to-frame training"). It serves only where it matches, as the guides tell.
Codecs copy noise from frame to frame: then it is not independent, and nothing may be learned from it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.guide.guide_net import GuideNet, Told
from vdeblur.model.layers import normalize_displacement, sampling_grid, upsample, warp
from vdeblur.model.optical_flow import build_pyramid, estimate_flow

#: Difference of the guides' luma at which a neighbour hardly counts any more.
_MISMATCH = 0.02
_LOST = 0.9
#: Side of the surroundings in which guides are compared, pixels.
_AROUND = 7
#: Share of the pixels, those with the least detail, by which noise that is repeated is found.
_FLAT = 0.5
#: A frame with fewer pixels that match, as a share, teaches nothing.
LEAST_MATCHED = 0.05
_FLOOR = 3e-6


class Targets(NamedTuple):
    """What neighbours say of the frames (T, 3, H, W), and how far they match, (T, 1, H, W) from 0 to 1."""

    frames: Tensor
    weight: Tensor


@torch.inference_mode()
def guides_of(net: GuideNet, frames: Tensor, quantiser: float) -> tuple[Tensor, float]:
    """Guides (T, 3, H, W) of consecutive frames, and the share of the network's change that was taken at the end."""
    told = Told(torch.tensor([quantiser]), torch.tensor([math.nan]))
    state, guides, used = None, [], 0.0
    for frame in frames:
        guide, state = net.guide(frame[None], told, state)
        guides.append(guide)
        used = float(state.used)
    return torch.cat(guides), used


@torch.inference_mode()
def neighbour_targets(frames: Tensor, guides: Tensor, step: int) -> Targets:
    """Each frame as the one ``step`` (1 or −1) further shows it; the frame at the end has no neighbour."""
    levels = [build_pyramid(guide[None, :1], 4) for guide in guides]
    found, weights = [], []
    for here in range(len(frames)):
        there = here + step
        if not 0 <= there < len(frames):
            found.append(frames[here : here + 1])
            weights.append(torch.zeros_like(found[-1][:, :1]))
            continue
        flow = estimate_flow(levels[here], levels[there], 4)
        displacement = upsample(flow.displacement, 8)
        found.append(_bicubic(frames[there : there + 1], displacement))
        apart = (warp(guides[there : there + 1, :1], displacement) - guides[here : here + 1, :1]).abs()
        apart = F.avg_pool2d(apart, _AROUND, 1, _AROUND // 2) / _MISMATCH
        weights.append((-apart.square()).exp() * (upsample(flow.mismatch, 8) < _LOST))
    return Targets(torch.cat(found), torch.cat(weights))


def _bicubic(x: Tensor, displacement: Tensor) -> Tensor:
    """Backward warp that blurs less than a bilinear one."""
    height, width = displacement.shape[-2:]
    grid = sampling_grid(height, width, x.device) + normalize_displacement(displacement, height, width)
    return F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)


@torch.inference_mode()
def repeated_noise(frames: Tensor, guides: Tensor) -> float:
    """How alike the noise of neighbours is along the motion, where the picture has little detail: a correlation.

    What a guide takes away serves as the noise; 0: independent, 1: the same noise twice.
    """
    levels = [build_pyramid(guide[None, :1], 4) for guide in guides]
    noise, found = (frames - guides)[:, :1], []
    for here in range(len(frames) // 3, len(frames) - 1):
        flow = estimate_flow(levels[here], levels[here + 1], 4)
        moved = warp(noise[here + 1 : here + 2], upsample(flow.displacement, 8).round())
        smooth = F.avg_pool2d(guides[here : here + 1, :1], 5, 1, 2)
        detail = F.max_pool2d(smooth, 5, 1, 2) + F.max_pool2d(-smooth, 5, 1, 2)
        flat = (detail <= detail.flatten().kthvalue(max(1, int(_FLAT * detail.numel()))).values).float()
        own = noise[here : here + 1]
        energy = ((own.square() * flat).sum() * (moved.square() * flat).sum()).sqrt()
        found.append(float((own * moved * flat).sum() / energy.clamp_min(1e-9)))
    return sum(found) / len(found)


def disagreement(guides: Tensor, targets: Targets) -> Tensor:
    """Logarithm of the mean squared error against targets, mean over frames (N, …): luma, and chroma weighing 0.35.

    It is that against the truth, plus what the neighbour's own noise adds, which no guide can change.
    """
    errors = (guides - targets.frames).square() * targets.weight
    matched = targets.weight.mean((1, 2, 3))
    errors = errors.mean((2, 3)) / matched[:, None].clamp_min(1e-4)
    logs = (errors[:, 0] + _FLOOR).log10() + 0.35 * (errors[:, 1:].mean(1) + _FLOOR).log10()
    counts = (matched > LEAST_MATCHED).float()
    mean: Tensor = (logs * counts).sum() / counts.sum().clamp_min(1)
    return mean
