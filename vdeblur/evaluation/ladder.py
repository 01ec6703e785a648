"""Exposure ladder: one high-rate clip averaged over more and more frames, so that content stays and exposure grows.

The average is taken in linear light, much as GoPro and REDS were made (Nah et al. 2017, 2019). An odd number of frames
centres on the truth, the middle frame of each step; so nothing but the blur differs from rung to rung.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vdeblur.adapters.arrays import ArrayAdapter
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import Case, frames_case
from vdeblur.frames import Frame
from vdeblur.metrics import as_8bit
from vdeblur.video.source.reader import Reader

#: High-rate frames for each frame of a rung, and frames of a rung: enough for the reading to settle.
LADDER_STEP, LADDER_FRAMES = 11, 12
#: With fewer frames there is no reading that counts.
LEAST_FRAMES = 3
#: Display gamma of the frames.
GAMMA = 2.2
#: Strata: rungs with blur, and the first one, whose frames are the truth itself.
RUNGS, SHARP = "rungs", "sharp"


class Ladder:
    """Rungs made of a high-rate clip, when their turn comes: 1, 3, 5 … frames of each ``step`` averaged.

    Rung n has the exposure fraction n / step, if each high-rate frame was exposed for its whole interval. A shorter
    shutter makes it less, by 1 / step at most.

    Args:
        path: anything the reader takes; the first ``step`` × ``frames`` frames are used, or as many whole steps as it
            has.
        step: high-rate frames for each frame of a rung.
        frames: frames of a rung at most.
        name: in tables; the file's name without its ending if not given.

    Raises:
        UsageError: the step is under 3, or the clip has fewer frames than three steps.
        SourceError: it cannot be read.
    """

    def __init__(
        self, path: str | Path, *, step: int = LADDER_STEP, frames: int = LADDER_FRAMES, name: str | None = None
    ) -> None:
        if step < 3:
            raise UsageError(f"a ladder's step cannot be {step}; it is the frames that make one, 3 or more")
        self.path, self.step, self.frames = path, step, frames
        self.name = Path(path).stem if name is None else name
        least = LEAST_FRAMES * step
        with Reader(path) as reader:
            count = sum(1 for _ in islice(reader, least))
        if count < least:
            raise UsageError(f"{path} has {count} frames; a ladder of {step} needs {least} at least, at a high rate")

    @property
    def counts(self) -> list[int]:
        """Frames averaged on each rung: the odd numbers up to the step."""
        return list(range(1, self.step + 1, 2))

    def rung_name(self, count: int) -> str:
        return f"{count} of {self.step}"

    def cases(self) -> Iterator[Case]:
        """The rungs, the sharpest first; one at a time is in memory."""
        for count in self.counts:
            blurry, sharp = self._averaged(count)
            yield frames_case(
                blurry,
                sharp,
                name=self.rung_name(count),
                dataset=self.name,
                stratum=SHARP if count == 1 else RUNGS,
                truth=None,
                kind="ladder",
                exposure=count / self.step,
                sharp_name=f"{self.name}, every {self.step} frames",
            )

    def _averaged(self, count: int) -> tuple[list[Frame], list[Frame]]:
        """Blurred frames and their truth."""
        blurry: list[Frame] = []
        sharp: list[Frame] = []
        with Reader(self.path) as reader:
            dense = islice(reader, self.step * self.frames)
            while len(group := list(islice(dense, self.step))) == self.step:
                first = (self.step - count) // 2
                levels = [as_8bit(rgb_of(frame))[0].to(torch.uint8) for frame in group[first : first + count]]
                sizes = {tuple(each.shape[1:]) for each in levels} | {frame.size for frame in sharp[:1]}
                if len(sizes) > 1:
                    raise UsageError(f"{self.path} changes its size on the way: give a clip of one size")
                blurry.append(_frame(averaged(levels), len(blurry)))
                sharp.append(_frame(levels[count // 2], len(sharp)))
        return blurry, sharp


def averaged(levels: Sequence[Tensor]) -> Tensor:
    """Mean in linear light of pictures uint8, of any one shape; a picture alone stays as it is."""
    table = (torch.arange(256, dtype=torch.float32) / 255) ** GAMMA
    light = torch.zeros(levels[0].shape)
    for picture in levels:
        light += table[picture.int()]
    return as_8bit((light / len(levels)) ** (1 / GAMMA)).to(torch.uint8)


def _frame(levels: Tensor, number: int) -> Frame:
    """A picture (3, H, W) uint8 as frame ``number``."""
    return ArrayAdapter("rgb").frame(np.ascontiguousarray(levels.permute(1, 2, 0).numpy()), number)
