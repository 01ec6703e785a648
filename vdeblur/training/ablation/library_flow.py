"""A library's optical flow in place of our own, as a yardstick: OpenCV's DIS (Kroeger et al. 2016), if installed."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.layers import sampling_grid, upsample, warp
from vdeblur.model.motion import Motion, match_clip
from vdeblur.model.motion_taps import luma
from vdeblur.model.optical_flow import Flow, Level


def library_motion(clip: Tensor, lookahead: int) -> Motion:
    """Motions of all frames of clips (B, T, 3, H, W) by DIS flow at full resolution, averaged over cells of 8×8.

    Raises:
        UsageError: OpenCV is not installed.
    """
    matcher = dis_flow()

    def match(here: tuple[Level, ...], there: tuple[Level, ...], _finest: int) -> Flow:
        return _flow(matcher, here[-1].luma, there[-1].luma)

    grey = luma(clip.flatten(0, 1))
    whole = (Level(grey, grey),)
    return match_clip(
        whole, 1, length=clip.shape[1], lookahead=lookahead, like=F.avg_pool2d(grey, BLOCK_PX), match=match
    )


def dis_flow() -> Any:
    """OpenCV's matcher.

    Raises:
        UsageError: OpenCV is not installed.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as exc:
        raise UsageError("motion: library needs OpenCV: pip install opencv-python-headless") from exc
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def _flow(matcher: Any, here: Tensor, there: Tensor) -> Flow:
    pictures = ((grey[:, 0].clamp(0, 1) * 255).round().to(torch.uint8).numpy() for grey in (here, there))
    vectors = [torch.from_numpy(matcher.calc(own, other, None)) for own, other in zip(*pictures, strict=True)]
    displacement = F.avg_pool2d(torch.stack(vectors).permute(0, 3, 1, 2), BLOCK_PX)
    fine = upsample(displacement, BLOCK_PX)
    height, width = here.shape[-2:]
    step = fine.permute(0, 2, 3, 1) * fine.new_tensor((2.0 / width, 2.0 / height))
    inside = ((sampling_grid(height, width, here.device) + step).abs() < 1).all(-1)[:, None].float()
    change = (warp(there, fine) - here).abs()
    return Flow(displacement, F.avg_pool2d(1 - inside + inside * change, BLOCK_PX))
