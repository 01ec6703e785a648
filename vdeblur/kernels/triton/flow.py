"""The optical flow of cells: the twin of :mod:`vdeblur.model.optical_flow`, and of its medians."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Cells that a program takes.
CELLS = 128


@triton.jit
def _equations(  # type: ignore[no-untyped-def]
    found, mismatch, fixed, factors, here, slope, there,
    height, width, batch, scale, robust, smoothness,
    CELL: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """The equations of some cells: see :func:`improve`."""
    n = tl.program_id(1)
    cells_x, count = width // CELL, (height // CELL) * (width // CELL)
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < count
    cell = tl.minimum(cell, count - 1)
    start_x = tl.load(found + 2 * n * count + cell) / scale
    start_y = tl.load(found + (2 * n + 1) * count + cell) / scale
    first_x, first_y = cell % cells_x * CELL, cell // cells_x * CELL
    margin = CELL if CELL > 1 else 0
    reach = CELL + 1 if CELL > 1 else 0
    at_x, at_y = first_x + margin + start_x, first_y + margin + start_y
    known = (2 * at_x + 1 > reach) & (2 * at_x + 1 < 2 * (width + reach) - reach)
    known = known & (2 * at_y + 1 > reach) & (2 * at_y + 1 < 2 * (height + reach) - reach)
    trust = tl.where(known, 1.0, 0.0)
    at_x = tl.minimum(tl.maximum(at_x, 0.0), (width + reach - 1) * 1.0) - margin
    at_y = tl.minimum(tl.maximum(at_y, 0.0), (height + reach - 1) * 1.0) - margin
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    part_x, part_y = at_x - floor_x, at_y - floor_y
    left, top = floor_x.to(tl.int32), floor_y.to(tl.int32)
    own = here + (n % batch) * height * width
    across = slope + (n % batch) * 2 * height * width
    down = across + height * width
    other = there + n * height * width
    xx = tl.zeros((CELLS,), tl.float32)
    xy, yy, x_mixed, y_mixed, total = xx, xx, xx, xx, xx
    for j in tl.static_range(CELL):
        y0, y1 = tl.minimum(tl.maximum(top + j, 0), height - 1), tl.minimum(tl.maximum(top + j + 1, 0), height - 1)
        for i in tl.static_range(CELL):
            x0, x1 = tl.minimum(tl.maximum(left + i, 0), width - 1), tl.minimum(tl.maximum(left + i + 1, 0), width - 1)
            upper = (1 - part_x) * tl.load(other + y0 * width + x0) + part_x * tl.load(other + y0 * width + x1)
            lower = (1 - part_x) * tl.load(other + y1 * width + x0) + part_x * tl.load(other + y1 * width + x1)
            pixel = (first_y + j) * width + first_x + i
            change = (1 - part_y) * upper + part_y * lower - tl.load(own + pixel)
            total += tl.abs(change)
            dx, dy = tl.load(across + pixel), tl.load(down + pixel)
            xx += dx * dx
            xy += dx * dy
            yy += dy * dy
            x_mixed += dx * change
            y_mixed += dy * change
    share = 1.0 / (CELL * CELL)
    tl.store(mismatch + n * count + cell, (total * share - 1) * trust + 1, inside)
    weight = robust / (total * share + robust) * trust * share
    xx, xy, yy, x_mixed, y_mixed = xx * weight, xy * weight, yy * weight, x_mixed * weight, y_mixed * weight
    a, d = xx + smoothness, yy + smoothness
    inverse = 1 / (a * d - xy * xy)
    target_x = xx * start_x + xy * start_y - x_mixed
    target_y = xy * start_x + yy * start_y - y_mixed
    tl.store(fixed + 2 * n * count + cell, (d * target_x - xy * target_y) * inverse, inside)
    tl.store(fixed + (2 * n + 1) * count + cell, (a * target_y - xy * target_x) * inverse, inside)
    inverse *= smoothness / 12
    tl.store(factors + 3 * n * count + cell, d * inverse, inside)
    tl.store(factors + (3 * n + 1) * count + cell, a * inverse, inside)
    tl.store(factors + (3 * n + 2) * count + cell, xy * inverse, inside)


@triton.jit
def _around(plane, cell, above, below, left, right):  # type: ignore[no-untyped-def]
    """Twelve times the weighted mean of the eight neighbours."""
    sides = tl.load(plane + cell + above) + tl.load(plane + cell + below)
    sides += tl.load(plane + cell + left) + tl.load(plane + cell + right)
    corners = tl.load(plane + cell + above + left) + tl.load(plane + cell + above + right)
    corners += tl.load(plane + cell + below + left) + tl.load(plane + cell + below + right)
    return 2 * sides + corners


@triton.jit
def _sweep(  # type: ignore[no-untyped-def]
    result, now, before, found, fixed, factors, rows, columns, scale, now_scale, before_scale, relaxation,
    LAST: tl.constexpr, CELLS: tl.constexpr,
):  # fmt: skip
    """One relaxed Jacobi sweep of some cells; what is given in pixels of the frame has its ``…_scale``."""
    n, count = tl.program_id(1), rows * columns
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < count
    cell = tl.minimum(cell, count - 1)
    x, y = cell % columns, cell // columns
    above, below = tl.where(y > 0, -columns, 0), tl.where(y < rows - 1, columns, 0)
    left, right = tl.where(x > 0, -1, 0), tl.where(x < columns - 1, 1, 0)
    here_x, here_y = 2 * n * count + cell, (2 * n + 1) * count + cell
    # At an edge the border is repeated: a neighbour is then the cell itself.
    total_x = _around(now + 2 * n * count, cell, above, below, left, right) / now_scale
    total_y = _around(now + (2 * n + 1) * count, cell, above, below, left, right) / now_scale
    mixed = tl.load(factors + (3 * n + 2) * count + cell)
    better_x = tl.load(fixed + here_x) + tl.load(factors + 3 * n * count + cell) * total_x - mixed * total_y
    better_y = tl.load(fixed + here_y) + tl.load(factors + (3 * n + 1) * count + cell) * total_y - mixed * total_x
    before_x, before_y = tl.load(before + here_x) / before_scale, tl.load(before + here_y) / before_scale
    better_x = before_x + relaxation * (better_x - before_x)
    better_y = before_y + relaxation * (better_y - before_y)
    if LAST:
        start_x, start_y = tl.load(found + here_x) / scale, tl.load(found + here_y) / scale
        better_x = (start_x + tl.minimum(tl.maximum(better_x - start_x, -2.0), 2.0)) * scale
        better_y = (start_y + tl.minimum(tl.maximum(better_y - start_y, -2.0), 2.0)) * scale
    tl.store(result + here_x, better_x, inside)
    tl.store(result + here_y, better_y, inside)


@triton.jit
def _median3(a, b, c):  # type: ignore[no-untyped-def]
    return tl.maximum(tl.minimum(a, b), tl.minimum(tl.maximum(a, b), c))


@triton.jit
def _medians(result, found, rows, columns, CELLS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Medians of 3 × 3 cells of a plane, the border repeated: :func:`vdeblur.model.block_sampling.medians`."""
    count = rows * columns
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < count
    cell = tl.minimum(cell, count - 1)
    x, y = cell % columns, cell // columns
    found += tl.program_id(1) * count
    above = tl.maximum(y - 1, 0) * columns
    here = y * columns
    below = tl.minimum(y + 1, rows - 1) * columns
    lows = tl.full((CELLS,), float("-inf"), tl.float32)
    highs = tl.full((CELLS,), float("inf"), tl.float32)
    first, second, third = lows, lows, lows
    for side in tl.static_range(3):
        column = tl.minimum(tl.maximum(x + side - 1, 0), columns - 1)
        a, b, c = tl.load(found + above + column), tl.load(found + here + column), tl.load(found + below + column)
        lows = tl.maximum(lows, tl.minimum(tl.minimum(a, b), c))
        highs = tl.minimum(highs, tl.maximum(tl.maximum(a, b), c))
        first, second, third = second, third, _median3(a, b, c)
    middle = _median3(first, second, third)
    tl.store(result + tl.program_id(1) * count + cell, _median3(lows, middle, highs), inside)


def medians(x: Tensor) -> Tensor:
    """What :func:`vdeblur.model.block_sampling.medians` gives of (B, C, h, w), float32."""
    x, result = x.contiguous(), torch.empty_like(x)
    rows, columns = x.shape[-2:]
    grid = (triton.cdiv(rows * columns, CELLS), x.numel() // (rows * columns))
    _medians[grid](result, x, rows, columns, CELLS=CELLS, num_warps=4)
    return result


def improve(
    here: Tensor, slope: Tensor, there: Tensor, found: Tensor,
    *, scale: int, cell: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One sampling of the other frames, and better flows: what :func:`vdeblur.model.optical_flow._improve` does.

    Args:
        here: luma of a level (B, 1, H, W), and ``slope`` (B, 2, H, W).
        there: luma of the others (N, 1, H, W), N a multiple of B.
        found: the flows (N, 2, H/cell, W/cell) so far, in pixels of the frame.

    Returns:
        Flows and mismatches (N, 1, H/cell, W/cell).
    """
    found, here, slope, there = (part.contiguous() for part in (found, here, slope, there))
    many, _, rows, columns = found.shape
    height, width = here.shape[-2:]
    mismatch, factors = found.new_empty(many, 1, rows, columns), found.new_empty(many, 3, rows, columns)
    fixed = torch.empty_like(found)
    grid = (triton.cdiv(rows * columns, CELLS), many)
    _equations[grid](
        found, mismatch, fixed, factors, here, slope, there,
        height, width, len(here), float(scale), robust, smoothness, CELL=cell, CELLS=CELLS, num_warps=4,
    )  # fmt: skip
    spare = [torch.empty_like(found) for _ in range(3)]
    before, now, before_scale, now_scale = found, found, float(scale), float(scale)
    for number in range(sweeps):
        result = spare[number % 3]
        factor = relaxation if number else 1.0
        _sweep[grid](
            result, now, before, found, fixed, factors, rows, columns, float(scale), now_scale, before_scale, factor,
            LAST=number == sweeps - 1, CELLS=CELLS, num_warps=4,
        )  # fmt: skip
        before, now, before_scale, now_scale = now, result, now_scale, 1.0
    return now, mismatch


def improve_level(
    here: Tensor, slope: Tensor, others: Sequence[Tensor], found: Tensor,
    *, samplings: int, scale: int, cell: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """So often :func:`improve` and medians, of ``others`` (B, 1, H, W) each and flows (N, B, 2, H/cell, W/cell)."""
    there, flows = torch.cat(list(others)), found.flatten(0, 1)
    for _ in range(samplings):
        flows, mismatch = improve(
            here, slope, there, flows,
            scale=scale, cell=cell, robust=robust, smoothness=smoothness, sweeps=sweeps, relaxation=relaxation,
        )  # fmt: skip
        flows = medians(flows)
    return flows.view_as(found), mismatch.view_as(found[:, :, :1])
