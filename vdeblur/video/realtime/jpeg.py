"""JPEG and PNG in memory: frames encoded for a browser, and pictures from a browser decoded."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from vdeblur.errors import SourceError, TargetError
from vdeblur.frames import Colour, Frame
from vdeblur.video.formats.pixel_formats import planes_of, video_frame_from
from vdeblur.video.photo.png import encode_png
from vdeblur.video.quantiser.jpeg import jpeg_quantiser
from vdeblur.video.realtime.jpeg_header import check_jpeg

#: What JFIF says of every picture's colour.
JFIF = Colour(matrix="smpte170m", range="pc", chroma_location="center")
#: Quantiser scale of the encoder, 1 to 31. At 3 a picture is 45 dB from what it was made of, and 640×480 takes 50 KB.
QUALITY = 3
#: Formats that are stored as they are when their range and matrix are JFIF's.
_STORED = {"yuv420p": "yuvj420p", "yuv422p": "yuvj422p", "yuv444p": "yuvj444p"}
_SPACES = {
    "bt709": Colorspace.ITU709,
    "smpte240m": Colorspace.SMPTE240M,
    "fcc": Colorspace.FCC,
    "bt2020nc": Colorspace.BT2020,
    "bt2020c": Colorspace.BT2020,
}
#: Untagged video of so many lines is BT.709.
_HD_LINES = 720
_TICK = Fraction(1, 90_000)


class JpegEncoder:
    """Makes JPEGs of frames; frames of one size follow each other quickest. For one thread at a time."""

    def __init__(self, quality: int = QUALITY) -> None:
        self._quality = quality
        self._made_for: tuple[int, int, str] | None = None
        self._context: Any = None

    def encode(self, frame: Frame) -> bytes:
        """The frame as a baseline JPEG in BT.601 and full range; 8-bit 4:2:0, 4:2:2 and 4:4:4 keep their chroma.

        Raises:
            TargetError: it cannot be encoded.
        """
        try:
            picture = _jfif_frame(frame)
            context = self._context_for(picture)
            picture.pts, picture.time_base = None, context.time_base
            return b"".join(bytes(packet) for packet in context.encode(picture))
        except av.error.FFmpegError as exc:
            raise TargetError(f"a frame of {frame.width}×{frame.height} cannot become a JPEG: {exc}") from exc

    def _context_for(self, picture: av.VideoFrame) -> Any:
        wanted = (picture.width, picture.height, picture.format.name)
        if wanted != self._made_for:
            context: Any = av.CodecContext.create("mjpeg", "w")
            context.width, context.height, context.pix_fmt = wanted
            context.time_base = _TICK
            context.color_range = ColorRange.JPEG
            context.qmin = context.qmax = self._quality
            context.thread_count = 1  # a thread for each frame would hold pictures back
            context.options = {"huffman": "default"}
            self._context, self._made_for = context, wanted
        return self._context


def decode_jpeg(data: bytes, *, pts: int, time_base: Fraction, most_pixels: int) -> Frame:
    """The frame of a JPEG, with the time it is given.

    The headers are read before anything is decoded: nothing is allocated for a picture that is too large.

    Raises:
        SourceError: it is no baseline JPEG of at most ``most_pixels``, or it is damaged.
    """
    check_jpeg(data, most_pixels=most_pixels)
    context: Any = av.CodecContext.create("mjpeg", "r")
    context.thread_count = 1
    try:
        pictures = [*context.decode(av.Packet(data)), *context.decode(None)]
    except av.error.FFmpegError as exc:
        raise SourceError(f"a JPEG cannot be decoded: {exc}") from exc
    if len(pictures) != 1:
        raise SourceError(f"a JPEG holds {len(pictures)} pictures; it must hold one")
    planes, pixel_format = planes_of(pictures[0])
    return Frame(planes, pixel_format, JFIF, pts, time_base, quantiser=jpeg_quantiser(data))


def frame_as_png(frame: Frame) -> bytes:
    """The frame as an 8-bit R'G'B' PNG.

    Raises:
        TargetError: it cannot be encoded.
    """
    try:
        picture: Any = _converted(frame, "rgb24").to_ndarray()
    except av.error.FFmpegError as exc:
        raise TargetError(f"a frame of {frame.width}×{frame.height} cannot become a PNG: {exc}") from exc
    return encode_png(picture)


def _jfif_frame(frame: Frame) -> av.VideoFrame:
    stored = _STORED.get(frame.format.name)
    if stored is not None and not _is_limited(frame) and _space(frame) == Colorspace.ITU601:
        return _copied(frame, stored)
    return _converted(frame, stored or "yuvj420p")


def _copied(frame: Frame, name: str) -> av.VideoFrame:
    """An FFmpeg frame with the very samples of an 8-bit planar frame."""
    made: Any = av.VideoFrame(frame.width, frame.height, name)
    for plane, samples in zip(made.planes, frame.planes, strict=True):
        rows: np.ndarray[Any, Any] = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : samples.shape[1]] = np.asarray(samples)
    made.color_range = ColorRange.JPEG
    return made  # type: ignore[no-any-return]


def _converted(frame: Frame, name: str) -> av.VideoFrame:
    """The frame's colours in another format, in BT.601 and full range.

    By way of G'B'R': from YCbCr of 10 bits straight to 8, libswscale loses 3 dB more.
    """
    colours = video_frame_from(frame).reformat(
        format="gbrp",
        src_colorspace=_space(frame),
        src_color_range=ColorRange.MPEG if _is_limited(frame) else ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG,
    )
    return colours.reformat(format=name, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG)


def _is_limited(frame: Frame) -> bool:
    """Whether samples keep head- and footroom: as tagged; untagged YCbCr does."""
    return frame.colour.range == "tv" or (frame.colour.range is None and frame.format.family == "yuv")


def _space(frame: Frame) -> int:
    """The matrix by its tag, or by the size where there is none."""
    matrix = frame.colour.matrix
    if matrix is None and frame.format.family == "yuv" and frame.height >= _HD_LINES:
        return Colorspace.ITU709
    return _SPACES.get(matrix or "", Colorspace.ITU601)
