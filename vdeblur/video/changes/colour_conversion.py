"""Colour conversion of planes between ranges and Y'CbCr matrices, at one size, depth and subsampling.

Source: ITU-T H.273, 8.3 (ranges and matrix coefficients). Grey stays grey between two matrices, so chroma needs no
luma, and only luma needs chroma in full size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vdeblur.frames import Colour, PixelFormat, dtype_for

#: Weights of red and blue in luma.
_WEIGHTS = {
    "bt709": (0.2126, 0.0722), "fcc": (0.30, 0.11), "bt470bg": (0.299, 0.114), "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087), "bt2020nc": (0.2627, 0.0593),
}  # fmt: skip
#: What is taken where a stream does not say, by its height.
_HD_LINES = 720

Planes = tuple[Any, ...]


def range_of(colour: Colour, pixel_format: PixelFormat) -> str:
    """Range of samples: "tv" or "pc"; YUV that does not say is limited, anything else full."""
    return colour.range or ("tv" if pixel_format.family == "yuv" else "pc")


def matrix_of(colour: Colour, height: int) -> str:
    """Matrix of Y'CbCr; where the stream does not say BT.709 from 720 lines on, else BT.601."""
    return colour.matrix or ("bt709" if height >= _HD_LINES else "smpte170m")


def same_matrix(one: str, other: str) -> bool:
    """Whether two names stand for the same coefficients."""
    return one == other or (one in _WEIGHTS and _WEIGHTS[one] == _WEIGHTS.get(other))


def can_convert(one: str, other: str) -> bool:
    """Whether samples can be converted from one matrix to the other."""
    return same_matrix(one, other) or (one in _WEIGHTS and other in _WEIGHTS)


def converted(planes: Planes, pixel_format: PixelFormat, colour: Colour, into: Colour) -> Planes:
    """Planes of colour ``colour`` as planes of colour ``into``; alpha as it is.

    Rounded to the nearest sample, and clipped to those there are. Limited range keeps its head and foot room.
    """
    before, after = range_of(colour, pixel_format), range_of(into, pixel_format)
    colours = planes[: pixel_format.colour_planes]
    if pixel_format.family == "yuv":
        height = planes[0].shape[0]
        matrices = matrix_of(colour, height), matrix_of(into, height)
        if not same_matrix(*matrices):
            changed = _through_matrices(colours, pixel_format, matrices, before, after, into.chroma_location)
            return (*changed, *planes[len(colours) :])
    if before == after:
        return planes
    tables = [_table(pixel_format, chroma, before, after) for chroma in (False, True)]
    chroma = pixel_format.family == "yuv"
    changed = [tables[chroma and index > 0][plane] for index, plane in enumerate(colours)]
    return (*changed, *planes[len(colours) :])


def _levels(bits: int, *, chroma: bool, value_range: str) -> tuple[float, float]:
    """Sample of zero and the distance of one, of luma (0 to 1) or chroma (-0.5 to 0.5)."""
    scale, peak = 1 << (bits - 8), (1 << bits) - 1
    zero = float(1 << (bits - 1)) if chroma else 0.0 if value_range == "pc" else 16.0 * scale
    return zero, float(peak) if value_range == "pc" else (224.0 if chroma else 219.0) * scale


def _table(pixel_format: PixelFormat, chroma: bool, before: str, after: str) -> npt.NDArray[Any]:
    """New sample for each old one."""
    bits, kind = pixel_format.bits, dtype_for(pixel_format)
    zero, one = _levels(bits, chroma=chroma, value_range=before)
    new_zero, new_one = _levels(bits, chroma=chroma, value_range=after)
    old = np.arange(1 << (8 if bits <= 8 else 16), dtype=np.float64)
    return np.clip(np.rint((old - zero) / one * new_one + new_zero), 0, pixel_format.peak).astype(kind)


def _matrix(name: str) -> npt.NDArray[np.float64]:
    """From Y'CbCr to R'G'B'."""
    red, blue = _WEIGHTS[name]
    green = 1 - red - blue
    of_red, of_blue = 2 * (1 - red), 2 * (1 - blue)
    return np.array(
        [[1, 0, of_red], [1, -of_blue * blue / green, -of_red * red / green], [1, of_blue, 0]], dtype=np.float64
    )


def _through_matrices(
    planes: Planes, pixel_format: PixelFormat, matrices: tuple[str, str], before: str, after: str, location: str | None
) -> list[npt.NDArray[Any]]:
    bits = pixel_format.bits
    whole = np.linalg.solve(_matrix(matrices[1]), _matrix(matrices[0])).astype(np.float32)
    luma, blue, red = (_values(plane, bits, chroma=index > 0, value_range=before) for index, plane in enumerate(planes))
    height, width = luma.shape
    # Linear, so both are put together while they are small.
    part = whole[0, 1] * blue + whole[0, 2] * red
    luma += _enlarged(part, pixel_format.chroma_shift, height, width, location)
    values = (
        luma,
        whole[1, 1] * blue + whole[1, 2] * red,
        whole[2, 1] * blue + whole[2, 2] * red,
    )
    made = []
    for index, value in enumerate(values):
        zero, one = _levels(bits, chroma=index > 0, value_range=after)
        value *= np.float32(one)
        value += np.float32(zero)
        np.rint(value, out=value)
        made.append(np.clip(value, 0, np.float32(pixel_format.peak), out=value).astype(dtype_for(pixel_format)))
    return made


def _values(plane: Any, bits: int, *, chroma: bool, value_range: str) -> npt.NDArray[np.float32]:
    zero, one = _levels(bits, chroma=chroma, value_range=value_range)
    values = np.array(plane, np.float32)
    values -= np.float32(zero)
    values /= np.float32(one)
    return values


def _enlarged(
    plane: npt.NDArray[np.float32], shift: tuple[int, int], height: int, width: int, location: str | None
) -> npt.NDArray[np.float32]:
    """Chroma at the size of luma, interpolated linearly from where its samples lie."""
    on_column, on_row = location not in ("center", "top", "bottom"), location in ("topleft", "top")
    plane = _stretched(np.ascontiguousarray(plane.T), shift[0], width, on_sample=on_column)
    return _stretched(np.ascontiguousarray(plane.T), shift[1], height, on_sample=on_row)


def _stretched(plane: npt.NDArray[np.float32], shift: int, length: int, *, on_sample: bool) -> npt.NDArray[np.float32]:
    """More rows; ``on_sample`` = the first of each group lies where the old one lay, else they stand around it."""
    for _ in range(shift):
        behind = np.concatenate((plane[1:], plane[-1:]))
        made = np.empty((2 * plane.shape[0], plane.shape[1]), np.float32)
        if on_sample:
            made[0::2], made[1::2] = plane, (plane + behind) / 2
        else:
            in_front = np.concatenate((plane[:1], plane[:-1]))
            made[0::2], made[1::2] = (3 * plane + in_front) / 4, (3 * plane + behind) / 4
        plane = made
    return plane[:length]
