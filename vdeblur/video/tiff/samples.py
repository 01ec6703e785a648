"""Samples of a TIFF page: segments unpacked, put together, and made the planes of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vdeblur.errors import SourceError
from vdeblur.frames import dtype_for
from vdeblur.video.formats.pixel_formats import planes_of
from vdeblur.video.tiff.layout import JPEG, PALETTE, RGB, WHITE_IS_ZERO, YCBCR, PageLayout
from vdeblur.video.tiff.segments import SegmentReader

Plane = npt.NDArray[Any]
#: So many bits are taken apart at once.
_BITS_AT_ONCE = 1 << 23


def planes_of_page(page: PageLayout, segments: SegmentReader) -> tuple[Plane, ...]:
    """Planes of a page in the order of its format.

    Raises:
        SourceError: its data are damaged; in words that follow "it".
    """
    if page.photometric == YCBCR or (page.compression == JPEG and not page.planar):
        return _placed_planes(page, segments)
    return _as_planes(page, _placed_samples(page, segments))


def _placed_samples(page: PageLayout, segments: SegmentReader) -> Plane:
    """All samples as they are in the file: rows, columns, channels."""
    whole = np.empty((page.height, page.width, page.samples), dtype_for(page.format))
    channels = 1 if page.planar else page.samples
    for index, top, left in _places(page):
        plane = index // (page.rows * page.columns)
        block = _block(page, segments, index, channels, _rows(page, top))
        low, high = (plane, plane + 1) if page.planar else (0, channels)
        part = whole[top : top + page.segment_height, left : left + page.segment_width, low:high]
        part[...] = block[: part.shape[0], : part.shape[1]]
    return whole


def _places(page: PageLayout) -> Iterator[tuple[int, int, int]]:
    """Number, first row and first column of each segment."""
    for index in range(len(page.offsets)):
        row, column = divmod(index % (page.rows * page.columns), page.columns)
        yield index, row * page.segment_height, column * page.segment_width


def _rows(page: PageLayout, top: int) -> int:
    """Rows of the segment that begins at a row: tiles are always whole."""
    return page.segment_height if page.tiled else min(page.segment_height, page.height - top)


def _block(page: PageLayout, segments: SegmentReader, index: int, channels: int, row_count: int) -> Plane:
    """Samples of one segment: rows, columns, channels."""
    if page.compression == JPEG:
        (plane,), _ = _jpeg_planes(segments.jpeg(page, index), 1, row_count, page.segment_width)
        return plane[:, :, None]
    per_row = page.segment_width * channels
    data = segments.unpacked(page, index, -(-per_row * page.bits // 8), row_count)
    found = _integers(data, page, per_row, row_count).reshape(row_count, page.segment_width, channels)
    return np.cumsum(found, axis=1, dtype=found.dtype) if page.differences else found


def _integers(data: bytes, page: PageLayout, per_row: int, row_count: int) -> Plane:
    """Samples as numbers, without those that fill up a row's last byte."""
    if page.bits == 8:
        return np.frombuffer(data, np.uint8)
    if page.bits == 16:
        return np.frombuffer(data, page.order + "u2").astype(np.uint16)
    packed = np.frombuffer(data, np.uint8).reshape(row_count, -1)
    found = np.empty((row_count, per_row), np.uint8 if page.bits < 8 else np.uint16)
    weights = (1 << np.arange(page.bits)[::-1]).astype(found.dtype)
    step = max(1, _BITS_AT_ONCE // (8 * packed.shape[1]))
    for top in range(0, row_count, step):
        bits = np.unpackbits(packed[top : top + step], axis=1, count=per_row * page.bits)
        found[top : top + step] = bits.reshape(len(bits), per_row, page.bits) @ weights
    return found


def _as_planes(page: PageLayout, samples: Plane) -> tuple[Plane, ...]:
    """Channels in the order of the frame's planes."""
    channels = [samples[:, :, number] for number in range(page.samples)]
    if page.photometric == PALETTE:
        table = np.array(page.palette).reshape(3, -1)
        # Some programs wrote eight bits where sixteen belong.
        table = (table if table.max() < 256 else table >> 8).astype(np.uint8)
        red, green, blue = (plane[channels[0]] for plane in table)
        return green, blue, red
    if page.photometric == RGB:
        red, green, blue, *alpha = channels
        channels = [green, blue, red, *alpha]
    elif page.bits < 8:
        channels[0] = channels[0] * np.uint8(255 // ((1 << page.bits) - 1))
    if page.photometric == WHITE_IS_ZERO:
        channels[0] = channels[0].dtype.type(int(page.format.peak)) - channels[0]
    return tuple(map(np.ascontiguousarray, channels))


def _placed_planes(page: PageLayout, segments: SegmentReader) -> tuple[Plane, ...]:
    """Planes put together from segments that have planes themselves: YCbCr, and JPEGs of any colours."""
    made = page.format
    planes = [
        np.empty(made.plane_shape(number, page.height, page.width), dtype_for(made))
        for number in range(made.plane_count)
    ]
    for index, top, left in _places(page):
        row_count = _rows(page, top)
        if page.compression == JPEG:
            parts, name = _jpeg_planes(segments.jpeg(page, index), made.plane_count, row_count, page.segment_width)
            _check_jpeg(page, name)
            if page.photometric == RGB and not name.startswith("gbr"):
                parts = (parts[1], parts[2], parts[0])
        else:
            parts = _ycbcr_planes(page, segments, index, row_count)
        for number, (plane, part) in enumerate(zip(planes, parts, strict=True)):
            across, down = made.chroma_shift if number in (1, 2) else (0, 0)
            place = plane[top >> down : -(-(top + page.segment_height) >> down), left >> across :]
            rows, columns = min(place.shape[0], part.shape[0]), min(place.shape[1], part.shape[1])
            place[:rows, :columns] = part[:rows, :columns]
    if page.photometric == WHITE_IS_ZERO:
        planes[0] = planes[0].dtype.type(int(made.peak)) - planes[0]
    return tuple(planes)


def _jpeg_planes(picture: av.VideoFrame, count: int, row_count: int, width: int) -> tuple[tuple[Plane, ...], str]:
    """Planes of a decoded segment, and FFmpeg's name of their format."""
    planes, found = planes_of(picture)
    if len(planes) != count or picture.width < width or picture.height < row_count:
        raise SourceError("a JPEG inside it is not of the size and the colours that it says")
    return planes, found.name


def _check_jpeg(page: PageLayout, name: str) -> None:
    wanted = page.format.name if page.photometric == YCBCR else {1: "gray", 3: "444"}[page.format.colour_planes]
    if wanted not in name and not (page.photometric == RGB and name.startswith("gbr")):
        raise SourceError(f"a JPEG inside it has other colours ({name}) than it says ({page.format.name})")


def _ycbcr_planes(page: PageLayout, segments: SegmentReader, index: int, row_count: int) -> tuple[Plane, ...]:
    """Planes of a segment in which blocks of luma samples stand before their Cb and Cr."""
    across, down = (1 << shift for shift in page.format.chroma_shift)
    columns, lines = -(-page.segment_width // across), -(-row_count // down)
    size = across * down + 2
    data = segments.unpacked(page, index, columns * size, lines)
    blocks = np.frombuffer(data, np.uint8).reshape(lines, columns, size)
    luma = blocks[:, :, :-2].reshape(lines, columns, down, across).swapaxes(1, 2).reshape(lines * down, -1)
    return luma[:row_count, : page.segment_width], blocks[:, :, -2], blocks[:, :, -1]
