"""Size changes in mid-stream: frames of another size or format are refused, or letterboxed into the first size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from vdeblur.errors import SourceError
from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for
from vdeblur.options import SizeChange
from vdeblur.video.filter_graph import FilterGraph
from vdeblur.video.formats.pixel_formats import planes_of, video_frame_from
from vdeblur.video.info import VideoInfo
from vdeblur.video.interlace.handling import ShownFrame

_SCALER = "lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"
_RANGES = {"tv": "limited", "pc": "full"}
#: Matrices swscale knows, by FFmpeg's name and its own.
_MATRICES = {
    "bt709": "bt709", "fcc": "fcc", "bt470bg": "bt470bg", "smpte170m": "smpte170m", "smpte240m": "smpte240m",
    "bt2020nc": "bt2020", "bt2020c": "bt2020",
}  # fmt: skip


@dataclass(frozen=True)
class FitBox:
    """Where a scaled picture stands in the frame: sizes and offsets in pixels."""

    height: int
    width: int
    top: int
    left: int


def fitted_box(
    size: tuple[int, int],
    into: tuple[int, int],
    *,
    pixel_shape: Fraction = Fraction(1),
    into_shape: Fraction = Fraction(1),
    step: tuple[int, int] = (1, 1),
) -> FitBox:
    """The largest place for a picture inside a frame, in the middle, its shape on the screen kept.

    Args:
        size, into: (height, width) of the picture and of the frame.
        pixel_shape, into_shape: their pixels' width over height.
        step: rows and columns by which sizes and offsets go, unless the whole side is filled.
    """
    height, width = size
    broad = width * pixel_shape / into_shape
    scale = min(into[0] / Fraction(height), into[1] / broad)
    rows, columns = _stepped(height * scale, into[0], step[0]), _stepped(broad * scale, into[1], step[1])
    top, left = ((whole - part) // 2 // s * s for whole, part, s in zip(into, (rows, columns), step, strict=True))
    return FitBox(rows, columns, top, left)


def _stepped(length: Fraction, whole: int, step: int) -> int:
    if whole - length < Fraction(1, 2):
        return whole
    return max(step, round(length / step) * step) if round(length / step) * step <= whole else whole // step * step


class SizeFitter:
    """Watches the size and format of frames against those the video was described with.

    Args:
        video: the description, by the first picture.
        change: "stop" raises at the first frame that differs; "fit" scales such frames into the first size with bars
            around them, and converts their format, range and matrix.
        pixel_shape: asked at each change for the width over height of the new pixels.
        seconds_before: time of a tick since the first wanted frame.
    """

    def __init__(
        self,
        video: VideoInfo,
        change: SizeChange,
        *,
        pixel_shape: Callable[[], Fraction | None],
        seconds_before: Callable[[int], float],
    ) -> None:
        self._video = video
        self._change = change
        self._pixel_shape = pixel_shape
        self._seconds_before = seconds_before
        self._last: tuple[tuple[int, int], PixelFormat] = ((video.height, video.width), video.format)
        self._first = self._last
        self._shape = Fraction(1)
        self._graph: FilterGraph | None = None
        self._graph_for: Any = None
        self._changes: list[str] = []
        self._fitted = 0
        self._shape_change: str | None = None

    @property
    def notes(self) -> list[str]:
        """What has been done, in plain words."""
        said = [] if self._shape_change is None else [self._shape_change]
        if not self._changes:
            return said
        often = "" if len(self._changes) == 1 else f"{len(self._changes)} times, first "
        frames = "1 frame is" if self._fitted == 1 else f"{self._fitted} frames are"
        return [f"the picture changes {often}{self._changes[0]}; {frames} fitted into {_words(self._first)}", *said]

    def frame(self, shown: ShownFrame) -> Frame:
        """The frame in the layout all have.

        Raises:
            SourceError: it differs, and the change is to stop there.
        """
        frame = shown.frame
        now = (frame.size, frame.format)
        changed = now != self._last
        if changed:
            self._note(shown, now)
        if now == self._first and self._shape_change is None and (shape := self._pixel_shape()) is not None:
            first = self._video.sample_aspect_ratio or Fraction(1)
            words = f"the shape of the pixels changes from {_ratio(first)} to {_ratio(shape)}"
            self._shape_change = f"{words} near {frame.time_seconds:.3f} s, and is not kept"
        if now != self._first:
            self._fitted += 1
            frame = self._fit(frame)
        return replace(frame, cut=True) if changed else frame

    def _note(self, one: ShownFrame, now: tuple[tuple[int, int], PixelFormat]) -> None:
        before = self._seconds_before(one.source_tick)
        words = f"from {_words(self._last)} to {_words(now)} at {one.frame.time_seconds:.3f} s"
        if self._change == "stop":
            # Rounded down, so that it does not reach the change.
            duration = f"{math.floor(before * 1000 + 1e-6) / 1000:.3f}".rstrip("0").rstrip(".")
            earlier = f"--duration {duration} restores what is before, " if before > 0 else ""
            raise SourceError(f"the picture changes {words}; {earlier}--size-change fit goes on in the first size")
        self._changes.append(words)
        self._last = now
        self._shape = self._pixel_shape() or self._video.sample_aspect_ratio or Fraction(1)

    def _fit(self, frame: Frame) -> Frame:
        """The frame in the first one's size, format and colour."""
        video = self._video
        shift_x, shift_y = video.format.chroma_shift
        interlaced = video.interlacing.order is not None
        box = fitted_box(
            frame.size,
            (video.height, video.width),
            pixel_shape=self._shape,
            into_shape=video.sample_aspect_ratio or Fraction(1),
            step=((1 << shift_y) * (2 if interlaced else 1), 1 << shift_x),
        )
        scaled = self._scaled(frame, box, interlaced=interlaced)
        planes = black(video.format, video.colour, video.height, video.width)
        for index, (plane, part) in enumerate(zip(planes, scaled, strict=True)):
            top, left = video.format.plane_shape(index, box.top, box.left)
            plane[top : top + part.shape[0], left : left + part.shape[1]] = part
        return replace(frame, planes=planes, format=video.format, colour=video.colour)

    def _scaled(self, frame: Frame, box: FitBox, *, interlaced: bool) -> tuple[Any, ...]:
        target = self._video
        picture = video_frame_from(frame)
        words = {
            "w": box.width,
            "h": box.height,
            "flags": _SCALER,
            "interl": int(interlaced),
            "in_range": _range(frame.format, frame.colour),
            "out_range": _range(target.format, target.colour),
            "in_color_matrix": _matrix(frame.colour, target.colour),
            "out_color_matrix": _matrix(target.colour, frame.colour),
        }
        graph_for = (frame.size, frame.format, tuple(words.items()))
        if self._graph is None or graph_for != self._graph_for:
            scale = ":".join(f"{name}={value}" for name, value in words.items())
            self._graph = FilterGraph(picture, "scale", scale, "format", f"pix_fmts={target.format.name}")
            self._graph_for = graph_for
        self._graph.push(picture)
        (scaled,) = self._graph.pull()
        return planes_of(scaled)[0]


def black(pixel_format: PixelFormat, colour: Colour, height: int, width: int) -> tuple[Any, ...]:
    """Planes of a black picture: Y 16 and Cb, Cr 128 in limited range at 8 bits; opaque where there is alpha."""
    limited = _range(pixel_format, colour) == "limited"
    levels = [16 << (pixel_format.bits - 8) if limited else 0]
    levels += [0 if pixel_format.family == "rgb" else 1 << (pixel_format.bits - 1)] * (pixel_format.colour_planes - 1)
    levels += [int(pixel_format.peak)] * int(pixel_format.alpha)
    kind = dtype_for(pixel_format)
    return tuple(
        np.full(pixel_format.plane_shape(index, height, width), level, kind) for index, level in enumerate(levels)
    )


def _range(pixel_format: PixelFormat, colour: Colour) -> str:
    """As everywhere: YUV that does not say is limited, grey is full, and RGB is always full."""
    if pixel_format.family == "rgb":
        return "full"
    return _RANGES[colour.range or ("tv" if pixel_format.family == "yuv" else "pc")]


def _matrix(colour: Colour, other: Colour) -> str:
    """The matrix to convert from or to; one that is not said is that of the other side, so nothing is converted."""
    return _MATRICES.get(colour.matrix or other.matrix or "bt709", "bt709")


def _ratio(shape: Fraction) -> str:
    return f"{shape.numerator}:{shape.denominator}"


def _words(layout: tuple[tuple[int, int], PixelFormat]) -> str:
    (height, width), pixel_format = layout
    return f"{width}×{height} {pixel_format.name}"
