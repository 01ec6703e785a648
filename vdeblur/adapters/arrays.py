"""Array adapter: NumPy arrays and torch tensors as frames (zero-copy views), and restored frames back to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import torch

from vdeblur.adapters.float_range import check_range
from vdeblur.errors import UsageError
from vdeblur.frames import Colour, Frame, PixelFormat

Channels = Literal["rgb", "bgr"]

#: Frames of arrays have a number, not a time: frame n is shown at tick n.
TICK = Fraction(1)

_BITS: dict[Any, int] = {
    np.dtype(np.uint8): 8,
    np.dtype(np.uint16): 16,
    np.dtype(np.float16): 32,
    np.dtype(np.float32): 32,
    np.dtype(np.float64): 32,
    torch.uint8: 8,
    torch.uint16: 16,
    torch.float32: 32,
    torch.float64: 32,
    torch.float16: 32,
    torch.bfloat16: 32,
}
#: Indexes of G, B, R and alpha in a picture's channels.
_ORDER = {"rgb": (1, 2, 0, 3), "bgr": (1, 0, 2, 3)}


@dataclass(frozen=True)
class ArrayAdapter:
    """Converts arrays and tensors to frames, and restored frames back.

    Arrays are (H, W) or (H, W, C), tensors (H, W) or (C, H, W) on any device, with 1, 3 or 4 channels, and perhaps a
    first dimension of 1. Both are uint8, uint16 or floating (16, 32 or 64 bits). Integers use their whole range,
    floats are in [0, 1]; corrections are float32. A fourth channel is alpha, and stays as it is.

    Args:
        channels: order of the colour channels, "rgb" or "bgr" (as OpenCV has it).

    Raises:
        UsageError: ``channels`` is neither.
    """

    channels: Channels = "rgb"

    def __post_init__(self) -> None:
        if self.channels not in get_args(Channels):
            raise UsageError(f"channels cannot be {self.channels!r}; it is rgb or bgr")

    def frame(self, picture: Any, number: int) -> Frame:
        """Convert a picture to frame number ``number``, whose planes share its memory where dtypes allow.

        Raises:
            UsageError: the picture is no array or tensor of a known shape and dtype, or out of range.
        """
        bits = _BITS.get(picture.dtype)
        if bits is None:
            raise UsageError(f"frame {number} has dtype {picture.dtype}; it must be uint8, uint16 or floating")
        channels = self._planar(picture)
        if channels is None or 0 in picture.shape:
            right = "(H, W) or (H, W, 3)" if isinstance(picture, np.ndarray) else "(3, H, W) or (1, 3, H, W)"
            raise UsageError(f"frame {number} has shape {tuple(picture.shape)}; it must be {right}")
        if bits == 32:
            channels = _single(channels)
            check_range(channels, number)
        pixel_format = _format(len(channels), bits)
        order = _ORDER[self.channels][: len(channels)] if len(channels) > 1 else (0,)
        return Frame(tuple(channels[index] for index in order), pixel_format, Colour(), number, TICK, 1)

    def picture(self, frame: Frame, like: Any) -> Any:
        """Convert a restored frame to a new picture with the type, dtype, shape and device of ``like``."""
        picture = np.empty_like(like) if isinstance(like, np.ndarray) else torch.empty_like(like)
        channels = self._planar(picture)
        order = _ORDER[self.channels] if len(frame.planes) > 1 else (0,)
        before = self._planar(like)
        for index, plane in zip(order, frame.planes, strict=False):
            if like.dtype.itemsize == 8:  # what is finer than float32 stays
                plane = before[index] + (plane - _single(before[index]))
            channels[index][...] = plane
        return picture

    def _planar(self, picture: Any) -> Any:
        """A view (C, H, W) of the picture; None if it has no such shape."""
        if picture.ndim == 2:
            return picture[None]
        if picture.ndim == 4 and len(picture) == 1:
            picture = picture[0]
        if isinstance(picture, np.ndarray):
            return np.moveaxis(picture, 2, 0) if picture.ndim == 3 and picture.shape[2] in (1, 3, 4) else None
        return picture if picture.ndim == 3 and len(picture) in (1, 3, 4) else None


def _single(samples: Any) -> Any:
    """The samples as float32."""
    return samples.float() if isinstance(samples, torch.Tensor) else samples.astype(np.float32, copy=False)


def own_memory(samples: Any) -> Any:
    """A copy of an array or tensor: a camera may write its next picture over this one."""
    return samples.detach().clone() if isinstance(samples, torch.Tensor) else samples.copy()


def split_sequence(item: Any) -> Sequence[Any]:
    """Split a sequence, an array (T, H, W, C) or tensor (T, C, H, W), into its pictures; else the picture alone."""
    return item if item.ndim == 4 and len(item) != 1 and 0 not in item.shape else [item]


def join_sequence(pictures: Sequence[Any]) -> Any:
    """Inverse of :func:`split_sequence`: stack several pictures; a single one is returned as it is."""
    if len(pictures) == 1:
        return pictures[0]
    return torch.stack(list(pictures)) if isinstance(pictures[0], torch.Tensor) else np.stack(pictures)


def _format(channels: int, bits: int) -> PixelFormat:
    depth = {8: "", 16: "16le", 32: "f32le"}[bits]
    if channels == 1:
        return PixelFormat(f"gray{depth}", "gray", bits)
    return PixelFormat(f"gbr{'a' if channels == 4 else ''}p{depth}", "rgb", bits, alpha=channels == 4)
