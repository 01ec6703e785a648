"""Headers that tell quantisers: scales, what FFmpeg's decoders give, and bytes that are damaged or lie."""

from __future__ import annotations

import io
import math
import random
import struct
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from support.media.interlaced import made
from support.wall_clock import patience
from vdeblur.video.quantiser.av1 import Av1Quantisers
from vdeblur.video.quantiser.bits import BitReader, OutOfBitsError, without_emulation
from vdeblur.video.quantiser.encoder_words import lowering
from vdeblur.video.quantiser.h264 import H264Quantisers
from vdeblur.video.quantiser.hevc import HevcQuantisers
from vdeblur.video.quantiser.jpeg import jpeg_quality, jpeg_quantiser
from vdeblur.video.quantiser.scales import quantiser_of_mpeg, quantiser_of_step, quantiser_of_vp8, quantiser_of_vp9
from vdeblur.video.quantiser.side_data import mean_quantiser
from vdeblur.video.quantiser.vp8 import vp8_quantiser

VP9, H264, MPEG2 = 0, 1, 2


def side_data(
    kind: int, base: int, deltas: list[int], *, count: int | None = None, size: int = 20, start: int = 0
) -> bytes:
    """An AVVideoEncParams."""
    header = struct.pack("@INNii8i", len(deltas) if count is None else count, start or 64, size, kind, base, *[0] * 8)
    return header + b"".join(struct.pack("=4ii", 0, 0, 16, 16, delta) for delta in deltas)


def test_steps_are_compared() -> None:
    assert quantiser_of_step(1) == 4
    assert quantiser_of_step(2) == 10
    assert quantiser_of_step(0) == 0
    assert quantiser_of_step(1e9) == 51
    assert quantiser_of_mpeg(10) == pytest.approx(4 + 6 * math.log2(10))
    # Entries of the specifications' tables.
    for index, step in ((1, 8), (60, 67), (95, 102), (110, 132), (150, 255), (180, 440), (230, 1129), (255, 1828)):
        assert quantiser_of_vp9(index) == pytest.approx(4 + 6 * math.log2(step / 8), abs=0.1)
    for index, step in ((0, 4), (30, 34), (70, 90), (90, 137), (110, 205), (127, 284)):
        assert quantiser_of_vp8(index) == pytest.approx(4 + 6 * math.log2(step / 2), abs=0.1)


def test_the_mean_over_the_blocks() -> None:
    assert mean_quantiser(side_data(H264, 26, [-2, 0, 8]), 8) == 28
    assert mean_quantiser(side_data(H264, 26, [12, 12, 12]), 10) == 26
    assert mean_quantiser(side_data(H264, 26, []), 8) == 26
    assert mean_quantiser(side_data(MPEG2, 0, [10, 10]), 8) == pytest.approx(quantiser_of_mpeg(10))
    assert mean_quantiser(side_data(VP9, 100, []), 8) == pytest.approx(quantiser_of_vp9(100))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        side_data(H264, 26, [1])[:63],
        side_data(H264, 26, [1, 2])[:-1],
        side_data(H264, 26, [1], count=2**31),
        side_data(H264, 26, [1], size=2**60),
        side_data(H264, 26, [1], size=0),
        side_data(H264, 26, [1], start=2**62),
        side_data(H264, 26, [1], start=8),
        side_data(7, 26, [1]),
        side_data(-1, 26, [1]),
        side_data(H264, -500, [1]),
        side_data(H264, 0, [0]),
        side_data(VP9, 0, []),
        side_data(MPEG2, 10, []),
    ],
)
def test_side_data_that_tell_nothing(data: bytes) -> None:
    assert mean_quantiser(data, 8) is None


def test_side_data_beyond_the_scale() -> None:
    assert mean_quantiser(side_data(H264, 2**31 - 1, [2**31 - 1]), 8) == 51
    assert mean_quantiser(side_data(MPEG2, 0, [2**31 - 1]), 8) == 51


def test_bits() -> None:
    read = BitReader(bytes([0b1_010_011_0, 0b0100_0010, 0b1_1_000000]))
    assert [read.unsigned() for _ in range(4)] == [0, 1, 2, 3]
    assert read.signed() == -2
    assert read.flag()
    with pytest.raises(OutOfBitsError):
        read.unsigned()
    with pytest.raises(OutOfBitsError):
        BitReader(b"\0" * 64).unsigned()
    assert [BitReader(bytes([value])).below(5) for value in (0b00_000000, 0b10_000000, 0b110_00000, 0b111_00000)] == [
        0, 2, 3, 4,
    ]  # fmt: skip
    assert without_emulation(b"\1\0\0\3\1\0\0\3\0") == b"\1\0\0\1\0\0\0"


def test_encoders_say_what_they_lower() -> None:
    def said(text: bytes) -> float | None:
        return lowering(memoryview(b"\x06\x05" + text + b"\x80"))

    assert said(b"x264 - core 165 - options: rc=crf mbtree=1 crf=23.0 qcomp=0.60 qpmin=0") == pytest.approx(5.4)
    assert said(b"x264 - core 165 - options: rc=crf mbtree=1 crf=23.0 qcomp=0.80") == pytest.approx(2.7)
    assert said(b"x265 (build 216) - options: qcomp=0.60 aq-mode=2 cutree zone-count=0") == pytest.approx(5.4)
    assert said(b"x265 (build 216) - options: qcomp=0.60 aq-mode=2 no-cutree zone-count=0") == 0
    assert said(b"x264 - core 165 - options: mbtree=0 qcomp=0.60") == 0
    assert said(b"x264 - core 165 - options: mbtree=1 qcomp=9.99") == 0
    assert said(b"another encoder mbtree=1") is None


def encoded(codec: str, options: dict[str, str]) -> tuple[bytes, list[bytes]]:
    """Extradata and packets of a few frames."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = 96, 64, "yuvj420p" if codec == "mjpeg" else "yuv420p"
    context.framerate, context.options, context.thread_count = Fraction(25), options, 1
    context.time_base = Fraction(1, 25)
    packets, draw = [], np.random.default_rng(0)
    for number in range(6):
        picture = av.VideoFrame.from_ndarray(draw.integers(0, 255, (96, 96), np.uint8), format="yuv420p")
        picture = picture.reformat(format=context.pix_fmt)
        picture.pts, picture.time_base = number, context.time_base
        packets += context.encode(picture)
    packets += context.encode(None)
    return context.extradata or b"", [bytes(packet) for packet in packets]


CODERS: dict[str, tuple[dict[str, str], Callable[[bytes], Callable[[bytes], float | None]]]] = {
    "libx264": ({"qp": "30", "bf": "2"}, lambda extradata: H264Quantisers(extradata).read),
    "libx265": ({"x265-params": "qp=30:log-level=none:pools=none"}, lambda extradata: HevcQuantisers(extradata).read),
    "libvpx": ({"deadline": "realtime", "cpu-used": "8"}, lambda _: vp8_quantiser),
    "mjpeg": ({"qscale": "4"}, lambda _: jpeg_quantiser),
}


@pytest.mark.parametrize("codec", CODERS)
def test_damaged_packets_give_a_number_or_none(codec: str) -> None:
    options, make = CODERS[codec]
    extradata, packets = encoded(codec, options)
    assert all(make(extradata)(packet) is not None for packet in packets[:1])
    _attack(make, extradata, packets, rounds=150)


def test_damaged_av1_gives_a_number_or_none() -> None:
    path = made("noise=alls=12:allf=t", "-c:v libsvtav1 -qp 35 -preset 12", ".mkv", frames=6, source="testsrc2=s=96x64")
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    read = Av1Quantisers(extradata).read
    assert all(read(packet) is not None for packet in packets)
    _attack(lambda extradata: Av1Quantisers(extradata).read, extradata, packets, rounds=300)


def _attack(
    make: Callable[[bytes], Callable[[bytes], float | None]], extradata: bytes, packets: list[bytes], *, rounds: int
) -> None:
    draw, begun = random.Random(5), time.monotonic()
    for number in range(rounds):
        damaged = []
        for data in (extradata, *packets):
            bytes_of = bytearray(data)
            for _ in range(draw.choice((0, 1, 3, 30))):
                if bytes_of:
                    bytes_of[draw.randrange(min(len(bytes_of), 200))] = draw.randrange(256)
            damaged.append(bytes(bytes_of[: draw.randrange(len(bytes_of) + 1)] if number % 3 == 0 else bytes_of))
        read = make(damaged[0])
        for packet in [*damaged[1:], b"", b"\0", draw.randbytes(400), b"\0" * 400, b"\xff" * 400]:
            found = read(packet)
            assert found is None or 0 <= found <= 51
    assert time.monotonic() - begun < patience(10)


def test_a_jpeg_without_a_table_or_that_breaks_off() -> None:
    written = io.BytesIO()
    Image.new("L", (16, 16)).save(written, "JPEG", quality=80)
    whole = written.getvalue()
    assert jpeg_quality(whole) == pytest.approx(80, abs=1)
    place = whole.index(b"\xff\xdb")
    for length in range(place + 5):
        assert jpeg_quality(whole[:length]) is None
    assert jpeg_quality(b"\xff\xd8" + b"\xff\xe1\0\2" * 100000) is None
    assert jpeg_quality(b"\xff\xd8\xff\xdb\0\x43\0" + bytes(64)) is None
