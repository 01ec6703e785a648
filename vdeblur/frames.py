"""Frames: data plus when. The words every other module uses for pixels, colour and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

#: Colour families: luma and chroma, luma alone, or green-blue-red.
Family = Literal["yuv", "gray", "rgb"]
#: Which field of an interlaced frame is of the earlier instant: the top one (even rows) or the bottom one (odd rows).
FieldOrder = Literal["tff", "bff"]


@dataclass(frozen=True)
class PixelFormat:
    """Layout of a frame's planes.

    Planes are always separate, little-endian and right-aligned: Y Cb Cr, Y alone, or G B R (FFmpeg's order for
    planar RGB); an alpha plane, where there is one, comes last. Integer samples are uint8 up to 8 bits and uint16
    above; ``bits == 32`` means float32 in [0, 1].
    """

    #: FFmpeg's name, e.g. "yuv420p10le", "gbrp", "gray"; "ya8" for grey with alpha.
    name: str
    family: Family
    bits: int
    #: log2 of the horizontal and vertical chroma subsampling: (1, 1) is 4:2:0, (1, 0) 4:2:2, (0, 0) 4:4:4.
    chroma_shift: tuple[int, int] = (0, 0)
    alpha: bool = False

    @property
    def is_float(self) -> bool:
        return self.bits == 32

    @property
    def peak(self) -> float:
        """Largest sample value: 255, 1023, 65535, or 1.0 for float."""
        return 1.0 if self.is_float else float((1 << self.bits) - 1)

    @property
    def colour_planes(self) -> int:
        return 1 if self.family == "gray" else 3

    @property
    def plane_count(self) -> int:
        return self.colour_planes + int(self.alpha)

    def plane_shape(self, plane: int, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of one plane of a ``height`` × ``width`` frame; odd sizes round chroma up."""
        if self.family == "yuv" and plane in (1, 2):
            shift_x, shift_y = self.chroma_shift
            return -(-height >> shift_y), -(-width >> shift_x)
        return height, width


@dataclass(frozen=True)
class Colour:
    """Colour description as FFmpeg names it (ITU-T H.273). ``None`` = the stream does not say."""

    #: Matrix coefficients: "bt709", "smpte170m", "bt470bg", "bt2020nc", "gbr", …
    matrix: str | None = None
    #: "tv" (limited) or "pc" (full).
    range: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    #: Chroma sample location: "left", "center", "topleft", …
    chroma_location: str | None = None


@dataclass(frozen=True)
class CameraExposure:
    """How long the shutter was open for a frame, as the camera wrote it down: exactly one of the two is given.

    Args:
        source: where it was written, for people: "GoPro GPMF".
        seconds: exposure time in seconds, above 0.
        fraction: share of the frame interval, 0 < fraction ≤ 1: a shutter angle divided by 360°.
    """

    source: str
    seconds: float | None = None
    fraction: float | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture: planes, how to read them, and when it is shown.

    Args:
        planes: one 2-D array (rows, columns) a plane, NumPy arrays or torch tensors, in the order of ``PixelFormat``.
        pts: presentation time in ticks of ``time_base``; an integer, never a float.
        duration: ticks it is shown, 0 when unknown.
        cut: it is known that nothing before it belongs to the same shot.
        origin: the picture it was made of, where that was another (:mod:`vdeblur.adapters.pictures`).
        exposure: what the camera wrote down about the shutter, None if nothing is known.
        captions: closed captions inside the picture (CEA-608 and 708, as cc_data of ATSC A/53).
        quantiser: how strongly it was compressed: its mean quantiser as H.264 counts it, 0 to 51 (a step that doubles
            every 6). None: not known, or lossless.
        own_rows: the rows that are the source's where those between were made of them: 0 even, 1 odd; None: all are.
    """

    planes: tuple[Any, ...]
    format: PixelFormat
    colour: Colour
    pts: int
    time_base: Fraction
    duration: int = 0
    cut: bool = False
    origin: Any = None
    exposure: CameraExposure | None = None
    captions: bytes = b""
    quantiser: float | None = None
    own_rows: Literal[0, 1] | None = None

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def time_seconds(self) -> float:
        """Time for people and messages; arithmetic uses ``pts`` and ``time_base``."""
        return float(self.pts * self.time_base)

    def with_planes(self, planes: Sequence[Any]) -> Frame:
        """The same picture time and format with other samples."""
        return replace(self, planes=tuple(planes))

    def same_layout(self, other: Frame) -> bool:
        """Whether both frames have the same size, format and colour, so that one state serves both."""
        return self.size == other.size and self.format == other.format and self.colour == other.colour


def dtype_for(pixel_format: PixelFormat) -> type[np.generic]:
    """NumPy sample type of a format: float32, uint8 or uint16."""
    if pixel_format.is_float:
        return np.float32
    return np.uint8 if pixel_format.bits <= 8 else np.uint16
