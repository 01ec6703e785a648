"""Export check: the exported network restores a clip as the package does, within a stated PSNR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log10, sqrt

import numpy as np
import torch
from torch import Tensor

from vdeblur.bench.clip import pictures
from vdeblur.export.step import ExportableStep, Size
from vdeblur.library.generators import deblur_frames

#: Frames of the clip: a first, a last, and enough between for the memory to matter.
FRAMES = 5
#: An exported network must come at least so close to the package, and differ by no more of what is corrected.
LEAST_PSNR = 50.0
MOST_OF_CORRECTION = 0.01

#: Does one step: all that goes in, in its order, gives all that comes out.
Stepper = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Agreement:
    """How far apart two restorations of a clip are, in units of full scale; PSNR in dB, 200 where they are equal.

    ``of_correction`` is the root mean square of the difference as a share of that of the correction: a network that
    changes little is close to one that changes nothing, so PSNR alone would not do.
    """

    max_error: float
    mean_error: float
    psnr: float
    of_correction: float

    @property
    def good(self) -> bool:
        return self.psnr >= LEAST_PSNR and self.of_correction <= MOST_OF_CORRECTION

    def __str__(self) -> str:
        errors = f"largest difference {self.max_error:.1e}, mean {self.mean_error:.1e}, PSNR {self.psnr:.1f} dB"
        return f"{errors}, {self.of_correction:.1e} of the correction"


def check_clip(height: int, width: int) -> list[Tensor]:
    """A few frames (1, 3, H, W) of two textures that move, float32 in [0, 1]."""
    even = width + width % 2, height + height % 2
    frames = []
    for luma, blue, red in islice(pictures(*even), FRAMES):
        colours = [np.repeat(np.repeat(plane, 2, 0), 2, 1) for plane in (red, blue)]
        rgb = np.stack((colours[0], luma, colours[1]))[:, :height, :width]
        frames.append(torch.from_numpy(rgb.astype(np.float32) / 255)[None])
    return frames


def stepwise(step: Stepper, frames: Sequence[Tensor], start: Sequence[Tensor], lookahead: int) -> list[Tensor]:
    """A clip restored step by step, the memory handed on; as a program that uses an exported network does it."""
    memory, sharp = start, []
    for number, frame in enumerate(frames):
        end = number == len(frames) - 1
        following = [frames[number if end else number + 1], torch.tensor([end])] if lookahead else []
        result, *memory = step([frame, *following, *memory])
        sharp.append(result)
    return sharp


def agreement(stepper: Stepper, step: ExportableStep, *, size: tuple[int, int], lookahead: int) -> Agreement:
    """Compare a clip of a size (height, width) restored by ``stepper`` with the same clip restored by the package.

    Both work in float32 on the CPU, the package with the network that ``step`` has without looking for overlays and
    without a guide, which are not the network's work.
    """
    frames = check_clip(*size)
    ours = stepwise(stepper, frames, step.memory(Size(1, *size)), lookahead)
    restored = deblur_frames(
        frames,
        model=step.network,
        device="cpu",
        precision="float32",
        lookahead=lookahead,
        overlays="off",
        guide="off",
    )
    theirs = list(restored)
    errors = torch.stack([a - b.clamp(0, 1) for a, b in zip(ours, theirs, strict=True)]).double()
    corrections = torch.stack([b.clamp(0, 1) - c for b, c in zip(theirs, frames, strict=True)]).double()
    square, whole = float(errors.square().mean()), float(corrections.square().mean())
    of_correction = sqrt(square / whole) if whole else float(square > 0)
    psnr = -10 * log10(square) if square else 200.0
    return Agreement(float(errors.abs().max()), float(errors.abs().mean()), psnr, of_correction)
