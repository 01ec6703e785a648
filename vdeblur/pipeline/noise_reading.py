"""Noise of a few frames in NumPy, the twin of :mod:`vdeblur.model.guide.noise_curve`: no waiting for PyTorch.

What it says of noise and compression is what the network of the guide will be told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vdeblur.frames import Frame

#: As in :mod:`vdeblur.model.guide.noise_curve`.
LEVELS = (0.06, 0.18, 0.32, 0.48, 0.66, 0.86)
BINS, LEAST, MOST = 40, 0.05 / 255, 60 / 255
FLAT_SHARE, BLOCK_PX, MOST_BLOCKS = 0.2, 8, 4096
_DARKEST, _BRIGHTEST = 0.012, 0.988
_UNIT = math.sqrt(2 / math.pi) * 6 * 0.735
_SHARED = 0.05
#: As in :mod:`vdeblur.model.guide.guide_net`: noise and quantiser up to which a picture is clean, and from which not.
CLEAN_NOISE, SURE_NOISE = 1.3 / 255, 2.6 / 255
CLEAN_CODED_NOISE, SURE_CODED_NOISE = 0.45 / 255, 0.9 / 255
CLEAN_QUANTISER, SURE_QUANTISER = 16.0, 22.0
CLEAR_QUANTISER, BLURRED_QUANTISER = 28.0, 34.0
#: A guide that changes less than this share is not worth a word.
LEAST_USED = 0.1
#: Noise differs with the brightness by more than this factor: it is told.
_UNEVEN = 1.5

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NoiseReading:
    """Noise of a source by some of its frames: the standard deviation of luma, of 255, at brightnesses from 0 to 1."""

    levels: tuple[float, ...]
    brightness: tuple[float, ...] = LEVELS

    @property
    def level(self) -> float:
        """Median over the brightnesses."""
        return sorted(self.levels)[(len(self.levels) - 1) // 2]

    @property
    def words(self) -> str:
        """For people: "8.1 of 255 (9.7 in the dark, 4.2 in the light)"."""
        dark, light = self.levels[0], self.levels[-1]
        if max(dark, light) <= _UNEVEN * max(min(dark, light), CLEAN_NOISE * 255):
            return f"{self.level:.1f} of 255"
        return f"{self.level:.1f} of 255 ({dark:.1f} in the dark, {light:.1f} in the light)"


def read_noise(frames: Iterable[Frame]) -> NoiseReading | None:
    """Noise of some frames, as if they were one; ``None`` without frames that are large enough to tell."""
    counts = np.zeros((len(LEVELS), BINS), np.float64)
    for frame in frames:
        if min(frame.size) >= BLOCK_PX:
            counts += histogram_of(luma_of(frame))
    if not counts.sum():
        return None
    return NoiseReading(tuple(255 * value for value in curve_of(counts).tolist()))


def guide_share(noise: NoiseReading | None, quantiser: float | None, *, removes: bool = False) -> float:
    """Share of the guide's change that is taken: 0 for a clean picture. ``removes``: noise and artefacts are to go."""
    level = 0.0 if noise is None else noise.level / 255
    coded = 0.0 if quantiser is None else _rise(quantiser, CLEAN_QUANTISER, SURE_QUANTISER)
    blurred = 0.0 if quantiser is None else _rise(quantiser, CLEAR_QUANTISER, BLURRED_QUANTISER)
    noisy = _rise(level, CLEAN_NOISE, SURE_NOISE)
    noisy_coded = coded * _rise(level, CLEAN_CODED_NOISE, SURE_CODED_NOISE)
    return 1 - (1 - noisy) * (1 - noisy_coded) * (1 - (coded if removes else blurred))


def luma_of(frame: Frame) -> Floats:
    """Luma (H, W) in [0, 1] of a frame, by the weights of BT.601 where it is R'G'B'."""
    planes = [np.asarray(plane, np.float32) for plane in frame.planes[: frame.format.colour_planes]]
    if frame.format.family == "rgb":
        green, blue, red = planes
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
    else:
        luma = planes[0]
    if not frame.format.is_float:
        said, untagged = frame.colour.range, frame.format.family == "yuv" and not frame.format.name.startswith("yuvj")
        step = 2.0 ** (frame.format.bits - 8)
        limited = said == "tv" or (said != "pc" and untagged)
        luma = (luma - 16 * step) / (219 * step) if limited else luma / frame.format.peak
    result: Floats = luma.clip(0, 1).astype(np.float32)
    return result


def histogram_of(luma: Floats) -> npt.NDArray[np.float64]:
    """Histograms (brightnesses, bins) of the noise of luma (H, W)."""
    blocks = _blocks(luma)
    inside = blocks[:, :-2] - 2 * blocks[:, 1:-1] + blocks[:, 2:]
    inside = inside[..., :-2] - 2 * inside[..., 1:-1] + inside[..., 2:]
    deviation = np.abs(inside).mean((1, 2)) / _UNIT
    level = blocks.mean((1, 2)).clip(LEVELS[0], LEVELS[-1])
    seen = (blocks.min((1, 2)) > _DARKEST) & (blocks.max((1, 2)) < _BRIGHTEST)
    place = np.log(deviation.clip(LEAST, MOST) / LEAST) * ((BINS - 1) / math.log(MOST / LEAST))
    bins = (1 - np.abs(place[:, None] - np.arange(BINS))).clip(0)
    nodes = np.array(LEVELS)
    rise = ((level[:, None] - nodes[:-1]) / np.diff(nodes)).clip(0, 1)
    one = np.ones((len(level), 1))
    weights = (np.hstack((one, rise)) - np.hstack((rise, 0 * one))) * seen[:, None]
    result: npt.NDArray[np.float64] = weights.T @ bins / max(1, len(blocks))
    return result


def curve_of(histogram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Standard deviation at each brightness from histograms (brightnesses, bins); 0: none was seen."""
    counts = histogram + _SHARED * histogram.sum(0)
    share = counts.cumsum(1) / counts.sum(1, keepdims=True).clip(1e-9)
    below = (share < FLAT_SHARE).sum(1).clip(max=BINS - 1)
    rows: Any = np.arange(len(share))
    before = np.where(below > 0, share[rows, (below - 1).clip(0)], 0.0)
    part = (FLAT_SHARE - before) / (share[rows, below] - before).clip(1e-9)
    place = (below - 1 + part.clip(0, 1)).clip(0)
    curve = LEAST * np.exp(place * (math.log(MOST / LEAST) / (BINS - 1)))
    result: npt.NDArray[np.float64] = np.where((histogram.sum() > 1e-6) & (place > 0), curve, 0.0)
    return result


def _blocks(luma: Floats) -> Floats:
    rows, columns = (side // BLOCK_PX for side in luma.shape)
    step = max(1, math.ceil(math.sqrt(rows * columns / MOST_BLOCKS)))
    whole = luma[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return whole[::step, :, ::step].transpose(0, 2, 1, 3).reshape(-1, BLOCK_PX, BLOCK_PX)


def _rise(x: float, low: float, high: float) -> float:
    part = min(max((x - low) / (high - low), 0.0), 1.0)
    return part * part * (3 - 2 * part)
