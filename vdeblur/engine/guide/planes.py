"""Guide planes: a frame's planes as the Y'CbCr picture that a guide is made from, and the guide as planes again.

Both ways are linear: where the guide is the picture, the planes are the source's. Chroma of 4:2:0 is taken as it is;
other samples of chroma are repeated over the pixels that they stand for, and changes of these are averaged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vdeblur.engine.pixels import (
    HD_LINES,
    LUMA_WEIGHTS,
    colour_matrix,
    pad_to_multiple,
    reduced_size,
    sample_range,
)
from vdeblur.frames import Colour, PixelFormat
from vdeblur.runtime.transfer import Planes


class Seen(NamedTuple):
    """Colour planes that a network is shown, in the order of the arguments of ``network_input``.

    ``size`` (height, width) is that of the planes; the network sees them ``reduce`` times smaller.
    """

    planes: Planes
    format: PixelFormat
    colour: Colour
    size: tuple[int, int]
    reduce: int


def reduced(seen: Seen) -> Seen:
    """The planes as the network sees them, float32 in the source's scale: made smaller, chroma at the size of luma."""
    if seen.reduce == 1:
        return seen
    layout, lines = seen.format, seen.size[0]
    size = reduced_size(seen.size, seen.reduce)
    planes = [_shrunk(plane.float(), seen.reduce, size) for plane in seen.planes]
    colour = seen.colour
    if layout.family != "gray" and colour.matrix not in (*LUMA_WEIGHTS, "ycgco"):
        colour = replace(colour, matrix="bt709" if lines >= HD_LINES else "smpte170m")  # by the lines of the source
    return Seen(tuple(planes), replace(layout, chroma_shift=(0, 0)), colour, size, 1)


class Picture(NamedTuple):
    """What a guide is made from: ``luma`` (1, 1, H, W) in [0, 1]; Cb and Cr in [-0.5, 0.5].

    ``chroma`` is (1, 2, H, W), or (1, 2, H/2, W/2) where there is one sample for four pixels, or none.
    """

    luma: Tensor
    chroma: Tensor


def picture_of(seen: Seen, stride: int, minimum: int) -> Picture:
    """Y'CbCr, float32, of planes at their full size, padded to a multiple of ``stride``, an even number."""
    luma, chroma = _luma_and_chroma(seen)
    luma = pad_to_multiple(luma[None, None], stride, minimum=minimum)
    height, width = (side // _chroma_step(seen.format) for side in luma.shape[-2:])
    below, beside = height - chroma.shape[-2], width - chroma.shape[-1]
    chroma = functional.pad(chroma[None], (0, beside, 0, below), mode="replicate")
    return Picture(luma.clamp(0, 1), chroma.clamp(-0.5, 0.5))


def changes_of(change: Picture, seen: Seen) -> list[Tensor]:
    """Changes of planes, float32, as values (1 is the range of luma, and of chroma), from those of the picture."""
    layout, (height, width) = seen.format, seen.size
    luma, chroma = change.luma[0, 0, :height, :width], change.chroma[0]
    if layout.family == "gray":
        return [luma]
    if layout.family == "rgb":
        matrix, chroma = colour_matrix(seen.colour, height), chroma[:, :height, :width]
        red, green, blue = (
            luma + matrix.from_cb[channel] * chroma[0] + matrix.from_cr[channel] * chroma[1] for channel in range(3)
        )
        return [green, blue, red]
    step_x, step_y = (1 << shift for shift in layout.chroma_shift)
    if _chroma_step(layout) == 2:
        rows, columns = layout.plane_shape(1, height, width)
        chroma = chroma[:, :rows, :columns]
    else:
        chroma = chroma[:, :height, :width]
        if (step_y, step_x) != (1, 1):
            steps = (step_y, step_x)
            chroma = functional.avg_pool2d(chroma[None], steps, ceil_mode=True, count_include_pad=False)[0]
    return [luma, chroma[0], chroma[1]]


def changed(seen: Seen, changes: Sequence[Tensor]) -> Seen:
    """The planes with changes of their values, float32 in the source's scale."""
    scales = plane_scales(seen.format, seen.colour)
    planes = (
        plane.float().add_(change, alpha=scale) if plane.dtype != torch.float32 else plane.add(change, alpha=scale)
        for plane, change, scale in zip(seen.planes, changes, scales, strict=True)
    )
    return seen._replace(planes=tuple(planes))


def plane_scales(layout: PixelFormat, colour: Colour) -> list[float]:
    """Samples for each value, of each colour plane."""
    levels = sample_range(layout, colour)
    if layout.family == "yuv":
        return [levels.scale, levels.chroma_scale, levels.chroma_scale]
    return [levels.scale] * layout.colour_planes


def _luma_and_chroma(seen: Seen) -> tuple[Tensor, Tensor]:
    """Luma (H, W), and chroma (2, H, W) or half as large, before clipping."""
    layout, (height, width) = seen.format, seen.size
    values = _values(seen)
    if layout.family == "gray":
        return values[0], values[0].new_zeros(2, -(-height // 2), -(-width // 2))
    if layout.family == "rgb":
        green, blue, red = values
        matrix = colour_matrix(seen.colour, height)
        luma, *chroma = (
            red * weights[0] + green * weights[1] + blue * weights[2] for weights in (matrix.luma, matrix.cb, matrix.cr)
        )
        return luma, torch.stack(chroma)
    colours = torch.stack(values[1:])
    if _chroma_step(layout) == 1:
        step_x, step_y = (1 << shift for shift in layout.chroma_shift)
        colours = colours.repeat_interleave(step_y, 1).repeat_interleave(step_x, 2)[:, :height, :width]
    return values[0], colours


def _chroma_step(layout: PixelFormat) -> int:
    """Pixels each way for a chroma sample of the picture that a guide is made from."""
    return 2 if layout.family == "gray" or layout.chroma_shift == (1, 1) else 1


def _values(seen: Seen) -> list[Tensor]:
    levels = sample_range(seen.format, seen.colour)
    offsets = [levels.offset] * 3
    if seen.format.family == "yuv":
        offsets[1:] = [levels.chroma_offset] * 2
    scales = plane_scales(seen.format, seen.colour)
    return [
        (plane.float() - offset) * (1.0 / scale)
        for plane, offset, scale in zip(seen.planes, offsets, scales, strict=False)
    ]


def _shrunk(plane: Tensor, times: int, size: tuple[int, int]) -> Tensor:
    """(H, W) at another size by the mean over each new sample; luma is padded to whole blocks first."""
    if reduced_size((plane.shape[0], plane.shape[1]), times) == size:
        whole = pad_to_multiple(plane[None, None], times, minimum=times)
        return functional.avg_pool2d(whole, times)[0, 0]
    if tuple(plane.shape) == size:
        return plane
    return functional.interpolate(plane[None, None], size=size, mode="area")[0, 0]
