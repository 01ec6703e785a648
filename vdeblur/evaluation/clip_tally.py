"""Tally of one method on one clip: fidelity, gain of single frames, and PSNR against the aligned truth."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vdeblur.evaluation.alignment import Shift, aligned_psnr, shifted
from vdeblur.evaluation.scoring import Alteration, FidelityMean, mean
from vdeblur.metrics import capped, psnr


@dataclass(frozen=True)
class AlignedFidelity:
    """PSNR in dB, mean over frames, against the truth moved by one shift, without two pixels at each border."""

    #: How far the truth was moved, pixels, to the right and down; 0 where it lay right.
    shift_x_px: float
    shift_y_px: float
    psnr_input: float
    psnr: float


@dataclass
class ClipTally:
    """Collects blurred, restored and true frames of a clip, whose truth lies right when moved by ``shift``."""

    shift: Shift
    output: FidelityMean = field(default_factory=FidelityMean)
    _changes: list[float] = field(default_factory=list)
    _gains: list[float] = field(default_factory=list)
    _aligned: list[tuple[float, float]] = field(default_factory=list)

    def add(self, before: Tensor, after: Tensor, true: Tensor) -> None:
        """Take a frame, R'G'B' (1, 3, H, W) in [0, 1] each."""
        self.output.add(after, true)
        self._changes.append(capped(psnr(after, before)))
        as_it_was = psnr(before, true)
        if as_it_was < float("inf"):  # a frame equal to its truth has nothing to gain
            self._gains.append(self.output.psnrs[-1] - as_it_was)
        moved = shifted(true, self.shift)
        self._aligned.append((aligned_psnr(before, moved), aligned_psnr(after, moved)))

    @property
    def worst_frame_gain_db(self) -> float | None:
        """The most negative gain of a single frame; None if all frames equal the truth as they come."""
        return min(self._gains, default=None)

    def change(self) -> Alteration:
        """How far the blurred frames were changed."""
        return Alteration(mean(self._changes), min(self._changes))

    def aligned(self) -> AlignedFidelity:
        """Means against the aligned truth."""
        before, after = zip(*self._aligned, strict=True)
        return AlignedFidelity(self.shift.x_px, self.shift.y_px, mean(before), mean(after))
