"""Temporal stability: drift over long clips, flicker of static scenes, and time a frame."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch

from vdeblur.adapters.arrays import ArrayAdapter
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.engine.read_ahead import READ_AHEAD, always_ready
from vdeblur.evaluation.cases import Case, in_step, played
from vdeblur.evaluation.scoring import mean
from vdeblur.frames import Frame
from vdeblur.metrics import as_8bit, capped, psnr

#: Frames of a clip that are kept in memory and played forth and back.
FRAMES_KEPT = 30
#: The early window of a long clip: its first frame and its length. The late one begins at 400 or soon after.
EARLY_FRAME, WINDOW_FRAMES, LATE_FRAME = 20, 100, 400
#: A static scene: its frames, those at its start that do not count, and its noise in 8-bit levels.
STATIC_FRAMES, SETTLING_FRAMES, NOISE_LEVELS = 32, 8, 2.0
#: Frames before and while a method's speed is measured.
WARM_FRAMES, TIMED_FRAMES = 3, 9


@dataclass(frozen=True)
class Drift:
    """Mean PSNR in dB over 100 frames early in a long clip, and over the very same frames shown later.

    The clip is played forth and back without a seam, so that content repeats exactly. The late window begins a whole
    number of periods after the early one, at frame 400 or soon after.
    """

    early_frame: int
    late_frame: int
    early_psnr: float
    late_psnr: float
    #: Largest fall of a single frame's PSNR between its early and its late showing.
    worst_fall_db: float

    @property
    def drift_db(self) -> float:
        """Late minus early: below 0, the clip gets worse."""
        return self.late_psnr - self.early_psnr


@dataclass(frozen=True)
class Flicker:
    """Root mean square change from frame to frame of a static scene, in 8-bit levels, after it has settled."""

    #: With noise of two levels: what comes in, and what goes out.
    noisy_input: float
    noisy_output: float
    #: Without noise, where the input does not change at all.
    clean_output: float


def drift(deblurrer: Deblurrer, case: Case) -> Drift:
    """Restore a clip of more than 500 frames made from the first 30 of a case."""
    blurry, sharp = _kept(case)
    period = max(1, 2 * (len(blurry) - 1))
    late = EARLY_FRAME + period * -(-(LATE_FRAME - EARLY_FRAME) // period)
    values = _psnrs(deblurrer, blurry, sharp, late + WINDOW_FRAMES)
    early_values, late_values = (values[first : first + WINDOW_FRAMES] for first in (EARLY_FRAME, late))
    fall = max(before - after for before, after in zip(early_values, late_values, strict=True))
    return Drift(EARLY_FRAME, late, mean(early_values), mean(late_values), fall)


def _psnrs(deblurrer: Deblurrer, blurry: Sequence[Frame], sharp: Sequence[Frame], count: int) -> list[float]:
    truths = played(sharp, count)
    with closing(deblurrer.run(played(blurry, count), read_ahead=READ_AHEAD, ready=always_ready)) as restored:
        return [capped(psnr(rgb_of(frame), rgb_of(next(truths)))) for frame in restored]


def flicker(deblurrer: Deblurrer, case: Case) -> Flicker:
    """Restore a static scene, the first true frame of a case, with noise and without."""
    with case.sharp() as frames:
        picture = as_8bit(rgb_of(next(iter(frames))))[0]  # (3, H, W)
    clean = [picture] * STATIC_FRAMES
    generator = torch.Generator().manual_seed(0)
    noisy = [(p + NOISE_LEVELS * torch.randn(p.shape, generator=generator)).round().clamp(0, 255) for p in clean]
    rough = _frames(noisy)
    return Flicker(
        noisy_input=_change(iter(rough)),
        noisy_output=_change(deblurrer.run(rough, read_ahead=READ_AHEAD, ready=always_ready)),
        clean_output=_change(deblurrer.run(_frames(clean), read_ahead=READ_AHEAD, ready=always_ready)),
    )


def seconds_per_frame(deblurrer: Deblurrer, case: Case) -> float:
    """Median time of one step: upload, network, addition, download. Reading and writing are left out."""
    with case.blurry() as frames:
        kept = list(islice(frames, FRAMES_KEPT))
    if len(kept) == 1:  # copies of it would not reach the network
        kept.append(kept[0].with_planes([np.roll(np.asarray(plane), 1, 1) for plane in kept[0].planes]))
    deblurrer.reset()
    seconds = []
    for frame in played(kept, WARM_FRAMES + TIMED_FRAMES):
        began = time.perf_counter()
        deblurrer.step(frame)
        seconds.append(time.perf_counter() - began)
    deblurrer.reset()
    return statistics.median(seconds[WARM_FRAMES:])


def _kept(case: Case) -> tuple[list[Frame], list[Frame]]:
    with case.blurry() as blurry, case.sharp() as sharp:
        pairs = list(islice(in_step(blurry, sharp, case), FRAMES_KEPT))
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _frames(pictures: Sequence[torch.Tensor]) -> list[Frame]:
    arrays = ArrayAdapter("rgb")
    return [arrays.frame(p.permute(1, 2, 0).numpy().astype(np.uint8), n) for n, p in enumerate(pictures)]


def _change(frames: Iterator[Frame]) -> float:
    """Root mean square change between neighbours, in levels, of the frames after those that settle."""
    pictures = (as_8bit(rgb_of(frame)) for frame in islice(frames, SETTLING_FRAMES, None))
    squares = [float((after - before).square().mean()) for before, after in pairwise(pictures)]
    return math.sqrt(mean(squares))
