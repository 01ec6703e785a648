"""DeblurNet: recurrent deblurring network; optical flow, deconvolution along the motion, ConvGRU state, decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.errors import UsageError
from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.model.convgru import HalfGRU
from vdeblur.model.exposure import (
    READER_WEIGHTS,
    ExposureReader,
    MatchedFrame,
    accumulate_profile,
    known_or_read,
    motion_profile,
    read_exposure,
)
from vdeblur.model.image_refiner import FrameContext, ImageRefiner
from vdeblur.model.layers import Activation, activate, conv3x3, residual_blocks, upsample, warp, zero_init
from vdeblur.model.motion import MOTION_CUES, Motion, Present, estimate_clip_motion, estimate_motion, match_clip
from vdeblur.model.motion_refiner import MotionRefiner
from vdeblur.model.motion_taps import STRIP_PIXELS, MotionTaps, Neighbour, luma
from vdeblur.model.network import LARGEST_NUMBER, Estimate, NetworkTraits, RestorationNetwork, TileTraits
from vdeblur.model.optical_flow import Level, build_pyramid
from vdeblur.model.regions import Region, full_region, run_tiled, upsample_region
from vdeblur.runtime.cpu_pool import single_threaded_ops


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Hyperparameters of a DeblurNet, as in its YAML file and checkpoint."""

    name: str
    #: Channels at 1/4, 1/8 and 1/16 of the resolution.
    channels: tuple[int, int, int]
    #: Residual blocks at each resolution in the encoder.
    blocks: tuple[int, int, int]
    #: Residual blocks in the decoder at 1/8 and 1/4.
    decoder_blocks: tuple[int, int]
    #: Finest level of the optical flow: 2 half, 4 a quarter, 8 an eighth of the resolution.
    flow_finest: int
    #: Points sampled along the motion, an odd number.
    taps: int
    #: Half length of the sampled path, in exposure lengths.
    reach: float
    #: Resolution of the taps: 1 full, 2 half, 4 a quarter.
    tap_scale: int
    #: Hidden units of the taps' MLP.
    tap_hidden: int
    #: Hidden layers of the taps' MLP after the first one.
    tap_depth: int
    #: Texture channels from the taps to the decoder.
    tap_features: int
    #: Channels at 1/8 that condition the taps.
    tap_guides: int
    #: Points sampled in each neighbour frame, from −1 to +1 exposure lengths; 0 or an odd number.
    tap_neighbours: int = 0
    #: Points on each of two lines parallel to the motion; 0 or more than 1.
    tap_beside: int = 0
    #: Channels at 1/8 and 1/16 of the motion refiner, 0 leaves it out; and its residual blocks.
    refine: tuple[int, int] = (0, 0)
    refine_blocks: int = 1
    #: Channels at 1/2, 1/4 and 1/8 of the image refiner; 0 leaves it out.
    finish: tuple[int, int, int] = (0, 0, 0)
    #: Its residual blocks down, and as many up again, at 1/2 and 1/4; and those at 1/8.
    finish_blocks: tuple[int, int, int] = (1, 1, 1)
    #: Its input channels from the taps.
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

    def least_weights(self) -> int:
        """Lower bound of the weights: the reader, hidden layers of the taps, a 3×3 convolution per residual block."""
        if not 0 < self.reach <= LARGEST_NUMBER or min(self.channels) < 1:
            raise ValueError("the config has a number that must be above 0 and is not")
        quarter, eighth, sixteenth = self.channels
        encoder = zip((quarter, eighth, sixteenth), self.blocks, strict=True)
        decoder = zip((eighth, quarter), self.decoder_blocks, strict=True)
        refiner = ((channels, self.refine_blocks) for channels in self.refine)
        finish = zip(self.finish, self.finish_blocks, strict=True)
        parts = (*encoder, *decoder, *refiner, *finish)
        taps = self.tap_depth * self.tap_hidden * (self.tap_hidden + 1)
        return READER_WEIGHTS + taps + sum(9 * channels**2 * max(1, blocks) for channels, blocks in parts)


class Features(NamedTuple):
    """Per-frame features, computed once and reused while the window slides.

    ``picture``: the frame (B, 3, H, W), or its luma (B, 1, H, W) without an image refiner; encoder features
    (B, C, H/n, W/n) at 1/4, 1/8 and 1/16; ``levels``: its pyramid for optical flow.
    """

    picture: Tensor
    quarter: Tensor
    eighth: Tensor
    sixteenth: Tensor
    levels: tuple[Level, ...]


class State(NamedTuple):
    """Recurrent state: ConvGRU hidden states at 1/8 and 1/16, and the accumulated motion profile (B, PROFILE_SIZE).

    ``reading`` is the frame's packed reading (B, 4) of the profile, which the next step does not need.
    """

    eighth: Tensor
    sixteenth: Tensor
    profile: Tensor
    reading: Tensor


class RecurrentFeatures(NamedTuple):
    """Output of the recurrent part: features (B, C, H/8, W/8) and exposure fraction (B, 1, 1, 1)."""

    features: Tensor
    exposure: Tensor


class DeblurNet(RestorationNetwork):
    """Recurrent deblurring network with encoder, motion taps, ConvGRU and decoder.

    Frames are R'G'B' (B, 3, H, W) in [0, 1]; H and W are multiples of ``stride`` and at least ``minimum_size``.
    Features and states are tuples of tensors; None is the initial state. The network computes in the dtype of its
    parameters; positions, optical flow and the returned residual are float32.

    With a ``side``, a multiple of ``stride``, all layers finer than 1/8 of the frame run in tiles of so many pixels
    each way, which overlap by their receptive field. Motion, state and the sampled frames stay whole, so features,
    state and residual are the same for any ``side``, up to the rounding of sums.
    """

    stride = 16
    minimum_size = 32
    config: NetworkConfig
    traits = NetworkTraits(
        takes_batches=True,
        capturable=True,
        # Below 64 pixels, the overlap costs more than tiling saves.
        tiles=TileTraits(smallest=64, overlap=24, strip_pixels=STRIP_PIXELS),
        state_from=State._make,
        estimates_motion=True,
        reads_exposure=True,
        guided=True,
        taps="pixels",
        not_exported_because=None,
    )

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c4, c8, c16 = config.channels
        self.stem = nn.Sequential(conv3x3(48, c4), Activation(), residual_blocks(c4, config.blocks[0]))
        self.down8 = nn.Sequential(conv3x3(c4, c8, stride=2), Activation(), residual_blocks(c8, config.blocks[1]))
        self.down16 = nn.Sequential(conv3x3(c8, c16, stride=2), Activation(), residual_blocks(c16, config.blocks[2]))
        self.join16 = conv3x3(c16 + 2, c16)
        self.gru16 = HalfGRU(c16)
        self.join8 = conv3x3(c8 + c16 + MOTION_CUES, c8)
        self.gru8 = HalfGRU(c8)
        self.fraction = ExposureReader()
        self.refine = zero_init(conv3x3(c8, 2))
        self.refiner = None
        if any(config.refine):
            self.refiner = MotionRefiner(channels=config.refine, blocks=config.refine_blocks, trunk=c8)
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
            lateral_points=config.tap_beside,
            details=config.finish_details,
        )
        self.finish = None
        if any(config.finish):
            self.finish = ImageRefiner(
                channels=config.finish, blocks=config.finish_blocks, details=config.finish_details, coarse=c8
            )
            self.traits = replace(
                self.traits,
                tiles=TileTraits(smallest=128, overlap=self.finish.reach, strip_pixels=STRIP_PIXELS),
                not_exported_because="what a step remembers of frames is luma, and it needs their colours",
            )
        texture = config.tap_features * (4 // config.tap_scale) ** 2
        self.decode8 = nn.Sequential(conv3x3(c8 + 2, c8), Activation(), residual_blocks(c8, config.decoder_blocks[0]))
        self.up4 = nn.Conv2d(c8, c4, 1)
        self.join4 = conv3x3(c4 + texture, c4)
        self.decode4 = residual_blocks(c4, config.decoder_blocks[1])
        self.head = zero_init(conv3x3(c4, 48))

    def set_strip_pixels(self, pixels: int | None) -> None:
        """Set the pixels per strip of the taps on a CPU, to bound memory; None restores the default."""
        self.taps.strip_pixels = pixels

    def encode(self, frame: Tensor, *, side: int | None = None) -> Features:
        """Encode one frame by itself, in tiles of ``side`` pixels if given."""
        quarter = self._encode_quarter(frame, side)
        eighth = self.down8(quarter)
        sixteenth = self.down16(eighth)
        picture = luma(frame) if self.finish is None else frame.float()
        return Features(picture, quarter, eighth, sixteenth, build_pyramid(picture, self.config.flow_finest))

    def _encode_quarter(self, frame: Tensor, side: int | None) -> Tensor:
        """Encoder features at 1/4."""
        dtype = self.head.weight.dtype
        overlap = 4 * (1 + 2 * self.config.blocks[0])
        features = run_tiled(
            lambda outer: self.stem(unshuffle_frame(outer.crop(frame), dtype)),
            full_region(frame), side, overlap=overlap, multiple=self.stride, scale=4,
        )  # fmt: skip
        return features.contiguous(memory_format=torch.channels_last) if side else features

    def residual(
        self,
        previous: Features | None,
        current: Features,
        following: Features | None,
        state: State | None,
        exposure: Tensor | None = None,
        matched: MatchedFrame | None = None,
        ahead: Tensor | None = None,
        *,
        side: int | None = None,
        present: Present = (None, None),
    ) -> tuple[Tensor, State]:
        """One inference step: residual of the current frame, and the next state.

        Args:
            previous, following: features of the neighbours, None if missing; only ``picture`` and ``levels`` are read.
            state: returned by the previous step; None or zeros at the start.
            exposure: known exposure fractions (B, 1, 1, 1), float32; NaN, or None for all: read from the blur.
            matched: what :meth:`match_motion` returned for this frame, if it was called before.
            ahead: motion profiles of later frames (B, PROFILE_SIZE), from which the exposure is read as well
                (:func:`vdeblur.model.exposure.profile_ahead`).
            side: of the tiles; it may differ from frame to frame.
            present: masks of the frames of a batch that have these neighbours.

        Returns:
            Residual (B, 3, H, W), float32, to be added to the frame, and the next state.
        """
        if matched is None:
            matched = self.match_motion(previous, current, following, present=present)
        motion = matched.motion
        recurrent, state = self._update_state(current, motion, matched.profile, state, ahead)
        recurrent = recurrent._replace(exposure=known_or_read(exposure, recurrent.exposure))
        frames = tuple(None if features is None else features.picture for features in (previous, following))
        return self._restore(current, recurrent, motion, self._neighbours(frames, motion), side=side).residual, state

    def match_motion(
        self,
        previous: Features | None,
        current: Features,
        following: Features | None,
        *,
        present: Present = (None, None),
    ) -> MatchedFrame:
        """Motion field and motion profile of a frame, which need no state; arguments as for :meth:`residual`."""
        with single_threaded_ops(current.picture.device):
            sides = [None if features is None else features.levels for features in (previous, following)]
            motion = estimate_motion(current.levels, sides, self.config.flow_finest, current.eighth, present)
            return MatchedFrame(motion, motion_profile(current.picture, motion.velocity))

    def without_levels(self, features: Features) -> Features:
        """Features without their pyramid, which :meth:`match_motion` alone reads."""
        return features._replace(levels=())

    def forward(
        self, window: tuple[Tensor | None, Tensor, Tensor | None], state: State | None = None
    ) -> tuple[Tensor, State]:
        """Restore frame t from frames t−1, t, t+1, None if missing: the sharp frame and the next state."""
        previous, current, following = (None if frame is None else self.encode(frame) for frame in window)
        assert current is not None
        residual, state = self.residual(previous, current, following, state)
        return window[1] + residual, state

    def restore_clip(
        self,
        clip: Tensor,
        *,
        lookahead: int,
        sampling_motion: Tensor | None = None,
        exposure: Tensor | None = None,
        motion: Motion | None = None,
    ) -> Estimate:
        """Restore a whole clip (B, T, 3, H, W) at once, equal to frame by frame; for training.

        Everything but the ConvGRU is batched over time. Results are packed (B·T, …).

        Args:
            lookahead: 1 if each frame sees the next one, else 0.
            sampling_motion: replaces the estimated motion during the exposure (B·T, 2, H/8, W/8), in pixels.
            exposure: replaces the estimated exposure fraction (B·T, 1, 1, 1).
            motion: replaces optical flow (B·T, …).
        """
        length = clip.shape[1]
        features = self.encode(clip.flatten(0, 1))
        if motion is None:
            finest = self.config.flow_finest
            motion = match_clip(features.levels, finest, length=length, lookahead=lookahead, like=features.eighth)
        recurrent = self._update_clip_state(features, motion, length)
        if exposure is not None:
            recurrent = recurrent._replace(exposure=exposure)
        neighbours = self._neighbours(adjacent_frames(clip, lookahead), motion)
        return self._restore(features, recurrent, motion, neighbours, sampling_motion)

    def _update_clip_state(self, features: Features, motion: Motion, length: int) -> RecurrentFeatures:
        """Run the recurrent part over packed clips, frame by frame; packed again."""
        profile = motion_profile(features.picture, motion.velocity)
        state: State | None = None
        steps = []
        for t in range(length):
            current, moved = features_at(features, t, length), motion_at(motion, t, length)
            recurrent, state = self._update_state(current, moved, frame_at(profile, t, length), state)
            steps.append(recurrent)
        return RecurrentFeatures(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*steps, strict=True)))

    def clip_motion(self, clip: Tensor, *, lookahead: int) -> Motion:
        """Motion fields of all frames of a clip (B, T, 3, H, W), packed, without the rest of the network."""
        return estimate_clip_motion(clip, self.config.flow_finest, lookahead=lookahead)

    @torch.no_grad()
    def sample_taps(self, clip: Tensor, *, lookahead: int, exposure: Tensor) -> tuple[Tensor, Tensor]:
        """Sample the taps' input features of a clip (B, T, 3, H, W) for pre-training.

        Args:
            exposure: known exposure fractions (B·T, 1, 1, 1).

        Returns:
            Features as :meth:`MotionTaps.gather_features` returns them (B·T, K, h, w), and the motion's length in
            pixels (B·T, 1, h, w).
        """
        frames, motion = clip.flatten(0, 1), self.clip_motion(clip, lookahead=lookahead)
        neighbours = self._neighbours(adjacent_frames(clip, lookahead), motion)
        prepared = self.taps.prepare(frames, motion.velocity * exposure, neighbours)
        path = self.taps.sampling_path(prepared)
        return self.taps.gather_features(prepared, path), path.length

    def _update_state(
        self, current: Features, motion: Motion, profile: Tensor, state: State | None, ahead: Tensor | None = None
    ) -> tuple[RecurrentFeatures, State]:
        """Fuse features and motion cues with the state, warped by the backward flow; one ConvGRU step."""
        profile = accumulate_profile(profile, None if state is None else state.profile)
        dtype = self.head.weight.dtype
        flow16 = F.avg_pool2d(motion.backward_flow, 2)
        previous8 = None if state is None else warp(state.eighth, motion.backward_flow / 8)
        previous16 = None if state is None else warp(state.sixteenth, flow16 / 16)
        velocity16 = F.avg_pool2d(motion.cues[:, :2], 2)
        x16 = activate(self.join16(torch.cat((current.sixteenth, velocity16.to(dtype)), 1)))
        x16, state16 = self.gru16(x16, previous16)
        parts = (current.eighth, upsample(x16, 2), motion.cues.to(dtype))
        x8, state8 = self.gru8(activate(self.join8(torch.cat(parts, 1))), previous8)
        reading = read_exposure(self.fraction(profile if ahead is None else profile + ahead))
        return RecurrentFeatures(x8, reading.taken), State(state8, state16, profile, reading.packed())

    def _neighbours(self, frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
        return neighbours_of(frames, motion) if self.config.tap_neighbours else ()

    def _restore(
        self,
        current: Features,
        recurrent: RecurrentFeatures,
        motion: Motion,
        neighbours: tuple[Neighbour, ...],
        sampling_motion: Tensor | None = None,
        side: int | None = None,
    ) -> Estimate:
        """Motion during the exposure, deconvolution along it, decoder, and image refiner."""
        features, exposure = recurrent
        exposure_motion = motion.velocity * exposure + self.refine(features).float()
        if self.refiner is not None:
            detached = exposure_motion.detach()
            exposure_motion = exposure_motion + self.refiner(current.picture, neighbours, motion, detached, features)
        sampling_motion = self._sampling_motion(exposure_motion) if sampling_motion is None else sampling_motion
        x = self.decode8(torch.cat((features, (sampling_motion / 16).to(features.dtype)), 1))
        guide, coarse = self.guide(x), self.up4(x)

        def decode(outer: Region) -> Tensor:
            deconvolution = self.taps(current.picture, sampling_motion, guide, neighbours, outer)
            quarter = outer.downscaled(4)
            x = quarter.crop(current.quarter) + upsample_region(coarse, 2, quarter)
            x = self.decode4(x + self.join4(torch.cat((x, deconvolution.texture), 1)))
            residual = shuffle_and_add(self.head(x), deconvolution.correction)
            return residual if self.finish is None else torch.cat((residual, deconvolution.details.float()), 1)

        overlap = 4 * (2 + 2 * self.config.decoder_blocks[1])
        frame = full_region(current.picture)
        residual = run_tiled(decode, frame, side, overlap=overlap, multiple=self.stride, scale=1)
        if self.finish is not None:
            residual = self._refine_image(current.picture, residual, x, sampling_motion, neighbours, side)
        return Estimate(residual, motion.velocity, exposure_motion, exposure)

    def _refine_image(
        self,
        frame: Tensor,
        decoded: Tensor,
        coarse: Tensor,
        sampling_motion: Tensor,
        neighbours: tuple[Neighbour, ...],
        side: int | None,
    ) -> Tensor:
        """Add the image refiner's correction; ``decoded`` holds the residual and the taps' details. (B, 3, H, W)."""
        assert self.finish is not None
        refiner, residual, details = self.finish, decoded[:, :3], decoded[:, 3:]
        context = FrameContext.create(frame, residual, details, neighbours, coarse, sampling_motion)
        correction = run_tiled(
            lambda outer: refiner(context, outer),
            full_region(frame), side, overlap=refiner.reach, multiple=self.stride, scale=1,
        )  # fmt: skip
        return context.residual + correction

    def _sampling_motion(self, exposure_motion: Tensor) -> Tensor:
        """Motion to sample along, detached: it learns from its own loss, not through sampling."""
        return exposure_motion.detach()


def unshuffle_frame(frame: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixel unshuffle by 4, and [0, 1] mapped to [−2, 2]: (B, C, H, W) → (B, 16 · C, H/4, W/4) in ``dtype``."""
    fused: Tensor | None = try_cpu_kernels(frame, lambda native: native.unshuffle(frame, dtype))
    return (F.pixel_unshuffle(frame, 4) * 4 - 2).to(dtype) if fused is None else fused


def shuffle_and_add(x: Tensor, correction: Tensor) -> Tensor:
    """Pixel shuffle by 4, plus a correction (B, 1, H, W): (B, 16 · C, H/4, W/4) → (B, C, H, W), float32."""
    fused: Tensor | None = try_cpu_kernels(x, lambda native: native.shuffle_and_add(x, correction))
    return F.pixel_shuffle(x, 4).float() + correction if fused is None else fused


def adjacent_frames(clip: Tensor, lookahead: int) -> tuple[Tensor | None, Tensor | None]:
    """Previous and next frames of clips (B, T, …), packed (B·T, …); at the ends, the frame itself."""
    before = torch.cat((clip[:, :1], clip[:, :-1]), 1).flatten(0, 1)
    after = torch.cat((clip[:, 1:], clip[:, -1:]), 1).flatten(0, 1)
    return before, after if lookahead else None


def frame_at(packed: Tensor, t: int, length: int) -> Tensor:
    """Frame ``t`` of every clip in a packed (B·T, …) batch."""
    return packed.view(-1, length, *packed.shape[1:])[:, t]


def features_at(packed: Features, t: int, length: int) -> Features:
    """Features of frame ``t`` of every clip in a packed batch, without levels, for the recurrent part."""
    grey, quarter, eighth, sixteenth = (frame_at(tensor, t, length) for tensor in packed[:4])
    return Features(grey, quarter, eighth, sixteenth, levels=())


def motion_at(packed: Motion, t: int, length: int) -> Motion:
    """Motion field of frame ``t`` of every clip in a packed batch."""
    return Motion(*(frame_at(tensor, t, length) for tensor in packed))


def neighbours_of(frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
    """Previous and next frame, None if missing, with the flow to them, as inputs of the taps."""
    displacements, mismatches = (motion.backward_flow, motion.forward_flow), motion.mismatch.chunk(2, 1)
    return tuple(Neighbour(*parts) for parts in zip(frames, displacements, mismatches, strict=True))
