"""LumaNet: what is seen along the motion and nothing else, in luma alone, for real time on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vdeblur.errors import UsageError
from vdeblur.model.block_taps import CELL, STRIP_PIXELS, SharedTaps
from vdeblur.model.deblur_net import Estimate, at, beside, neighbours_of
from vdeblur.model.exposure import ExposureFraction, motion_profile, remembered
from vdeblur.model.mixture_taps import MixtureTaps
from vdeblur.model.motion import Motion, Present, frames_motion, match_sides
from vdeblur.model.motion_taps import Neighbour, luma
from vdeblur.model.optical_flow import Level, pyramid
from vdeblur.runtime.cpu_pool import one_thread


@dataclass(frozen=True, kw_only=True)
class LumaConfig:
    """Size of a LumaNet; the words are those of :class:`vdeblur.model.deblur_net.NetworkConfig`."""

    kind: Literal["luma"]
    name: str
    flow_finest: int
    taps: int
    reach: float
    tap_hidden: int
    tap_depth: int
    tap_neighbours: int = 0
    #: With some, each cell has a filter of its own (:class:`vdeblur.model.mixture_taps.MixtureTaps`), from a network of
    #: ``tap_code`` units.
    tap_experts: int = 0
    tap_code: int = 32

    def __post_init__(self) -> None:
        if self.taps < 3 or self.taps % 2 == 0:
            raise UsageError(f"taps must be an odd number of at least 3, not {self.taps}")
        if self.tap_neighbours != 0 and (self.tap_neighbours < 0 or self.tap_neighbours % 2 == 0):
            raise UsageError(f"tap_neighbours must be 0 or an odd number, not {self.tap_neighbours}")
        if self.tap_experts and self.tap_depth:
            raise UsageError(f"tap_depth must be 0 with tap_experts, not {self.tap_depth}")
        if self.tap_experts < 0 or (self.tap_experts and self.tap_code < 1):
            raise UsageError(f"tap_experts and tap_code cannot be {self.tap_experts} and {self.tap_code}")
        if self.flow_finest not in (2, 4, 8):
            raise UsageError(f"flow_finest must be 2, 4 or 8, not {self.flow_finest}")


def _taps_of(config: LumaConfig) -> SharedTaps | MixtureTaps:
    if config.tap_experts:
        return MixtureTaps(
            taps=config.taps, reach=config.reach, hidden=config.tap_hidden, experts=config.tap_experts,
            code=config.tap_code, neighbour_points=config.tap_neighbours,
        )  # fmt: skip
    return SharedTaps(
        taps=config.taps, reach=config.reach, hidden=config.tap_hidden, depth=config.tap_depth,
        neighbour_points=config.tap_neighbours,
    )  # fmt: skip


class LumaFeatures(NamedTuple):
    """What is computed once a frame: its luma (B, 1, H, W) and the levels that are matched."""

    luma: Tensor
    levels: tuple[Level, ...]

    @property
    def picture(self) -> Tensor:
        """What other frames look at: luma."""
        return self.luma


class LumaState(NamedTuple):
    """What earlier frames taught: the motion profile summed over them, from which the exposure is read."""

    profile: Tensor


class TapInputs(NamedTuple):
    """A frame whose motion is known: its luma, its motion during the exposure, and its neighbours."""

    luma: Tensor
    exposed: Tensor
    neighbours: tuple[Neighbour, ...]


class LumaNet(nn.Module):
    """Recurrent deblurring network without encoder and decoder.

    Optical flow, the exposure fraction read from all frames so far, and one small filter along the motion: the parts of
    :class:`vdeblur.model.deblur_net.DeblurNet` that do the work. It keeps that network's promises on shapes, state,
    precision and tiles, but its frames and residuals have one channel: luma. R'G'B' is taken, too.
    """

    stride = 8
    minimum_size = 32
    smallest_tile = 64
    tile_overlap = 0
    strip_pixels = STRIP_PIXELS
    #: What the engine should give it, and gets back.
    channels = 1
    takes_batches = True
    recordable = True
    compiled = True

    def __init__(self, config: LumaConfig) -> None:
        super().__init__()
        self.config = config
        self.fraction = ExposureFraction()
        self.taps = _taps_of(config)

    def work_in_strips(self, pixels: int | None) -> None:
        """On a CPU, look along the motion of so many pixels at a time; None: of ``strip_pixels`` again."""
        self.taps.strip_pixels = pixels

    def encode(self, frame: Tensor, *, side: int | None = None) -> LumaFeatures:
        """What is computed of one frame alone, and kept while the window slides over it; that is done whole."""
        grey = luma(frame)
        with one_thread(grey.device):
            return LumaFeatures(grey, pyramid(grey, self.config.flow_finest))

    def residual(
        self,
        previous: LumaFeatures | None,
        current: LumaFeatures,
        following: LumaFeatures | None,
        state: LumaState | None,
        *,
        side: int | None = None,
        present: Present = (None, None),
    ) -> tuple[Tensor, LumaState]:
        """Correction of the current frame's luma (B, 1, H, W), float32, and the new state.

        The arguments are those of :meth:`vdeblur.model.deblur_net.DeblurNet.residual`.
        """
        matched, state = self.match(previous, current, following, state, present)
        return self.correct(matched, side=side), state

    def match(
        self,
        previous: LumaFeatures | None,
        current: LumaFeatures,
        following: LumaFeatures | None,
        state: LumaState | None,
        present: Present = (None, None),
    ) -> tuple[TapInputs, LumaState]:
        """The first half of :meth:`residual`, which every later frame waits for."""
        sides = (previous, following)
        levels = [None if one is None else one.levels for one in sides]
        with one_thread(current.luma.device):
            motion = match_sides(current.levels, levels, self.config.flow_finest, current.luma[..., ::8, ::8], present)
            profile = motion_profile(current.luma, motion.velocity)
            profile = remembered(profile, None if state is None else state.profile)
            exposed = motion.velocity * torch.sigmoid(self.fraction(profile))
        frames = tuple(None if one is None else one.luma for one in sides)
        return TapInputs(current.luma, exposed, self._neighbours(frames, motion)), LumaState(profile)

    def correct(self, matched: TapInputs, *, side: int | None = None) -> Tensor:
        """The second half, which no other frame waits for."""
        with one_thread(matched.luma.device):
            residual: Tensor = self.taps(*matched, side=side)
        return residual

    @staticmethod
    def state_from(tensors: Sequence[Tensor]) -> LumaState:
        """A state from its parts, in their order."""
        return LumaState(*tensors)

    def forward(
        self, window: tuple[Tensor | None, Tensor, Tensor | None], state: LumaState | None = None
    ) -> tuple[Tensor, LumaState]:
        """Frames t−1, t, t+1, the outer ones None where there is none, give the sharp frame t and the new state."""
        previous, current, following = (None if frame is None else self.encode(frame) for frame in window)
        assert current is not None
        residual, state = self.residual(previous, current, following, state)
        return window[1] + residual, state

    def restore_clip(
        self, clip: Tensor, *, lookahead: int, exposure: Tensor | None = None, motion: Motion | None = None
    ) -> Estimate:
        """A whole clip (B, T, C, H, W) at once, the same as frame by frame; for training.

        Results have B·T in the batch, clip by clip. ``motion`` (B·T in its batch) takes the place of what matching
        finds, ``exposure`` (B·T, 1, 1, 1) that of the exposure fraction read from the blur.
        """
        length, frames = clip.shape[1], clip.flatten(0, 1)
        motion = self.motions(clip, lookahead=lookahead) if motion is None else motion
        if exposure is None:
            exposure = self._exposures(motion_profile(frames, motion.velocity), length)
        exposed = motion.velocity * exposure
        neighbours = self._neighbours(beside(clip, lookahead), motion)
        residual = self.taps(frames, exposed.detach(), neighbours)
        return Estimate(residual, motion.velocity, exposed, exposure)

    def motions(self, clip: Tensor, *, lookahead: int) -> Motion:
        """Motions of all frames of a clip (B, T, C, H, W), packed; for training."""
        return frames_motion(clip, self.config.flow_finest, lookahead=lookahead)

    @torch.no_grad()
    def sights(self, clip: Tensor, *, lookahead: int, exposure: Tensor) -> tuple[Tensor, Tensor]:
        """What the taps see of a clip (B, T, C, H, W) under known exposure fractions (B·T, 1, 1, 1); for training.

        Returns:
            What pixels see (B·T, K, H, W), and the length of their motion (B·T, 1, H, W).
        """
        motion = self.motions(clip, lookahead=lookahead)
        neighbours = self._neighbours(beside(clip, lookahead), motion)
        sight = self.taps.prepare(clip.flatten(0, 1), motion.velocity * exposure, neighbours)
        length = sight.length.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)
        return self.taps.sights(sight), length

    @torch.no_grad()
    def read_exposures(self, clip: Tensor, *, lookahead: int) -> Tensor:
        """The exposure fractions (B·T, 1, 1, 1) read from the frames of a clip (B, T, C, H, W); for training."""
        motion = self.motions(clip, lookahead=lookahead)
        return self._exposures(motion_profile(clip.flatten(0, 1), motion.velocity), clip.shape[1])

    def _exposures(self, profile: Tensor, length: int) -> Tensor:
        """The exposure fraction of every frame (B·T, 1, 1, 1) of packed clips, from the profiles of their frames."""
        before: Tensor | None = None
        fractions = []
        for t in range(length):
            before = remembered(at(profile, t, length), before)
            fractions.append(torch.sigmoid(self.fraction(before)))
        return torch.stack(fractions, 1).flatten(0, 1)

    def _neighbours(self, frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
        return neighbours_of(frames, motion) if self.config.tap_neighbours else ()
