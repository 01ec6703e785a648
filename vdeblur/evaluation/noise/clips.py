"""Clips under noise: a case's first frames as R'G'B' of 8 bits, with and without noise, and PSNR over clips."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch import Tensor

from vdeblur.adapters.arrays import ArrayAdapter
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.engine.read_ahead import READ_AHEAD, always_ready
from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import Case, in_step
from vdeblur.evaluation.scoring import mean
from vdeblur.frames import Frame
from vdeblur.metrics import as_8bit, capped, psnr

#: Frames of a clip that are looked at: what is measured under noise is held in memory.
MOST_FRAMES = 60
#: Least side of a clip, pixels: block matching and the networks need as much.
LEAST_SIDE = 32


@dataclass(frozen=True, eq=False)
class TrueClip:
    """Blurred pictures of a clip before any noise, and sharp ones: (3, H, W) each, R'G'B' in 8 bits of [0, 1]."""

    dataset: str
    name: str
    blurred: list[Tensor]
    sharp: list[Tensor]


def true_clip(case: Case) -> TrueClip:
    """The first frames of a case, cut to even sides, for codecs need them.

    Raises:
        UsageError: the two clips differ, or their pictures are too small.
    """
    blurred: list[Tensor] = []
    sharp: list[Tensor] = []
    with case.blurry() as frames, case.sharp() as truths:
        for frame, truth in islice(in_step(frames, truths, case), MOST_FRAMES):
            height, width = (side - side % 2 for side in frame.size)
            if min(height, width) < LEAST_SIDE:
                raise UsageError(f"{case.blurry_name} is {width}×{height}; clips under noise need {LEAST_SIDE} a side")
            for kept, each in ((blurred, frame), (sharp, truth)):
                kept.append(as_8bit(rgb_of(each))[0, :, :height, :width] / 255)
    return TrueClip(case.dataset, case.name, blurred, sharp)


def rgb_pictures(frames: Iterable[Frame]) -> list[Tensor]:
    """Pictures (3, H, W), R'G'B' in [0, 1], of frames."""
    return [rgb_of(frame)[0] for frame in frames]


def as_frames(pictures: Sequence[Tensor]) -> list[Frame]:
    """Frames in float32 of pictures (3, H, W), R'G'B', which are clipped to [0, 1]."""
    arrays = ArrayAdapter("rgb")
    shown = (picture.clamp(0, 1).permute(1, 2, 0).contiguous().numpy() for picture in pictures)
    return [arrays.frame(picture, number) for number, picture in enumerate(shown)]


def as_8bit_frames(pictures: Sequence[Tensor], *, first: int = 0) -> list[Frame]:
    """Frames of 8 bits of pictures (3, H, W), R'G'B' in [0, 1]; ``first`` is the number of the first one."""
    arrays = ArrayAdapter("rgb")
    levels = (as_8bit(p).permute(1, 2, 0).numpy().astype(np.uint8) for p in pictures)
    return [arrays.frame(level, number) for number, level in enumerate(levels, first)]


def restored(deblurrer: Deblurrer, frames: Sequence[Frame]) -> list[Tensor]:
    """Pictures (3, H, W), R'G'B', of frames restored as a file's are."""
    return rgb_pictures(deblurrer.run(frames, read_ahead=READ_AHEAD, ready=always_ready))


@dataclass(frozen=True, eq=False)
class TimedPictures:
    """Restored pictures (3, H, W), and seconds a frame, reading ahead included."""

    pictures: list[Tensor]
    seconds: float


def timed(deblurrer: Deblurrer, frames: Sequence[Frame]) -> TimedPictures:
    """Restore frames as a file's are, by the clock."""
    began = time.perf_counter()
    pictures = restored(deblurrer, frames)
    return TimedPictures(pictures, (time.perf_counter() - began) / len(frames))


def corrections(after: Sequence[Tensor], before: Sequence[Tensor]) -> list[Tensor]:
    """What has been added to each picture."""
    return [one - other for one, other in zip(after, before, strict=True)]


def added(pictures: Sequence[Tensor], changes: Sequence[Tensor]) -> list[Tensor]:
    """Each picture with its change."""
    return [picture + change for picture, change in zip(pictures, changes, strict=True)]


def mean_psnr(pictures: Sequence[Tensor], truths: Sequence[Tensor]) -> float:
    """PSNR in dB, mean over the frames."""
    return mean(capped(psnr(one, true)) for one, true in zip(pictures, truths, strict=True))
