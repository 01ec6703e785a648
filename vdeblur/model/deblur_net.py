"""DeblurNet: find each pixel's motion during the exposure, look along it, deconvolve, remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.errors import UsageError
from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.model.convgru import HalfGRU
from vdeblur.model.exposure import ExposureFraction, motion_profile, remembered
from vdeblur.model.image_refiner import FrameContext, ImageRefiner
from vdeblur.model.layers import Activation, activate, conv3x3, residual_blocks, upsample, warp, zero_init
from vdeblur.model.motion import CLUES, Motion, Present, clip_motion, frames_motion, match_sides
from vdeblur.model.motion_refiner import MotionRefiner
from vdeblur.model.motion_taps import STRIP_PIXELS, MotionTaps, Neighbour, luma
from vdeblur.model.optical_flow import Level, pyramid
from vdeblur.model.regions import Region, in_tiles, upsample_area, whole_of
from vdeblur.runtime.cpu_pool import one_thread


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size of a DeblurNet. Channels are (1/4, 1/8, 1/16 of the resolution)."""

    name: str
    channels: tuple[int, int, int]
    #: Residual blocks at each resolution in the encoder.
    blocks: tuple[int, int, int]
    #: Residual blocks in the decoder at 1/8 and 1/4.
    decoder_blocks: tuple[int, int]
    #: Finest resolution of the optical flow: 2 half, 4 a quarter, 8 an eighth.
    flow_finest: int
    #: Points sampled along the motion, an odd number.
    taps: int
    #: How far they reach to each side, in exposure lengths.
    reach: float
    #: Resolution of the taps: 1 full, 2 half, 4 a quarter.
    tap_scale: int
    tap_hidden: int
    #: 1×1 layers behind the first one that looks at the taps.
    tap_depth: int
    tap_features: int
    #: Channels by which the features at 1/8 tell the taps how to deconvolve.
    tap_guides: int
    #: Points sampled in each neighbour frame, from −1 to +1 exposure lengths; 0 or an odd number.
    tap_neighbours: int = 0

    #: Points on each of two lines beside the motion; 0 or more than 1.
    tap_beside: int = 0

    #: Channels at 1/8 and 1/16 of the network that refines the motion; 0 leaves it out. Blocks at each of them.
    refine: tuple[int, int] = (0, 0)
    refine_blocks: int = 1
    #: Channels at 1/2, 1/4 and 1/8 of the network that finishes the picture; 0 leaves it out.
    finish: tuple[int, int, int] = (0, 0, 0)
    #: Its residual blocks down, and as many up again, at 1/2 and 1/4; those at 1/8.
    finish_blocks: tuple[int, int, int] = (1, 1, 1)
    #: Features of the taps that it sees.
    finish_details: int = 0

    def __post_init__(self) -> None:
        if self.taps < 3 or self.taps % 2 == 0:
            raise UsageError(f"taps must be an odd number of at least 3, not {self.taps}")
        if self.tap_neighbours != 0 and (self.tap_neighbours < 0 or self.tap_neighbours % 2 == 0):
            raise UsageError(f"tap_neighbours must be 0 or an odd number, not {self.tap_neighbours}")
        if self.tap_beside < 0 or self.tap_beside == 1:
            raise UsageError(f"tap_beside must be 0 or more than 1, not {self.tap_beside}")
        if self.flow_finest not in (2, 4, 8):
            raise UsageError(f"flow_finest must be 2, 4 or 8, not {self.flow_finest}")
        if self.tap_scale not in (1, 2, 4):
            raise UsageError(f"tap_scale must be 1, 2 or 4, not {self.tap_scale}")
        if self.channels[1] % 2 or self.channels[2] % 2:
            raise UsageError(f"channels at 1/8 and 1/16 must be even, not {self.channels[1:]}")
        for name, channels in (("refine", self.refine), ("finish", self.finish)):
            if any(channels) and not all(channels):
                raise UsageError(f"{name} has channels at each resolution, or 0 at all of them, not {channels}")
        if any(self.finish) and (self.finish_details < 1 or not self.tap_neighbours):
            raise UsageError("finish needs finish_details of at least 1, and tap_neighbours")


class Features(NamedTuple):
    """What is computed once a frame: what later steps see of it, features at 1/4, 1/8, 1/16 and the levels that are
    matched. ``picture`` is the frame itself, or its luma where the network corrects no more along the motion."""

    picture: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor
    levels: tuple[Level, ...]


class State(NamedTuple):
    """What earlier frames taught: ConvGRU states at 1/8 and 1/16, and the motion profile summed over them."""

    eighth: Tensor
    sixteenth: Tensor
    profile: Tensor


class RecurrentFeatures(NamedTuple):
    """A frame with its motion and memory: features (B, C, H/8, W/8) and the exposure fraction (B, 1, 1, 1)."""

    features: Tensor
    exposure: Tensor


class Estimate(NamedTuple):
    """A restoration with what it rests on, for training.

    ``residual`` (B, 3, H, W); ``velocity`` (B, 2, H/8, W/8) in pixels a frame interval, as the flow has it;
    ``motion`` (B, 2, H/8, W/8), the displacement during the exposure in pixels; ``exposure`` (B, 1, 1, 1), the
    fraction of the frame interval that the shutter was open.
    """

    residual: Tensor
    velocity: Tensor
    motion: Tensor
    exposure: Tensor


class DeblurNet(nn.Module):
    """Recurrent deblurring network.

    Frames are R'G'B' (B, 3, H, W) in [0, 1]; H and W are multiples of ``stride`` and at least ``minimum_size``.
    Features and states are tuples of tensors; a state of None starts. The network computes in the dtype of its
    parameters; positions, matching and the returned residual are float32.

    With a ``side``, a multiple of ``stride``, all that is finer than 1/8 of the frame is computed in tiles of so many
    pixels each way, and as much around them as the convolutions reach. Motion, memory and what is looked at along the
    motion stay whole. So features, state and residual are the same, but for the rounding of sums, for any ``side``.
    """

    stride = 16
    minimum_size = 32
    takes_batches = True
    recordable = True
    #: Least side of a tile; below it, what tiles compute twice costs more than it saves.
    smallest_tile = 64
    #: Pixels around a tile that are computed with it.
    tile_overlap = 24
    strip_pixels = STRIP_PIXELS

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c4, c8, c16 = config.channels
        self.stem = nn.Sequential(conv3x3(48, c4), Activation(), residual_blocks(c4, config.blocks[0]))
        self.down8 = nn.Sequential(conv3x3(c4, c8, stride=2), Activation(), residual_blocks(c8, config.blocks[1]))
        self.down16 = nn.Sequential(conv3x3(c8, c16, stride=2), Activation(), residual_blocks(c16, config.blocks[2]))
        self.join16 = conv3x3(c16 + 2, c16)
        self.gru16 = HalfGRU(c16)
        self.join8 = conv3x3(c8 + c16 + CLUES, c8)
        self.gru8 = HalfGRU(c8)
        self.fraction = ExposureFraction()
        self.refine = zero_init(conv3x3(c8, 2))
        self.refiner = None
        if any(config.refine):
            self.refiner = MotionRefiner(channels=config.refine, blocks=config.refine_blocks, known=c8)
        self.guide = conv3x3(c8, config.tap_guides)

        self.taps = MotionTaps(
            taps=config.taps,
            reach=config.reach,
            scale=config.tap_scale,
            hidden=config.tap_hidden,
            depth=config.tap_depth,
            features=config.tap_features,
            guides=config.tap_guides,
            neighbours=2,
            neighbour_points=config.tap_neighbours,
            beside=config.tap_beside,
            details=config.finish_details,
        )
        self.finish = None
        if any(config.finish):
            self.finish = ImageRefiner(
                channels=config.finish, blocks=config.finish_blocks, details=config.finish_details, coarse=c8
            )
            self.smallest_tile, self.tile_overlap = 128, self.finish.reach
        texture = config.tap_features * (4 // config.tap_scale) ** 2
        self.decode8 = nn.Sequential(conv3x3(c8 + 2, c8), Activation(), residual_blocks(c8, config.decoder_blocks[0]))
        self.up4 = nn.Conv2d(c8, c4, 1)
        self.join4 = conv3x3(c4 + texture, c4)
        self.decode4 = residual_blocks(c4, config.decoder_blocks[1])
        self.head = zero_init(conv3x3(c4, 48))

    def work_in_strips(self, pixels: int | None) -> None:
        """On a CPU, look along the motion of so many pixels at a time; None: of ``strip_pixels`` again."""
        self.taps.strip_pixels = pixels

    def encode(self, frame: Tensor, *, side: int | None = None) -> Features:
        """Features of one frame alone: computed once and kept while the window slides over it."""
        quarter = self._quarter(frame, side)
        eighth = self.down8(quarter)
        sixteenth = self.down16(eighth)
        picture = luma(frame) if self.finish is None else frame.float()
        return Features(picture, quarter, eighth, sixteenth, pyramid(picture, self.config.flow_finest))

    def _quarter(self, frame: Tensor, side: int | None) -> Tensor:
        """Features at 1/4, tile by tile where there is a ``side``."""
        dtype = self.head.weight.dtype
        reach = 4 * (1 + 2 * self.config.blocks[0])
        parts = in_tiles(
            lambda outer: self.stem(quarters(outer.of(frame), dtype)),
            whole_of(frame), side, reach=reach, multiple=self.stride, scale=4,
        )  # fmt: skip
        return parts.contiguous(memory_format=torch.channels_last) if side else parts

    def residual(
        self,
        previous: Features | None,
        current: Features,
        following: Features | None,
        state: State | None,
        *,
        side: int | None = None,
        present: Present = (None, None),
    ) -> tuple[Tensor, State]:
        """Correction of the current frame.

        Args:
            previous, following: features of the neighbours, None where there is none; of those only ``picture``
                and ``levels`` are looked at.
            state: what the step before returned, None or zeros to start.
            side: of the tiles; it may differ from frame to frame.
            present: says for each frame of a batch whether it has these neighbours.

        Returns:
            Residual (B, 3, H, W), float32, to be added to the frame, and the new state.
        """
        with one_thread(current.picture.device):
            sides = [None if features is None else features.levels for features in (previous, following)]
            motion = match_sides(current.levels, sides, self.config.flow_finest, current.eighth, present)
            profile = motion_profile(current.picture, motion.velocity)
        joined, state = self._remember(current, motion, profile, state)
        frames = tuple(None if features is None else features.picture for features in (previous, following))
        return self._restore(current, joined, motion, self._neighbours(frames, motion), side=side).residual, state

    @staticmethod
    def state_from(tensors: Sequence[Tensor]) -> State:
        """A state from its parts, in their order."""
        return State(*tensors)

    def forward(
        self, window: tuple[Tensor | None, Tensor, Tensor | None], state: State | None = None
    ) -> tuple[Tensor, State]:
        """Frames t−1, t, t+1, the outer ones None where there is none, give the sharp frame t and the new state."""
        previous, current, following = (None if frame is None else self.encode(frame) for frame in window)
        assert current is not None
        residual, state = self.residual(previous, current, following, state)
        return window[1] + residual, state

    def restore_clip(
        self,
        clip: Tensor,
        *,
        lookahead: int,
        steer: Tensor | None = None,
        exposure: Tensor | None = None,
        motion: Motion | None = None,
    ) -> Estimate:
        """A whole clip (B, T, 3, H, W) at once, the same as frame by frame; for training.

        Everything but the ConvGRU runs on all frames together. Results have B·T in the batch, clip by clip. ``motion``
        (B·T in its batch) takes the place of what matching finds, ``steer`` (B·T, 2, H/8, W/8) that of the motion
        during the exposure, and ``exposure`` (B·T, 1, 1, 1) that of the exposure fraction read from the blur.
        """
        length = clip.shape[1]
        features = self.encode(clip.flatten(0, 1))
        if motion is None:
            finest = self.config.flow_finest
            motion = clip_motion(features.levels, finest, length=length, lookahead=lookahead, like=features.eighth)
        joined = self._remember_clip(features, motion, length)
        if exposure is not None:
            joined = joined._replace(exposure=exposure)
        return self._restore(features, joined, motion, self._neighbours(beside(clip, lookahead), motion), steer)

    def _remember_clip(self, features: Features, motion: Motion, length: int) -> RecurrentFeatures:
        """All frames of packed clips, one after the other through the memory; packed again."""
        profile = motion_profile(features.picture, motion.velocity)
        state: State | None = None
        steps = []
        for t in range(length):
            current, moved = features_at(features, t, length), motion_at(motion, t, length)
            joined, state = self._remember(current, moved, at(profile, t, length), state)
            steps.append(joined)
        return RecurrentFeatures(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*steps, strict=True)))

    def motions(self, clip: Tensor, *, lookahead: int) -> Motion:
        """Motions of all frames of a clip (B, T, 3, H, W), packed, without the rest of the network; for training."""
        return frames_motion(clip, self.config.flow_finest, lookahead=lookahead)

    @torch.no_grad()
    def sights(self, clip: Tensor, *, lookahead: int, exposure: Tensor) -> tuple[Tensor, Tensor]:
        """What the taps see of a clip (B, T, 3, H, W) under known exposure fractions (B·T, 1, 1, 1); for training.

        Returns:
            As :meth:`MotionTaps.look` tells (B·T, K, h, w), and the length of the motion (B·T, 1, h, w).
        """
        frames, motion = clip.flatten(0, 1), self.motions(clip, lookahead=lookahead)
        neighbours = self._neighbours(beside(clip, lookahead), motion)
        sight = self.taps.prepare(frames, motion.velocity * exposure, neighbours)
        path = self.taps.path(sight)
        return self.taps.look(sight, path), path.length

    def _remember(
        self, current: Features, motion: Motion, profile: Tensor, state: State | None
    ) -> tuple[RecurrentFeatures, State]:
        """Join features and motion with the state, which is fetched from where the pixels were a frame before."""
        profile = remembered(profile, None if state is None else state.profile)
        dtype = self.head.weight.dtype
        half = F.avg_pool2d(motion.back, 2)
        before8 = None if state is None else warp(state.eighth, motion.back / 8)
        before16 = None if state is None else warp(state.sixteenth, half / 16)
        slow = F.avg_pool2d(motion.clues[:, :2], 2)
        x16 = activate(self.join16(torch.cat((current.sixteenth, slow.to(dtype)), 1)))
        x16, state16 = self.gru16(x16, before16)
        parts = (current.eighth, upsample(x16, 2), motion.clues.to(dtype))
        x8, state8 = self.gru8(activate(self.join8(torch.cat(parts, 1))), before8)
        return RecurrentFeatures(x8, torch.sigmoid(self.fraction(profile))), State(state8, state16, profile)

    def _neighbours(self, frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
        return neighbours_of(frames, motion) if self.config.tap_neighbours else ()

    def _restore(
        self,
        current: Features,
        joined: RecurrentFeatures,
        motion: Motion,
        neighbours: tuple[Neighbour, ...],
        steer: Tensor | None = None,
        side: int | None = None,
    ) -> Estimate:
        """Motion during the exposure, deconvolution along it, and the decoder that joins all."""
        fused, exposure = joined
        exposed = motion.velocity * exposure + self.refine(fused).float()
        if self.refiner is not None:
            exposed = exposed + self.refiner(current.picture, neighbours, motion, exposed.detach(), fused)
        steer = self._steer(exposed) if steer is None else steer
        x = self.decode8(torch.cat((fused, (steer / 16).to(fused.dtype)), 1))
        guide, coarse = self.guide(x), self.up4(x)

        def detail(outer: Region) -> Tensor:
            found = self.taps(current.picture, steer, guide, neighbours, outer)
            quarter = outer.divided(4)
            x = quarter.of(current.quarter) + upsample_area(coarse, 2, quarter)
            x = self.decode4(x + self.join4(torch.cat((x, found.texture), 1)))
            change = corrected_quarters(self.head(x), found.correction)
            return change if self.finish is None else torch.cat((change, found.details.float()), 1)

        reach = 4 * (2 + 2 * self.config.decoder_blocks[1])
        residual = in_tiles(detail, whole_of(current.picture), side, reach=reach, multiple=self.stride, scale=1)
        if self.finish is not None:
            residual = self._finished(current.picture, residual, x, steer, neighbours, side)
        return Estimate(residual, motion.velocity, exposed, exposure)

    def _finished(
        self,
        frame: Tensor,
        first: Tensor,
        coarse: Tensor,
        steer: Tensor,
        neighbours: tuple[Neighbour, ...],
        side: int | None,
    ) -> Tensor:
        """The residual (B, 3, H, W) after the finish; ``first`` holds the one before it and the taps' details."""
        assert self.finish is not None
        finish, scene = self.finish, FrameContext.of(frame, first[:, :3], first[:, 3:], neighbours, coarse, steer)
        finished = in_tiles(
            lambda outer: finish(scene, outer),
            whole_of(frame), side, reach=finish.reach, multiple=self.stride, scale=1,
        )  # fmt: skip
        return scene.residual + finished

    def _steer(self, exposed: Tensor) -> Tensor:
        """The motion that steers: it learns from its own loss, not from what sampling along it brings."""
        return exposed.detach()


def quarters(frame: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, C, H, W) in [0, 1] → (B, 16 · C, H/4, W/4) around 0, as a network computes with it."""
    fused: Tensor | None = try_cpu_kernels(frame, lambda native: native.unshuffle(frame, dtype))
    return (F.pixel_unshuffle(frame, 4) * 4 - 2).to(dtype) if fused is None else fused


def corrected_quarters(x: Tensor, correction: Tensor) -> Tensor:
    """(B, 16 · C, H/4, W/4) → (B, C, H, W), float32, and a correction (B, 1, H, W) of all channels."""
    fused: Tensor | None = try_cpu_kernels(x, lambda native: native.shuffle_and_add(x, correction))
    return F.pixel_shuffle(x, 4).float() + correction if fused is None else fused


def beside(clip: Tensor, lookahead: int) -> tuple[Tensor | None, Tensor | None]:
    """The frames before and after each one of clips (B, T, …), packed; at the ends, where there is none, the same."""
    before = torch.cat((clip[:, :1], clip[:, :-1]), 1).flatten(0, 1)
    after = torch.cat((clip[:, 1:], clip[:, -1:]), 1).flatten(0, 1)
    return before, after if lookahead else None


def at(packed: Tensor, t: int, length: int) -> Tensor:
    """Frame ``t`` of every clip in a packed (B·T, …) batch."""
    return packed.view(-1, length, *packed.shape[1:])[:, t]


def features_at(packed: Features, t: int, length: int) -> Features:
    """What the recurrent part needs of frame ``t`` of every clip; it needs no levels."""
    grey, quarter, eighth, sixteenth = (at(tensor, t, length) for tensor in packed[:4])
    return Features(grey, quarter, eighth, sixteenth, levels=())


def motion_at(packed: Motion, t: int, length: int) -> Motion:
    return Motion(*(at(tensor, t, length) for tensor in packed))


def neighbours_of(frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
    """The frames before and after, None where there is none, as taps look into them."""
    displacements, mismatches = (motion.back, motion.ahead), motion.mismatch.chunk(2, 1)
    return tuple(Neighbour(*parts) for parts in zip(frames, displacements, mismatches, strict=True))
