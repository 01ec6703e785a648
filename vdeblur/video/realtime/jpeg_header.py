"""JPEG header check: sizes and structure are judged before a decoder sees the picture."""

from __future__ import annotations

from vdeblur.errors import SourceError

_START, _MARKER = b"\xff\xd8", 0xFF
#: Frame headers of pictures that are decoded in one pass: baseline and extended Huffman.
_ONE_PASS = {0xC0, 0xC1}
#: Frame headers of all kinds; C4, C8 and CC are none.
_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
#: A picture from a camera has about ten; a hostile one may have a million.
_MOST_SEGMENTS = 64


def check_jpeg(data: bytes, *, most_pixels: int) -> tuple[int, int]:
    """(height, width) of a JPEG that may be decoded.

    Progressive pictures are refused: each of their passes costs as much as a picture, and there may be any number.

    Raises:
        SourceError: it is no JPEG, has another number of frames or passes than one, or is larger than ``most_pixels``.
    """
    size: tuple[int, int] | None = None
    place = len(_START)
    if not data.startswith(_START):
        raise SourceError("a picture is no JPEG")
    for _ in range(_MOST_SEGMENTS):
        code, start, end = _segment(data, place)
        if code in _FRAME_HEADERS:
            if size is not None or code not in _ONE_PASS:
                raise SourceError("a JPEG is not a baseline one with one frame")
            size = _size(data[start:end], most_pixels)
        if code == _SCAN:
            if size is None or data.find(b"\xff\xda", end) >= 0:
                raise SourceError("a JPEG must have one frame and one pass")
            return size
        place = end
    raise SourceError(f"a JPEG has more than {_MOST_SEGMENTS} segments before its picture")


def _segment(data: bytes, place: int) -> tuple[int, int, int]:
    """Code of the segment at ``place``, and where its content starts and ends."""
    while place + 1 < len(data) and data[place] == 0xFF and data[place + 1] == 0xFF:
        place += 1  # fill bytes
    if place + 4 > len(data) or data[place] != _MARKER:
        raise SourceError("a JPEG breaks off before its picture")
    length = int.from_bytes(data[place + 2 : place + 4], "big")
    end = place + 2 + length
    if length < 2 or end > len(data):
        raise SourceError("a JPEG breaks off before its picture")
    return data[place + 1], place + 4, end


def _size(header: bytes, most_pixels: int) -> tuple[int, int]:
    if len(header) < 6 or header[0] != 8 or header[5] not in (1, 3):
        raise SourceError("a JPEG must have 8 bits and one or three components")
    height, width = int.from_bytes(header[1:3], "big"), int.from_bytes(header[3:5], "big")
    if not 0 < height * width <= most_pixels:
        raise SourceError(f"a JPEG of {width}×{height} is too large; at most {most_pixels} pixels are taken")
    return height, width
