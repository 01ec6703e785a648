"""Full-reference scoring (PSNR, SSIM) of one method on one clip, frame by frame in constant memory.

Clips are restored as files are: the exposure is read ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import Tensor

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.pixels import rgb_of
from vdeblur.engine.read_ahead import READ_AHEAD, always_ready
from vdeblur.errors import UsageError
from vdeblur.evaluation.cases import Case, in_step, pair_case, remembered
from vdeblur.frames import Frame
from vdeblur.metrics import capped, psnr, ssim, temporal_psnr


@dataclass(frozen=True)
class Fidelity:
    """How close a clip is to its truth: means over its frames, R'G'B' rounded to 8 bits, no crop, every frame.

    PSNR values in dB are means of the frames' values; a frame equal to the truth counts as 100 dB.
    """

    frames: int
    psnr: float
    ssim: float
    #: See :func:`vdeblur.metrics.temporal_psnr`; mean over pairs of neighbours, None for a single frame.
    temporal_psnr: float | None


@dataclass(frozen=True)
class Alteration:
    """How far a method moves a clip away from itself, PSNR in dB of output against input."""

    #: Mean over the frames, an unchanged one counting as 100 dB, and the worst frame.
    psnr: float
    worst_frame_psnr: float


@dataclass(frozen=True)
class Scores:
    """A blurred clip before and after; the rules are those of :class:`Fidelity`."""

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


@dataclass
class FidelityMean:
    """Collects frames beside their truth."""

    psnrs: list[float] = field(default_factory=list)
    ssims: list[float] = field(default_factory=list)
    temporal: list[float] = field(default_factory=list)
    _last: tuple[Tensor, Tensor] | None = None

    def add(self, picture: Tensor, truth: Tensor) -> None:
        self.psnrs.append(capped(psnr(picture, truth)))
        self.ssims.append(ssim(picture, truth))
        if self._last is not None:
            self.temporal.append(capped(temporal_psnr(self._last[0], picture, self._last[1], truth)))
        self._last = (picture, truth)

    def result(self) -> Fidelity:
        temporal = mean(self.temporal) if self.temporal else None
        return Fidelity(len(self.psnrs), mean(self.psnrs), mean(self.ssims), temporal)


def score_pair(deblurrer: Deblurrer, blurry: str | Path, sharp: str | Path) -> Scores:
    """Restore ``blurry`` and compare it, and what it was, with ``sharp``, frame by frame.

    Raises:
        UsageError: the two differ in size or in number of frames.
        SourceError: one of them cannot be read.
    """
    before, after, changes = FidelityMean(), FidelityMean(), []
    for frame, restored, truth in restored_frames(deblurrer, pair_case(blurry, sharp)):
        pictures = [rgb_of(each) for each in (frame, restored, truth)]
        before.add(pictures[0], pictures[2])
        after.add(pictures[1], pictures[2])
        changes.append(capped(psnr(pictures[1], pictures[0])))
    if not changes:
        raise UsageError(f"{blurry} has no frames to score")
    was, now = before.result(), after.result()
    return Scores(now.frames, was.psnr, now.psnr, was.ssim, now.ssim, mean(changes))


def restored_frames(deblurrer: Deblurrer, case: Case) -> Iterator[tuple[Frame, Frame, Frame]]:
    """(blurred, restored, true) frames of a case."""
    return restored_beside_truth(case, partial(deblurrer.run, read_ahead=READ_AHEAD, ready=always_ready))


def restored_beside_truth(
    case: Case, restore: Callable[[Iterable[Frame]], Generator[Frame, None, None]]
) -> Iterator[tuple[Frame, Frame, Frame]]:
    """(blurred, restored, true) frames of a case; ``restore`` is lazy, and gives a frame for each that it takes."""
    with case.blurry() as blurry, case.sharp() as sharp:
        kept: list[Frame] = []
        with closing(restore(remembered(blurry, kept))) as restored:
            for frame, truth in in_step(restored, sharp, case):
                yield kept.pop(0), frame, truth


def alteration_of(deblurrer: Deblurrer, frames: Iterable[Frame]) -> Alteration:
    """What a method does to a clip that may need nothing."""
    kept: list[Frame] = []
    values = []
    with closing(deblurrer.run(remembered(frames, kept), read_ahead=READ_AHEAD, ready=always_ready)) as restored:
        for frame in restored:
            values.append(capped(psnr(rgb_of(frame), rgb_of(kept.pop(0)))))
    return Alteration(mean(values), min(values))


def mean(values: Iterable[float]) -> float:
    """Mean of at least one number."""
    numbers = list(values)
    return sum(numbers) / len(numbers)
