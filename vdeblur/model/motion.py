"""Motion of each pixel at a frame, from the flows to its two neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.optical_flow import Flow, Level, flow, flows, pyramid

#: For the frames before and after: which frames of a batch (B, 1, 1, 1), boolean, have one; None where all have what
#: is given.
Present = tuple[Tensor | None, Tensor | None]

#: Finds the flow from one frame to another: their levels and the finest resolution, as :func:`flow` takes them.
Matcher = Callable[[tuple[Level, ...], tuple[Level, ...], int], Flow]
#: Channels of :attr:`Motion.clues`.
CLUES = 6
#: Mismatches are small; this brings them to the order of 1.
CONTRAST = 10.0


class Motion(NamedTuple):
    """What matching found, at 1/8 of the frame, float32, vectors in pixels of the frame, x before y.

    ``velocity`` (B, 2, h, w): displacement in a frame interval, centred on the frame.
    ``back``, ``ahead`` (B, 2, h, w): where each pixel was one frame before, and where it is one frame later.
    ``mismatch`` (B, 2, h, w): what the flows to the frame before and to the one after leave unexplained; 1 where there
    is no such frame.
    ``clues`` (B, CLUES, h, w): velocity, change of velocity, and mismatch to each neighbour, all of the order of 1.
    """

    velocity: Tensor
    back: Tensor
    ahead: Tensor
    mismatch: Tensor
    clues: Tensor


def motion_between(back: Flow | None, ahead: Flow | None, like: Tensor, present: Present = (None, None)) -> Motion:
    """Motion of a frame from its flows to the previous and the next frame, None where there is none.

    A missing neighbour is replaced by the other one seen under constant velocity; a lone frame has no motion.
    ``like`` (B, C, h, w) gives the size. What the flow to a neighbour is that is not ``present`` does not matter.
    """
    lone, (before, after) = _lone(like), present
    mirrored = None if ahead is None else _mirrored(ahead)
    first = _flow_or(back, before, _flow_or(mirrored, after, lone))
    second = _flow_or(ahead, after, _mirrored(first))
    unexplained = [_flow_or(back, before, lone).mismatch, _flow_or(ahead, after, lone).mismatch]
    return _motion(first, second)._replace(mismatch=torch.cat(unexplained, 1))


def _flow_or(found: Flow | None, present: Tensor | None, other: Flow) -> Flow:
    """A flow, or where there is none another one."""
    if found is None or present is None:
        return other if found is None else found
    return Flow(*(torch.where(present, *parts) for parts in zip(found, other, strict=True)))


def match_sides(
    here: tuple[Level, ...],
    sides: Sequence[tuple[Level, ...] | None],
    finest: int,
    like: Tensor,
    present: Present = (None, None),
) -> Motion:
    """Motion of a frame from its levels and those of the frames before and after it, None where there is none.

    ``like`` and ``present`` are as :func:`motion_between` takes them.
    """
    found = iter(flows(here, [side for side in sides if side is not None], finest))
    back, ahead = (None if side is None else next(found) for side in sides)
    return motion_between(back, ahead, like, present)


def frames_motion(clip: Tensor, finest: int, *, lookahead: int) -> Motion:
    """Motions of all frames of a clip (B, T, C, H, W), packed, without any network; for training."""
    frames = clip.flatten(0, 1)
    like = frames[..., ::8, ::8]
    return clip_motion(pyramid(frames, finest), finest, length=clip.shape[1], lookahead=lookahead, like=like)


def clip_motion(
    levels: tuple[Level, ...], finest: int, *, length: int, lookahead: int, like: Tensor, match: Matcher = flow
) -> Motion:
    """Motions of all frames of packed clips (B·T in the batch, T = ``length``), all flows in one batch.

    The same as :func:`motion_between` frame by frame. ``like`` (B·T, C, h, w) gives the size; ``match`` finds a flow.
    """
    if length == 1:
        return motion_between(None, None, like)
    index = torch.arange(len(like), device=like.device).view(-1, length)
    later, earlier = index[:, 1:].flatten(), index[:, :-1].flatten()
    if lookahead == 0:
        back = _unpacked(match(_chosen(levels, later), _chosen(levels, earlier), finest), length - 1)
        first = _lone(like[index[:, 0]])
        motion = _motion(_joined(_unpacked(first, 1), back))
        motion.mismatch[:, 1] = 1
        return motion
    here, there = torch.cat((later, earlier)), torch.cat((earlier, later))
    found = match(_chosen(levels, here), _chosen(levels, there), finest)
    back, ahead = (_unpacked(Flow(*half), length - 1) for half in zip(*(part.chunk(2) for part in found), strict=True))
    before_first = _mirrored(Flow(*(part[:, :1] for part in ahead)))
    after_last = _mirrored(Flow(*(part[:, -1:] for part in back)))
    motion = _motion(_joined(before_first, back), _joined(ahead, after_last))
    motion.mismatch[index[:, 0], 0] = 1
    motion.mismatch[index[:, -1], 1] = 1
    return motion


def _motion(back: Flow, ahead: Flow | None = None) -> Motion:
    ahead = _mirrored(back) if ahead is None else ahead
    velocity = (ahead.displacement - back.displacement) / 2
    change = ahead.displacement + back.displacement
    clues = torch.cat((velocity / 16, change / 8, ahead.mismatch * CONTRAST, back.mismatch * CONTRAST), 1)
    mismatch = torch.cat((back.mismatch, ahead.mismatch), 1)
    return Motion(velocity, back.displacement, ahead.displacement, mismatch, clues)


def _mirrored(found: Flow) -> Flow:
    """The flow to the other side under constant velocity."""
    return Flow(-found.displacement, found.mismatch)


def _lone(like: Tensor) -> Flow:
    """A lone frame: no motion, nothing explained."""
    still = like.new_zeros(like.shape[0], 2, *like.shape[-2:], dtype=torch.float32)
    return Flow(still, torch.ones_like(still[:, :1]))


def _chosen(levels: tuple[Level, ...], frames: Tensor) -> tuple[Level, ...]:
    return tuple(Level(level.luma[frames], level.slope[frames]) for level in levels)


def _unpacked(found: Flow, length: int) -> Flow:
    """(B·T, …) → (B, T, …)."""
    return Flow(*(part.view(-1, length, *part.shape[1:]) for part in found))


def _joined(first: Flow, second: Flow) -> Flow:
    """Two stretches (B, T, …) of the same clips, one after the other, packed again: (B·T, …)."""
    return Flow(*(torch.cat(parts, 1).flatten(0, 1) for parts in zip(first, second, strict=True)))
