"""PyAV frames: ``av.VideoFrame`` to :class:`vdeblur.frames.Frame` and back, with time and colour."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av import VideoFrame

from vdeblur.errors import SourceError, UsageError
from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for
from vdeblur.video.av_compat import fraction_or_none
from vdeblur.video.formats.colour_tags import frame_colour
from vdeblur.video.formats.pixel_formats import canonical_format, planes_of, video_frame_from
from vdeblur.video.formats.plane_layouts import rows

__all__ = ["VideoFrame", "frame_of_video_frame", "has_time", "is_video_frame", "video_frame_of"]

#: FFmpeg writes these with dithering; here they are put together exactly.
_SEMIPLANAR = {"p010le": 6, "p016le": 0}
#: Side of the picture that a format is tried with; odd, so that chroma is rounded up.
_TRIAL = 37


def is_video_frame(picture: Any) -> bool:
    return isinstance(picture, VideoFrame)


def has_time(picture: VideoFrame) -> bool:
    """Whether it has a pts and a time base."""
    return picture.pts is not None and fraction_or_none(picture.time_base) is not None


def frame_of_video_frame(picture: VideoFrame, number: int) -> Frame:
    """A frame with its pts, time base, duration and colour; one without pts is shown at tick ``number``.

    Raises:
        UsageError: its pixel format cannot be taken apart and put together again exactly.
    """
    name = picture.format.name
    if not _is_exact(name):
        raise UsageError(
            f"frame {number} has pixel format {name}, which cannot be given back exactly; "
            "use frame.reformat(format='yuv420p') or 'rgb24'"
        )
    planes, pixel_format = planes_of(picture)
    colour, base = frame_colour(picture, Colour()), fraction_or_none(picture.time_base)
    if picture.pts is None or base is None:
        return Frame(planes, pixel_format, colour, number, Fraction(1), 1)
    return Frame(planes, pixel_format, colour, picture.pts, base, picture.duration or 0)


def video_frame_of(frame: Frame, like: VideoFrame) -> VideoFrame:
    """A new picture with the format, pts, time base, duration and colour of ``like``, from its restored frame."""
    made = _packed(frame, like.format.name)
    made.pts, made.dts = like.pts, like.dts
    if (time_base := fraction_or_none(like.time_base)) is not None:
        made.time_base = time_base
    made.duration, made.opaque = like.duration, like.opaque
    made.colorspace, made.color_range = like.colorspace, like.color_range
    made.color_primaries, made.color_trc = like.color_primaries, like.color_trc
    made.pict_type = av.video.frame.PictureType.NONE  # an encoder would take it for an order
    return made


def _packed(frame: Frame, name: str) -> VideoFrame:
    """The frame's samples in FFmpeg's format of that name."""
    if name in _SEMIPLANAR:
        return _semiplanar(frame, name)
    same = name.startswith("yuvj")  # the same planes under another name
    made = video_frame_from(replace(frame, format=replace(frame.format, name=name)) if same else frame)
    # The range is said on both sides, so that swscale only moves samples.
    return made if made.format.name == name else made.reformat(format=name, src_color_range=2, dst_color_range=2)


def _semiplanar(frame: Frame, name: str) -> VideoFrame:
    made, shift = VideoFrame(frame.width, frame.height, name), _SEMIPLANAR[name]
    luma, *chroma = (np.asarray(plane) << np.uint16(shift) for plane in frame.planes)
    rows(made, 0, np.uint16, frame.width)[...] = luma
    both = rows(made, 1, np.uint16, 2 * chroma[0].shape[1])
    both[:, 0::2], both[:, 1::2] = chroma
    return made


@lru_cache(maxsize=128)
def _is_exact(name: str) -> bool:
    """Whether samples survive the way into a format and back; tried once with noise."""
    try:
        noise = _noise(canonical_format(name))
        found, _ = planes_of(_packed(noise, name))
    except (SourceError, av.error.FFmpegError, ValueError):
        return False
    return all(np.array_equal(before, after) for before, after in zip(noise.planes, found, strict=True))


def _noise(pixel_format: PixelFormat) -> Frame:
    draw = np.random.default_rng(0)
    shapes = [pixel_format.plane_shape(index, _TRIAL, _TRIAL) for index in range(pixel_format.plane_count)]
    planes = [draw.integers(0, int(pixel_format.peak), size, dtype_for(pixel_format), endpoint=True) for size in shapes]
    return Frame(tuple(planes), pixel_format, Colour(), 0, Fraction(1))
