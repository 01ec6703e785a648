"""Guides with weights that do something, and clips with noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from support.doubles import clip
from vdeblur.frames import Frame, dtype_for
from vdeblur.model.guide.guide_net import GuideConfig, GuideNet


class CountingGuide(GuideNet):
    """Counts the pictures that it is asked for, and keeps their sizes and whether they had a state."""

    def __init__(self, config: GuideConfig) -> None:
        super().__init__(config)
        self.asked: list[tuple[tuple[int, int], bool]] = []

    def __deepcopy__(self, _: dict[int, Any]) -> CountingGuide:
        return self  # so that tests see what an engine's copy is asked for

    def guide_planes(
        self, luma: Tensor, chroma: Tensor, told: Any = None, state: Any = None, seen: Tensor | None = None
    ) -> Any:
        self.asked += [((int(luma.shape[-2]), int(luma.shape[-1])), state is not None)] * len(luma)
        return super().guide_planes(luma, chroma, told, state, seen)


def some_guide() -> CountingGuide:
    """A small guide with random weights, its zero-initialised parts too, which changes every picture that is noisy."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = CountingGuide(GuideConfig(kind="guide", name="test", width=8, deep=8, hidden=4, layers=1)).eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def noisy(frames: Iterable[Frame], deviation: float = 10, *, seed: int = 1) -> list[Frame]:
    """Frames with white noise of a standard deviation, of 255."""
    draw = np.random.default_rng(seed)
    return [_noisy(frame, deviation, draw) for frame in frames]


def _noisy(frame: Frame, deviation: float, draw: np.random.Generator) -> Frame:
    peak, planes = frame.format.peak, list(frame.planes)
    for index in range(frame.format.colour_planes):
        plane = planes[index] + draw.normal(0, deviation / 255 * peak, planes[index].shape)
        plane = plane if frame.format.is_float else plane.round()
        planes[index] = plane.clip(0, peak).astype(dtype_for(frame.format))
    return frame.with_planes(planes)


def noisy_clip(count: int, height: int = 48, width: int = 64, *, deviation: float = 10, **options: Any) -> list[Frame]:
    """As :func:`support.doubles.clip`, with noise."""
    return noisy(clip(count, height, width, **options), deviation)


def coded(frames: Iterable[Frame], quantiser: float) -> list[Frame]:
    """Frames of which a codec says how strongly it compressed them."""
    return [replace(frame, quantiser=quantiser) for frame in frames]
