"""WebP parser for animations, which FFmpeg before version 9 cannot decode: frames, blending and disposal.

Source: WebP container specification (developers.google.com/speed/webp/docs/riff_container); blending as libwebp does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

from vdeblur.errors import SourceError
from vdeblur.video.formats.pixel_formats import planes_of

Planes = list[npt.NDArray[np.uint8]]

_ANIMATION, _ALPHA = 0x02, 0x10
#: A RIFF header, and an extended one behind it.
_HEAD_BYTES = 30
#: FFmpeg's order for R'G'B'A as separate planes is G, B, R, A.
_COLOUR_PLANES = 3


@dataclass(frozen=True)
class WebpFrame:
    """One frame of an animation: a rectangle that is drawn over what is there."""

    left: int
    top: int
    width: int
    height: int
    milliseconds: int
    #: It is laid over what is there, according to its alpha, or takes its place.
    blends: bool
    #: What it covers is cleared after it has been shown.
    disposes: bool
    lossy: bool
    #: Where its bitstream is.
    offset: int
    size: int


@dataclass(frozen=True)
class WebpAnimation:
    """What an animated WebP says of itself."""

    width: int
    height: int
    parts: tuple[WebpFrame, ...]
    #: It ends inside a frame.
    cut_off: bool

    @property
    def pixel_format(self) -> str:
        """YCbCr as it is decoded, unless a frame is R'G'B'."""
        return "yuva420p" if all(part.lossy for part in self.parts) else "gbrap"


def is_animated_webp(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20:21]) and bool(head[20] & _ANIMATION)


def read_animation(file: BinaryIO) -> WebpAnimation:
    """Read the headers of all frames."""
    head = file.read(_HEAD_BYTES)
    width, height = (1 + int.from_bytes(head[place : place + 3], "little") for place in (24, 27))
    parts: list[WebpFrame] = []
    cut_off = False
    for kind, offset, size, whole in _chunks(file, _HEAD_BYTES):
        cut_off |= not whole
        if kind == b"ANMF" and whole and size > 24:
            file.seek(offset)
            parts.append(_part(file.read(20), offset, size))
    # Some programs write canvases too small for their frames.
    return WebpAnimation(
        max(width, *(part.left + part.width for part in parts), 1),
        max(height, *(part.top + part.height for part in parts), 1), tuple(parts), cut_off,
    )  # fmt: skip


def _chunks(file: BinaryIO, start: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Name, first byte, length and completeness of each chunk."""
    end = file.seek(0, 2)
    while start + 8 <= end:
        file.seek(start)
        header = file.read(8)
        size = int.from_bytes(header[4:], "little")
        yield header[:4], start + 8, size, start + 8 + size <= end
        start += 8 + size + size % 2


def _part(head: bytes, offset: int, size: int) -> WebpFrame:
    left, top, width, height, duration = (
        int.from_bytes(head[place : place + 3], "little") for place in range(0, 15, 3)
    )
    return WebpFrame(
        2 * left, 2 * top, width + 1, height + 1, duration, not head[15] & 2, bool(head[15] & 1),
        head[16:20] != b"VP8L", offset + 16, size - 16,
    )  # fmt: skip


class WebpCanvas:
    """The picture as it is shown, frame by frame."""

    def __init__(self, animation: WebpAnimation) -> None:
        self._context = av.CodecContext.create("webp", "r")
        self._context.thread_count = 1
        self._format = animation.pixel_format
        self._halved = self._format == "yuva420p"
        rows, columns = animation.height, animation.width
        half = (-(-rows // 2), -(-columns // 2))
        shapes = [(rows, columns), *([half] * 2 if self._halved else [(rows, columns)] * 2), (rows, columns)]
        self.planes: Planes = [np.full(shape, self._empty(index), np.uint8) for index, shape in enumerate(shapes)]

    def draw(self, part: WebpFrame, bitstream: bytes) -> None:
        """Draw a frame.

        Raises:
            SourceError: it cannot be decoded.
        """
        drawn = self._decoded(part, bitstream)
        places = [self._rectangle(part, index) for index in range(len(self.planes))]
        under = [plane[place] for plane, place in zip(self.planes, places, strict=True)]
        for target, made in zip(under, _over(drawn, under) if part.blends else drawn, strict=True):
            target[...] = made

    def clear(self, part: WebpFrame) -> None:
        """Take a frame away again."""
        for index, plane in enumerate(self.planes):
            plane[self._rectangle(part, index)] = self._empty(index)

    def _empty(self, index: int) -> int:
        """A sample of a wholly transparent place."""
        return (0, 128, 128, 0)[index] if self._halved else 0

    def _rectangle(self, part: WebpFrame, index: int) -> tuple[slice, slice]:
        step = 2 if self._halved and index in (1, 2) else 1
        top, left = part.top // step, part.left // step
        return slice(top, top - (-part.height // step)), slice(left, left - (-part.width // step))

    def _decoded(self, part: WebpFrame, bitstream: bytes) -> Planes:
        """A frame's own planes, in the canvas's format; without alpha it is opaque."""
        data = _as_file(part, bitstream)
        packet: av.Packet[Any] = av.Packet(len(data))
        packet.update(data)
        context: VideoCodecContext = self._context
        try:
            picture = context.decode(packet)[0]
        except (av.error.FFmpegError, IndexError) as exc:
            raise SourceError(f"a frame of the animation cannot be decoded: {exc}") from exc
        if (picture.width, picture.height) != (part.width, part.height):
            raise SourceError("a frame of the animation has another size than it says")
        if part.lossy and not self._halved:
            picture = picture.reformat(format="rgba", src_colorspace="ITU601", src_color_range="MPEG")
        planes = [np.array(plane) for plane in planes_of(picture)[0]]
        return planes if len(planes) > _COLOUR_PLANES else [*planes, np.full(planes[0].shape, 255, np.uint8)]


def _as_file(part: WebpFrame, bitstream: bytes) -> bytes:
    """A frame as a WebP file of its own."""
    extended = b""
    if bitstream[:4] == b"ALPH":
        size = b"".join((number - 1).to_bytes(3, "little") for number in (part.width, part.height))
        extended = b"VP8X" + (10).to_bytes(4, "little") + bytes((_ALPHA, 0, 0, 0)) + size
    body = b"WEBP" + extended + bitstream
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _over(drawn: Planes, under: Planes) -> Planes:
    """Samples laid over others by their alpha, which is not multiplied into the colours."""
    made = []
    for above, below in zip(drawn[:_COLOUR_PLANES], under, strict=False):
        alphas = (_averaged(planes[-1], below.shape) for planes in (drawn, under))
        made.append(_blended(above, below, *alphas))
    alpha, alpha_below = (planes[-1].astype(np.uint32) for planes in (drawn, under))
    total = alpha + (alpha_below * (256 - alpha) >> 8)
    return [*made, np.where(alpha == 0, alpha_below, total).astype(np.uint8)]


def _averaged(alpha: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.uint32]:
    """Alpha of each sample of a plane of that shape: that of its pixel, or the mean of its two by two."""
    wide = alpha.astype(np.uint32)
    if alpha.shape == shape:
        return wide
    total, count = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
    for row in (0, 1):
        for column in (0, 1):
            part = wide[row::2, column::2]
            total[: part.shape[0], : part.shape[1]] += part
            count[: part.shape[0], : part.shape[1]] += 1
    return total // count


def _blended(
    above: npt.NDArray[np.uint8],
    below: npt.NDArray[np.uint8],
    alpha: npt.NDArray[np.uint32],
    alpha_below: npt.NDArray[np.uint32],
) -> npt.NDArray[np.uint8]:
    rest = alpha_below * (256 - alpha) >> 8
    scale = ((1 << 24) // np.maximum(alpha + rest, 1)).astype(np.uint64)
    mixed = ((above * alpha + below * rest) * scale >> np.uint64(24)).astype(np.uint8)
    return np.where(alpha == 0, below, np.where(alpha == 255, above, mixed))
