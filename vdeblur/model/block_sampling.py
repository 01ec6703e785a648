"""Cells: squares of a picture that share one displacement, so that a place costs as little as a number.

A picture seen through all shifts of a cell's pixels is a view of the picture itself; sampling those views once a cell
gives every pixel of the cell, for one place to be computed instead of as many as there are pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.layers import normal_steps


def gathered(picture: Tensor, cell: int) -> Tensor:
    """(B, 1, H, W) → (B, cell², H/cell, W/cell): the pixels of each cell as channels, column by column."""
    if cell == 1:
        return picture
    batch, _, height, width = picture.shape
    parts = picture.view(batch, height // cell, cell, width // cell, cell).permute(0, 4, 2, 1, 3)
    return parts.reshape(batch, cell * cell, height // cell, width // cell)


def spread(cells: Tensor, cell: int) -> Tensor:
    """What :func:`gathered` was given: (B, cell², h, w) → (B, 1, cell·h, cell·w)."""
    batch, _, height, width = cells.shape
    parts = cells.view(batch, cell, cell, height, width).permute(0, 3, 2, 4, 1)
    return parts.reshape(batch, 1, height * cell, width * cell)


def shifts(picture: Tensor, cell: int) -> Tensor:
    """A picture (B, 1, H, W) as :func:`sampled` wants it: (B·cell, cell, H + cell + 1, W + cell + 1).

    Its edge is repeated ``cell`` pixels outwards; entry (column, row) is the picture from that pixel on. Of a single
    picture this copies nothing else.
    """
    if cell == 1:
        return picture
    wide = F.pad(picture, (cell, cell, cell, cell), "replicate")
    if torch.compiler.is_exporting():  # programs elsewhere know no such view: slices are the cheapest there
        rows = [wide[..., row : row - cell + 1 or None, :] for row in range(cell)]
        columns = torch.cat(rows, 1)
        parts = [columns[..., column : column - cell + 1 or None] for column in range(cell)]
        return torch.stack(parts, 1).flatten(0, 1)  # (B·column, row, H', W')
    windows = wide.unfold(2, cell, 1).unfold(3, cell, 1).permute(0, 5, 1, 4, 2, 3)  # (B, column, 1, row, H', W')
    return windows.reshape(-1, cell, *windows.shape[-2:])


def places(height: int, width: int, cell: int, device: torch.device) -> Tensor:
    """Where the cells of a picture of ``height`` × ``width`` cells lie in its :func:`shifts`: (1, height, width, 2).

    x before y, in the units of ``grid_sample``; float32.
    """
    y, x = (_first_pixels(count, cell, device) for count in (height, width))
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1)[None]


def _first_pixels(count: int, cell: int, device: torch.device) -> Tensor:
    margin = cell if cell > 1 else 0
    first = torch.arange(count, device=device, dtype=torch.float32) * cell + margin
    return (first * 2 + 1) / _extent(count * cell, cell) - 1


def steps(displacement: Tensor, cell: int) -> Tensor:
    """(B, 2, h, w) in pixels of the picture, one a cell → (B, h, w, 2) in the units of its :func:`places`."""
    height, width = displacement.shape[-2:]
    return normal_steps(displacement, _extent(height * cell, cell), _extent(width * cell, cell))


def sampled(views: Tensor, grid: Tensor, cell: int) -> Tensor:
    """A picture's :func:`shifts` at one place a cell (B, h, w, 2): (B, cell², h, w), bilinear, the border repeated."""
    if cell == 1:
        return F.grid_sample(views, grid, "bilinear", "border", align_corners=False)
    count, height, width, _ = grid.shape
    grid = grid[:, None].expand(count, cell, height, width, 2).reshape(-1, height, width, 2)
    seen = F.grid_sample(views, grid, "bilinear", "border", align_corners=False)
    return seen.view(count, cell * cell, height, width)


def inside(grid: Tensor, cell: int) -> Tensor:
    """Cells of a grid (B, h, w, 2) whose middle lies inside of the picture: (B, 1, h, w), boolean."""
    height, width = (_extent(size * cell, cell) for size in grid.shape[1:3])
    edge = cell + 1 if cell > 1 else 0
    x, y = grid.abs().unbind(-1)
    return ((x < 1 - edge / width) & (y < 1 - edge / height))[:, None]


def medians(x: Tensor) -> Tensor:
    """Medians of 3 × 3 cells, the border repeated; each of two columns is sorted, then three are compared."""
    wide = F.pad(x, (1, 1, 1, 1), "replicate")
    above, here, below = wide[..., :-2, :], wide[..., 1:-1, :], wide[..., 2:, :]
    low, high = torch.minimum(above, here), torch.maximum(above, here)
    parts = torch.minimum(low, below), torch.maximum(low, torch.minimum(high, below)), torch.maximum(high, below)
    lows, middles, highs = ((part[..., :-2], part[..., 1:-1], part[..., 2:]) for part in parts)
    low = torch.maximum(torch.maximum(lows[0], lows[1]), lows[2])
    high = torch.minimum(torch.minimum(highs[0], highs[1]), highs[2])
    return _middle(low, _middle(*middles), high)


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def _extent(size: int, cell: int) -> int:
    """Samples of a shift of a picture of so many pixels."""
    return size + cell + 1 if cell > 1 else size
