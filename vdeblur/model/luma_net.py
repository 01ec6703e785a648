"""LumaNet: deconvolution of luma along the motion without encoder and decoder, for real time on a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vdeblur.errors import UsageError
from vdeblur.kernels.inputs import BLOCK_PX
from vdeblur.model.block_taps import STRIP_PIXELS, SharedTaps
from vdeblur.model.deblur_net import adjacent_frames, frame_at, neighbours_of
from vdeblur.model.exposure import (
    READER_WEIGHTS,
    ExposureReader,
    MatchedFrame,
    accumulate_profile,
    known_or_read,
    motion_profile,
    read_exposure,
)
from vdeblur.model.mixture_taps import MixtureTaps
from vdeblur.model.motion import Motion, Present, estimate_clip_motion, estimate_motion
from vdeblur.model.motion_taps import Neighbour, luma
from vdeblur.model.network import LARGEST_NUMBER, Estimate, NetworkTraits, RestorationNetwork, TileTraits
from vdeblur.model.optical_flow import Level, build_pyramid
from vdeblur.runtime.cpu_pool import single_threaded_ops


@dataclass(frozen=True, kw_only=True)
class LumaConfig:
    """Hyperparameters of a LumaNet; fields as in :class:`vdeblur.model.deblur_net.NetworkConfig`."""

    kind: Literal["luma"]
    name: str
    flow_finest: int
    taps: int
    reach: float
    tap_hidden: int
    tap_depth: int
    tap_neighbours: int = 0
    #: Experts of :class:`vdeblur.model.mixture_taps.MixtureTaps`, a filter predicted per block, and units of the
    #: predictor; 0 experts mean one shared filter.
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

    def least_weights(self) -> int:
        """Lower bound of the weights: the reader, hidden layers of the taps, or experts and their predictor."""
        if not 0 < self.reach <= LARGEST_NUMBER:
            raise ValueError("the config has a number that must be above 0 and is not")
        experts = self.tap_experts * self.tap_hidden * self.taps + min(1, self.tap_experts) * self.tap_code**2
        return READER_WEIGHTS + self.tap_depth * self.tap_hidden * (self.tap_hidden + 1) + experts


def _make_taps(config: LumaConfig) -> SharedTaps | MixtureTaps:
    """Taps with fresh weights."""
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
    """Per-frame features, computed once: luma (B, 1, H, W) and its pyramid for optical flow."""

    luma: Tensor
    levels: tuple[Level, ...]

    @property
    def picture(self) -> Tensor:
        """Image that is sampled: luma."""
        return self.luma


class LumaState(NamedTuple):
    """Recurrent state: the accumulated motion profile (B, PROFILE_SIZE), and the frame's packed reading (B, 4) of it.

    The next step needs the profile alone.
    """

    profile: Tensor
    reading: Tensor


class TapInputs(NamedTuple):
    """Inputs of the taps: luma (B, 1, H, W), motion during the exposure (B, 2, H/8, W/8) in pixels, neighbours."""

    luma: Tensor
    motion: Tensor
    neighbours: tuple[Neighbour, ...]


class LumaNet(RestorationNetwork):
    """Recurrent deblurring network without encoder and decoder.

    Optical flow, an exposure fraction estimated from all frames so far, and block taps. It has the interface of
    :class:`vdeblur.model.deblur_net.DeblurNet` in shapes, state, precision and tiles, but frames and residuals have one
    channel: luma. R'G'B' frames are accepted, too.
    """

    stride = 8
    minimum_size = 32
    config: LumaConfig
    traits = NetworkTraits(
        channels=1,
        takes_batches=True,
        capturable=True,
        compiled=True,
        halves=True,
        tiles=TileTraits(smallest=64, strip_pixels=STRIP_PIXELS),
        state_from=LumaState._make,
        estimates_motion=True,
        reads_exposure=True,
        guided=True,
        taps="block pixels",
        not_exported_because=None,
    )

    def __init__(self, config: LumaConfig) -> None:
        super().__init__()
        self.config = config
        self.fraction = ExposureReader()
        self.taps = _make_taps(config)
        if config.tap_experts:
            self.traits = replace(self.traits, taps="blocks")

    def set_strip_pixels(self, pixels: int | None) -> None:
        """Set the pixels per strip of the taps on a CPU, to bound memory; None restores the default."""
        self.taps.strip_pixels = pixels

    def encode(self, frame: Tensor, *, side: int | None = None) -> LumaFeatures:
        """Encode one frame by itself; always whole, whatever ``side``."""
        grey = luma(frame)
        with single_threaded_ops(grey.device):
            return LumaFeatures(grey, build_pyramid(grey, self.config.flow_finest))

    def residual(
        self,
        previous: LumaFeatures | None,
        current: LumaFeatures,
        following: LumaFeatures | None,
        state: LumaState | None,
        exposure: Tensor | None = None,
        matched: MatchedFrame | None = None,
        ahead: Tensor | None = None,
        *,
        side: int | None = None,
        present: Present = (None, None),
    ) -> tuple[Tensor, LumaState]:
        """One inference step: luma residual (B, 1, H, W), float32, of the current frame, and the next state.

        Arguments as :meth:`vdeblur.model.deblur_net.DeblurNet.residual`.
        """
        inputs, state = self.match(previous, current, following, state, exposure, matched, ahead, present=present)
        return self.correct(inputs, side=side), state

    def match_motion(
        self,
        previous: LumaFeatures | None,
        current: LumaFeatures,
        following: LumaFeatures | None,
        *,
        present: Present = (None, None),
    ) -> MatchedFrame:
        """Motion field and motion profile of a frame, which need no state; arguments as for :meth:`residual`."""
        levels = [None if features is None else features.levels for features in (previous, following)]
        with single_threaded_ops(current.luma.device):
            like = current.luma[..., ::BLOCK_PX, ::BLOCK_PX]
            motion = estimate_motion(current.levels, levels, self.config.flow_finest, like, present)
            return MatchedFrame(motion, motion_profile(current.luma, motion.velocity))

    def without_levels(self, features: LumaFeatures) -> LumaFeatures:
        """Features without their pyramid, which :meth:`match_motion` alone reads."""
        return features._replace(levels=())

    def match(
        self,
        previous: LumaFeatures | None,
        current: LumaFeatures,
        following: LumaFeatures | None,
        state: LumaState | None,
        exposure: Tensor | None = None,
        matched: MatchedFrame | None = None,
        ahead: Tensor | None = None,
        *,
        present: Present = (None, None),
    ) -> tuple[TapInputs, LumaState]:
        """First half of :meth:`residual`: optical flow and state, on which the next frame depends."""
        if matched is None:
            matched = self.match_motion(previous, current, following, present=present)
        motion = matched.motion
        with single_threaded_ops(current.luma.device):
            profile = accumulate_profile(matched.profile, None if state is None else state.profile)
            reading = read_exposure(self.fraction(profile if ahead is None else profile + ahead))
            exposure_motion = motion.velocity * known_or_read(exposure, reading.taken)
        frames = tuple(None if features is None else features.luma for features in (previous, following))
        inputs = TapInputs(current.luma, exposure_motion, self._neighbours(frames, motion))
        return inputs, LumaState(profile, reading.packed())

    def correct(self, inputs: TapInputs, *, side: int | None = None) -> Tensor:
        """Second half of :meth:`residual`: deconvolution, which no other frame waits for."""
        with single_threaded_ops(inputs.luma.device):
            residual: Tensor = self.taps(*inputs, side=side)
        return residual

    def forward(
        self, window: tuple[Tensor | None, Tensor, Tensor | None], state: LumaState | None = None
    ) -> tuple[Tensor, LumaState]:
        """Restore frame t from frames t−1, t, t+1, None if missing: the sharp frame and the next state."""
        previous, current, following = (None if frame is None else self.encode(frame) for frame in window)
        assert current is not None
        residual, state = self.residual(previous, current, following, state)
        return window[1] + residual, state

    def restore_clip(
        self, clip: Tensor, *, lookahead: int, exposure: Tensor | None = None, motion: Motion | None = None
    ) -> Estimate:
        """Restore a whole clip (B, T, C, H, W) at once, equal to frame by frame; for training.

        Results are packed (B·T, …). ``motion`` (B·T, …) replaces optical flow, ``exposure`` (B·T, 1, 1, 1) the
        estimated exposure fraction.
        """
        length, frames = clip.shape[1], clip.flatten(0, 1)
        motion = self.clip_motion(clip, lookahead=lookahead) if motion is None else motion
        if exposure is None:
            exposure = self._accumulate_exposures(motion_profile(frames, motion.velocity), length)
        exposure_motion = motion.velocity * exposure
        neighbours = self._neighbours(adjacent_frames(clip, lookahead), motion)
        residual = self.taps(frames, exposure_motion.detach(), neighbours)
        return Estimate(residual, motion.velocity, exposure_motion, exposure)

    def clip_motion(self, clip: Tensor, *, lookahead: int) -> Motion:
        """Motion fields of all frames of a clip (B, T, C, H, W), packed; for training."""
        return estimate_clip_motion(clip, self.config.flow_finest, lookahead=lookahead)

    @torch.no_grad()
    def sample_taps(self, clip: Tensor, *, lookahead: int, exposure: Tensor) -> tuple[Tensor, Tensor]:
        """Sample the taps' input features of a clip (B, T, C, H, W) for pre-training.

        Args:
            exposure: known exposure fractions (B·T, 1, 1, 1).

        Returns:
            Features (B·T, K, H, W), and the motion's length in pixels (B·T, 1, H, W).
        """
        motion = self.clip_motion(clip, lookahead=lookahead)
        neighbours = self._neighbours(adjacent_frames(clip, lookahead), motion)
        blocks = self.taps.prepare(clip.flatten(0, 1), motion.velocity * exposure, neighbours)
        length = blocks.length.repeat_interleave(BLOCK_PX, 2).repeat_interleave(BLOCK_PX, 3)
        return self.taps.feature_image(blocks), length

    def _accumulate_exposures(self, profile: Tensor, length: int) -> Tensor:
        """Exposure fraction of every frame of packed clips (B·T, 1, 1, 1), from the frames' profiles."""
        accumulated: Tensor | None = None
        fractions = []
        for t in range(length):
            accumulated = accumulate_profile(frame_at(profile, t, length), accumulated)
            fractions.append(read_exposure(self.fraction(accumulated)).taken)
        return torch.stack(fractions, 1).flatten(0, 1)

    def _neighbours(self, frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
        return neighbours_of(frames, motion) if self.config.tap_neighbours else ()
