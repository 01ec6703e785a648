"""Pixel formats: every layout FFmpeg decodes to becomes separate, right-aligned planes without losing a bit.

Planar little-endian formats are handed on as views of the decoder's own buffer. Everything else (big-endian, most
significant bits first, NV12 and its family, packed RGB and YUV, palettes, bit fields) is repacked exactly.
"""

from __future__ import annotations

import re
from functools import cache, partial

import av
import numpy as np
import numpy.typing as npt

from vdeblur.errors import SourceError
from vdeblur.frames import Frame, PixelFormat, dtype_for
from vdeblur.video.formats.packed_formats import packed_layouts
from vdeblur.video.formats.plane_layouts import Plane, PlaneLayout, gray, native, rgb, rows, wide, yuv

_YUV = re.compile(r"yuvj?(a?)(420|422|444|440|411|410)p(\d*)(msb)?(le|be)?")
_GBR = re.compile(r"gbr(a?)p(\d*)(msb)?(le|be)?")
_GRAY = re.compile(r"gray(\d*)(le|be)?")


def canonical_format(ffmpeg_name: str) -> PixelFormat:
    """Format that frames of FFmpeg's ``ffmpeg_name`` have after :func:`planes_of`; "yuvj…" become the plain format.

    Raises:
        SourceError: Bayer patterns, XYZ, floating point, 32-bit integers and frames on a device are not supported.
    """
    return _layout(ffmpeg_name).canonical


def planes_of(frame: av.VideoFrame) -> tuple[tuple[Plane, ...], PixelFormat]:
    """Planes of a decoded frame, bit for bit, each (rows, columns) of uint8 or uint16, and their format.

    Views share the decoder's memory, keep it alive, and may be read only: the decoder still predicts from them.
    """
    layout = _layout(frame.format.name)
    return layout.unpack(frame), layout.canonical


def video_frame_from(frame: Frame) -> av.VideoFrame:
    """The inverse: a new FFmpeg frame with the samples, pts and time base of ``frame``.

    Planes may be NumPy arrays or CPU tensors. Colour tags are left to the encoder's options.
    """
    made = av.VideoFrame(frame.width, frame.height, frame.format.name)
    planes = [np.asarray(plane) for plane in frame.planes]
    dtype = dtype_for(frame.format)
    if frame.format.name.startswith("ya"):
        pixels = rows(made, 0, dtype, 2 * frame.width)
        pixels[:, 0::2], pixels[:, 1::2] = planes
    else:
        for index, plane in enumerate(planes):
            rows(made, index, dtype, plane.shape[1])[...] = plane
    made.pts = frame.pts
    made.time_base = frame.time_base
    return made


@cache
def _layout(name: str) -> PlaneLayout:
    layout = _planar(name) or packed_layouts().get(name)
    if layout is None:
        raise SourceError(
            f"pixel format {name!r} is not supported; integer YUV, grey and RGB of 8 to 16 bits in memory are"
        )
    return layout


def _planar(name: str) -> PlaneLayout | None:
    """Layout of a format whose planes are already separate."""
    if match := _YUV.fullmatch(name):
        alpha, sampling, digits, msb, order = match.groups()
        bits = int(digits or 8)
        canonical = yuv(sampling, bits, alpha=bool(alpha))
    elif match := _GBR.fullmatch(name):
        alpha, digits, msb, order = match.groups()
        bits = int(digits or 8)
        canonical = rgb(bits, alpha=bool(alpha))
    elif match := _GRAY.fullmatch(name):
        digits, order = match.groups()
        bits, msb = int(digits or 8), None
        canonical = gray(bits)
    else:
        return None
    if bits > 16:
        return None
    big, shift = order == "be", (16 - bits if msb else 0)
    return PlaneLayout(canonical, partial(_unpack_planar, canonical=canonical, big=big, shift=shift))


def _unpack_planar(frame: av.VideoFrame, canonical: PixelFormat, *, big: bool, shift: int) -> tuple[Plane, ...]:
    dtype: npt.DTypeLike = np.uint8 if canonical.bits == 8 else wide(big)
    shapes = [canonical.plane_shape(index, frame.height, frame.width) for index in range(canonical.plane_count)]
    return tuple(native(rows(frame, index, dtype, columns), shift) for index, (_, columns) in enumerate(shapes))
