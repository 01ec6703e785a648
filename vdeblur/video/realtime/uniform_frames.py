"""Uniform frames: frames of any kind and size converted to the one format of a player, camera or pipe."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.video.changes.size_change import black, fitted_box
from vdeblur.video.filter_graph import FilterGraph
from vdeblur.video.formats.pixel_formats import planes_of, video_frame_from
from vdeblur.video.info import SourceInfo, StreamInfo, VideoInfo

YUV420 = PixelFormat("yuv420p", "yuv", 8, (1, 1))

#: Lines from which a picture that does not say counts as BT.709.
_HD_LINES = 720
_RANGES = {"tv": "limited", "pc": "full"}
_MATRICES = {"bt709": "bt709", "bt470bg": "bt601", "smpte170m": "bt601", "bt2020nc": "bt2020", "bt2020c": "bt2020"}


class UniformFrames:
    """Makes every frame one of limited range, of the wanted format and of the first one's size.

    Frames of another size are fitted into it with bars. A frame that is as it should be comes back as it is.
    Times stay.

    Args:
        wanted: a format of YUV or grey; ``None`` = the frame's own where it is one of these with 8 bits, else 4:2:0.
    """

    def __init__(self, wanted: PixelFormat | None = None) -> None:
        self._wanted = wanted
        self._size: tuple[int, int] | None = None
        self._graph: FilterGraph | None = None
        self._graph_for: Any = None
        self.format: PixelFormat | None = wanted

    def __call__(self, frame: Frame) -> Frame:
        if self._size is None:
            self._size = frame.size
        if self.format is None:
            own = frame.format.family != "rgb" and frame.format.bits == 8 and not frame.format.alpha
            self.format = frame.format if own and frame.format.family == "yuv" else YUV420
        colour = _plain_colour(frame)
        if frame.size == self._size and frame.format == self.format and frame.colour.range != "pc":
            return replace(frame, colour=colour)
        return self._converted(frame, colour, self.format, self._size)

    def _converted(self, frame: Frame, colour: Colour, target: PixelFormat, size: tuple[int, int]) -> Frame:
        shift_x, shift_y = target.chroma_shift
        box = fitted_box(frame.size, size, step=(1 << shift_y, 1 << shift_x))
        picture = video_frame_from(frame)
        matrix = _MATRICES.get(colour.matrix or "", "bt709")
        full = frame.format.family == "rgb"
        words = f"w={box.width}:h={box.height}:in_range={'full' if full else _range(frame)}:out_range=limited"
        words += f":out_color_matrix={matrix}" + ("" if full else f":in_color_matrix={matrix}")
        graph_for = (frame.size, frame.format, words)
        if self._graph is None or graph_for != self._graph_for:
            self._graph = FilterGraph(picture, "scale", words, "format", f"pix_fmts={target.name}")
            self._graph_for = graph_for
        self._graph.push(picture)
        (scaled,) = self._graph.pull()
        planes: Any = planes_of(scaled)[0]
        if (box.height, box.width) != size:
            planes = _in_the_middle(planes, target, colour, size, (box.top, box.left))
        return replace(frame, planes=tuple(planes), format=target, colour=colour)


def _plain_colour(frame: Frame) -> Colour:
    """The frame's colour in limited range, with the matrix said."""
    matrix = frame.colour.matrix if frame.colour.matrix in _MATRICES else None
    matrix = matrix or ("bt709" if frame.height >= _HD_LINES else "smpte170m")
    return replace(frame.colour, matrix=matrix, range="tv")


def _range(frame: Frame) -> str:
    return _RANGES[frame.colour.range or ("tv" if frame.format.family == "yuv" else "pc")]


def _in_the_middle(
    parts: tuple[Any, ...], target: PixelFormat, colour: Colour, size: tuple[int, int], place: tuple[int, int]
) -> tuple[Any, ...]:
    planes = black(target, colour, *size)
    for index, (plane, part) in enumerate(zip(planes, parts, strict=True)):
        top, left = target.plane_shape(index, *place)
        plane[top : top + part.shape[0], left : left + part.shape[1]] = part
    return planes


def described(frame: Frame, rate: Fraction | None, name: str) -> SourceInfo:
    """What a reader would say of a bare video that begins with this frame and cannot be read twice."""
    video = VideoInfo(
        stream_index=0,
        codec="rawvideo",
        width=frame.width,
        height=frame.height,
        pixel_format=frame.format.name,
        format=frame.format,
        colour=frame.colour,
        time_base=frame.time_base,
        average_rate=rate,
        frame_count_from_header=None,
        start_pts=frame.pts,
        duration_seconds=None,
    )
    return SourceInfo(
        name=name,
        path=None,
        input_url=None,
        input_options={},
        container="nut",
        video=video,
        streams=(StreamInfo(0, "video", "rawvideo"),),
        chapters=0,
        metadata={},
        duration_seconds=None,
    )
