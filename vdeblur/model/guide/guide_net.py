"""GuideNet: a recurrent denoiser that makes the guide, the picture by which motion is found and blur taken away.

Small plain convolutions at half and a quarter of the resolution, and a state that is warped along the optical flow: the
previous guide, and a gated hidden state that knows how far it may be trusted. It is told the noise by brightness
(:mod:`vdeblur.model.guide.noise_curve`) and the quantiser of the codec. Where both say that the picture is clean, the
guide is the picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.errors import UsageError
from vdeblur.model.guide.inputs import (
    CHANNELS,
    apply_change,
    chroma_deviation,
    convolve,
    guide_inputs,
    hidden_before,
    past_of,
)
from vdeblur.model.guide.noise_curve import accumulate_histogram, noise_curve, noise_histogram
from vdeblur.model.layers import conv3x3, zero_init
from vdeblur.model.network import NetworkTraits, RestorationNetwork
from vdeblur.model.optical_flow import Flow, Level, build_pyramid, estimate_flow
from vdeblur.runtime.cpu_pool import available_threads, run_parallel, single_threaded_ops

#: Rows of half the resolution that are convolved at a time, at most about so many.
STRIP_ROWS = 256
#: Noise (standard deviation of luma in [0, 1]) up to which a picture is clean, and from which it is surely noisy.
CLEAN_NOISE, SURE_NOISE = 1.3 / 255, 2.6 / 255
#: The same where a codec has taken most of the noise that a reading sees.
CLEAN_CODED_NOISE, SURE_CODED_NOISE = 0.45 / 255, 0.9 / 255
#: Quantisers likewise, as H.264 counts them (0 to 51): of pictures that are coded at all, whose artefacts are to go.
CLEAN_QUANTISER, SURE_QUANTISER = 16.0, 22.0
#: The same where only motion and blur are looked for: artefacts alone disturb that little.
CLEAR_QUANTISER, BLURRED_QUANTISER = 28.0, 34.0


@dataclass(frozen=True, kw_only=True)
class GuideConfig:
    """Hyperparameters of a GuideNet: channels at half and a quarter of the resolution, of the hidden state, layers."""

    kind: Literal["guide"]
    name: str
    width: int = 16
    deep: int = 32
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
    """What is known of frames besides their pixels.

    ``quantiser`` (B,), as H.264 counts; ``noise`` (B,), the standard deviation of luma in [0, 1]. NaN: not known; the
    noise is then read from the picture. ``artefacts`` (B,): 1 where those of the codec are to go, 0 where the guide
    only serves to find motion and blur; None: 1.
    """

    quantiser: Tensor
    noise: Tensor
    artefacts: Tensor | None = None


class NoiseSeen(NamedTuple):
    """Noise seen in a batch of frames, and in the frames of their shots before them.

    ``seen`` (B, HISTOGRAM_SIZE): the reading; ``level`` (B,): the standard deviation of luma in [0, 1]; ``used`` as in
    :class:`GuideState`.
    """

    seen: Tensor
    level: Tensor
    used: Tensor


def state_of_tensors(tensors: Sequence[Tensor]) -> GuideState:
    """A state of its tensors, in their order."""
    luma, chroma, hidden, noise, used, *levels = tensors
    pairs = zip(levels[::2], levels[1::2], strict=True)
    return GuideState(luma, chroma, hidden, noise, used, tuple(Level(*pair) for pair in pairs))


class GuideNet(RestorationNetwork):
    """Guide of frame t from frame t, in Y'CbCr, and the state after frame t−1: :meth:`guide`.

    It has the interface of a restoration network, too, for training and scores: its residual takes noise and coding
    artefacts out of R'G'B' frames, and leaves the blur.
    """

    stride = 8
    minimum_size = 32
    config: GuideConfig
    traits = NetworkTraits(takes_batches=True, takes_told=True, state_from=state_of_tensors)

    def __init__(self, config: GuideConfig) -> None:
        super().__init__()
        self.config = config
        width, deep, hidden = config.width, config.deep, config.hidden
        self.enter = conv3x3(CHANNELS, width)
        self.down = conv3x3(width, deep, stride=2)
        self.remember = nn.Conv2d(hidden, deep, 1, bias=False)
        self.body = nn.ModuleList(conv3x3(deep, deep) for _ in range(config.layers))
        self.gates = nn.Conv2d(deep + hidden, 2 * hidden, 1)
        self.up = nn.Conv2d(deep, 4 * width, 1)
        self.leave = zero_init(conv3x3(width, 8))

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
        luma, chroma, state = self.guide_planes(picture[:, :1], picture[:, 1:], told, state)
        return torch.cat((luma, chroma), 1), state

    def guide_planes(
        self,
        luma: Tensor,
        chroma: Tensor,
        told: Told | None = None,
        state: GuideState | None = None,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, GuideState]:
        """As :meth:`guide`, of luma (B, 1, H, W) and chroma (B, 2, H, W), or (B, 2, H/2, W/2) as in 4:2:0 video.

        Args:
            seen: the reading of :func:`read_noise`, where it has been made.
        """
        with single_threaded_ops(luma.device):
            levels = build_pyramid(luma, self.config.flow_finest)
            flow = None if state is None else estimate_flow(levels, state.levels, self.config.flow_finest)
            if seen is None:
                seen = accumulate_histogram(noise_histogram(luma), None if state is None else state.noise)
            return self._refined(luma, chroma, told or nothing_told(luma), state, levels, flow, seen)

    def _refined(
        self,
        luma: Tensor,
        chroma: Tensor,
        told: Told,
        state: GuideState | None,
        levels: tuple[Level, ...],
        flow: Flow | None,
        seen: Tensor,
    ) -> tuple[Tensor, Tensor, GuideState]:
        """As :meth:`guide_planes`, with the flow to the frame before and the reading of the noise already found."""
        curve = _curve(seen, told)
        used = trust(curve, told)
        small = chroma if chroma.shape[-1] != luma.shape[-1] else F.avg_pool2d(chroma, 2)
        past = None
        if state is not None and flow is not None:
            past = past_of(state.luma, state.chroma, state.used, flow.displacement, flow.mismatch)
        detail = None if small is chroma else chroma_deviation(chroma, small)
        dtype = self.leave.weight.dtype
        hidden = None if state is None or past is None else hidden_before(state.hidden, past, dtype)
        quantiser = (told.quantiser / 51).nan_to_num(nan=-1.0)

        def strip(rows: slice, seen_rows: slice) -> tuple[Tensor, ...]:
            inputs = guide_inputs(luma, small, detail, past, curve, quantiser, seen_rows, dtype)
            before = None if hidden is None else hidden[:, :, seen_rows.start // 2 : seen_rows.stop // 2]
            change, own = self._change(inputs, before)
            first, last = rows.start - seen_rows.start, rows.stop - seen_rows.start
            parts = apply_change(luma, small, change, used, rows, seen_rows.start)
            return *parts, change[:, 6:, first:last], own[:, :, first // 2 : last // 2]

        parts = zip(*self._in_strips(strip, luma.shape[-2] // 2, luma.device), strict=True)
        guide, guide_chroma, detail_noise, hidden_now = (torch.cat(part, 2) for part in parts)
        state = GuideState(guide.half(), guide_chroma.half(), hidden_now.half(), seen, used, levels)
        if small is not chroma:
            noise = (chroma - upsample_nearest(small)) * upsample_nearest(used * detail_noise.float().sigmoid())
            guide_chroma = chroma + upsample_nearest(guide_chroma - small) - noise
        return guide, guide_chroma, state

    def _in_strips(
        self, strip: Callable[[slice, slice], tuple[Tensor, ...]], height: int, device: torch.device
    ) -> list[tuple[Tensor, ...]]:
        """Results of ``strip`` for all rows of half the resolution; it gets some rows, and all that they depend on."""
        halo = -(-(2 * self.config.layers + 4) // 4) * 4
        count = max(1, min(height // (4 * halo), max(available_threads(device), height // STRIP_ROWS)))
        edges = [height * number // count // 4 * 4 for number in range(count)] + [height]
        jobs = [
            partial(strip, slice(first, last), slice(max(0, first - halo), min(height, last + halo)))
            for first, last in itertools.pairwise(edges)
        ]
        return run_parallel(jobs, device)

    def _change(self, inputs: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """The network's change and hidden state, at half and at a quarter of the resolution.

        The change (B, 8, h, w): luma of four pixels, Cb and Cr, and the logits of how much of the four pixels' chroma
        detail is noise.
        """
        dtype = self.leave.weight.dtype
        x = inputs.to(dtype, memory_format=torch.channels_last)
        if hidden is None:
            hidden = x.new_zeros(len(x), self.config.hidden, x.shape[-2] // 2, x.shape[-1] // 2)
        own = hidden.to(dtype, memory_format=torch.channels_last)
        fine = convolve(x, self.enter)
        y = convolve(fine, self.down, add=convolve(own, self.remember, activation="none"))
        for number, layer in enumerate(self.body):
            assert isinstance(layer, nn.Conv2d)
            y = convolve(y, layer, add=y if number else None)
        seen, weights, biases = torch.cat((y, own), 1), self.gates.weight.chunk(2), _bias(self.gates).chunk(2)
        update, fresh = (
            convolve(seen, self.gates, weight=weight, bias=bias, activation=activation)
            for weight, bias, activation in zip(weights, biases, ("sigmoid", "tanh"), strict=True)
        )
        hidden = torch.lerp(own, fresh.to(own.dtype), update.to(own.dtype))
        width = self.config.width
        order = torch.arange(4 * width, device=y.device).view(width, 4).t().flatten()  # pixels first, then channels
        coarse = convolve(y, self.up, weight=self.up.weight[order], bias=_bias(self.up)[order], activation="none")
        return convolve(_joined(fine, coarse), self.leave, activation="none"), hidden


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def upsample_nearest(x: Tensor) -> Tensor:
    """(B, C, h, w) → (B, C, 2h, 2w), each sample for four pixels."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _joined(fine: Tensor, coarse: Tensor) -> Tensor:
    """ReLU of fine (B, C, 2h, 2w) with coarse (B, 4C, h, w) added: four pixels with C channels each; channels last.

    Without gradients, in the memory of ``fine``.
    """
    batch, width, height, columns = fine.shape
    lines = fine.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, columns // 2, 2, width)
    pixels = coarse.permute(0, 2, 3, 1).reshape(batch, height // 2, columns // 2, 2, 2, width).transpose(2, 3)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        lines = F.relu(lines + pixels)
    else:
        lines = lines.add_(pixels).relu_()
    return lines.reshape(batch, height, columns, width).permute(0, 3, 1, 2)


def read_noise(luma: Tensor, told: Told, before: Tensor | None) -> NoiseSeen:
    """Noise of luma (B, 1, H, W) in [0, 1], with the reading ``before`` of earlier frames of the shot.

    Where ``used`` is 0, the guide is the picture, and that of the next frame does not depend on it: the network need
    not be asked.
    """
    seen = accumulate_histogram(noise_histogram(luma), before)
    curve = _curve(seen, told)
    return NoiseSeen(seen, curve.median(1).values, trust(curve, told))


def _curve(seen: Tensor, told: Told) -> Tensor:
    """Noise curve (B, LEVELS): as told, else as read."""
    return torch.where(told.noise.isnan()[:, None], noise_curve(seen), told.noise[:, None])


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


def trust(curve: Tensor, told: Told) -> Tensor:
    """Share (B, 1, 1, 1) of the network's change that is taken, by the noise curve (B, LEVELS) and what is told."""
    noise, quantiser = curve.median(1).values, told.quantiser.nan_to_num(nan=0.0)
    coded = _rise(quantiser, CLEAN_QUANTISER, SURE_QUANTISER)
    noisy = _rise(noise, CLEAN_NOISE, SURE_NOISE)
    noisy_coded = coded * _rise(noise, CLEAN_CODED_NOISE, SURE_CODED_NOISE)
    blurred = _rise(quantiser, CLEAR_QUANTISER, BLURRED_QUANTISER)
    coded = coded if told.artefacts is None else torch.where(told.artefacts > 0, coded, blurred)
    clean = (1 - noisy) * (1 - noisy_coded) * (1 - coded)
    return (1 - clean).view(-1, 1, 1, 1)


def _rise(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on, smooth between."""
    part = ((x - low) / (high - low)).clamp(0, 1)
    return part * part * (3 - 2 * part)
