"""Shot boundary detection: scene cuts, gaps in time and format changes, across which no state is carried.

Light changes, things move and the camera turns within a shot; what stays is structure. So two frames belong together
if the parts of one are found again in the other, wherever they have moved to and however bright they are, or if the
two are alike as a whole. Both are asked of small thumbnails, which grain and fine texture hardly reach: normalised
cross-correlation, in which neither brightness nor contrast counts. A missed cut draws the old shot into the new one,
while a cut too many costs what the network has learned from a frame or two: in doubt it is a cut.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vdeblur.frames import Frame

#: Least dissimilarity of frames from different shots. Measured (test_scene_cuts.py): cuts 1.0 to 1.5, others
#: up to 0.9.
CUT_THRESHOLD = 0.92
#: Frames whose correlation is lower than one minus this are looked at more closely.
_SUSPICIOUS = 0.25
#: A step of time longer than this, and than GAP_FACTOR usual steps, is a gap: the frames between are missing.
GAP_SECONDS = Fraction(1, 2)
GAP_FACTOR = 4

#: Thumbnails have CELLS × CELLS cells, each the mean of SAMPLES × SAMPLES samples.
CELLS = 48
SAMPLES = 4
#: A part is a square of so many cells, and is looked for up to REACH cells away in each direction: an eighth of the
#: picture.
_PART = 12
_REACH = 6
#: In the fifth of the cells where it is least, the noise's variance looks like so much of the true one (0.64, by the
#: chi-squared distribution of 16 samples). Rather too little noise is taken off than too much.
_NOISE_SHARE = 0.8
#: Structure weaker than this, in parts of the range of luma, is none.
_FAINT = 1 / 255
#: Parts brighter and smoother than this are blinded by light.
_GLARE_MEAN, _GLARE_SPREAD = 0.85, 0.06
#: Share of the parts that light must blind to hide a picture.
_HIDDEN_SHARE = 0.75
#: A picture hidden by sudden light for longer than this was no flash.
FLASH_FRAMES = 3
#: Mean change, in parts of the range, that makes a cut of a change from or to a picture without structure.
_BLANK_CHANGE = 0.1


@dataclass(frozen=True)
class Thumbnail:
    """Thumbnail of a frame's luma."""

    #: (CELLS, CELLS) float32 in [0, 1].
    cells: NDArray[np.float32]
    #: Variance that noise leaves in a cell.
    noise: float

    @cached_property
    def blank(self) -> bool:
        """Whether nothing is to be seen: black, white, one tone, or noise alone."""
        return float(self.cells.var()) < _FAINT**2 + 2 * self.noise

    @cached_property
    def glaring(self) -> NDArray[np.bool_]:
        """(parts,): those blinded by light."""
        parts = _parts(self.cells)
        found: NDArray[np.bool_] = (parts.mean(1) > _GLARE_MEAN) & (parts.std(1) < _GLARE_SPREAD)
        return found


class SceneCutDetector:
    """Online shot boundary detector: ``detector(previous, current)`` tells whether a new shot starts at a frame.

    That is so after a cut, a gap or a jump back in time, a change of size, format or colour, and where the frame says
    so. Call it with each frame and the one before it, in order. It looks at no later frame and remembers little: the
    usual step of time and, while a flash or a fade hides everything, the last thumbnail before it. ``copy.copy`` gives
    one that goes on on its own.

    Args:
        cut: least dissimilarity of two shots; see :func:`dissimilarity`.
    """

    def __init__(self, *, cut: float = CUT_THRESHOLD) -> None:
        self._cut = cut
        self._last: tuple[Frame, Thumbnail] | None = None  # of the newest frame; only saves making it again
        self._step: Fraction | None = None
        self._hidden: Thumbnail | None = None
        self._flash_frames = 0

    def __call__(self, previous: Frame, current: Frame) -> bool:
        if current.cut or not previous.same_layout(current):
            self._step, self._last = None, None
            self._uncover()
            return True
        # Both are always asked, so that each keeps its state.
        jump = self._jumps(previous, current)
        before = self._last[1] if self._last is not None and self._last[0] is previous else thumbnail(previous)
        now = thumbnail(current)
        self._last = (current, now)
        if self._cuts(before, now) or jump:
            self._uncover()
            return True
        return False

    def state_dict(self) -> dict[str, Any]:
        """State beside the last frame as plain JSON values, for :meth:`load_state_dict`.

        "step": the last step of time in seconds, a fraction as text, or None. "hidden": what a flash or a fade hides,
        None most of the time, else its "cells" (base64 of CELLS × CELLS little-endian float32), its "noise" (a float),
        and for how many frames it has been hidden by a "flash" (0: by a fade).
        """
        hidden = self._hidden
        return {
            "step": None if self._step is None else str(self._step),
            "hidden": None
            if hidden is None
            else {
                "cells": b64encode(hidden.cells.astype("<f4").tobytes()).decode(),
                "noise": hidden.noise,
                "flash": self._flash_frames,
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state of :meth:`state_dict`: the same decisions follow. The last frame's thumbnail is made again.

        Raises:
            ValueError, TypeError, KeyError: that is no such state.
        """
        step, hidden = state["step"], state["hidden"]
        self._last, self._step = None, None if step is None else Fraction(step)
        self._uncover()
        if hidden is not None:
            cells = np.frombuffer(b64decode(hidden["cells"], validate=True), "<f4").astype(np.float32)
            self._hidden = Thumbnail(cells.reshape(CELLS, CELLS), float(hidden["noise"]))
            self._flash_frames = int(hidden["flash"])

    def _cuts(self, before: Thumbnail, now: Thumbnail) -> bool:
        change = float(np.abs(now.cells - before.cells).mean())
        seen = self._hidden or before
        if seen.blank:
            return change >= _BLANK_CHANGE
        if now.blank or _blinded(seen, now):
            return self._hides(seen, now, sudden=change >= _BLANK_CHANGE)
        self._uncover()
        return dissimilarity(seen, now) >= self._cut

    def _hides(self, seen: Thumbnail, now: Thumbnail, *, sudden: bool) -> bool:
        """Keep the last thumbnail before a fade or a flash. Sudden darkness is a cut; sudden light if it lasts."""
        if sudden and float(now.cells.mean()) < 0.5:
            return True
        if self._hidden is None:
            self._hidden, self._flash_frames = seen, int(sudden)
        elif self._flash_frames:
            self._flash_frames += 1
        return self._flash_frames > FLASH_FRAMES

    def _uncover(self) -> None:
        self._hidden, self._flash_frames = None, 0

    def _jumps(self, previous: Frame, current: Frame) -> bool:
        step = current.pts * current.time_base - previous.pts * previous.time_base
        usual = self._step or previous.duration * previous.time_base
        if step < 0 or (step > GAP_SECONDS and step > GAP_FACTOR * usual):
            return True
        self._step = step
        return False


def dissimilarity(one: Thumbnail, other: Thumbnail) -> float:
    """Dissimilarity of two thumbnails: 0 (equal but for brightness and contrast) to 1.5 (nothing in common).

    Half of one minus their correlation, and, where that says that they may differ, the share of texture in the parts
    of one that is not found near the same place in the other; the worse direction counts. What noise adds to the
    variances is taken off again.
    """
    clear = ~(one.glaring | other.glaring)
    if not clear.any():
        return 0.0
    apart = 1.0 - _correlation(one, other, clear)
    if apart < _SUSPICIOUS:
        return apart / 2
    return apart / 2 + max(_unfound(one, other, clear), _unfound(other, one, clear))


def thumbnail(frame: Frame) -> Thumbnail:
    """Thumbnail of luma, or of green for RGB. Only (CELLS × SAMPLES)² samples are read."""
    samples = _sparse(frame.planes[0]).reshape(CELLS, SAMPLES, CELLS, SAMPLES)
    peak = np.float32(frame.format.peak)
    small = samples.astype(np.float32) / peak
    cells = _means(small)
    within = _means(small * small) - cells * cells
    # Where the picture is smooth, what differs inside a cell is noise.
    smooth = float(np.partition(within, within.size // 5, axis=None)[within.size // 5])
    return Thumbnail(cells, max(0.0, smooth) / _NOISE_SHARE / SAMPLES**2)


def _means(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each cell: the same bits as ``samples.mean((1, 3))``, in an eighth of the time."""
    across = reduce(np.add, np.moveaxis(samples, 3, 0))
    means: NDArray[np.float32] = reduce(np.add, np.moveaxis(across, 1, 0)) / np.float32(SAMPLES**2)
    return means


def _sparse(plane: Any) -> NDArray[Any]:
    """CELLS × SAMPLES samples along each side, evenly spread; a small plane repeats its own."""
    rows, columns = (
        ((np.arange(CELLS * SAMPLES) + 0.5) * size / (CELLS * SAMPLES)).astype(np.int64) for size in plane.shape
    )
    if not isinstance(plane, torch.Tensor):
        samples: NDArray[Any] = np.asarray(plane)[rows].take(columns, axis=1)
        return samples
    # PyTorch knows uint16 but cannot index it.
    deep = plane.dtype == torch.uint16
    part = plane.view(torch.int16) if deep else plane
    part = part[torch.from_numpy(rows).to(part.device)][:, torch.from_numpy(columns).to(part.device)]
    array: NDArray[Any] = part.cpu().contiguous().numpy()
    return array.view(np.uint16) if deep else array


def _parts(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """(parts, _PART²): the squares that make up a thumbnail."""
    count = CELLS // _PART
    squares = cells.reshape(count, _PART, count, _PART).transpose(0, 2, 1, 3)
    return squares.reshape(count * count, _PART * _PART)


def _blinded(seen: Thumbnail, now: Thumbnail) -> bool:
    """Whether light hides most of what was seen."""
    return float((now.glaring & ~seen.glaring).mean()) >= _HIDDEN_SHARE


def _correlation(one: Thumbnail, other: Thumbnail, clear: NDArray[np.bool_]) -> float:
    """Normalised cross-correlation of the parts that are clear, each where it is, 0 to 1."""
    a, b = (picture - picture.mean() for picture in (_parts(one.cells)[clear], _parts(other.cells)[clear]))
    energies = _signal((a * a).mean(), one.noise) * _signal((b * b).mean(), other.noise)
    return float(np.clip((a * b).mean() / np.sqrt(energies), 0, 1))


def _signal(variance: Any, noise: float) -> Any:
    """Variance without that of noise, and never nothing."""
    return np.maximum(variance - noise, _FAINT**2)


def _unfound(what: Thumbnail, where: Thumbnail, clear: NDArray[np.bool_]) -> float:
    """Share of the texture of one picture's parts that is not found near the same place in the other, 0 to 1.

    A slope of brightness across a part is left out: light has those.
    """
    parts = _level(_parts(what.cells).astype(np.float64))
    energy = (parts * parts).mean(1)
    around = np.pad(where.cells, _REACH, mode="edge").astype(np.float64)
    likeness = _products(parts, around) / np.sqrt(
        _signal(_energies(around), where.noise) * _signal(energy, what.noise)[:, None, None]
    )
    best = likeness.max((1, 2)).clip(0, 1)
    weight = np.sqrt(np.maximum(energy - 2.5 * what.noise - _FAINT**2, 0)) * clear
    total = float(weight.sum())
    return float((weight * (1 - best * best)).sum()) / total if total > 0 else 0.0


def _level(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parts without their mean and slopes."""
    ramp = np.kron(_RAMP, np.ones(_PART)), np.kron(np.ones(_PART), _RAMP)
    for shape in (np.ones(_PART**2), *ramp):
        parts = parts - np.outer(parts @ shape, shape) / (shape @ shape)
    return parts


def _products(parts: NDArray[np.float64], around: NDArray[np.float64]) -> NDArray[np.float64]:
    """(parts, places, places): mean product of each part with each square of cells it may have moved to."""
    side = _PART + 2 * _REACH
    near = sliding_window_view(around, (side, side))[::_PART, ::_PART].reshape(-1, side, side)
    spectrum = np.fft.rfft2(near) * np.fft.rfft2(parts.reshape(-1, _PART, _PART), (side, side)).conj()
    moves = 2 * _REACH + 1
    products: NDArray[np.float64] = np.fft.irfft2(spectrum, (side, side))[:, :moves, :moves] / _PART**2
    return products


def _energies(around: NDArray[np.float64]) -> NDArray[np.float64]:
    """(parts, places, places): variance of those squares, less that of their slopes."""
    sums, ramps = _BAND @ around, _RAMP_BAND @ around
    area, steep = _PART**2, _PART * float(_RAMP @ _RAMP)
    energies = (_BAND @ (around * around) @ _BAND.T) / area - (sums @ _BAND.T / area) ** 2
    energies -= ((sums @ _RAMP_BAND.T) ** 2 + (ramps @ _BAND.T) ** 2) / (steep * area)
    moves = 2 * _REACH + 1
    return sliding_window_view(energies, (moves, moves))[::_PART, ::_PART].reshape(-1, moves, moves)


def _band(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix that weighs and adds _PART neighbours, at each place of a padded thumbnail's side."""
    size = CELLS + 2 * _REACH
    band = np.zeros((size - _PART + 1, size))
    for row in range(len(band)):
        band[row, row : row + _PART] = weights
    return band


_RAMP: NDArray[np.float64] = np.arange(_PART, dtype=np.float64) - (_PART - 1) / 2
_BAND, _RAMP_BAND = _band(np.ones(_PART)), _band(_RAMP)
