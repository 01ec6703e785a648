"""Overlays: burnt-in letters, logos and displays, which stand still while the picture around them moves.

Optical flow has one vector for each block, and letters over a moving picture get that of the picture. The network then
takes their edges for blurred ones. What gives them away is time: a sample that stays what it was, although the flow
says that it comes from elsewhere, where the neighbour shows something else. Neither flat parts (the other place looks
alike) nor things that stand still (their flow is none) nor blurred edges (they change) do that, and what does so by
chance does it neither twice in a row nor beside many others. Samples around a letter along the motion are corrected
from samples of the letter; they are left alone, too.

Every second row is looked at. The state is a map of how often in a row each of its samples has given itself away. Where
two frames are equal, nothing moves, and the state stays what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.motion import Motion
from vdeblur.model.motion_taps import luma

#: From one row that is looked at to the next; rows of a block.
STEP_PX = 2
_ROWS = BLOCK_PX // STEP_PX
#: A sample of luma in [0, 1] that changes by no more stays what it was.
STILL = 6.5 / 255
#: Least difference to the place that the flow points to.
ELSEWHERE = 16 / 255
#: Square of the least motion, in pixels a frame, by which a sample can give itself away.
LEAST_MOTION_SQUARED = 0.75**2
#: Times in a row from which a sample is sure; more are not counted.
SURE, MOST_TIMES = 2, 8
#: Sure samples in a square of three by three blocks where confidence begins, and where it is full.
FEW, ENOUGH = 6.0, 12.0
#: How much a sample counts that has given itself away once, in the first pair of a shot, where nothing has twice.
ONCE = 0.2
#: How far the correction reaches along the motion, in displacements per frame interval.
REACH = (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)


class Found(NamedTuple):
    """What is known of a stream's overlays after a frame.

    ``times`` (H/2, W): the state, as :func:`count_still` returns it; None: nothing is known yet. ``weight`` (n, W) of
    the correction, of n sampled rows from the first of the block row ``top`` on; None: there is no overlay.
    """

    times: Tensor | None
    weight: Tensor | None = None
    top: int = 0


def find_overlays(pictures: Sequence[Tensor | None], motion: Motion, times: Tensor | None, *, lookahead: int) -> Found:
    """Find the overlays of a frame, with those that are known from the frames before it.

    Args:
        pictures: luma (1, 1, H, W) or R'G'B' (1, 3, H, W) in [0, 1] of the previous, the current and the next frame,
            None if missing; H and W are multiples of BLOCK_PX.
        motion: of the frame.
        times: the state, None at the start of a shot.
        lookahead: with 1 the frame is compared with the next one, with 0 with the previous one: each pair once.
    """
    previous, current, following = pictures
    assert current is not None
    other, flow = (following, motion.forward_flow) if lookahead else (previous, motion.backward_flow)
    current, other = luma(current)[0, 0], None if other is None else luma(other)[0, 0]
    first, known = times is None, times
    if known is None:
        known = torch.zeros_like(current[::STEP_PX])
    if other is not None:
        times, counts = count_still(current, other, flow[0], known, first=first)
    elif times is not None:
        counts = _count(times, SURE)
    else:
        return Found(None)
    blocks = confidence_of_blocks(counts, first=first)
    rows, top = slice(0, len(blocks)), 0
    if current.device.type == "cpu":  # elsewhere it would have to be waited for
        found = blocks.amax(1).nonzero()
        if len(found) == 0:
            return Found(times)
        reach = 1 + ceil(float(motion.velocity[0, 1].abs().max()) * max(REACH) / BLOCK_PX)
        top = max(0, int(found[0]) - reach)
        rows = slice(top, int(found[-1]) + reach + 1)
    either = torch.maximum(*(each[rows.start * _ROWS : rows.stop * _ROWS] for each in (known, times)))
    return Found(times, weight_of_correction(either, blocks[rows], motion.velocity[0, :, rows]), top)


def weigh(residual: Tensor, found: Found) -> None:
    """Weigh a residual (1, C, H, W) in place, so that overlays keep their samples."""
    if found.weight is None:
        return
    weight, top = found.weight.repeat_interleave(STEP_PX, 0), found.top * BLOCK_PX
    part = residual[..., top : top + len(weight), :]
    part.mul_(weight[: part.shape[-2], : part.shape[-1]])


def count_still(current: Tensor, other: Tensor, flow: Tensor, times: Tensor, *, first: bool) -> tuple[Tensor, Tensor]:
    """How often in a row samples have given themselves away, with one more pair of frames.

    Args:
        current, other: luma (H, W) in [0, 1] of a frame and of a neighbour; H and W are multiples of BLOCK_PX.
        flow: (2, H/8, W/8) from the frame to that neighbour, pixels.
        times: (H/2, W), float32, before this pair.
        first: this is the first pair of a shot.

    Returns:
        The new ``times``: one more for a sample that stays while the flow points to another, the same for one that
        stays for other reasons, and 0 for one that changes. And how many samples of each block (H/8, W/8) are sure
        before or after; at the first pair, how many have given themselves away.
    """
    least = 1 if first else SURE
    fused: tuple[Tensor, Tensor] | None = try_cpu_kernels(
        current,
        lambda native: native.count_still(
            current, other, flow, times, least=least,
            step=STEP_PX, still=STILL, elsewhere=ELSEWHERE, slow=LEAST_MOTION_SQUARED, most=MOST_TIMES,
        ),
    )  # fmt: skip
    if fused is not None:
        return fused
    here, there = current[::STEP_PX], other[::STEP_PX]
    low, high, inside = _around_target(other, flow)
    away = torch.maximum(low - here, here - high) >= ELSEWHERE
    moves = _to_samples(flow.square().sum(0) >= LEAST_MOTION_SQUARED)
    more = (times + (away & inside & moves)).clamp_(max=MOST_TIMES)
    now = torch.where((here - there).abs() <= STILL, more, torch.zeros_like(more))
    return now, _count(torch.maximum(times, now), least)


def _around_target(other: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least and greatest of the four pixels around the place that the flow points to, and whether all are inside."""
    height, width = other.shape
    x, y = (_to_samples(part.floor().long()) for part in flow)
    x = x + torch.arange(width, device=other.device)
    y = y + torch.arange(0, height, STEP_PX, device=other.device)[:, None]
    inside = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
    place = y.clamp(0, height - 2) * width + x.clamp(0, width - 2)
    flat = other.reshape(-1)
    four = [flat[place + shift] for shift in (0, 1, width, width + 1)]
    low = torch.minimum(torch.minimum(four[0], four[1]), torch.minimum(four[2], four[3]))
    high = torch.maximum(torch.maximum(four[0], four[1]), torch.maximum(four[2], four[3]))
    return low, high, inside


def _count(times: Tensor, least: int) -> Tensor:
    """How many samples of each block (H/8, W/8) have given themselves away so often at least."""
    height, width = times.shape
    return (times >= least).view(height // _ROWS, _ROWS, width // BLOCK_PX, BLOCK_PX).sum((1, 3), dtype=torch.float32)


def confidence_of_blocks(counts: Tensor, *, first: bool) -> Tensor:
    """Confidence (H/8, W/8) in [0, 1] that there is an overlay in a block or beside it.

    Args:
        counts, first: of :func:`count_still`.
    """
    around = F.avg_pool2d(counts[None, None], 3, 1, 1, divisor_override=1)
    return ((around * (ONCE if first else 1) - FEW) / (ENOUGH - FEW)).clamp_(0, 1)[0, 0]


def weight_of_correction(times: Tensor, blocks: Tensor, velocity: Tensor) -> Tensor:
    """Weight (H/2, W) of the correction: 0 on an overlay and as far as it reaches along the motion, else 1.

    Where others are sure, a sample that has given itself away once is one of them: digits of a clock that change.

    Args:
        times: the greater of those before and after the newest pair of frames.
        blocks: their confidence (H/8, W/8).
        velocity: (2, H/8, W/8), pixels a frame.
    """
    fused: Tensor | None = try_cpu_kernels(
        times, lambda native: native.weight_of_correction(times, blocks, velocity, shares=REACH, step=STEP_PX)
    )
    if fused is not None:
        return fused
    found = (times >= 1) * _to_samples(blocks)
    found = F.max_pool2d(found[None, None], (3, 5), 1, (1, 2))[0, 0]
    height, width = found.shape
    x, y = (_to_samples(part) for part in velocity)
    columns = torch.arange(width, device=found.device)
    rows = torch.arange(height, device=found.device)[:, None]
    flat, reached = found.reshape(-1), found
    for share in REACH:
        row = (rows + (y * (share / STEP_PX) + 0.5).floor().long()).clamp_(0, height - 1)
        column = (columns + (x * share + 0.5).floor().long()).clamp_(0, width - 1)
        reached = torch.maximum(reached, flat[row * width + column])
    return 1 - reached


def _to_samples(blocks: Tensor) -> Tensor:
    """A value for each block (h, w) as one for each of its samples."""
    return blocks.repeat_interleave(_ROWS, 0).repeat_interleave(BLOCK_PX, 1)
