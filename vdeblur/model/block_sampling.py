"""Block sampling: bilinear samples of blocks whose pixels share one displacement, with one position per block.

An image shifted by each offset within a block is a strided view of the image; ``grid_sample`` on these views yields
all pixels of a block for a single computed position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.model.layers import normalize_displacement


def unshuffle_blocks(image: Tensor, block_px: int) -> Tensor:
    """Pixel unshuffle in column-major order: (B, 1, H, W) → (B, block², H/block, W/block)."""
    if block_px == 1:
        return image
    batch, _, height, width = image.shape
    parts = image.view(batch, height // block_px, block_px, width // block_px, block_px).permute(0, 4, 2, 1, 3)
    return parts.reshape(batch, block_px * block_px, height // block_px, width // block_px)


def shuffle_blocks(blocks: Tensor, block_px: int) -> Tensor:
    """Inverse of :func:`unshuffle_blocks`: (B, block², h, w) → (B, 1, block·h, block·w)."""
    batch, _, height, width = blocks.shape
    parts = blocks.view(batch, block_px, block_px, height, width).permute(0, 3, 2, 4, 1)
    return parts.reshape(batch, 1, height * block_px, width * block_px)


def shifted_views(image: Tensor, block_px: int) -> Tensor:
    """Views of an image for :func:`sample_blocks`: (B, 1, H, W) → (B·block, block, H + block + 1, W + block + 1).

    The border is replicated by ``block_px`` pixels; entry (column, row) is the image from that pixel on. Without a
    batch, nothing but the padding is copied.
    """
    if block_px == 1:
        return image
    padded = F.pad(image, (block_px, block_px, block_px, block_px), "replicate")
    if torch.compiler.is_exporting():  # exported programs have no strided views: slices are cheapest there
        rows = [padded[..., row : row - block_px + 1 or None, :] for row in range(block_px)]
        columns = torch.cat(rows, 1)
        parts = [columns[..., column : column - block_px + 1 or None] for column in range(block_px)]
        return torch.stack(parts, 1).flatten(0, 1)  # (B·column, row, H', W')
    windows = padded.unfold(2, block_px, 1).unfold(3, block_px, 1)
    windows = windows.permute(0, 5, 1, 4, 2, 3)  # (B, column, 1, row, H', W')
    return windows.reshape(-1, block_px, *windows.shape[-2:])


def block_grid(height: int, width: int, block_px: int, device: torch.device) -> Tensor:
    """Identity grid (1, height, width, 2) of ``height`` × ``width`` blocks for their :func:`shifted_views`.

    x before y, in units of ``grid_sample``; float32.
    """
    y, x = (_block_positions(count, block_px, device) for count in (height, width))
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1)[None]


def _block_positions(count: int, block_px: int, device: torch.device) -> Tensor:
    """Positions of the first pixels of ``count`` blocks, −1 … 1."""
    margin = block_px if block_px > 1 else 0
    first = torch.arange(count, device=device, dtype=torch.float32) * block_px + margin
    return (first * 2 + 1) / _padded_size(count * block_px, block_px) - 1


def normalize_block_displacement(displacement: Tensor, block_px: int) -> Tensor:
    """Convert displacements of blocks (B, 2, h, w) from pixels to units of :func:`block_grid` (B, h, w, 2)."""
    height, width = displacement.shape[-2:]
    padded = (_padded_size(size * block_px, block_px) for size in (height, width))
    return normalize_displacement(displacement, *padded)


def sample_blocks(views: Tensor, grid: Tensor, block_px: int) -> Tensor:
    """Bilinear samples of :func:`shifted_views` at one position per block (B, h, w, 2): (B, block², h, w)."""
    if block_px == 1:
        return F.grid_sample(views, grid, "bilinear", "border", align_corners=False)
    count, height, width, _ = grid.shape
    grid = grid[:, None].expand(count, block_px, height, width, 2).reshape(-1, height, width, 2)
    samples = F.grid_sample(views, grid, "bilinear", "border", align_corners=False)
    return samples.view(count, block_px * block_px, height, width)


def blocks_inside(grid: Tensor, block_px: int) -> Tensor:
    """Blocks of a grid (B, h, w, 2) whose centre lies inside of the image: (B, 1, h, w), boolean."""
    height, width = (_padded_size(size * block_px, block_px) for size in grid.shape[1:3])
    edge = block_px + 1 if block_px > 1 else 0
    x, y = grid.abs().unbind(-1)
    return ((x < 1 - edge / width) & (y < 1 - edge / height))[:, None]


def median_filter(x: Tensor) -> Tensor:
    """3×3 median filter with border replication, by sorted columns."""
    padded = F.pad(x, (1, 1, 1, 1), "replicate")
    above, centre, below = padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]
    low, high = torch.minimum(above, centre), torch.maximum(above, centre)
    parts = torch.minimum(low, below), torch.maximum(low, torch.minimum(high, below)), torch.maximum(high, below)
    lows, middles, highs = ((part[..., :-2], part[..., 1:-1], part[..., 2:]) for part in parts)
    low = torch.maximum(torch.maximum(lows[0], lows[1]), lows[2])
    high = torch.minimum(torch.minimum(highs[0], highs[1]), highs[2])
    return _median3(low, _median3(*middles), high)


def _median3(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def _padded_size(size: int, block_px: int) -> int:
    """Size of a shifted view of an image of ``size`` pixels."""
    return size + block_px + 1 if block_px > 1 else size
