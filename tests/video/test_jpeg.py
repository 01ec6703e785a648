"""Pictures in memory: what comes back of a frame, and what a hostile JPEG comes to."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.doubles import YUV420, YUV444, clip
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import SourceError
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.metrics import psnr
from vdeblur.video.realtime.jpeg import JFIF, JpegEncoder, decode_jpeg, frame_as_png
from vdeblur.video.realtime.jpeg_header import check_jpeg

FULL_HD = 1920 * 1080


def decoded(data: bytes, most_pixels: int = FULL_HD) -> Frame:
    return decode_jpeg(data, pts=7, time_base=Fraction(1, 30), most_pixels=most_pixels)


def jpeg(width: int = 64, height: int = 48, **options: Any) -> bytes:
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows * 3 % 256, columns * 2 % 256, (rows + columns) % 256], axis=2).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", **options)
    return out.getvalue()


FORMATS = [
    YUV420,
    YUV444,
    PixelFormat("gray", "gray", 8),
    PixelFormat("yuv420p10le", "yuv", 10, (1, 1)),
    PixelFormat("gbrp", "rgb", 8),
]


@pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("colour", [JFIF, Colour(matrix="bt709", range="tv")], ids=["full", "limited"])
def test_a_frame_comes_back_through_a_jpeg(pixel_format: PixelFormat, colour: Colour) -> None:
    colour = colour if pixel_format.family == "yuv" else Colour()
    frame = next(clip(1, 96, 128, pixel_format=pixel_format, colour=colour))
    back = decoded(JpegEncoder().encode(frame))
    assert back.size == frame.size
    assert (back.pts, back.time_base) == (7, Fraction(1, 30))
    assert psnr(rgb_of(back), rgb_of(frame)) > 37.5


def test_a_jpeg_shows_others_the_same_colours() -> None:
    frame = next(clip(1, 96, 128, colour=Colour(matrix="bt709", range="tv")))
    seen = np.asarray(Image.open(io.BytesIO(JpegEncoder().encode(frame))).convert("RGB"), np.float32)
    meant = rgb_of(frame)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(seen.mean((0, 1)) - meant.mean((0, 1))).max() < 1.0


def test_the_encoder_follows_a_change_of_size() -> None:
    encoder = JpegEncoder()
    sizes = [(48, 64), (48, 64), (35, 51), (48, 64)]
    pictures = [decoded(encoder.encode(next(clip(1, *size)))) for size in sizes]
    assert [picture.size for picture in pictures] == sizes


def test_chroma_is_read_where_the_jpeg_has_it() -> None:
    assert decoded(jpeg(subsampling=0)).format == YUV444
    assert decoded(jpeg(subsampling=2)).format == YUV420


def test_a_png_has_the_frame_s_colours() -> None:
    frame = next(clip(1, 40, 56, pixel_format=PixelFormat("gbrp", "rgb", 8), colour=Colour()))
    seen = np.asarray(Image.open(io.BytesIO(frame_as_png(frame))))
    assert np.array_equal(seen[..., 1], frame.planes[0])
    assert np.array_equal(seen[..., 0], frame.planes[2])


def with_size(data: bytes, width: int, height: int) -> bytes:
    place = data.index(b"\xff\xc0")
    return data[: place + 5] + struct.pack(">HH", height, width) + data[place + 9 :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JPEG"),
        (b"GIF89a" + bytes(40), "no JPEG"),
        (b"\xff\xd8", "breaks off"),
        (jpeg()[:100], "breaks off"),
        (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000, "segments"),
        (with_size(jpeg(), 65500, 65500), "too large"),
        (with_size(jpeg(), 0, 48), "too large"),
        (jpeg(progressive=True), "baseline"),
        (jpeg() + b"\xff\xda\x00\x08" * 100, "one pass"),
        (b"\xff\xd8\xff\xda\x00\x02" + bytes(50), "one pass"),
    ],
    ids=["empty", "gif", "start only", "cut", "many segments", "bomb", "no width", "progressive", "passes", "no frame"],
)
def test_a_hostile_jpeg_is_refused_before_it_is_decoded(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        decoded(data)


def test_damage_behind_the_headers_gives_a_frame_or_an_error() -> None:
    whole, random = jpeg(160, 120), np.random.default_rng(3)
    start = whole.index(b"\xff\xda")
    for _ in range(150):
        data = bytearray(whole)
        for place in random.integers(start, len(data), 8):
            data[place] = random.integers(0, 256)
        try:
            assert decoded(bytes(data)).size == (120, 160)
        except SourceError:
            continue


def test_the_head_says_the_size() -> None:
    assert check_jpeg(jpeg(64, 48), most_pixels=64 * 48) == (48, 64)
    with pytest.raises(SourceError, match="at most 3071 pixels"):
        check_jpeg(jpeg(64, 48), most_pixels=3071)
