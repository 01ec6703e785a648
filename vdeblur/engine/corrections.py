"""Corrections: what is added to the planes of a restored frame.

Correction and removal are one sum before the samples are rounded; film grain, which levels rounding out, comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vdeblur.engine.batching import split_batch
from vdeblur.engine.grain import add_film_grain
from vdeblur.engine.guide.planes import plane_scales
from vdeblur.engine.keep import KeptRegions
from vdeblur.engine.overlays import Found, weigh
from vdeblur.engine.pixels import add_residual, crop
from vdeblur.engine.stream_state import EncodedFrame
from vdeblur.runtime.transfer import Planes


@dataclass(frozen=True, eq=False)
class Corrections:
    """Corrects frames of one size by a network's residual, and removes their noise.

    Overlays are weighed in the residual alone: noise is removed around letters, too, where a halo of it would be seen.

    Args:
        removed: share of the noise that is removed.
        grain: standard deviation of film grain, of 255.
    """

    frames: Sequence[EncodedFrame]
    overlays: Sequence[Found]
    kept: KeptRegions
    strength: float
    removed: float
    grain: float

    def __call__(self, residual: Tensor, numbers: Sequence[Tensor]) -> list[Planes]:
        """Planes of each frame with its part of a residual (B, C, H, W); behind them numbers in one tensor.

        The first one is a sum that is finite only if every value is. Then come the frame's parts of ``numbers`` (B, …),
        and the reading of its noise, if there is one.
        """
        count = len(self.frames)
        residuals, each = split_batch(residual, count), [split_batch(part, count) for part in numbers]
        result = []
        for index, (frame, found) in enumerate(zip(self.frames, self.overlays, strict=True)):
            own = crop(residuals[index], *frame.size)
            weigh(own, found)
            planes = self._with_grain(frame, self._planes(frame, own))
            planes = self.kept.restored(frame.planes, planes, frame.frame.format)
            result.append((*planes, self._numbers(frame, own, [parts[index] for parts in each])))
        return result

    def _planes(self, encoded: EncodedFrame, residual: Tensor) -> Planes:
        frame, guided = encoded.frame, encoded.guided
        more: list[tuple[Tensor, float]] = []
        if self.removed and guided is not None:
            scales = plane_scales(frame.format, frame.colour)
            more = [(change, self.removed * scale) for change, scale in zip(guided.changes, scales, strict=False)]
        return add_residual(
            encoded.planes, residual, frame.format, frame.colour,
            strength=self.strength, reduce=encoded.reduce, more=more,
        )  # fmt: skip

    def _with_grain(self, encoded: EncodedFrame, planes: Planes) -> Planes:
        """Planes with the grain of their frame's time, which a resumed job makes again."""
        if not self.grain:
            return planes
        frame = encoded.frame
        return add_film_grain(planes, frame.format, frame.colour, level=self.grain, seed=frame.pts)

    def _numbers(self, encoded: EncodedFrame, residual: Tensor, numbers: Sequence[Tensor]) -> Tensor:
        total, reading = residual.sum(), []
        if encoded.guided is not None:
            reading = [encoded.guided.reading]
            if self.removed:
                total = sum((change.sum(dtype=torch.float32) for change in encoded.guided.changes), total)
        return torch.cat([part.flatten() for part in (total, *numbers, *reading)])


def told_and_read(arguments: Sequence[Any], state: Any) -> list[Tensor]:
    """Exposure fractions that a network was told (B, 1, 1, 1), and its readings (B, 4); none if it takes none."""
    return [arguments[4], state.reading] if len(arguments) > 4 else []
