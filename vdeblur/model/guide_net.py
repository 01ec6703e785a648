"""GuideNet: a recurrent denoiser that makes the guide, the picture by which motion is found and blur taken away.

Small plain convolutions at half and a quarter of the resolution, and a state that is warped along the optical flow: the
previous guide, and a gated hidden state that knows how far it may be trusted. It is told the noise by brightness
(:mod:`vdeblur.model.noise_curve`) and the quantiser of the codec. Where both say that the picture is clean, the guide
is the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.errors import UsageError
from vdeblur.model.layers import conv3x3, upsample, warp, zero_init
from vdeblur.model.network import NetworkTraits, RestorationNetwork
from vdeblur.model.noise_curve import accumulate_histogram, noise_at, noise_curve, noise_histogram
from vdeblur.model.optical_flow import Level, build_pyramid, estimate_flow
from vdeblur.runtime.cpu_pool import single_threaded_ops

#: Noise (standard deviation, R'G'B' in [0, 1]) up to which a picture is clean, and from which it is surely noisy.
CLEAN_NOISE, SURE_NOISE = 1.3 / 255, 2.6 / 255
#: Quantisers likewise, as H.264 counts them (0 to 51).
CLEAN_QUANTISER, SURE_QUANTISER = 16.0, 22.0


@dataclass(frozen=True, kw_only=True)
class GuideConfig:
    """Hyperparameters of a GuideNet: channels at half and a quarter of the resolution, of the hidden state, layers."""

    kind: Literal["guide"]
    name: str
    width: int = 16
    deep: int = 48
    hidden: int = 16
    layers: int = 3
    #: Finest scale of the optical flow, 1/flow_finest.
    flow_finest: int = 4

    def __post_init__(self) -> None:
        if self.flow_finest not in (2, 4, 8):
            raise UsageError(f"flow_finest must be 2, 4 or 8, not {self.flow_finest}")
        for name in ("width", "deep", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, not {getattr(self, name)}")

    def least_weights(self) -> int:
        """Lower bound of the weights: the layers at a quarter of the resolution."""
        return self.layers * self.deep * self.deep * 9


class GuideState(NamedTuple):
    """Recurrent state after a frame; pictures in float16, so that frames that wait for others take little memory.

    ``luma`` (B, 1, H, W) and ``chroma`` (B, 2, H/2, W/2) of the guide; ``hidden`` (B, hidden, H/4, W/4); ``noise``
    (B, HISTOGRAM_SIZE): the reading so far; ``used`` (B, 1, 1, 1): share of the network's change that was taken, 0
    where the picture was clean; ``levels``: the frame's pyramid.
    """

    luma: Tensor
    chroma: Tensor
    hidden: Tensor
    noise: Tensor
    used: Tensor
    levels: tuple[Level, ...]


class Told(NamedTuple):
    """What is known of frames besides their pixels: ``quantiser`` (B,), as H.264 counts, and ``noise`` (B,).

    The noise is a standard deviation, R'G'B' in [0, 1]. NaN: not known; the noise is then read from the picture.
    """

    quantiser: Tensor
    noise: Tensor


class GuideNet(RestorationNetwork):
    """Guide of frame t from frame t, in Y'CbCr, and the state after frame t−1: :meth:`guide`.

    It has the interface of a restoration network, too, for training and scores: its residual takes noise and coding
    artefacts out of R'G'B' frames, and leaves the blur.
    """

    stride = 8
    minimum_size = 32
    config: GuideConfig
    traits = NetworkTraits(takes_batches=True)

    def __init__(self, config: GuideConfig) -> None:
        super().__init__()
        self.config = config
        width, deep, hidden = config.width, config.deep, config.hidden
        self.enter = conv3x3(12 + 6 + 4, width)
        self.down = conv3x3(width, deep, stride=2)
        self.remember = nn.Conv2d(hidden, deep, 1, bias=False)
        self.body = nn.ModuleList(conv3x3(deep, deep) for _ in range(config.layers))
        self.gates = nn.Conv2d(deep + hidden, 2 * hidden, 1)
        self.up = nn.Conv2d(deep, 4 * width, 1)
        self.leave = zero_init(conv3x3(width, 12))

    def encode(self, frame: Tensor) -> Tensor:
        """Y'CbCr (B, 3, H, W) of R'G'B' (B, 3, H, W), or of luma (B, 1, H, W)."""
        return ycc_from_rgb(frame.expand(-1, 3, -1, -1))

    def residual(
        self, previous: Any, current: Tensor, following: Any, state: GuideState | None, told: Told | None = None
    ) -> tuple[Tensor, GuideState]:
        """R'G'B' residual (B, 3, H, W) of the current frame, and the next state; the neighbours are not looked at."""
        guide, state = self.guide(current, told, state)
        return rgb_from_ycc(guide - current), state

    def guide(
        self, picture: Tensor, told: Told | None = None, state: GuideState | None = None
    ) -> tuple[Tensor, GuideState]:
        """Guide (B, 3, H, W), float32, of a picture (B, 3, H, W), Y in [0, 1], Cb and Cr in [-0.5, 0.5].

        Args:
            told: what is known of the frames; None: nothing.
            state: after the frame before it; None at the start of a shot.
        """
        with single_threaded_ops(picture.device):
            levels = build_pyramid(picture[:, :1], self.config.flow_finest)
            flow = None if state is None else estimate_flow(levels, state.levels, self.config.flow_finest)
            seen = accumulate_histogram(noise_histogram(picture[:, :1]), None if state is None else state.noise)
        return self.refine(picture, told or nothing_told(picture), state, levels, flow, seen)

    def refine(
        self, picture: Tensor, told: Told, state: GuideState | None, levels: Any, flow: Any, seen: Tensor
    ) -> tuple[Tensor, GuideState]:
        """As :meth:`guide`, with the flow to the frame before and the reading of the noise already found."""
        curve = torch.where(told.noise.isnan()[:, None], noise_curve(seen), told.noise[:, None])
        used = trust(curve, told.quantiser)
        dtype = self.leave.weight.dtype
        parts = F.pixel_unshuffle(picture, 2)  # (B, 12, h, w)
        small = F.avg_pool2d(picture, 2)
        if state is None or flow is None:
            before = torch.zeros_like(parts[:, :6])
            cues = torch.zeros_like(parts[:, :2])
            hidden = parts.new_zeros(len(parts), self.config.hidden, parts.shape[-2] // 2, parts.shape[-1] // 2)
        else:
            before, cues, hidden = self._warped(parts, small, state, flow)
        noise = noise_at(curve, small[:, :1]) * 20
        quantiser = (told.quantiser / 51).nan_to_num(nan=-1.0).view(-1, 1, 1, 1).expand_as(noise)
        x = torch.cat((parts[:, :4] - 0.5, parts[:, 4:], before, cues, noise, quantiser), 1).to(dtype)
        hidden = hidden.to(dtype)
        fine = F.relu(self.enter(x.contiguous(memory_format=torch.channels_last)))
        y = F.relu(self.down(fine) + self.remember(hidden))
        for number, layer in enumerate(self.body):
            y = F.relu(layer(y) + y) if number else F.relu(layer(y))
        update, fresh = self.gates(torch.cat((y, hidden), 1)).chunk(2, 1)
        update = update.sigmoid()
        hidden = hidden + update * (fresh.tanh() - hidden)
        change = self.leave(F.relu(fine + F.pixel_shuffle(self.up(y), 2)))
        guide = picture + used * F.pixel_shuffle(change.float(), 2)
        small_chroma = F.avg_pool2d(guide[:, 1:], 2)
        return guide, GuideState(guide[:, :1].half(), small_chroma.half(), hidden.half(), seen, used, levels)

    def _warped(self, parts: Tensor, small: Tensor, state: GuideState, flow: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The state as this frame sees it: the previous guide's difference (B, 6, h, w), cues (B, 2, h, w), hidden."""
        full, half, quarter = (upsample(flow.displacement, times) for times in (8, 4, 2))
        luma = F.pixel_unshuffle(warp(state.luma.float(), full), 2) - parts[:, :4]
        chroma = warp(state.chroma.float(), half / 2) - small[:, 1:]
        valid = upsample((flow.mismatch < 0.999).to(parts.dtype), 4) * (state.used > 0)
        cues = torch.cat((valid, upsample(flow.mismatch, 4) * 10 * valid), 1)
        hidden = warp(state.hidden.float(), quarter / 4) * valid[..., ::2, ::2]
        return torch.cat((luma, chroma), 1) * valid, cues, hidden


def nothing_told(picture: Tensor) -> Told:
    """Nothing is known of a batch of pictures but their pixels."""
    unknown = torch.full((len(picture),), torch.nan, device=picture.device)
    return Told(unknown, unknown)


def ycc_from_rgb(rgb: Tensor) -> Tensor:
    """Y'CbCr (…, 3, H, W) of R'G'B' by the matrix of BT.601: Y in [0, 1], Cb and Cr in [-0.5, 0.5]."""
    red, green, blue = rgb.float().unbind(-3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack((luma, (blue - luma) / 1.772, (red - luma) / 1.402), -3)


def rgb_from_ycc(ycc: Tensor) -> Tensor:
    """Inverse of :func:`ycc_from_rgb`."""
    luma, blue, red = ycc.unbind(-3)
    green = luma - (0.114 * 1.772 / 0.587) * blue - (0.299 * 1.402 / 0.587) * red
    return torch.stack((luma + 1.402 * red, green, luma + 1.772 * blue), -3)


def trust(curve: Tensor, quantiser: Tensor) -> Tensor:
    """Share (B, 1, 1, 1) of the network's change that is taken, by the noise curve (B, LEVELS) and quantiser (B,)."""
    noisy = _rise(curve.median(1).values, CLEAN_NOISE, SURE_NOISE)
    coded = _rise(quantiser.nan_to_num(nan=0.0), CLEAN_QUANTISER, SURE_QUANTISER)
    return (1 - (1 - noisy) * (1 - coded)).view(-1, 1, 1, 1)


def _rise(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on, smooth between."""
    part = ((x - low) / (high - low)).clamp(0, 1)
    return part * part * (3 - 2 * part)
