"""The guide's way through its network: inputs at half the resolution, convolutions, and the change that is applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdeblur.kernels.dispatch import try_cpu_kernels
from vdeblur.kernels.inputs import GUIDE_CHANNELS, GUIDE_CHROMA_GAIN
from vdeblur.model.guide.noise_curve import noise_at
from vdeblur.model.layers import upsample, warp
from vdeblur.runtime.device import cpu_has_bfloat16

#: Channels: four pixels' luma; Cb and Cr; how the previous guide differs, likewise; how certain that is; the deviation
#: of the chroma samples within the four pixels; noise; quantiser.
CHANNELS = GUIDE_CHANNELS
#: Factors on chroma, on its deviation, on the noise's standard deviation and on the flow's mismatch.
CHROMA_GAIN, DETAIL_GAIN, NOISE_GAIN, MISMATCH_GAIN = GUIDE_CHROMA_GAIN, 20.0, 20.0, 10.0
#: Mismatch from which the flow leads out of the picture.
_LOST = 0.999


class Past(NamedTuple):
    """The previous guide and how the picture has moved since.

    ``luma`` (B, 1, H, W), ``chroma`` (B, 2, H/2, W/2); ``flow`` (B, 2, H/8, W/8) to it, in pixels; ``certainty``
    (B, 1, H/8, W/8): 1 where the flow matches, 0 where it leads out of the picture or there was no guide.
    """

    luma: Tensor
    chroma: Tensor
    flow: Tensor
    certainty: Tensor


def past_of(luma: Tensor, chroma: Tensor, used: Tensor, displacement: Tensor, mismatch: Tensor) -> Past:
    """The past of a frame; ``used`` (B, 1, 1, 1) is 0 where there was no guide."""
    known = (mismatch < _LOST).to(mismatch.dtype) * (used > 0)
    certainty = known / (1 + MISMATCH_GAIN * mismatch)
    return Past(luma.float(), chroma.float(), displacement, certainty)


def guide_inputs(
    luma: Tensor,
    chroma: Tensor,
    detail: Tensor | None,
    past: Past | None,
    curve: Tensor,
    quantiser: Tensor,
    rows: slice,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Inputs (B, CHANNELS, rows, W/2) in a dtype.

    Args:
        luma: (B, 1, H, W) in [0, 1].
        chroma: (B, 2, H/2, W/2), Cb and Cr in [-0.5, 0.5].
        detail: :func:`chroma_deviation` (B, 1, H/2, W/2), None in 4:2:0.
        curve: noise (B, LEVELS) by brightness.
        quantiser: (B,) in [0, 1], -1 where it is not known.
        rows: which rows of the half resolution.
    """
    if len(luma) == 1:
        done: Tensor | None = try_cpu_kernels(
            luma,
            lambda native: native.guide_inputs(
                luma, chroma, detail, past, _noise_by_luma(curve).flatten(), float(quantiser), rows, dtype
            ),
        )
        if done is not None:
            return done
    parts = F.pixel_unshuffle(luma, 2)
    noise = noise_at(curve, parts.mean(1, keepdim=True)) * NOISE_GAIN
    told = quantiser.view(-1, 1, 1, 1).expand_as(noise)
    before = parts.new_zeros(len(parts), 7, *parts.shape[-2:]) if past is None else _warped(parts, chroma, past)
    detail = torch.zeros_like(noise) if detail is None else detail
    return torch.cat((parts - 0.5, chroma * CHROMA_GAIN, before, detail, noise, told), 1)[:, :, rows].to(dtype)


def _noise_by_luma(curve: Tensor) -> Tensor:
    """The input that tells the noise, (1, 1, 1, 256) for levels of luma from 0 to 1, from one curve (1, LEVELS)."""
    return noise_at(curve, torch.linspace(0, 1, 256, device=curve.device).view(1, 1, 1, -1)) * NOISE_GAIN


def apply_change(
    luma: Tensor, chroma: Tensor, change: Tensor, used: Tensor, rows: slice, start: int
) -> tuple[Tensor, Tensor]:
    """Luma (B, 1, 2 · rows, W) and chroma (B, 2, rows, W/2), changed, for rows of half the resolution.

    Args:
        luma, chroma: of the whole picture, (B, 1, H, W) and (B, 2, H/2, W/2).
        change: (B, 8, …, W/2), from row ``start`` on.
        used: share of it that is taken (B, 1, 1, 1).
    """
    if len(luma) == 1:
        done: tuple[Tensor, Tensor] | None = try_cpu_kernels(
            luma,
            lambda native: native.apply_change(luma, chroma, change, used, rows, start),
        )
        if done is not None:
            return done
    change = used * change[:, :, rows.start - start : rows.stop - start].float()
    new_luma = luma[:, :, 2 * rows.start : 2 * rows.stop] + F.pixel_shuffle(change[:, :4], 2)
    return new_luma, chroma[:, :, rows] + change[:, 4:6] * (1 / CHROMA_GAIN)


def chroma_deviation(chroma: Tensor, small: Tensor) -> Tensor:
    """How much chroma (B, 2, H, W) varies about its mean of four pixels ``small``: (B, 1, H/2, W/2), scaled."""
    variance = (F.avg_pool2d(chroma.square(), 2) - small.square()).sum(1, keepdim=True)
    return variance.clamp_min(1e-8).sqrt() * DETAIL_GAIN


def _warped(parts: Tensor, chroma: Tensor, past: Past) -> Tensor:
    """The previous guide's difference (B, 6, h, w), and its certainty."""
    half, certainty = upsample(past.flow, 4), upsample(past.certainty, 4)
    full = half.repeat_interleave(2, -1).repeat_interleave(2, -2)
    known = (certainty > 0).to(parts.dtype)
    luma = F.pixel_unshuffle(warp(past.luma, full), 2) - parts
    small = (warp(past.chroma, half / 2) - chroma) * CHROMA_GAIN
    return torch.cat((luma * known, small * known, certainty), 1)


def hidden_before(hidden: Tensor, past: Past, dtype: torch.dtype = torch.float32) -> Tensor:
    """The hidden state (B, C, H/4, W/4) as this frame sees it, in a dtype."""
    if len(hidden) == 1:
        done: Tensor | None = try_cpu_kernels(
            hidden, lambda native: native.hidden_before(hidden, past.flow, past.certainty, dtype)
        )
        if done is not None:
            return done
    known = upsample(past.certainty, 2) > 0
    return (warp(hidden.float(), upsample(past.flow, 2) / 4) * known).to(dtype)


#: Activations that a convolution may end with.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x, "relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh
}  # fmt: skip


def convolve(
    x: Tensor,
    layer: nn.Conv2d,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    add: Tensor | None = None,
    activation: str = "relu",
) -> Tensor:
    """A convolution, ``add`` added to it, and an activation; fused by oneDNN on a CPU, where that is available.

    ``weight`` and ``bias`` take the place of the layer's own.
    """
    weight = layer.weight if weight is None else weight
    bias = layer.bias if bias is None else bias
    assert isinstance(layer.padding, tuple)
    space = [*layer.padding], [*layer.stride], [1, 1], 1
    fused = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu" or fused is None
    if plain or not torch._C._has_mkldnn or (x.dtype == torch.bfloat16 and not cpu_has_bfloat16()):
        y = F.conv2d(x, weight, bias, layer.stride, layer.padding)
        return ACTIVATIONS[activation](y if add is None else y + add)
    assert fused is not None
    weight = weight.contiguous(memory_format=torch.channels_last)
    if add is None:
        result: Tensor = fused(x, weight, bias, *space, activation, [], "")
        return result
    assert activation in ("none", "relu")
    after = None if activation == "none" else activation
    joined: Tensor = fused.binary(x, add, weight, bias, *space, "add", 1.0, after, [], "")
    return joined
