"""Optical flow between two frames, from coarse to fine, without learned parameters.

The combined local-global method (Bruhn, Weickert, Schnörr 2005): the linearised brightness constancy, robustly weighted
and summed over small cells, joined to neighbouring cells by a smoothness term. Both frames are blurred alike, so what
is the same in both matches well; it needs no training, and its error is a fraction of what a small learned matcher had.

While the equations of a cell are set up, all of its pixels are displaced alike. So the other frame is sampled at one
place a cell, and sums over cells are sums over channels: four times as fast on a CPU as a displacement for each pixel,
and hardly less exact (configs/README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.kernels.dispatch import try_cpu_kernels, try_kernels
from vdeblur.model.block_sampling import gathered, inside, medians, places, sampled, shifts, steps
from vdeblur.model.layers import upsample
from vdeblur.model.motion_taps import luma

#: Resolution of the resulting flow: one vector for a cell of so many pixels each way.
CELL = 8
#: Coarsest level: 1/32 of the frame.
COARSEST = 32
#: Times the other frame is sampled anew, by the level's resolution. The finest levels, which cost most, need few.
SAMPLINGS = {32: 4, 16: 3, 8: 3, 4: 3, 2: 2}
#: Steps of the smoothness solver after each sampling, and their relaxation (second-order Richardson, Golub & Varga
#: 1961).
SWEEPS, RELAXATION = 9, 1.6
#: Weight of smoothness against brightness constancy, for luma in [0, 1] and vectors in pixels of the level.
SMOOTHNESS = 2.5e-4
#: Differences in luma beyond this count less and less.
ROBUST = 0.01


#: A level has at least so many pixels each way.
LEAST_SIDE = 3


class Level(NamedTuple):
    """One resolution of a frame: luma (B, 1, h, w) and its derivatives in x and y (B, 2, h, w), float32."""

    luma: Tensor
    slope: Tensor


class Flow(NamedTuple):
    """Displacement (B, 2, H/8, W/8) in pixels of the frame, x before y, and what is left unexplained (B, 1, H/8, W/8).

    ``mismatch`` is the mean absolute difference in luma after warping, where a pixel leaves the frame 1.
    """

    displacement: Tensor
    mismatch: Tensor


@torch.no_grad()
def pyramid(frame: Tensor, finest: int) -> tuple[Level, ...]:
    """Levels of a frame (B, 3, H, W), the finest (1/``finest``) last; H and W are multiples of 8.

    The first one is at 1/32, or finer where that would be too small.
    """
    grey, scale = _pooled(luma(frame), finest).contiguous(), finest
    levels = [_level(grey)]
    while scale < CELL or (scale < COARSEST and all(side > 2 * (LEAST_SIDE - 1) for side in grey.shape[-2:])):
        grey, scale = _halved(grey), scale * 2
        levels.append(_level(grey))
    return tuple(reversed(levels))


def _pooled(grey: Tensor, factor: int) -> Tensor:
    """Means of squares of pixels (B, 1, H, W); rows first, which processors add much faster."""
    if grey.device.type != "cpu":
        return F.avg_pool2d(grey, factor)
    pooled: Tensor | None = try_cpu_kernels(grey, lambda native: native.average_pool(grey, factor))
    if pooled is not None:
        return pooled
    rows = [grey[..., first::factor, :] for first in range(factor)]
    total = sum(rows[2:], rows[0] + rows[1])
    columns = [total[..., first::factor] for first in range(factor)]
    return sum(columns[2:], columns[0] + columns[1]).div_(factor * factor)


def _halved(grey: Tensor) -> Tensor:
    """Means of 2 × 2 pixels, an odd row or column by itself."""
    small: Tensor | None = try_cpu_kernels(grey, lambda native: native.halve(grey))
    # the edge repeated: an odd row or column has its own mean, an even one leaves the repeated one out
    return F.avg_pool2d(F.pad(grey, (0, 1, 0, 1), "replicate"), 2) if small is None else small


def _level(grey: Tensor) -> Level:
    done = try_cpu_kernels(grey, lambda native: native.smooth_and_differentiate(grey))
    if done is not None:
        return Level(*done)
    wide = F.pad(grey, (1, 1, 1, 1), "replicate")
    wide = 0.56 * wide[..., 1:-1, :] + 0.22 * (wide[..., :-2, :] + wide[..., 2:, :])
    soft = 0.56 * wide[..., 1:-1] + 0.22 * (wide[..., :-2] + wide[..., 2:])
    wide = F.pad(soft, (1, 1, 1, 1), "replicate")
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2
    return Level(soft, torch.cat((across, down), 1))


class _LevelBlocks(NamedTuple):
    """The cells of a level, n pixels each: luma (1, B, n, h, w), slope in x and y (1, B, 2, n, h, w).

    ``squares`` (1, B, 3, h, w): means over a cell of xx, xy and yy of the slope.
    """

    luma: Tensor
    slope: Tensor
    squares: Tensor


def flow(here: tuple[Level, ...], there: tuple[Level, ...], finest: int) -> Flow:
    """Where the content of one frame lies in another one, both as :func:`pyramid` gives them."""
    return flows(here, (there,), finest)[0]


@torch.no_grad()
def flows(here: tuple[Level, ...], others: Sequence[tuple[Level, ...]], finest: int) -> list[Flow]:
    """The flows from one frame to each of ``others``, all as :func:`pyramid` gives them.

    Found side by side: on small levels two cost little more than one.
    """
    if not others:
        return []
    height, width = here[0].luma.shape[-2:]
    found = here[0].luma.new_zeros(len(others), here[0].luma.shape[0], 2, height, width)
    mismatch, scale = found[:, :, :1], finest * 2 ** (len(here) - 1)
    for number, level in enumerate(here):
        height, width = level.luma.shape[-2:]
        cell = max(1, CELL // scale)
        if number and scale >= CELL:
            finer = _twice_as_large(found.flatten(0, 1), height // cell, width // cell)
            found = finer.view(*found.shape[:2], *finer.shape[1:])
        better = _improved_at_once(level, [other[number].luma for other in others], found, scale)
        if better is not None:
            found, mismatch = better
            scale //= 2
            continue
        own, views = _own(level, cell), [shifts(other[number].luma, cell) for other in others]
        if torch.compiler.is_exporting():  # sampling is what a tracer takes longest for
            views = [torch.cat(views)]
        place = places(height // cell, width // cell, cell, found.device)
        for _ in range(SAMPLINGS[scale]):
            found, mismatch = _improve(own, views, place, found, scale)
        scale //= 2
    return [Flow(*part) for part in zip(found, mismatch, strict=True)]


def _twice_as_large(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, h, w) enlarged to (B, C, 2h, 2w), of which as much as is asked for."""
    x = upsample(x, 2)
    if isinstance(height, torch.SymInt):  # to a tracer, a slice of a whole and one of a part are not the same
        rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
        return x.index_select(-2, rows).index_select(-1, columns)
    return x[..., :height, :width]


def _improved_at_once(level: Level, others: list[Tensor], found: Tensor, scale: int) -> tuple[Tensor, Tensor] | None:
    """All samplings of a level by a few kernels, where there are some; else None."""

    def work(kernels: Any) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = kernels.refine_level(
            level.luma, level.slope, others, found, warps=SAMPLINGS[scale], scale=scale, block_px=max(1, CELL // scale),
            robust=ROBUST, smoothness=SMOOTHNESS, sweeps=SWEEPS, relaxation=RELAXATION,
        )  # fmt: skip
        return result

    return try_kernels(found, work)


def _own(level: Level, cell: int) -> _LevelBlocks:
    """The cells of a level."""
    x, y = (gathered(slope, cell) for slope in level.slope.chunk(2, 1))
    squares = torch.stack([(one * other).mean(1) for one, other in ((x, x), (x, y), (y, y))], 1)
    return _LevelBlocks(gathered(level.luma, cell)[None], torch.stack((x, y), 1)[None], squares[None])


def _improve(
    own: _LevelBlocks, views: Sequence[Tensor], place: Tensor, found: Tensor, scale: int
) -> tuple[Tensor, Tensor]:
    """One sampling of the other frames (N of them), and the flows (N, B, 2, h, w) that explain what differs after it.

    A cell that is badly explained counts less, as a whole: that is no less exact than weighing each of its pixels.
    """
    start, cell = found / scale, max(1, CELL // scale)
    change, known = _difference(own.luma, views, place, start, cell)
    size = change.abs().mean(2, keepdim=True)
    weight = known * ROBUST / (size + ROBUST)
    mixed = (own.slope * change[:, :, None]).mean(3)
    squares, mixed = ((part * weight).flatten(0, 1) for part in (own.squares, mixed))
    better = _smooth_solution(squares, mixed, start.flatten(0, 1))
    found = torch.add(start, (better.view_as(start) - start).clamp_(-2, 2)).flatten(0, 1)
    found = medians(found).mul_(scale).view_as(start)
    return found, (size - 1).mul_(known).add_(1)


def _difference(own: Tensor, views: Sequence[Tensor], place: Tensor, start: Tensor, cell: int) -> tuple[Tensor, Tensor]:
    """Others − own (N, B, n, h, w), and which cells' middles lie inside of the others (N, B, 1, h, w)."""
    grid = place + steps(start.flatten(0, 1), cell)
    parts = zip(views, grid.view(len(views), -1, *grid.shape[1:]), strict=True)
    there, known = torch.cat([sampled(view, each, cell) for view, each in parts]), inside(grid, cell)
    there, known = (part.view(*start.shape[:2], *part.shape[1:]) for part in (there, known))
    return there.sub_(own), known


def _smooth_solution(squares: Tensor, mixed: Tensor, start: Tensor) -> Tensor:
    """The u that minimises d'Ad + 2b'd + SMOOTHNESS |∇u|², d = u − start, by a few relaxed Jacobi sweeps.

    ``squares`` (B, 3, h, w) holds A's xx, xy and yy, ``mixed`` (B, 2, h, w) is b.
    """
    a, c, d = squares[:, :1] + SMOOTHNESS, squares[:, 1:2], squares[:, 2:] + SMOOTHNESS
    scale = torch.addcmul(a * d, c, c, value=-1).reciprocal_()
    across, inverse = c * scale, torch.cat((d, a), 1).mul_(scale)
    target = (squares[:, :2] * start[:, :1]).add_(squares[:, 1:] * start[:, 1:]).sub_(mixed)
    fixed = (inverse * target).sub_(across * target.flip(1))
    across, inverse = across.mul_(SMOOTHNESS / 12), inverse.mul_(SMOOTHNESS / 12)
    if torch.compiler.is_exporting():
        return _few_operations(start, fixed, inverse, across)
    before, now = start, start
    for sweep in range(SWEEPS):
        total = _neighbours(now)
        better = torch.addcmul(fixed, inverse, total).addcmul_(across, total.flip(1), value=-1)
        before, now = now, better if sweep == 0 else torch.lerp(before, better, RELAXATION)
    return now


def _few_operations(start: Tensor, fixed: Tensor, inverse: Tensor, across: Tensor) -> Tensor:
    """The sweeps of :func:`_smooth_solution` in as few operations as can be, for programs that unroll them.

    Two means of 2×2 pixels weigh the eight neighbours 1 and 2 and the middle 4, over 16.
    """
    before, now = start, start
    inverse, across = inverse * 16, across * -16
    for sweep in range(SWEEPS):
        wide = F.pad(now, (1, 1, 1, 1), "replicate")
        total = torch.sub(F.avg_pool2d(F.avg_pool2d(wide, 2, 1), 2, 1), now, alpha=0.25)
        better = torch.addcmul(torch.addcmul(fixed, inverse, total), across, total.flip(1))
        if sweep == 0:
            fixed, inverse, across = (factor * RELAXATION for factor in (fixed, inverse, across))
            before, now = now, better
        else:
            before, now = now, torch.sub(better, before, alpha=RELAXATION - 1)
    return now


def _neighbours(x: Tensor) -> Tensor:
    """Twelve times the weighted mean of the eight neighbours, the border repeated."""
    wide = F.pad(x, (1, 1, 1, 1), "replicate")
    rows = torch.add(wide[..., :-2, :], wide[..., 2:, :]).add_(wide[..., 1:-1, :], alpha=2)
    return torch.add(rows[..., :-2], rows[..., 2:]).add_(rows[..., 1:-1], alpha=2).sub_(x, alpha=4)
