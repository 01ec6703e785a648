"""Optical flow on the GPU: normal equations, Jacobi sweeps and median filter; the twin of the plain operators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Blocks per program.
BLOCKS_PER_PROGRAM = 128


@triton.jit
def _normal_equations(  # type: ignore[no-untyped-def]
    flow, mismatch, constant, factors, luma, gradient, neighbours,
    height, width, batch, scale, robust, smoothness,
    BLOCK_PX: tl.constexpr, BLOCKS_PER_PROGRAM: tl.constexpr,
):  # fmt: skip
    """Set up and solve the normal equations of some blocks; see :func:`refine`."""
    n = tl.program_id(1)
    blocks_x, count = width // BLOCK_PX, (height // BLOCK_PX) * (width // BLOCK_PX)
    block = tl.program_id(0) * BLOCKS_PER_PROGRAM + tl.arange(0, BLOCKS_PER_PROGRAM)
    inside = block < count
    block = tl.minimum(block, count - 1)
    start_x = tl.load(flow + 2 * n * count + block) / scale
    start_y = tl.load(flow + (2 * n + 1) * count + block) / scale
    first_x, first_y = block % blocks_x * BLOCK_PX, block // blocks_x * BLOCK_PX
    margin = BLOCK_PX if BLOCK_PX > 1 else 0
    reach = BLOCK_PX + 1 if BLOCK_PX > 1 else 0
    at_x, at_y = first_x + margin + start_x, first_y + margin + start_y
    valid = (2 * at_x + 1 > reach) & (2 * at_x + 1 < 2 * (width + reach) - reach)
    valid = valid & (2 * at_y + 1 > reach) & (2 * at_y + 1 < 2 * (height + reach) - reach)
    weight_valid = tl.where(valid, 1.0, 0.0)
    at_x = tl.minimum(tl.maximum(at_x, 0.0), (width + reach - 1) * 1.0) - margin
    at_y = tl.minimum(tl.maximum(at_y, 0.0), (height + reach - 1) * 1.0) - margin
    floor_x, floor_y = tl.floor(at_x), tl.floor(at_y)
    fraction_x, fraction_y = at_x - floor_x, at_y - floor_y
    left, top = floor_x.to(tl.int32), floor_y.to(tl.int32)
    own = luma + (n % batch) * height * width
    gradient_x = gradient + (n % batch) * 2 * height * width
    gradient_y = gradient_x + height * width
    image = neighbours + n * height * width
    xx = tl.zeros((BLOCKS_PER_PROGRAM,), tl.float32)
    xy, yy, x_mixed, y_mixed, difference = xx, xx, xx, xx, xx
    for j in tl.static_range(BLOCK_PX):
        y0, y1 = tl.minimum(tl.maximum(top + j, 0), height - 1), tl.minimum(tl.maximum(top + j + 1, 0), height - 1)
        for i in tl.static_range(BLOCK_PX):
            x0, x1 = tl.minimum(tl.maximum(left + i, 0), width - 1), tl.minimum(tl.maximum(left + i + 1, 0), width - 1)
            upper = (1 - fraction_x) * tl.load(image + y0 * width + x0) + fraction_x * tl.load(image + y0 * width + x1)
            lower = (1 - fraction_x) * tl.load(image + y1 * width + x0) + fraction_x * tl.load(image + y1 * width + x1)
            pixel = (first_y + j) * width + first_x + i
            change = (1 - fraction_y) * upper + fraction_y * lower - tl.load(own + pixel)
            difference += tl.abs(change)
            dx, dy = tl.load(gradient_x + pixel), tl.load(gradient_y + pixel)
            xx += dx * dx
            xy += dx * dy
            yy += dy * dy
            x_mixed += dx * change
            y_mixed += dy * change
    pixel_weight = 1.0 / (BLOCK_PX * BLOCK_PX)
    tl.store(mismatch + n * count + block, (difference * pixel_weight - 1) * weight_valid + 1, inside)
    weight = robust / (difference * pixel_weight + robust) * weight_valid * pixel_weight
    xx, xy, yy, x_mixed, y_mixed = xx * weight, xy * weight, yy * weight, x_mixed * weight, y_mixed * weight
    a, d = xx + smoothness, yy + smoothness
    inverse = 1 / (a * d - xy * xy)
    target_x = xx * start_x + xy * start_y - x_mixed
    target_y = xy * start_x + yy * start_y - y_mixed
    tl.store(constant + 2 * n * count + block, (d * target_x - xy * target_y) * inverse, inside)
    tl.store(constant + (2 * n + 1) * count + block, (a * target_y - xy * target_x) * inverse, inside)
    inverse *= smoothness / 12
    tl.store(factors + 3 * n * count + block, d * inverse, inside)
    tl.store(factors + (3 * n + 1) * count + block, a * inverse, inside)
    tl.store(factors + (3 * n + 2) * count + block, xy * inverse, inside)


@triton.jit
def _neighbour_sum(plane, block, above, below, left, right):  # type: ignore[no-untyped-def]
    """Twelve times the weighted mean of the eight neighbours, 2 for sides and 1 for corners."""
    sides = tl.load(plane + block + above) + tl.load(plane + block + below)
    sides += tl.load(plane + block + left) + tl.load(plane + block + right)
    corners = tl.load(plane + block + above + left) + tl.load(plane + block + above + right)
    corners += tl.load(plane + block + below + left) + tl.load(plane + block + below + right)
    return 2 * sides + corners


@triton.jit
def _jacobi_sweep(  # type: ignore[no-untyped-def]
    result, current, previous, flow, constant, factors, rows, columns, scale, current_scale, previous_scale, relaxation,
    LAST: tl.constexpr, BLOCKS_PER_PROGRAM: tl.constexpr,
):  # fmt: skip
    """One over-relaxed Jacobi sweep of some blocks; ``…_scale`` converts to pixels of the level."""
    n, count = tl.program_id(1), rows * columns
    block = tl.program_id(0) * BLOCKS_PER_PROGRAM + tl.arange(0, BLOCKS_PER_PROGRAM)
    inside = block < count
    block = tl.minimum(block, count - 1)
    x, y = block % columns, block // columns
    above, below = tl.where(y > 0, -columns, 0), tl.where(y < rows - 1, columns, 0)
    left, right = tl.where(x > 0, -1, 0), tl.where(x < columns - 1, 1, 0)
    here_x, here_y = 2 * n * count + block, (2 * n + 1) * count + block
    # Border replication: at an edge, the block is its own neighbour.
    total_x = _neighbour_sum(current + 2 * n * count, block, above, below, left, right) / current_scale
    total_y = _neighbour_sum(current + (2 * n + 1) * count, block, above, below, left, right) / current_scale
    mixed = tl.load(factors + (3 * n + 2) * count + block)
    better_x = tl.load(constant + here_x) + tl.load(factors + 3 * n * count + block) * total_x - mixed * total_y
    better_y = tl.load(constant + here_y) + tl.load(factors + (3 * n + 1) * count + block) * total_y - mixed * total_x
    before_x, before_y = tl.load(previous + here_x) / previous_scale, tl.load(previous + here_y) / previous_scale
    better_x = before_x + relaxation * (better_x - before_x)
    better_y = before_y + relaxation * (better_y - before_y)
    if LAST:
        start_x, start_y = tl.load(flow + here_x) / scale, tl.load(flow + here_y) / scale
        better_x = (start_x + tl.minimum(tl.maximum(better_x - start_x, -2.0), 2.0)) * scale
        better_y = (start_y + tl.minimum(tl.maximum(better_y - start_y, -2.0), 2.0)) * scale
    tl.store(result + here_x, better_x, inside)
    tl.store(result + here_y, better_y, inside)


@triton.jit
def _median3(a, b, c):  # type: ignore[no-untyped-def]
    return tl.maximum(tl.minimum(a, b), tl.minimum(tl.maximum(a, b), c))


@triton.jit
def _median_filter(result, flow, rows, columns, BLOCKS_PER_PROGRAM: tl.constexpr):  # type: ignore[no-untyped-def]
    """3×3 median filter of a plane, with border replication."""
    count = rows * columns
    block = tl.program_id(0) * BLOCKS_PER_PROGRAM + tl.arange(0, BLOCKS_PER_PROGRAM)
    inside = block < count
    block = tl.minimum(block, count - 1)
    x, y = block % columns, block // columns
    flow += tl.program_id(1) * count
    above = tl.maximum(y - 1, 0) * columns
    here = y * columns
    below = tl.minimum(y + 1, rows - 1) * columns
    lows = tl.full((BLOCKS_PER_PROGRAM,), float("-inf"), tl.float32)
    highs = tl.full((BLOCKS_PER_PROGRAM,), float("inf"), tl.float32)
    first, second, third = lows, lows, lows
    for side in tl.static_range(3):
        column = tl.minimum(tl.maximum(x + side - 1, 0), columns - 1)
        a, b, c = tl.load(flow + above + column), tl.load(flow + here + column), tl.load(flow + below + column)
        lows = tl.maximum(lows, tl.minimum(tl.minimum(a, b), c))
        highs = tl.minimum(highs, tl.maximum(tl.maximum(a, b), c))
        first, second, third = second, third, _median3(a, b, c)
    middle = _median3(first, second, third)
    tl.store(result + tl.program_id(1) * count + block, _median3(lows, middle, highs), inside)


def median_filter(x: Tensor) -> Tensor:
    """3×3 median filter of (B, C, h, w), float32; the twin of :func:`vdeblur.model.block_sampling.median_filter`."""
    x, result = x.contiguous(), torch.empty_like(x)
    rows, columns = x.shape[-2:]
    grid = (triton.cdiv(rows * columns, BLOCKS_PER_PROGRAM), x.numel() // (rows * columns))
    _median_filter[grid](result, x, rows, columns, BLOCKS_PER_PROGRAM=BLOCKS_PER_PROGRAM, num_warps=4)
    return result


def refine(
    luma: Tensor, gradient: Tensor, neighbours: Tensor, flow: Tensor,
    *, scale: int, block_px: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One warp of the neighbours and refined flows: the twin of :func:`vdeblur.model.optical_flow._refine`.

    Args:
        luma: of a level (B, 1, H, W); ``gradient`` (B, 2, H, W).
        neighbours: luma (N, 1, H, W), N a multiple of B.
        flow: initial flows (N, 2, H/block, W/block), in pixels of the frame.

    Returns:
        Flows, before the median filter, and photometric mismatches (N, 1, H/block, W/block).
    """
    flow, luma, gradient, neighbours = (part.contiguous() for part in (flow, luma, gradient, neighbours))
    pairs, _, rows, columns = flow.shape
    height, width = luma.shape[-2:]
    mismatch, factors = flow.new_empty(pairs, 1, rows, columns), flow.new_empty(pairs, 3, rows, columns)
    constant = torch.empty_like(flow)
    grid = (triton.cdiv(rows * columns, BLOCKS_PER_PROGRAM), pairs)
    _normal_equations[grid](
        flow, mismatch, constant, factors, luma, gradient, neighbours,
        height, width, len(luma), float(scale), robust, smoothness,
        BLOCK_PX=block_px, BLOCKS_PER_PROGRAM=BLOCKS_PER_PROGRAM, num_warps=4,
    )  # fmt: skip
    buffers = [torch.empty_like(flow) for _ in range(3)]
    previous, current, previous_scale, current_scale = flow, flow, float(scale), float(scale)
    for sweep in range(sweeps):
        result = buffers[sweep % 3]
        factor = relaxation if sweep else 1.0
        _jacobi_sweep[grid](
            result, current, previous, flow, constant, factors, rows, columns,
            float(scale), current_scale, previous_scale, factor,
            LAST=sweep == sweeps - 1, BLOCKS_PER_PROGRAM=BLOCKS_PER_PROGRAM, num_warps=4,
        )  # fmt: skip
        previous, current, previous_scale, current_scale = current, result, current_scale, 1.0
    return current, mismatch


def refine_level(
    luma: Tensor, gradient: Tensor, others: Sequence[Tensor], flow: Tensor,
    *, warps: int, scale: int, block_px: int, robust: float, smoothness: float, sweeps: int, relaxation: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Refine the flows of a level: ``warps`` times :func:`refine` and the median filter.

    Args:
        others: luma of each neighbour (B, 1, H, W).
        flow: initial flows (N, B, 2, H/block, W/block), in pixels of the frame.
    """
    neighbours, flows = torch.cat(list(others)), flow.flatten(0, 1)
    for _ in range(warps):
        flows, mismatch = refine(
            luma, gradient, neighbours, flows,
            scale=scale, block_px=block_px, robust=robust, smoothness=smoothness, sweeps=sweeps, relaxation=relaxation,
        )  # fmt: skip
        flows = median_filter(flows)
    return flows.view_as(flow), mismatch.view_as(flow[:, :, :1])
