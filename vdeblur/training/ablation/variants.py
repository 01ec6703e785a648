"""Ablation variants: networks with one change each, compared with the shipped one and not shipped.

They restore packed clips (``restore_clip``), as training and the comparison need it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.model.convgru import ConvGRU
from vdeblur.model.deblur_net import (
    DeblurNet,
    Features,
    NetworkConfig,
    RecurrentFeatures,
    State,
    adjacent_frames,
    features_at,
    frame_at,
    motion_at,
)
from vdeblur.model.layers import zero_init
from vdeblur.model.motion import Motion, match_clip
from vdeblur.model.motion_taps import Deconvolution, MotionTaps, Neighbour
from vdeblur.model.network import Estimate
from vdeblur.model.regions import Region


class NothingKept(DeblurNet):
    """Every frame starts anew: no ConvGRU state, no motion profile of earlier frames."""

    def _update_state(
        self, current: Features, motion: Motion, profile: Tensor, state: State | None, ahead: Tensor | None = None
    ) -> tuple[RecurrentFeatures, State]:
        return super()._update_state(current, motion, profile, None, ahead)


class NoState(DeblurNet):
    """Both ConvGRU states are emptied before each frame; the motion profile is kept."""

    def _update_state(
        self, current: Features, motion: Motion, profile: Tensor, state: State | None, ahead: Tensor | None = None
    ) -> tuple[RecurrentFeatures, State]:
        if state is not None:
            state = state._replace(eighth=torch.zeros_like(state.eighth), sixteenth=torch.zeros_like(state.sixteenth))
        return super()._update_state(current, motion, profile, state, ahead)


class StateAtEighth(DeblurNet):
    """The ConvGRU state at 1/16 is emptied before each frame."""

    def _update_state(
        self, current: Features, motion: Motion, profile: Tensor, state: State | None, ahead: Tensor | None = None
    ) -> tuple[RecurrentFeatures, State]:
        if state is not None:
            state = state._replace(sixteenth=torch.zeros_like(state.sixteenth))
        return super()._update_state(current, motion, profile, state, ahead)


class UnwarpedState(DeblurNet):
    """The state stays where it was instead of following the motion."""

    def _update_state(
        self, current: Features, motion: Motion, profile: Tensor, state: State | None, ahead: Tensor | None = None
    ) -> tuple[RecurrentFeatures, State]:
        unmoved = motion._replace(backward_flow=torch.zeros_like(motion.backward_flow))
        return super()._update_state(current, unmoved, profile, state, ahead)


class WholeGRU(nn.Module):
    """A ConvGRU on all channels, called as :class:`vdeblur.model.convgru.HalfGRU` is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = ConvGRU(channels)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        state = self.gru(x, None if state is None else state.to(x.dtype))
        return state, state


class FullChannelState(DeblurNet):
    """ConvGRUs on all channels instead of half of them."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.gru8 = WholeGRU(config.channels[1])  # type: ignore[assignment]
        self.gru16 = WholeGRU(config.channels[2])  # type: ignore[assignment]


class NoTaps(nn.Module):
    """Looks nowhere, called as :class:`vdeblur.model.motion_taps.MotionTaps` is: no correction, no texture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(
        self, frame: Tensor, _motion: Tensor, _guide: Tensor, _neighbours: tuple[Neighbour, ...], _area: Region
    ) -> Deconvolution:
        batch, _, height, width = frame.shape
        correction = torch.zeros_like(frame[:, :1])
        texture = frame.new_zeros(batch, self.channels, height // 4, width // 4)
        return Deconvolution(correction, texture, correction[:, :0])


class Tapless(DeblurNet):
    """The decoder knows the motion, but nothing is sampled along it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.taps = NoTaps(config.tap_features * (4 // config.tap_scale) ** 2)  # type: ignore[assignment]


class EndToEnd(DeblurNet):
    """What sampling along the motion brings teaches the motion too."""

    def _sampling_motion(self, exposed: Tensor) -> Tensor:
        return exposed + 1e-4  # the length of no motion has no gradient


class FedBack(DeblurNet):
    """The taps look at each pixel in the previous restored frame, too, as in a
    neighbour.

    Frames are restored one after the other, in training as in use; no gradient goes back through the restored frame.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.taps = MotionTaps(
            taps=config.taps,
            reach=config.reach,
            scale=config.tap_scale,
            hidden=config.tap_hidden,
            depth=config.tap_depth,
            features=config.tap_features,
            guides=config.tap_guides,
            neighbours=3 if config.tap_neighbours else 1,
            neighbour_points=config.tap_neighbours or 1,
            lateral_points=config.tap_beside,
        )

    def _neighbours(self, frames: tuple[Tensor | None, ...], motion: Motion) -> tuple[Neighbour, ...]:
        """With the frame before as it is: what the taps see while they learn alone, with nothing restored yet."""
        return (
            *super()._neighbours(frames, motion),
            Neighbour(frames[0], motion.backward_flow, motion.mismatch[:, :1]),
        )

    def restore_clip(
        self,
        clip: Tensor,
        *,
        lookahead: int,
        sampling_motion: Tensor | None = None,
        exposure: Tensor | None = None,
        motion: Motion | None = None,
    ) -> Estimate:
        length = clip.shape[1]
        features = self.encode(clip.flatten(0, 1))
        if motion is None:
            finest = self.config.flow_finest
            motion = match_clip(features.levels, finest, length=length, lookahead=lookahead, like=features.eighth)
        recurrent = self._update_clip_state(features, motion, length)
        if exposure is not None:
            recurrent = recurrent._replace(exposure=exposure)
        restored: Tensor | None = None
        estimates = []
        for t in range(length):
            moved = motion_at(motion, t, length)
            now = RecurrentFeatures(*(frame_at(tensor, t, length) for tensor in recurrent))
            around = tuple(
                None if packed is None else frame_at(packed, t, length) for packed in adjacent_frames(clip, lookahead)
            )
            fed_back = Neighbour(restored, moved.backward_flow, moved.mismatch[:, :1])
            neighbours = (*super()._neighbours(around, moved), fed_back)
            steered = None if sampling_motion is None else frame_at(sampling_motion, t, length)
            estimates.append(self._restore(features_at(features, t, length), now, moved, neighbours, steered))
            restored = (clip[:, t] + estimates[-1].residual.detach()).clamp(0, 1)
        return Estimate(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*estimates, strict=True)))


class ChannelAttention(nn.Module):
    """Attention between channels over the whole picture (Zamir et al. 2022, Restormer's transposed attention)."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.project_in = nn.Conv2d(channels, 3 * channels, 1)
        self.project_out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = self.project_in(x).view(batch, 3, self.heads, channels // self.heads, height * width)
        query, key, value = parts.unbind(1)  # (B, heads, C/heads, HW): channels are the tokens
        query, key = (F.normalize(part, dim=-1) for part in (query, key))
        query = query * self.temperature.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        y: Tensor = self.project_out(mixed.reshape(batch, channels, height, width))
        return x + y


class WindowAttention(nn.Module):
    """Attention between the pixels of windows of 4×4 (Liu et al. 2021, Swin); the edge is repeated to fill the last."""

    side = 4

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Conv2d(channels, 3 * channels, 1)
        self.project_out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        side = self.side
        parts = F.pad(self.project_in(x), (0, -width % side, 0, -height % side), "replicate")
        down, across = parts.shape[2] // side, parts.shape[3] // side
        parts = parts.view(batch, 3, self.heads, channels // self.heads, down, side, across, side)
        parts = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, batch * down * across, self.heads, side * side, -1)
        query, key, value = parts.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)  # (windows, heads, 16, C/heads)
        mixed = mixed.view(batch, down, across, self.heads, side, side, -1).permute(0, 3, 6, 1, 4, 2, 5)
        mixed = mixed.reshape(batch, channels, down * side, across * side)[..., :height, :width]
        y: Tensor = self.project_out(mixed)
        return x + y


class WithChannelAttention(DeblurNet):
    """Channel attention on the features at 1/16."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.attention = ChannelAttention(config.channels[2])

    def encode(self, frame: Tensor, *, side: int | None = None) -> Features:
        features = super().encode(frame, side=side)
        return features._replace(sixteenth=self.attention(features.sixteenth))


class WithWindowAttention(DeblurNet):
    """Windowed attention on the features at 1/16."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.attention = WindowAttention(config.channels[2])

    def encode(self, frame: Tensor, *, side: int | None = None) -> Features:
        features = super().encode(frame, side=side)
        return features._replace(sixteenth=self.attention(features.sixteenth))


#: Networks by the name under which a comparison asks for them.
NETWORKS: dict[str, type[DeblurNet]] = {
    "as it is": DeblurNet,
    "nothing kept": NothingKept,
    "no state": NoState,
    "state at 1/8": StateAtEighth,
    "unwarped state": UnwarpedState,
    "full-channel state": FullChannelState,
    "no taps": Tapless,
    "end to end": EndToEnd,
    "fed back": FedBack,
    "channel attention": WithChannelAttention,
    "window attention": WithWindowAttention,
}
