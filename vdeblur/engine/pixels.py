"""Colour conversion: source planes to the network's R'G'B' or luma, and its residual added to the same planes.

The colour matrix is linear, so a correction of R'G'B' is also a correction of Y, Cb and Cr. It is added to the
source's own samples at their own bit depth; where it is zero, the sample stays what it was, bit for bit.

Sources: ITU-T H.273 (matrix coefficients, ranges, chroma sample locations), which repeats the figures of
ITU-R BT.601, BT.709 and BT.2020 and of SMPTE ST 240.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest
from math import ceil, floor

import torch
from torch import Tensor
from torch.nn import functional

from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.kernels.dispatch import try_cpu_kernels

Row = tuple[float, float, float]

#: (Kr, Kb) of H.273's MatrixCoefficients, by FFmpeg's name.
LUMA_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),  # constant luminance is not linear in R'G'B'; this is its nearest linear form
    "ictcp": (0.2627, 0.0593),  # likewise
}

#: Lines from which an untagged picture counts as high definition and so as BT.709.
HD_LINES = 720


@dataclass(frozen=True)
class ColourMatrix:
    """Linear map between R'G'B' in [0, 1] and Y in [0, 1], Cb and Cr in [-0.5, 0.5]."""

    luma: Row  # Y = luma · (R, G, B)
    cb: Row
    cr: Row
    #: R = Y + from_cb[0]·Cb + from_cr[0]·Cr, and so on for G and B.
    from_cb: Row
    from_cr: Row


@dataclass(frozen=True)
class SampleRange:
    """Quantisation range (H.273): sample = offset + scale · value, for luma (and R', G', B') and for chroma."""

    offset: float
    scale: float
    chroma_offset: float
    chroma_scale: float


def rgb_from_planes(
    planes: Sequence[Tensor], pixel_format: PixelFormat, colour: Colour, *, height: int, width: int, reduce: int = 1
) -> Tensor:
    """Planes as (1, 3, H, W) float32 R'G'B' in [0, 1], display-referred, on the planes' device.

    Samples outside the nominal range are clipped in this copy only. Chroma is raised bilinearly from where its
    samples lie. Defaults for missing tags: BT.709 from 720 lines on, BT.601 below; YCbCr has limited range,
    grey and RGB have full range, as in libswscale; chroma lies left (H.273 type 0), and in the centre in full
    range (JFIF).

    Args:
        planes: Y Cb Cr, Y, or G B R, each (rows, columns); an alpha plane after them is ignored.
        reduce: how many times smaller each way the picture is made, by the mean of each block; H and W are then those
            of :func:`reduced_size`. Chroma is taken where it lies, less than a pixel of the source off.
    """
    levels = sample_range(pixel_format, colour)
    size = reduced_size((height, width), reduce)
    rgb = torch.empty((3, *size), dtype=torch.float32, device=planes[0].device)
    if pixel_format.family == "rgb":
        for channel, plane in zip((1, 2, 0), planes, strict=False):
            torch.sub(_shrink(_as_float(plane), reduce), levels.offset, out=rgb[channel]).mul_(1.0 / levels.scale)
    elif pixel_format.family == "gray":
        rgb[:] = _shrink(_as_float(planes[0]), reduce).sub_(levels.offset).mul_(1.0 / levels.scale)
    else:
        matrix = colour_matrix(colour, height)
        luma = _shrink(_as_float(planes[0]), reduce).sub_(levels.offset).mul_(1.0 / levels.scale)
        chroma = torch.stack((_as_float(planes[1]), _as_float(planes[2])))
        chroma.sub_(levels.chroma_offset).mul_(1.0 / levels.chroma_scale)
        if reduce == 1:
            (shift_x, shift_y), (phase_x, phase_y) = pixel_format.chroma_shift, chroma_phase(pixel_format, colour)
            chroma = _raise(chroma, dim=1, factor=1 << shift_y, phase=phase_y, size=height)
            chroma = _raise(chroma, dim=2, factor=1 << shift_x, phase=phase_x, size=width)
        elif chroma.shape[1:] != size:
            chroma = functional.interpolate(chroma[None], size=size, mode="area")[0]
        for channel in range(3):
            weights = matrix.from_cb[channel], matrix.from_cr[channel]
            parts = [(plane, weight) for plane, weight in zip(chroma, weights, strict=True) if weight]
            torch.add(luma, parts[0][0], alpha=parts[0][1], out=rgb[channel])
            for plane, weight in parts[1:]:
                rgb[channel].add_(plane, alpha=weight)
    return rgb.clamp_(0.0, 1.0).unsqueeze(0)  # (1, 3, H, W)


def luma_from_planes(
    planes: Sequence[Tensor], pixel_format: PixelFormat, colour: Colour, *, height: int, reduce: int = 1
) -> Tensor:
    """Planes as (1, 1, H, W) float32 luma in [0, 1] on the planes' device: Y, or that of R'G'B'.

    As :func:`rgb_from_planes`, but chroma is not looked at.
    """
    levels = sample_range(pixel_format, colour)
    if pixel_format.family == "rgb":
        red, green, blue = (planes[index] for index in (2, 0, 1))
        grey = torch.stack([_as_float(plane) for plane in (red, green, blue)])
        luma = luma_from_rgb(grey.sub_(levels.offset), colour, lines=height, gain=1.0 / levels.scale)
        luma = _shrink(luma, reduce)
    else:
        found: Tensor | None = None
        if reduce == 1:
            found = try_cpu_kernels(planes[0], lambda native: native.luma(planes[0], levels.offset, 1.0 / levels.scale))
        if found is not None:
            return found[None, None]
        luma = _shrink(_as_float(planes[0]), reduce).sub_(levels.offset).mul_(1.0 / levels.scale)
    return luma.clamp_(0.0, 1.0)[None, None]  # (1, 1, H, W)


def luma_from_rgb(rgb: Tensor, colour: Colour, *, lines: int, gain: float = 1.0) -> Tensor:
    """``gain`` × the luma (…, H, W) of R'G'B' (…, 3, H, W) of a picture with so many lines."""
    if isinstance(lines, torch.SymInt):  # in a program for pictures of any size
        large, small = (_mix(rgb, colour_matrix(colour, number).luma, gain) for number in (HD_LINES, HD_LINES - 1))
        return torch.where(torch.full((), lines, device=rgb.device) >= HD_LINES, large, small)
    return _mix(rgb, colour_matrix(colour, lines).luma, gain)


def picture_from_planes(
    planes: Sequence[Tensor],
    pixel_format: PixelFormat,
    colour: Colour,
    *,
    height: int,
    width: int,
    channels: int,
    reduce: int = 1,
) -> Tensor:
    """Network input before padding: :func:`rgb_from_planes` with 3 channels, :func:`luma_from_planes` with 1."""
    if channels == 1:
        return luma_from_planes(planes, pixel_format, colour, height=height, reduce=reduce)
    return rgb_from_planes(planes, pixel_format, colour, height=height, width=width, reduce=reduce)


def rgb_of(frame: Frame) -> Tensor:
    """R'G'B' (1, 3, H, W) float32 in [0, 1] of a frame, on the CPU, as :func:`rgb_from_planes` makes it."""
    planes = [torch.from_numpy(plane) for plane in frame.planes[: frame.format.colour_planes]]
    return rgb_from_planes(planes, frame.format, frame.colour, height=frame.height, width=frame.width)


def add_residual(
    planes: Sequence[Tensor],
    residual: Tensor,
    pixel_format: PixelFormat,
    colour: Colour,
    *,
    strength: float = 1.0,
    reduce: int = 1,
    more: Sequence[tuple[Tensor, float]] = (),
) -> tuple[Tensor, ...]:
    """Planes with ``strength`` × ``residual`` added in the source's own samples.

    Sums are float32, rounded to nearest and clipped to [0, 2^bits - 1] (float samples are not clipped). A sample whose
    correction is zero is returned bit for bit, also outside the nominal range. Alpha is the same tensor as it came.

    Args:
        planes: as for :func:`rgb_from_planes`, integer or float32 samples.
        residual: (1, 3, H, W) float32, in R'G'B' as :func:`rgb_from_planes` makes them; or (1, 1, H, W), a change of
            grey, the same in R', G' and B'. That one leaves chroma planes the tensors they were.
        reduce: how many times smaller than the planes the residual is; it is enlarged bilinearly.
        more: further changes of the colour planes (H, W), floating point, each with its factor; added before rounding.
    """
    change = residual[0]  # (3, H, W)
    if change.stride(-1) != 1:
        change = change.contiguous()
    height = planes[0].shape[0]
    if reduce == 1:
        corrections = _corrections(change, pixel_format, colour, height=height, strength=strength)
    else:
        corrections = _small_corrections(change, pixel_format, colour, height=height, strength=strength)
        corrections = (
            (_enlarge(one, reduce, plane.shape), gain) for (one, gain), plane in zip(corrections, planes, strict=False)
        )
    # One at a time: they are large.
    every = zip_longest(corrections, more) if more else ((correction, None) for correction in corrections)
    added = [_add(plane, *_sum(*both), pixel_format) for plane, both in zip(planes, every, strict=False)]
    return (*added, *planes[len(added) :])


def _sum(one: tuple[Tensor, float] | None, other: tuple[Tensor, float] | None) -> tuple[Tensor, float]:
    """Two changes of a plane with their factors, of which one may be missing, as one."""
    if one is None:
        one, other = other, None
    assert one is not None
    if other is None:
        return one[0].float(), one[1]
    return torch.add(one[0] * one[1], other[0], alpha=other[1]), 1.0


def _small_corrections(
    change: Tensor, pixel_format: PixelFormat, colour: Colour, *, height: int, strength: float
) -> Iterator[tuple[Tensor, float]]:
    """As :func:`_corrections` for a smaller change, all of its own size; ``height`` is that of the planes."""
    whole = replace(pixel_format, chroma_shift=(0, 0))
    return _corrections(change, whole, colour, height=height, strength=strength)


def _corrections(
    change: Tensor, pixel_format: PixelFormat, colour: Colour, *, height: int, strength: float
) -> Iterator[tuple[Tensor, float]]:
    """Corrections of the colour planes, and their factors, from one of R'G'B' (3, H, W) or of grey (1, H, W)."""
    levels = sample_range(pixel_format, colour)
    gain = strength * levels.scale
    if len(change) == 1:
        for _ in range(3 if pixel_format.family == "rgb" else 1):
            yield change[0], gain
        return
    if pixel_format.family == "rgb":
        for channel in (1, 2, 0):
            yield change[channel], gain
        return
    matrix = colour_matrix(colour, height)
    yield _mix(change, matrix.luma, gain), 1.0
    if pixel_format.family == "yuv":
        (shift_x, shift_y), (phase_x, phase_y) = pixel_format.chroma_shift, chroma_phase(pixel_format, colour)
        gain = strength * levels.chroma_scale
        change = _average(change, dim=1, factor=1 << shift_y, phase=phase_y)
        for weights in (matrix.cb, matrix.cr):
            chroma = _mix(change, weights, gain)[None]
            yield _average(chroma, dim=2, factor=1 << shift_x, phase=phase_x)[0], 1.0


def pad_to_multiple(x: Tensor, multiple: int, *, minimum: int) -> Tensor:
    """(…, H, W) grown at the bottom and right, by repeating the edge, to multiples of ``multiple`` ≥ ``minimum``."""
    height, width = x.shape[-2:]
    bottom, right = (ceil(max(size, minimum) / multiple) * multiple - size for size in (height, width))
    if bottom == 0 and right == 0:
        return x
    return functional.pad(x, (0, right, 0, bottom), mode="replicate")


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """Crop ``x`` to its top left (…, height, width), the inverse of :func:`pad_to_multiple`."""
    return x[..., :height, :width]


def reduced_size(size: tuple[int, int], times: int) -> tuple[int, int]:
    """(height, width) of a picture made smaller by whole blocks; parts of a block at the edge count as one."""
    height, width = size
    return -(-height // times), -(-width // times)


def _shrink(plane: Tensor, times: int) -> Tensor:
    """(H, W) made ``times`` smaller each way by the mean of each block; the edge is repeated to whole blocks."""
    if times == 1:
        return plane
    return functional.avg_pool2d(pad_to_multiple(plane[None, None], times, minimum=times), times)[0, 0]


def _enlarge(x: Tensor, times: int, shape: Sequence[int]) -> Tensor:
    """A correction (H, W) at the size of a plane, each sample in the middle of its block of ``times`` pixels each way.

    A plane with fewer samples than pixels (chroma) gets it evenly stretched.
    """
    rows, columns = shape
    if (rows, columns) == tuple(x.shape):
        return x
    if reduced_size((rows, columns), times) == tuple(x.shape):
        large = functional.interpolate(x[None, None], scale_factor=times, mode="bilinear", align_corners=False)
        return large[0, 0, :rows, :columns]
    return functional.interpolate(x[None, None], size=(rows, columns), mode="bilinear", align_corners=False)[0, 0]


@lru_cache(maxsize=64)
def colour_matrix(colour: Colour, lines: int) -> ColourMatrix:
    """Colour matrix of a picture by its tag, or by its number of lines if the tag is missing or not linear."""
    if colour.matrix == "ycgco":
        return ColourMatrix(
            (0.25, 0.5, 0.25), (-0.25, 0.5, -0.25), (0.5, 0.0, -0.5), (-1.0, 1.0, -1.0), (1.0, 0.0, -1.0)
        )
    untagged = "bt709" if lines >= HD_LINES else "smpte170m"
    kr, kb = LUMA_WEIGHTS.get(colour.matrix or untagged, LUMA_WEIGHTS[untagged])
    kg = 1.0 - kr - kb
    to_b, to_r = 2.0 * (1.0 - kb), 2.0 * (1.0 - kr)  # Cb = (B - Y) / to_b, Cr = (R - Y) / to_r
    return ColourMatrix(
        luma=(kr, kg, kb),
        cb=(-kr / to_b, -kg / to_b, (1.0 - kb) / to_b),
        cr=((1.0 - kr) / to_r, -kg / to_r, -kb / to_r),
        from_cb=(0.0, -to_b * kb / kg, to_b),
        from_cr=(to_r, -to_r * kr / kg, 0.0),
    )


@lru_cache(maxsize=64)
def sample_range(pixel_format: PixelFormat, colour: Colour) -> SampleRange:
    """Quantisation range of a format (H.273, VideoFullRangeFlag 0 and 1); float samples are values already."""
    if pixel_format.is_float:
        return SampleRange(0.0, 1.0, 0.0, 1.0)
    if is_limited(pixel_format, colour):
        step = float(1 << (pixel_format.bits - 8))
        return SampleRange(16.0 * step, 219.0 * step, 128.0 * step, 224.0 * step)
    return SampleRange(0.0, pixel_format.peak, float(1 << (pixel_format.bits - 1)), pixel_format.peak)


def is_limited(pixel_format: PixelFormat, colour: Colour) -> bool:
    """Whether samples keep head- and footroom: as tagged; untagged YCbCr does, grey and RGB do not."""
    if colour.range in ("tv", "pc"):
        return colour.range == "tv"
    return pixel_format.family == "yuv" and not pixel_format.name.startswith("yuvj")


def chroma_phase(pixel_format: PixelFormat, colour: Colour) -> tuple[float, float]:
    """Columns and rows from a block's first luma sample to its chroma sample."""
    location = colour.chroma_location
    if location in (None, "unspecified", "unknown"):
        location = "left" if is_limited(pixel_format, colour) else "center"
    last_x, last_y = ((1 << shift) - 1 for shift in pixel_format.chroma_shift)
    x = 0.0 if location in ("left", "topleft", "bottomleft") else last_x / 2
    if location in ("topleft", "top"):
        return x, 0.0
    return x, float(last_y) if location in ("bottomleft", "bottom") else last_y / 2


def _as_float(plane: Tensor) -> Tensor:
    """A new float32 tensor of the samples, free to be changed in place."""
    return plane.to(torch.float32, copy=True)


def _add(plane: Tensor, correction: Tensor, gain: float, pixel_format: PixelFormat) -> Tensor:
    done: Tensor | None = try_cpu_kernels(
        plane, lambda native: native.add_residual(plane, correction, gain, pixel_format.peak)
    )
    if done is not None:
        return done
    total = _as_float(plane).add_(correction if gain == 1.0 else correction * gain)
    if pixel_format.is_float:
        return total.to(plane.dtype)
    return total.round_().clamp_(0.0, pixel_format.peak).to(plane.dtype)


def _mix(rgb: Tensor, weights: Row, gain: float) -> Tensor:
    """(…, H, W) = gain · weights · rgb (…, 3, H, W). Plain sums: no lower matmul precision can reach them."""
    red, green, blue = rgb.unbind(-3)
    total = red * (weights[0] * gain)
    total.add_(green, alpha=weights[1] * gain)
    return total.add_(blue, alpha=weights[2] * gain)


def _every(x: Tensor, dim: int, start: int, step: int, count: int) -> Tensor:
    index = [slice(None)] * x.dim()
    index[dim] = slice(start, start + (count - 1) * step + 1, step)
    return x[tuple(index)]


def _pad(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """(C, H, W) with its edge repeated along ``dim`` (1 or 2)."""
    if before == 0 and after == 0:
        return x
    return functional.pad(x, (0, 0, before, after) if dim == 1 else (before, after, 0, 0), mode="replicate")


def _raise(x: Tensor, *, dim: int, factor: int, phase: float, size: int) -> Tensor:
    """Bilinear upsampling along ``dim``; sample i of ``x`` lies at ``factor·i + phase`` of the result."""
    if factor == 1:
        return x
    count = x.shape[dim]
    shape = list(x.shape)
    shape[dim] = count * factor
    result = torch.empty(shape, dtype=x.dtype, device=x.device)
    padded = _pad(x, dim, 1, 1)
    for k in range(factor):
        weight = (k - phase) / factor
        neighbour = padded.narrow(dim, 0 if weight < 0 else 2, count)
        torch.lerp(x, neighbour, abs(weight), out=_every(result, dim, k, factor, count))
    return result.narrow(dim, 0, size)


def _average(x: Tensor, *, dim: int, factor: int, phase: float) -> Tensor:
    """Mean over the ``factor`` pixels around each chroma sample; where it is co-sited, half a pixel at both ends."""
    if factor == 1:
        return x
    size = x.shape[dim]
    count = ceil(size / factor)
    first, last = floor(phase - factor / 2 + 0.5), ceil(phase + factor / 2 - 0.5)
    padded = _pad(x, dim, max(0, -first), max(0, (count - 1) * factor + last - (size - 1)))
    start = max(0, -first)
    total: Tensor | None = None
    for offset in range(first, last + 1):
        low, high = max(offset - 0.5, phase - factor / 2), min(offset + 0.5, phase + factor / 2)
        samples = _every(padded, dim, start + offset, factor, count)
        weight = (high - low) / factor
        total = samples * weight if total is None else total.add_(samples, alpha=weight)
    assert total is not None
    return total
