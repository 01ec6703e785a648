"""Small files that claim much: sizes, counts, durations and tables that are not there. Each is made by code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from support.media.clips import X264, ffmpeg

_PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25")


def made(folder: Path, name: str, options: str) -> bytearray:
    """An honest small file to start from."""
    path = folder / f"honest_{name}"
    if not path.exists():
        ffmpeg(*_PICTURE, *options.split(), str(path))
    return bytearray(path.read_bytes())


# Pictures


def png(width: int, height: int, *, depth: int = 8, kind: int = 2) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(200_000))) + chunk(b"IEND", b"")


def jpeg(folder: Path, width: int, height: int) -> bytes:
    data = made(folder, "p.jpg", "-frames:v 1 -pix_fmt yuvj420p")
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">2H", height, width)
    return bytes(data)


def webp(folder: Path, width: int, height: int) -> bytes:
    """A lossy WebP: the size is in the header of its VP8 key frame."""
    data = made(folder, "p.webp", "-frames:v 1 -pix_fmt yuv420p -lossless 0")
    place = data.index(b"\x9d\x01\x2a") + 3
    data[place : place + 4] = struct.pack("<2H", width, height)
    return bytes(data)


def gif(folder: Path, width: int, height: int) -> bytes:
    data = made(folder, "p.gif", "-frames:v 2")
    data[6:10] = struct.pack("<2H", width, height)
    return bytes(data)


def bmp(folder: Path, width: int, height: int) -> bytes:
    data = made(folder, "p.bmp", "-frames:v 1")[:1000]
    data[18:26] = struct.pack("<2i", width, height)
    return bytes(data)


def tiff(folder: Path, width: int, height: int) -> bytes:
    data = made(folder, "p.tiff", "-frames:v 1")
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        if (value := {0x100: width, 0x101: height}.get(struct.unpack_from("<H", data, place)[0])) is not None:
            data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def y4m(width: int, height: int) -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F25:1 C420jpeg\nFRAME\n".encode() + bytes(1000)


# Video


def _bits(*values: int | tuple[int, int]) -> bytes:
    """Bits from Exp-Golomb numbers and from pairs of value and width, ended as RBSP data are."""
    text = ""
    for value in values:
        text += f"{value[0]:0{value[1]}b}" if isinstance(value, tuple) else f"{value + 1:b}".zfill(
            2 * (value + 1).bit_length() - 1
        )  # fmt: skip
    text += "1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def h264(folder: Path, width: int, height: int) -> bytes:
    """A raw stream with a sequence header (ITU-T H.264, 7.3.2.1) of that size before an ordinary key frame."""
    header = _bits((66, 8), (0, 8), (62, 8), 0, 0, 2, 1, (0, 1), width // 16 - 1, height // 16 - 1, (1, 1), (1, 1),
                   (0, 1), (0, 1))  # fmt: skip
    rest = made(folder, "p.h264", f"-frames:v 2 {X264} -profile:v baseline -pix_fmt yuv420p")
    second = rest.index(b"\0\0\0\1\x68")
    safe = header.replace(b"\0\0\0", b"\0\0\3\0")
    return b"\0\0\0\1\x67" + safe + bytes(rest[second:])


def vp9(folder: Path, width: int, height: int) -> bytes:
    """IVF whose key frame says that size, in 16 bits each."""
    data = made(folder, "p9.ivf", "-frames:v 1 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p")
    frame = int.from_bytes(data[44:], "big")
    length = 8 * (len(data) - 44)
    start = 8 + 24 + 4  # marker, profile, flags; sync code; colour space and range
    shift = length - start - 32
    frame = frame & ~(((1 << 32) - 1) << shift) | ((width - 1) << 16 | (height - 1)) << shift
    return bytes(data[:44]) + frame.to_bytes(length // 8, "big")


def mkv(folder: Path, width: int, height: int, codec: str = "ffv1") -> bytes:
    """Matroska whose track says that size."""
    data = made(folder, f"{codec}.mkv", f"-frames:v 1 -c:v {codec} -pix_fmt yuv420p")
    data[(place := data.index(b"\xb0\x81\x40")) : place + 3] = b"\xb0\x82" + struct.pack(">H", width)
    data[(place := data.index(b"\xba\x81\x30")) : place + 3] = b"\xba\x82" + struct.pack(">H", height)
    return bytes(data)


# MP4


def _mp4(folder: Path) -> bytearray:
    return made(folder, "p.mp4", f"-frames:v 4 {X264} -pix_fmt yuv420p -movflags +faststart")


def patched(data: bytearray, name: bytes, offset: int, value: bytes) -> bytes:
    """Bytes at ``offset`` behind the four letters of a box replaced."""
    place = data.index(name) + 4 + offset
    data[place : place + len(value)] = value
    return bytes(data)


def many_samples(folder: Path, count: int) -> bytes:
    """One chunk of ``count`` samples of one byte."""
    data = _mp4(folder)
    place = data.index(b"stsz") + 8
    data[place : place + 8] = struct.pack(">2I", 1, count)
    place = data.index(b"stsc") + 8
    data[place : place + 16] = struct.pack(">4I", 1, 1, count, 1)
    return bytes(data)


def many_fragments(folder: Path, count: int) -> bytes:
    """A fragment of ``count`` samples that all have the default size."""
    data = made(folder, "f.mp4", f"-frames:v 4 {X264} -pix_fmt yuv420p -movflags +frag_keyframe+empty_moov")
    place = data.index(b"trun") + 4
    data[place : place + 8] = struct.pack(">2I", 0, count)
    return bytes(data)


def mp4_size(folder: Path, width: int, height: int) -> bytes:
    return patched(_mp4(folder), b"avc1", 24, struct.pack(">2H", width, height))


def long_mp4(folder: Path) -> bytes:
    """A million seconds: every time in the headers is as large as its field."""
    data = _mp4(folder)
    for name, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        data = bytearray(patched(data, name, offset, b"\x7f\xff\xff\xff"))
    return patched(data, b"stts", 8, struct.pack(">2I", 4, 0x20000000))


def many_tracks(folder: Path, count: int) -> bytes:
    """Copies of the one track."""
    data = made(folder, "q.mp4", f"-frames:v 4 {X264} -pix_fmt yuv420p")
    place = data.index(b"trak") - 4
    size = struct.unpack_from(">I", data, place)[0]
    track = bytes(data[place : place + size])
    moov = data.index(b"moov") - 4
    data[moov : moov + 4] = struct.pack(">I", struct.unpack_from(">I", data, moov)[0] + count * size)
    data[place:place] = track * count
    return bytes(data)


CLAIMS: dict[str, Callable[[Path], bytes]] = {
    "png 65535.png": lambda folder: png(65535, 65535),
    "png deep.png": lambda folder: png(16000, 16000, depth=16, kind=6),
    "png grey.png": lambda folder: png(16000, 16000, depth=1, kind=0),
    "jpeg 65535.jpg": lambda folder: jpeg(folder, 65535, 65535),
    "jpeg 16000.jpg": lambda folder: jpeg(folder, 16000, 16000),
    "webp 16383.webp": lambda folder: webp(folder, 16383, 16383),
    "gif 65535.gif": lambda folder: gif(folder, 65535, 65535),
    "gif 16000.gif": lambda folder: gif(folder, 16000, 16000),
    "bmp 65535.bmp": lambda folder: bmp(folder, 65535, 65535),
    "bmp 16000.bmp": lambda folder: bmp(folder, 16000, 16000),
    "tiff 65535.tiff": lambda folder: tiff(folder, 65535, 65535),
    "tiff 16000.tiff": lambda folder: tiff(folder, 16000, 16000),
    "y4m 65535.y4m": lambda folder: y4m(65535, 65535),
    "y4m 16000.y4m": lambda folder: y4m(16000, 16000),
    "h264 16000.h264": lambda folder: h264(folder, 16000, 16000),
    "h264 65536.h264": lambda folder: h264(folder, 65536, 65536),
    "vp9 65536.ivf": lambda folder: vp9(folder, 65536, 65536),
    "vp9 16000.ivf": lambda folder: vp9(folder, 16000, 16000),
    "ffv1 65535.mkv": lambda folder: mkv(folder, 65535, 65535),
    "ffv1 16000.mkv": lambda folder: mkv(folder, 16000, 16000),
    "rawvideo 16000.mkv": lambda folder: mkv(folder, 16000, 16000, "rawvideo"),
    "mpeg4 16000.mkv": lambda folder: mkv(folder, 16000, 16000, "mpeg4"),
    "size.mp4": lambda folder: mp4_size(folder, 65535, 65535),
    "samples.mp4": lambda folder: many_samples(folder, 1 << 27),
    "more samples.mp4": lambda folder: many_samples(folder, 0x7FFFFFFF),
    "fragment.mp4": lambda folder: many_fragments(folder, 1 << 27),
    "seconds.mp4": long_mp4,
    "tracks.mp4": lambda folder: many_tracks(folder, 10_000),
    "some tracks.mp4": lambda folder: many_tracks(folder, 900),
    "extradata.mp4": lambda folder: patched(_mp4(folder), b"avcC", -8, b"\x7f\xff\xff\xff"),
    "chunks.mp4": lambda folder: patched(_mp4(folder), b"stco", 4, b"\x0f\xff\xff\xff"),
    "times.mp4": lambda folder: patched(_mp4(folder), b"stts", 4, struct.pack(">3I", 1, 0x7FFFFFFF, 1)),
}
