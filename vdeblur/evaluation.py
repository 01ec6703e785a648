"""Evaluation: how much closer to the truth a network brings a blurred clip."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vdeblur.engine import Deblurrer
from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.metrics import psnr, ssim
from vdeblur.pixels import rgb_from_planes
from vdeblur.video.reader import Reader


@dataclass(frozen=True)
class Scores:
    """Means over the frames of a clip: R'G'B', rounded to 8 bits, no crop, every frame.

    PSNR in dB is the mean of the frames' values; a frame equal to the truth counts as 100 dB.
    """

    frames: int
    psnr_blurry: float
    psnr_restored: float
    ssim_blurry: float
    ssim_restored: float
    #: PSNR of the restored clip against the blurred one: how much was changed at all.
    psnr_change: float

    @property
    def gain_db(self) -> float:
        return self.psnr_restored - self.psnr_blurry


def score_pair(deblurrer: Deblurrer, blurry: str | Path, sharp: str | Path) -> Scores:
    """Restore ``blurry`` and compare it, and what it was, with ``sharp``, frame by frame.

    Raises:
        UsageError: the two differ in size or in number of frames.
        SourceError: one of them cannot be read.
    """
    totals = [0.0] * 5
    count = 0
    with Reader(blurry) as blurry_reader, Reader(sharp) as sharp_reader:
        deblurrer.reset()
        sources: list[Frame] = []
        restored = deblurrer.run(_remembered(blurry_reader, sources))
        for after, truth in _paired(restored, sharp_reader, blurry, sharp):
            before = sources.pop(0)
            if truth.size != before.size:
                raise UsageError(f"{sharp} has frames of {_size(truth)}, {blurry} of {_size(before)}: give a true pair")
            pictures = [_rgb(frame) for frame in (before, after, truth)]
            for index, value in enumerate(_compare(*pictures)):
                totals[index] += value
            count += 1
    if count == 0:
        raise UsageError(f"{blurry} has no frames to score")
    means = [total / count for total in totals]
    return Scores(count, means[0], means[1], means[2], means[3], means[4])


def _compare(before: Tensor, after: Tensor, truth: Tensor) -> tuple[float, float, float, float, float]:
    def decibels(picture: Tensor, other: Tensor) -> float:
        value = psnr(picture, other)
        return 100.0 if math.isinf(value) else value

    return (
        decibels(before, truth),
        decibels(after, truth),
        ssim(before, truth),
        ssim(after, truth),
        decibels(after, before),
    )


def _remembered(frames: Iterable[Frame], kept: list[Frame]) -> Iterator[Frame]:
    """The same frames, each also kept until its restoration comes back."""
    for frame in frames:
        kept.append(frame)
        yield frame


def _paired(
    restored: Iterator[Frame], truth: Iterable[Frame], blurry: str | Path, sharp: str | Path
) -> Iterator[tuple[Frame, Frame]]:
    rest = iter(truth)
    for after in restored:
        try:
            yield after, next(rest)
        except StopIteration:
            raise UsageError(f"{sharp} has fewer frames than {blurry}: give a true pair") from None
    if next(rest, None) is not None:
        raise UsageError(f"{sharp} has more frames than {blurry}: give a true pair")


def _rgb(frame: Frame) -> Tensor:
    """R'G'B' (1, 3, H, W) of a frame on the CPU."""
    planes = [torch.from_numpy(plane) for plane in frame.planes]
    return rgb_from_planes(planes, frame.format, frame.colour, height=frame.height, width=frame.width)


def _size(frame: Frame) -> str:
    return f"{frame.width}×{frame.height}"


def find_pairs(data: Path) -> list[tuple[str, Path, Path]]:
    """(name, blurred, sharp) of every pair below a folder: files named ``NAME.blur.EXT`` and ``NAME.sharp.EXT``.

    Raises:
        UsageError: there is no such folder, no pair, or half of one is missing.
    """
    if not data.is_dir():
        raise UsageError(f"{data} is no folder: give one with pairs named NAME.blur.mkv and NAME.sharp.mkv")
    pairs = []
    for blurry in sorted(data.rglob("*.blur.*")):
        name = blurry.name.split(".blur.")[0]
        sharp = next(iter(sorted(blurry.parent.glob(f"{glob.escape(name)}.sharp.*"))), None)
        if sharp is None:
            raise UsageError(f"{blurry} has no sharp partner: add {name}.sharp{blurry.suffix} beside it")
        pairs.append((name, blurry, sharp))
    if not pairs:
        raise UsageError(f"no pairs in {data}: name them NAME.blur.mkv and NAME.sharp.mkv")
    return pairs
