"""Scenes: where one shot ends and the next begins, so that nothing is carried across.

The score is that of FFmpeg's ``scdet`` filter: the mean absolute difference of luma to the frame before, in percent,
or its change since the last pair, whichever is smaller. So a steady pan, however fast, scores low, and a cut high. It
is taken from small thumbnails, which grain and fine texture hardly reach.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vdeblur.frames import Frame

#: Score from which two frames belong to different scenes; scdet's default.
CUT_PERCENT = 10.0
#: A step of time longer than this, and than GAP_FACTOR usual steps, is a gap: the frames between are missing.
GAP_SECONDS = Fraction(1, 2)
GAP_FACTOR = 4

#: Thumbnails have about this many cells along each side, and this many samples along each side of a cell.
CELLS = 48
SAMPLES = 4

Thumbnail = NDArray[np.float32]


class Breaks:
    """Say whether a new shot starts at a frame: ``breaks(previous, current) -> bool``.

    That is so after a cut, a gap or a jump back in time, and a change of size, format or colour. Call it with each
    frame and the one before it, in order: it remembers the last thumbnail, the last difference and the usual step.

    Args:
        cut_percent: score from which a cut is seen, in percent of the range of luma; see the module's sentence.
    """

    def __init__(self, *, cut_percent: float = CUT_PERCENT) -> None:
        self._cut_percent = cut_percent
        self._last: tuple[Frame, Thumbnail] | None = None
        self._difference = 0.0
        self._step: Fraction | None = None

    def __call__(self, previous: Frame, current: Frame) -> bool:
        if not previous.same_layout(current):
            self._difference, self._step, self._last = 0.0, None, None
            return True
        # Both are asked always, so that each keeps its memory.
        jump = self._jumps(previous, current)
        return self.score(previous, current) >= self._cut_percent or jump

    def memory(self) -> dict[str, Any]:
        """What it remembers beside the last frame, in plain numbers and words, for :meth:`restore`."""
        return {"difference": self._difference, "step": None if self._step is None else str(self._step)}

    def restore(self, memory: dict[str, Any]) -> None:
        """Go on as if it had seen the frames before; the last one is looked at again when it comes."""
        self._last = None
        self._difference = float(memory["difference"])
        self._step = None if memory["step"] is None else Fraction(memory["step"])

    def score(self, previous: Frame, current: Frame) -> float:
        """Scene change score in percent, 0 to 100, as ``lavfi.scd.score``."""
        before = self._last[1] if self._last is not None and self._last[0] is previous else thumbnail(previous)
        now = thumbnail(current)
        self._last = (current, now)
        difference = float(np.abs(now - before).mean()) * 100.0
        change = abs(difference - self._difference)
        self._difference = difference
        return min(difference, change)

    def _jumps(self, previous: Frame, current: Frame) -> bool:
        step = current.pts * current.time_base - previous.pts * previous.time_base
        usual = self._step or previous.duration * previous.time_base
        if step < 0 or (step > GAP_SECONDS and step > GAP_FACTOR * usual):
            return True
        self._step = step
        return False


def thumbnail(frame: Frame) -> Thumbnail:
    """Luma as about CELLS × CELLS cell means in [0, 1]; of RGB, green stands for it. Only some samples are read."""
    plane = _sparse(frame.planes[0])
    rows, columns = (SAMPLES * max(1, size // SAMPLES) for size in plane.shape)
    if min(plane.shape) < SAMPLES:
        return plane.astype(np.float32) / np.float32(frame.format.peak)
    cells = plane[:rows, :columns].reshape(rows // SAMPLES, SAMPLES, columns // SAMPLES, SAMPLES)
    means: Thumbnail = cells.mean(axis=(1, 3), dtype=np.float32)
    return means / np.float32(frame.format.peak)


def _sparse(plane: Any) -> NDArray[Any]:
    """Every n-th sample of each row and column, as an array."""
    step_y, step_x = (max(1, size // (CELLS * SAMPLES)) for size in plane.shape)
    part = plane[::step_y, ::step_x]
    return part.cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
