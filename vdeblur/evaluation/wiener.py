"""Wiener deconvolution with a kernel estimated from the blurred frames alone: the classical baseline.

Neighbouring frames are matched tile by tile with phase correlation (Kuglin and Hines 1975); the blur is taken for a
straight line along that motion, as long as a fixed share of it, and undone with a regularised inverse filter in linear
light (constrained least squares, Hunt 1973). A frame without neighbours stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Side of a tile, of the margin read around it, and distance between tiles, pixels.
TILE_PX, MARGIN_PX, HOP_PX = 128, 32, 64
#: Tiles matched or deconvolved at once, so that memory does not grow with the picture.
TILES_AT_ONCE = 48
#: Frequencies (cycles a pixel) on which matching rests: texture, not noise.
MATCH_BAND = (0.01, 0.25)


@dataclass(frozen=True, kw_only=True)
class WienerSettings:
    """Chosen by mean gain on 24 synthetic clips of other photographs than those of any test set.

    There 0.2 to 0.75 of the motion as blur and smoothness from 0.003 to 0.8 were tried; so were filters that never
    damp, a flat penalty, and lines read from the cepstrum: all of them were worse.
    """

    #: Blur length as a share of the motion between frames (shutter angle / 360°).
    exposure: float = 0.25
    #: Weight of the smoothness term against the data term.
    smoothness: float = 0.8
    #: Display gamma of the frames.
    gamma: float = 2.2
    #: Least height of the correlation peak, 0 to 1, for a motion to be believed.
    least_peak: float = 0.05


class Wiener:
    """A network for the engine that has learned nothing: features are the frames, there is no state."""

    stride = 1
    minimum_size = TILE_PX

    def __init__(self, settings: WienerSettings | None = None) -> None:
        self.settings = WienerSettings() if settings is None else settings

    def encode(self, frame: Tensor, /) -> Tensor:
        return frame

    def residual(
        self, previous: Tensor | None, current: Tensor, following: Tensor | None, state: None, /
    ) -> tuple[Tensor, None]:
        """Correction (1, 3, H, W) of the current frame; the state stays None."""
        if previous is None and following is None:
            return torch.zeros_like(current), None
        settings, luma = self.settings, current.mean(dim=1)[0]
        rows, columns = (_tile_count(size) for size in luma.shape)
        lines = settings.exposure * _velocity(previous, luma, following, rows, columns, settings.least_peak)
        linear = current[0] ** settings.gamma
        restored = _deconvolved(linear, lines, rows, columns, settings.smoothness).clamp(0, 1) ** (1 / settings.gamma)
        return (restored - current[0])[None], None


def inverse_filter(lines: Tensor, side: int, smoothness: float) -> Tensor:
    """Real filters (N, side, side/2 + 1) in frequency that undo the mean along straight lines (N, 2), x before y.

    Divided by what the filter does to a picture without blur, so that a line of length 0 changes nothing.
    """
    y = torch.fft.fftfreq(side, device=lines.device)[:, None]
    x = torch.fft.rfftfreq(side, device=lines.device)[None]
    blur = torch.sinc(x * lines[:, 0, None, None] + y * lines[:, 1, None, None])
    penalty = smoothness * (2 * torch.pi) ** 2 * (x * x + y * y)
    filters: Tensor = blur / (blur * blur + penalty) * (1 + penalty)
    return filters


def phase_correlation(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Shift (N, 2) in pixels, x before y, from tiles ``one`` (N, S, S) to ``other``, and the peak's height, 0 to 1."""
    side = one.shape[-1]
    window = _window(side, one.device)
    spectra = [torch.fft.rfft2((tile - tile.mean(dim=(-2, -1), keepdim=True)) * window) for tile in (one, other)]
    cross = spectra[0].conj() * spectra[1]
    y = torch.fft.fftfreq(side, device=one.device)[:, None]
    x = torch.fft.rfftfreq(side, device=one.device)[None]
    radius = (x * x + y * y).sqrt()
    band = ((radius >= MATCH_BAND[0]) & (radius <= MATCH_BAND[1])).float()
    surface = torch.fft.irfft2(cross / cross.abs().clamp_min(1e-9) * band, s=(side, side)) * side * side
    weight = float(torch.fft.irfft2(band.to(cross.dtype), s=(side, side))[0, 0] * side * side)
    return _peak(surface / weight)


def _peak(surface: Tensor) -> tuple[Tensor, Tensor]:
    """Place (N, 2) of the highest point of each circular surface (N, S, S) to a part of a pixel, and its height."""
    side = surface.shape[-1]
    height, place = surface.flatten(1).max(dim=1)
    row, column = place // side, place % side
    number = torch.arange(len(surface), device=surface.device)

    def refined(before: Tensor, after: Tensor) -> Tensor:
        bend = before - 2 * height + after
        return torch.where(bend < 0, 0.5 * (before - after) / bend.clamp_max(-1e-9), 0.0).clamp(-0.5, 0.5)

    x = column + refined(surface[number, row, (column - 1) % side], surface[number, row, (column + 1) % side])
    y = row + refined(surface[number, (row - 1) % side, column], surface[number, (row + 1) % side, column])
    shift = torch.stack((x, y), 1)
    return torch.where(shift >= side / 2, shift - side, shift), height


def _velocity(
    previous: Tensor | None, luma: Tensor, following: Tensor | None, rows: int, columns: int, least_peak: float
) -> Tensor:
    """Motion (N, 2) of each tile in pixels a frame: the mean of what the neighbours say, as far as it is believed."""
    tiles = _tiles(luma, rows, columns)
    total, weight = tiles.new_zeros(len(tiles), 2), tiles.new_zeros(len(tiles), 1)
    for neighbour, sign in ((previous, -1.0), (following, 1.0)):
        if neighbour is not None:
            others = _tiles(neighbour.mean(dim=1)[0], rows, columns)
            starts = range(0, len(tiles), TILES_AT_ONCE)
            parts = [phase_correlation(tiles[n : n + TILES_AT_ONCE], others[n : n + TILES_AT_ONCE]) for n in starts]
            shift, height = (torch.cat(values) for values in zip(*parts, strict=True))
            belief = (height > least_peak).float()[:, None]
            total, weight = total + sign * shift * belief, weight + belief
    return total / weight.clamp_min(1)


def _tile_count(size: int) -> int:
    return max(1, -(-(size - TILE_PX) // HOP_PX) + 1)


def _padded(picture: Tensor, rows: int, columns: int, margin: int) -> Tensor:
    """A picture (C, H, W) with its edges repeated, so that tiles and their margins fit."""
    height, width = picture.shape[-2:]
    below, right = ((count - 1) * HOP_PX + TILE_PX - size for count, size in ((rows, height), (columns, width)))
    return F.pad(picture[None], (margin, right + margin, margin, below + margin), mode="replicate")[0]


def _tiles(luma: Tensor, rows: int, columns: int) -> Tensor:
    """Overlapping tiles (N, TILE, TILE) of a plane (H, W)."""
    cut = _padded(luma[None], rows, columns, 0)[0].unfold(0, TILE_PX, HOP_PX).unfold(1, TILE_PX, HOP_PX)
    return cut.reshape(-1, TILE_PX, TILE_PX)


def _window(side: int, device: torch.device) -> Tensor:
    window = torch.hann_window(side, device=device)
    return window[:, None] * window


def _deconvolved(picture: Tensor, lines: Tensor, rows: int, columns: int, smoothness: float) -> Tensor:
    """The picture (3, H, W), each tile undone along its own line, the tiles faded into each other."""
    side = TILE_PX + 2 * MARGIN_PX
    padded = _padded(picture, rows, columns, MARGIN_PX)
    total = torch.zeros_like(padded)
    weight = torch.zeros_like(padded[0])
    window = _window(TILE_PX, picture.device) + 1e-3
    places = [(row * HOP_PX, column * HOP_PX) for row in range(rows) for column in range(columns)]
    for first in range(0, len(places), TILES_AT_ONCE):
        some = places[first : first + TILES_AT_ONCE]
        cut = torch.stack([padded[:, y : y + side, x : x + side] for y, x in some])
        filters = inverse_filter(lines[first : first + TILES_AT_ONCE], side, smoothness)[:, None]
        clear = torch.fft.irfft2(torch.fft.rfft2(cut) * filters, s=(side, side))
        inner = clear[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] * window
        for (y, x), tile in zip(some, inner, strict=True):
            here = (slice(y + MARGIN_PX, y + MARGIN_PX + TILE_PX), slice(x + MARGIN_PX, x + MARGIN_PX + TILE_PX))
            total[(slice(None), *here)] += tile
            weight[here] += window
    height, width = picture.shape[-2:]
    inside = (slice(MARGIN_PX, MARGIN_PX + height), slice(MARGIN_PX, MARGIN_PX + width))
    return total[(slice(None), *inside)] / weight[inside]
