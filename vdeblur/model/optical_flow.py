"""Coarse-to-fine optical flow without learned parameters: the combined local-global method.

Bruhn, Weickert and Schnörr (2005): linearised brightness constancy, robustly weighted and summed over small blocks,
coupled to neighbouring blocks by a smoothness term. Both frames are blurred alike, so their common content matches
well; it needs no training, and its error is a fraction of that of a small learned matcher.

While the normal equations of a block are set up, all of its pixels share one displacement. So the other frame is
sampled at one position per block, and sums over blocks are sums over channels: four times as fast on a CPU as a
displacement per pixel, and hardly less accurate (configs/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.kernels.dispatch import try_cpu_kernels, try_kernels
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.block_sampling import (
    block_grid,
    blocks_inside,
    median_filter,
    normalize_block_displacement,
    sample_blocks,
    shifted_views,
    unshuffle_blocks,
)
from vdeblur.model.layers import upsample
from vdeblur.model.motion_taps import luma

#: Scale of the coarsest level: 1/32 of the frame.
COARSEST_SCALE = 32
#: Warping iterations by the level's scale. The finest levels, which cost most, need few.
WARPS = {32: 4, 16: 3, 8: 3, 4: 3, 2: 2}
#: Jacobi sweeps of the solver per warp, and their over-relaxation (second-order Richardson, Golub & Varga 1961).
SWEEPS, RELAXATION = 9, 1.6
#: Weight of smoothness against brightness constancy, for luma in [0, 1] and vectors in pixels of the level.
SMOOTHNESS = 2.5e-4
#: Scale of the robust weight: luma differences beyond it count less and less.
ROBUST_SCALE = 0.01
#: Smallest side of a level in pixels.
MIN_SIDE_PX = 3


class Level(NamedTuple):
    """Pyramid level: luma (B, 1, h, w) and its spatial gradient in x and y (B, 2, h, w), float32."""

    luma: Tensor
    gradient: Tensor


class Flow(NamedTuple):
    """Optical flow and its photometric mismatch.

    ``displacement`` (B, 2, H/8, W/8) in pixels of the frame, x before y; ``mismatch`` (B, 1, H/8, W/8): mean absolute
    luma difference after warping, 1 where the target lies outside of the frame.
    """

    displacement: Tensor
    mismatch: Tensor


@torch.no_grad()
def build_pyramid(frame: Tensor, finest: int) -> tuple[Level, ...]:
    """Build the image pyramid of a frame (B, 3, H, W), coarsest level first; H and W are multiples of 8.

    The last level is at 1/``finest``, the first at 1/32 or at the coarsest scale with MIN_SIDE_PX.
    """
    grey, scale = _average_pool(luma(frame), finest).contiguous(), finest
    levels = [_make_level(grey)]
    least = 2 * (MIN_SIDE_PX - 1)
    while scale < BLOCK_PX or (scale < COARSEST_SCALE and all(side > least for side in grey.shape[-2:])):
        grey, scale = _halve(grey), scale * 2
        levels.append(_make_level(grey))
    return tuple(reversed(levels))


def _average_pool(grey: Tensor, factor: int) -> Tensor:
    """Average pooling (B, 1, H, W); rows first, whose sums vectorise."""
    if grey.device.type != "cpu":
        return F.avg_pool2d(grey, factor)
    pooled: Tensor | None = try_cpu_kernels(grey, lambda native: native.average_pool(grey, factor))
    if pooled is not None:
        return pooled
    rows = [grey[..., first::factor, :] for first in range(factor)]
    total = sum(rows[2:], rows[0] + rows[1])
    columns = [total[..., first::factor] for first in range(factor)]
    return sum(columns[2:], columns[0] + columns[1]).div_(factor * factor)


def _halve(grey: Tensor) -> Tensor:
    """2×2 average pooling, an odd last row or column averaged by itself."""
    small: Tensor | None = try_cpu_kernels(grey, lambda native: native.halve(grey))
    # the replicated border pairs an odd last row or column with itself; an even size drops it
    return F.avg_pool2d(F.pad(grey, (0, 1, 0, 1), "replicate"), 2) if small is None else small


def _make_level(grey: Tensor) -> Level:
    """Smooth luma with a 3×3 filter and differentiate it by central differences."""
    done = try_cpu_kernels(grey, lambda native: native.smooth_and_differentiate(grey))
    if done is not None:
        return Level(*done)
    padded = F.pad(grey, (1, 1, 1, 1), "replicate")
    padded = 0.56 * padded[..., 1:-1, :] + 0.22 * (padded[..., :-2, :] + padded[..., 2:, :])
    smooth = 0.56 * padded[..., 1:-1] + 0.22 * (padded[..., :-2] + padded[..., 2:])
    padded = F.pad(smooth, (1, 1, 1, 1), "replicate")
    cross = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    vertical = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return Level(smooth, torch.cat((cross, vertical), 1))


class _LevelBlocks(NamedTuple):
    """Blocks of a level, n pixels each: luma (1, B, n, h, w) and gradient (1, B, 2, n, h, w).

    ``structure_tensor`` (1, B, 3, h, w): its xx, xy and yy, averaged over a block.
    """

    luma: Tensor
    gradient: Tensor
    structure_tensor: Tensor


def estimate_flow(source: tuple[Level, ...], target: tuple[Level, ...], finest: int) -> Flow:
    """Optical flow from one frame to another, given their pyramids; see :func:`estimate_flows`."""
    return estimate_flows(source, (target,), finest)[0]


@torch.no_grad()
def estimate_flows(source: tuple[Level, ...], targets: Sequence[tuple[Level, ...]], finest: int) -> list[Flow]:
    """Optical flows from one frame to each of ``targets``, given their pyramids with ``finest`` as built.

    They are estimated in one batch: on coarse levels two cost little more than one.
    """
    if not targets:
        return []
    height, width = source[0].luma.shape[-2:]
    flow = source[0].luma.new_zeros(len(targets), source[0].luma.shape[0], 2, height, width)
    mismatch, scale = flow[:, :, :1], finest * 2 ** (len(source) - 1)
    for number, level in enumerate(source):
        height, width = level.luma.shape[-2:]
        block_px = max(1, BLOCK_PX // scale)
        if number and scale >= BLOCK_PX:
            finer = _upsample_flow(flow.flatten(0, 1), height // block_px, width // block_px)
            flow = finer.view(*flow.shape[:2], *finer.shape[1:])
        refined = _refine_level_fused(level, [other[number].luma for other in targets], flow, scale)
        if refined is not None:
            flow, mismatch = refined
            scale //= 2
            continue
        terms, views = _block_terms(level, block_px), [shifted_views(other[number].luma, block_px) for other in targets]
        if torch.compiler.is_exporting():  # tracing spends most of its time on sampling
            views = [torch.cat(views)]
        grid = block_grid(height // block_px, width // block_px, block_px, flow.device)
        for _ in range(WARPS[scale]):
            flow, mismatch = _refine(terms, views, grid, flow, scale)
        scale //= 2
    return [Flow(*part) for part in zip(flow, mismatch, strict=True)]


def _upsample_flow(x: Tensor, height: int, width: int) -> Tensor:
    """Upsample (B, C, h, w) by 2 and crop it to ``height`` × ``width``."""
    x = upsample(x, 2)
    if isinstance(height, torch.SymInt):  # a tracer specialises on whether a slice is the whole
        rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
        return x.index_select(-2, rows).index_select(-1, columns)
    return x[..., :height, :width]


def _refine_level_fused(level: Level, targets: list[Tensor], flow: Tensor, scale: int) -> tuple[Tensor, Tensor] | None:
    """All warps of a level by fused kernels; None if none are available."""

    def work(kernels: Any) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = kernels.refine_level(
            level.luma, level.gradient, targets, flow,
            warps=WARPS[scale], scale=scale, block_px=max(1, BLOCK_PX // scale),
            robust=ROBUST_SCALE, smoothness=SMOOTHNESS, sweeps=SWEEPS, relaxation=RELAXATION,
        )  # fmt: skip
        return result

    return try_kernels(flow, work)


def _block_terms(level: Level, block_px: int) -> _LevelBlocks:
    """Blocks of a level and their structure tensor."""
    x, y = (unshuffle_blocks(part, block_px) for part in level.gradient.chunk(2, 1))
    tensor = torch.stack([(one * other).mean(1) for one, other in ((x, x), (x, y), (y, y))], 1)
    return _LevelBlocks(unshuffle_blocks(level.luma, block_px)[None], torch.stack((x, y), 1)[None], tensor[None])


def _refine(
    terms: _LevelBlocks, views: Sequence[Tensor], grid: Tensor, flow: Tensor, scale: int
) -> tuple[Tensor, Tensor]:
    """One warp of the N other frames, and the flows (N, B, 2, h, w) refined by the remaining differences.

    The robust weight is per block, which is no less accurate than one per pixel.
    """
    start, block_px = flow / scale, max(1, BLOCK_PX // scale)
    change, valid = _warp_difference(terms.luma, views, grid, start, block_px)
    size = change.abs().mean(2, keepdim=True)
    weight = valid * ROBUST_SCALE / (size + ROBUST_SCALE)
    product = (terms.gradient * change[:, :, None]).mean(3)
    tensor, product = ((part * weight).flatten(0, 1) for part in (terms.structure_tensor, product))
    refined = _solve_smoothness(tensor, product, start.flatten(0, 1))
    flow = torch.add(start, (refined.view_as(start) - start).clamp_(-2, 2)).flatten(0, 1)
    flow = median_filter(flow).mul_(scale).view_as(start)
    return flow, (size - 1).mul_(valid).add_(1)


def _warp_difference(
    luma: Tensor, views: Sequence[Tensor], grid: Tensor, start: Tensor, block_px: int
) -> tuple[Tensor, Tensor]:
    """Warped frames − ``luma`` (N, B, n, h, w), and which blocks' centres lie inside of them (N, B, 1, h, w)."""
    grid = grid + normalize_block_displacement(start.flatten(0, 1), block_px)
    parts = zip(views, grid.view(len(views), -1, *grid.shape[1:]), strict=True)
    warped = torch.cat([sample_blocks(view, each, block_px) for view, each in parts])
    valid = blocks_inside(grid, block_px)
    warped, valid = (part.view(*start.shape[:2], *part.shape[1:]) for part in (warped, valid))
    return warped.sub_(luma), valid


def _solve_smoothness(tensor: Tensor, product: Tensor, start: Tensor) -> Tensor:
    """The u that minimises d'Ad + 2b'd + SMOOTHNESS |∇u|², d = u − start, by a few over-relaxed Jacobi sweeps.

    ``tensor`` (B, 3, h, w): xx, xy and yy of the structure tensor A; ``product`` (B, 2, h, w): b, the mean of
    gradient · difference.
    """
    a, c, d = tensor[:, :1] + SMOOTHNESS, tensor[:, 1:2], tensor[:, 2:] + SMOOTHNESS
    scale = torch.addcmul(a * d, c, c, value=-1).reciprocal_()
    cross, inverse = c * scale, torch.cat((d, a), 1).mul_(scale)
    target = (tensor[:, :2] * start[:, :1]).add_(tensor[:, 1:] * start[:, 1:]).sub_(product)
    constant = (inverse * target).sub_(cross * target.flip(1))
    cross, inverse = cross.mul_(SMOOTHNESS / 12), inverse.mul_(SMOOTHNESS / 12)
    if torch.compiler.is_exporting():
        return _solve_for_export(start, constant, inverse, cross)
    previous, current = start, start
    for sweep in range(SWEEPS):
        total = _neighbour_sum(current)
        refined = torch.addcmul(constant, inverse, total).addcmul_(cross, total.flip(1), value=-1)
        previous, current = current, refined if sweep == 0 else torch.lerp(previous, refined, RELAXATION)
    return current


def _solve_for_export(start: Tensor, constant: Tensor, inverse: Tensor, cross: Tensor) -> Tensor:
    """The sweeps of :func:`_solve_smoothness` in as few operations as possible, for export, which unrolls them.

    Two 2×2 average poolings weight the eight neighbours by 1 and 2 and the centre by 4, over 16.
    """
    previous, current = start, start
    inverse, cross = inverse * 16, cross * -16
    for sweep in range(SWEEPS):
        padded = F.pad(current, (1, 1, 1, 1), "replicate")
        total = torch.sub(F.avg_pool2d(F.avg_pool2d(padded, 2, 1), 2, 1), current, alpha=0.25)
        refined = torch.addcmul(torch.addcmul(constant, inverse, total), cross, total.flip(1))
        if sweep == 0:
            constant, inverse, cross = (factor * RELAXATION for factor in (constant, inverse, cross))
            previous, current = current, refined
        else:
            previous, current = current, torch.sub(refined, previous, alpha=RELAXATION - 1)
    return current


def _neighbour_sum(x: Tensor) -> Tensor:
    """Twelve times the weighted mean of the eight neighbours, border replicated."""
    padded = F.pad(x, (1, 1, 1, 1), "replicate")
    rows = torch.add(padded[..., :-2, :], padded[..., 2:, :]).add_(padded[..., 1:-1, :], alpha=2)
    return torch.add(rows[..., :-2], rows[..., 2:]).add_(rows[..., 1:-1], alpha=2).sub_(x, alpha=4)
