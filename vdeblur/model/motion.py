"""Motion field of a frame: velocity and cues from backward and forward optical flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vdeblur.model.optical_flow import Flow, Level, build_pyramid, estimate_flow, estimate_flows

#: Masks (B, 1, 1, 1), boolean, of the frames of a batch that have a previous and a next frame; None: all.
Present = tuple[Tensor | None, Tensor | None]

#: Flow estimator with the signature of :func:`vdeblur.model.optical_flow.estimate_flow`.
Matcher = Callable[[tuple[Level, ...], tuple[Level, ...], int], Flow]
#: Channels of :attr:`Motion.cues`.
MOTION_CUES = 6
#: Factor that brings photometric mismatches to the order of 1.
MISMATCH_GAIN = 10.0


class Motion(NamedTuple):
    """Motion field at 1/8 of the frame, float32; vectors in pixels of the frame, x before y.

    ``velocity`` (B, 2, h, w): displacement per frame interval, centred on the frame.
    ``backward_flow``, ``forward_flow`` (B, 2, h, w): flow to the previous and to the next frame.
    ``mismatch`` (B, 2, h, w): photometric mismatch of both flows; 1 for a missing frame.
    ``cues`` (B, MOTION_CUES, h, w): velocity, acceleration and both mismatches, of the order of 1.
    """

    velocity: Tensor
    backward_flow: Tensor
    forward_flow: Tensor
    mismatch: Tensor
    cues: Tensor


def combine_flows(back: Flow | None, ahead: Flow | None, like: Tensor, present: Present = (None, None)) -> Motion:
    """Combine the flows to the previous and the next frame, None if missing, into a motion field.

    A missing flow is extrapolated from the other one under constant velocity; a lone frame has no motion. ``like``
    (B, C, h, w) gives the size. Flows to neighbours that are not ``present`` are ignored.
    """
    zero, (before, after) = _zero_flow(like), present
    mirrored = None if ahead is None else _mirror(ahead)
    backward = _select_flow(back, before, _select_flow(mirrored, after, zero))
    forward = _select_flow(ahead, after, _mirror(backward))
    mismatches = [_select_flow(back, before, zero).mismatch, _select_flow(ahead, after, zero).mismatch]
    return _motion(backward, forward)._replace(mismatch=torch.cat(mismatches, 1))


def _select_flow(flow: Flow | None, present: Tensor | None, fallback: Flow) -> Flow:
    """A flow where it is present, else the fallback."""
    if flow is None or present is None:
        return fallback if flow is None else flow
    return Flow(*(torch.where(present, *parts) for parts in zip(flow, fallback, strict=True)))


def estimate_motion(
    levels: tuple[Level, ...],
    sides: Sequence[tuple[Level, ...] | None],
    finest: int,
    like: Tensor,
    present: Present = (None, None),
) -> Motion:
    """Estimate the motion field of a frame from its pyramid and those of its neighbours, None if missing.

    Args:
        levels: pyramid of the frame, whose finest level is at 1/``finest``.
        sides: pyramids of the previous and the next frame.
        like, present: as :func:`combine_flows` takes them.
    """
    flows = iter(estimate_flows(levels, [side for side in sides if side is not None], finest))
    back, ahead = (None if side is None else next(flows) for side in sides)
    return combine_flows(back, ahead, like, present)


def estimate_clip_motion(clip: Tensor, finest: int, *, lookahead: int) -> Motion:
    """Motion fields of all frames of a clip (B, T, C, H, W), packed (B·T, …), without a network; for training."""
    frames = clip.flatten(0, 1)
    like = frames[..., ::8, ::8]
    return match_clip(build_pyramid(frames, finest), finest, length=clip.shape[1], lookahead=lookahead, like=like)


def match_clip(
    levels: tuple[Level, ...], finest: int, *, length: int, lookahead: int, like: Tensor, match: Matcher = estimate_flow
) -> Motion:
    """Motion fields of all frames of packed clips (B·T, …), T = ``length``, with all flows in one batch.

    Equals :func:`combine_flows` frame by frame. ``like`` (B·T, C, h, w) gives the size; ``match`` estimates a flow.
    """
    if length == 1:
        return combine_flows(None, None, like)
    index = torch.arange(len(like), device=like.device).view(-1, length)
    later, earlier = index[:, 1:].flatten(), index[:, :-1].flatten()
    if lookahead == 0:
        back = _unpack(match(_select_frames(levels, later), _select_frames(levels, earlier), finest), length - 1)
        first = _zero_flow(like[index[:, 0]])
        motion = _motion(_concatenate(_unpack(first, 1), back))
        motion.mismatch[:, 1] = 1
        return motion
    sources, targets = torch.cat((later, earlier)), torch.cat((earlier, later))
    flows = match(_select_frames(levels, sources), _select_frames(levels, targets), finest)
    back, ahead = (_unpack(Flow(*half), length - 1) for half in zip(*(part.chunk(2) for part in flows), strict=True))
    before_first = _mirror(Flow(*(part[:, :1] for part in ahead)))
    after_last = _mirror(Flow(*(part[:, -1:] for part in back)))
    motion = _motion(_concatenate(before_first, back), _concatenate(ahead, after_last))
    motion.mismatch[index[:, 0], 0] = 1
    motion.mismatch[index[:, -1], 1] = 1
    return motion


def _motion(back: Flow, ahead: Flow | None = None) -> Motion:
    """Motion field from both flows; under constant velocity if only the backward flow is known."""
    ahead = _mirror(back) if ahead is None else ahead
    velocity = (ahead.displacement - back.displacement) / 2
    acceleration = ahead.displacement + back.displacement
    cues = torch.cat(
        (velocity / 16, acceleration / 8, ahead.mismatch * MISMATCH_GAIN, back.mismatch * MISMATCH_GAIN), 1
    )
    mismatch = torch.cat((back.mismatch, ahead.mismatch), 1)
    return Motion(velocity, back.displacement, ahead.displacement, mismatch, cues)


def _mirror(flow: Flow) -> Flow:
    """Flow to the opposite neighbour under constant velocity."""
    return Flow(-flow.displacement, flow.mismatch)


def _zero_flow(like: Tensor) -> Flow:
    """Flow of a lone frame: no motion, mismatch 1."""
    still = like.new_zeros(like.shape[0], 2, *like.shape[-2:], dtype=torch.float32)
    return Flow(still, torch.ones_like(still[:, :1]))


def _select_frames(levels: tuple[Level, ...], frames: Tensor) -> tuple[Level, ...]:
    return tuple(Level(level.luma[frames], level.gradient[frames]) for level in levels)


def _unpack(flow: Flow, length: int) -> Flow:
    """(B·T, …) → (B, T, …)."""
    return Flow(*(part.view(-1, length, *part.shape[1:]) for part in flow))


def _concatenate(first: Flow, second: Flow) -> Flow:
    """Concatenate flows (B, T, …) in time and pack them: (B·T, …)."""
    return Flow(*(torch.cat(parts, 1).flatten(0, 1) for parts in zip(first, second, strict=True)))
