"""Pairs of blurred and sharp clips for tests, made by code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vdeblur.adapters.arrays import ArrayAdapter
from vdeblur.evaluation.cases import Case, TrueMotion, frames_case
from vdeblur.frames import Frame

SIZE = 160


def moving(count: int, *, speed: float = 0.0, blur: float = 0.0, size: int = SIZE, seed: int = 1) -> list[Tensor]:
    """Pictures (3, size, size) in [0, 1] of a texture that moves to the right, ``speed`` px a frame.

    ``blur`` is the length of the straight blur in px; moves and blur are exact, in frequency.
    """
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed))
    y, x = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    spectrum = torch.fft.rfft2(noise - 0.5) * torch.exp(-((y * y + x * x) / 0.12**2)) * torch.sinc(x * blur)
    shifts = (torch.exp(-2j * torch.pi * x * speed * t) for t in range(count))
    return [(0.5 + 1.2 * torch.fft.irfft2(spectrum * shift, s=(size, size))).clamp(0, 1) for shift in shifts]


def frames(pictures: Iterable[Tensor]) -> list[Frame]:
    """Pictures (3, H, W) in [0, 1] as frames of 8 bits."""
    arrays = ArrayAdapter("rgb")
    shown = ((p * 255).round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8) for p in pictures)
    return [arrays.frame(picture, number) for number, picture in enumerate(shown)]


def case(blurry: Iterable[Tensor], sharp: Iterable[Tensor], *, truth: TrueMotion | None = None) -> Case:
    return frames_case(frames(blurry), frames(sharp), name="one", dataset="made", stratum="clips", truth=truth)


def write_clip(path: Path, values: Iterable[int], *, width: int = 48, height: int = 40) -> None:
    """A video (YUV4MPEG2, 4:4:4) of a fixed grey texture, one frame for each value added to it."""
    texture = np.random.default_rng(4).integers(40, 200, (height, width))
    grey = np.full((2, height, width), 128, np.uint8).tobytes()
    header = f"YUV4MPEG2 W{width} H{height} F25:1 Ip C444\n".encode()
    shown = [b"FRAME\n" + (texture + value).astype(np.uint8).tobytes() + grey for value in values]
    path.write_bytes(header + b"".join(shown))
