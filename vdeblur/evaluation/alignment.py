"""Global sub-pixel alignment: the truth of a pair moved by the one shift at which it lies best on the blurred clip.

Beam splitters, stabilisation and recompression leave the two sides of a real pair up to half a pixel apart. PSNR then
punishes whatever is sharp. The shift belongs to the pair: it is estimated from the blurred clip and its truth before
any method runs, and the same moved truth judges the input and every output. It is the least-squares shift, found by the
matrix-multiply DFT of Guizar-Sicairos et al. (2008), and so the one that is best for the input: it favours no method
over another, and can only understate a gain. A shift that followed the outputs would favour whoever moves edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.metrics import capped, psnr

#: Farthest shift that is tried each way, and the step of the grid between, pixels.
REACH_PX, STEP_PX = 1.0, 0.05
#: A shorter shift counts as none, so that an aligned pair is compared as it is: that far long blur misleads the search.
LEAST_PX = 0.05
#: Pixels at each border that do not count, whether there is a shift or not.
BORDER_PX = 2
#: Half width of the windowed sinc that moves the truth, pixels, and the shape of its Kaiser window.
_HALF_WIDTH_PX, _KAISER_BETA = 12, 7.0


@dataclass(frozen=True)
class Shift:
    """How far the truth has to be moved to lie on the blurred clip, pixels: to the right, and down."""

    x_px: float = 0.0
    y_px: float = 0.0

    @property
    def is_none(self) -> bool:
        return self.x_px == self.y_px == 0


class ShiftSearch:
    """Finds the least-squares shift of a pair, over all of its frames together.

    The mean of R', G' and B' is compared under a Hann window. The sum of squared differences is least where the
    cross-correlation is highest. That is evaluated from the cross-spectrum on a grid of 0.05 px, and refined by
    parabolas.
    """

    def __init__(self) -> None:
        steps = round(REACH_PX / STEP_PX)
        self._shifts = torch.arange(-steps, steps + 1, dtype=torch.float64) * STEP_PX
        self._correlation = torch.zeros(len(self._shifts), len(self._shifts), dtype=torch.float64)

    def add(self, blurry: Tensor, truth: Tensor) -> None:
        """Take a frame and its truth, R'G'B' (1, 3, H, W) in [0, 1]."""
        height, width = truth.shape[-2:]
        one, other = (torch.fft.rfft2(_windowed(picture)) for picture in (truth, blurry))
        cross = one.conj() * other
        cross[:, 1 : (width + 1) // 2] *= 2  # their mirrored twins are left out of a real transform
        rows, columns = (
            torch.exp(2j * torch.pi * self._shifts[:, None] * frequency)
            for frequency in (
                torch.fft.fftfreq(height, dtype=torch.float64),
                torch.fft.rfftfreq(width, dtype=torch.float64),
            )
        )
        self._correlation += (rows @ cross @ columns.T).real

    def result(self) -> Shift:
        """The shift; none if nothing is better, as in flat pictures."""
        surface, middle = self._correlation, len(self._shifts) // 2
        row, column = divmod(int(surface.argmax()), len(self._shifts))
        if float(surface[row, column]) <= float(surface[middle, middle]):
            row = column = middle
        x, y = self._refined(surface[row], column), self._refined(surface[:, column], row)
        return Shift(x, y) if max(abs(x), abs(y)) >= LEAST_PX else Shift()

    def _refined(self, line: Tensor, place: int) -> float:
        """The top of the parabola through the highest point of a line and its neighbours."""
        at = float(self._shifts[place])
        if not 0 < place < len(line) - 1:
            return at
        before, here, after = line[place - 1 : place + 2].tolist()
        bend = before - 2 * here + after
        return at + STEP_PX * 0.5 * (before - after) / bend if bend < 0 else at


def shifted(picture: Tensor, shift: Shift) -> Tensor:
    """A picture (1, C, H, W) moved by a shift, band-limited: a separable sinc of 25 points under a Kaiser window.

    Bilinear sampling would soften the truth. The pixels at the edge are repeated beyond it.
    """
    if shift.is_none:
        return picture
    planes = picture.transpose(0, 1)  # (C, 1, H, W)
    for kernel in (_sinc(shift.x_px).view(1, 1, 1, -1), _sinc(shift.y_px).view(1, 1, -1, 1)):
        rows, columns = (side // 2 for side in kernel.shape[-2:])
        planes = F.conv2d(F.pad(planes, (columns, columns, rows, rows), mode="replicate"), kernel.to(picture))
    return planes.transpose(0, 1)


def aligned_psnr(picture: Tensor, moved_truth: Tensor) -> float:
    """PSNR in dB against a truth that :func:`shifted` has moved, without two pixels at each border; 100 at most."""
    height, width = picture.shape[-2:]
    rows, columns = (min(BORDER_PX, (side - 1) // 2) for side in (height, width))
    inner = (..., slice(rows, height - rows), slice(columns, width - columns))
    return capped(psnr(picture[inner], moved_truth[inner]))


def _windowed(picture: Tensor) -> Tensor:
    grey = picture[0].double().mean(dim=0)
    rows, columns = (torch.hann_window(side, periodic=False, dtype=torch.float64) for side in grey.shape)
    return (grey - grey.mean()) * rows[:, None] * columns


def _sinc(shift_px: float) -> Tensor:
    """Kernel, as :func:`torch.nn.functional.conv2d` applies it, that moves a signal towards higher indexes."""
    distance = torch.arange(_HALF_WIDTH_PX, -_HALF_WIDTH_PX - 1, -1, dtype=torch.float64) - shift_px
    edge = (1 - (distance / (_HALF_WIDTH_PX + 1)).square()).clamp_min(0).sqrt()
    kernel = torch.sinc(distance) * torch.special.i0(_KAISER_BETA * edge)
    normalised: Tensor = kernel / kernel.sum()
    return normalised
