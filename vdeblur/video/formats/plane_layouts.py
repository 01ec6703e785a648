"""Plane layouts: memory layout of pixel formats, shared by planar and packed ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from vdeblur.frames import PixelFormat

Plane = npt.NDArray[Any]

#: log2 of the chroma subsampling, horizontal and vertical, by FFmpeg's digits.
_CHROMA_SHIFT = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}


@dataclass(frozen=True)
class PlaneLayout:
    """How one FFmpeg format lies in memory and what it becomes."""

    canonical: PixelFormat
    unpack: Callable[[av.VideoFrame], tuple[Plane, ...]]


def yuv(sampling: str, bits: int = 8, *, alpha: bool = False) -> PixelFormat:
    name = f"yuv{'a' if alpha else ''}{sampling}p{_depth(bits)}"
    return PixelFormat(name, "yuv", bits, _CHROMA_SHIFT[sampling], alpha)


def rgb(bits: int = 8, *, alpha: bool = False) -> PixelFormat:
    return PixelFormat(f"gbr{'a' if alpha else ''}p{_depth(bits)}", "rgb", bits, alpha=alpha)


def gray(bits: int = 8, *, alpha: bool = False) -> PixelFormat:
    if alpha:
        return PixelFormat("ya8" if bits == 8 else "ya16le", "gray", bits, alpha=True)
    return PixelFormat(f"gray{_depth(bits)}", "gray", bits)


def _depth(bits: int) -> str:
    return "" if bits == 8 else f"{bits}le"


def rows(frame: av.VideoFrame, index: int, dtype: npt.DTypeLike, columns: int) -> Plane:
    """View of the first ``columns`` samples of every row of one plane; the line size may be padded or negative."""
    plane = frame.planes[index]
    kind, stride, height = np.dtype(dtype), plane.line_size, plane.height
    offset = (height - 1) * -stride if stride < 0 else 0
    return np.ndarray((height, columns), kind, buffer=cast(Any, plane), offset=offset, strides=(stride, kind.itemsize))


def native(samples: Plane, shift: int = 0) -> Plane:
    """Samples in the machine's byte order, right-aligned, rows forward: the same array where it already is so."""
    if samples.dtype.byteorder == ">":
        samples = samples.astype(np.uint16)
    if shift:
        samples = samples >> np.uint16(shift)
    if not samples.flags.aligned or min(samples.strides) <= 0:
        samples = np.array(samples)
    return samples


def wide(big: bool) -> str:
    return ">u2" if big else "<u2"


def contiguous(samples: Plane, shift: int = 0) -> Plane:
    return np.ascontiguousarray(native(samples, shift))
