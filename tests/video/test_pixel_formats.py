"""Pixel formats against the FFmpeg program's own conversions: each one comes apart without losing a bit."""

from __future__ import annotations

import functools
import gc
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.format import names
from PIL import Image

from support.media.clips import clip, ffmpeg
from vdeblur.errors import SourceError
from vdeblur.frames import Colour, Frame, PixelFormat, dtype_for
from vdeblur.video.formats.pixel_formats import canonical_format, planes_of, video_frame_from
from vdeblur.video.formats.plane_layouts import native

#: Fields of 2 to 6 bits, spread to 8: FFmpeg rounds them in ways of its own.
SPREAD = {f"{order}{digits}{end}" for order in ("rgb", "bgr") for digits in (444, 555, 565) for end in ("le", "be")}
SPREAD |= {"rgb8", "bgr8"}
#: FFmpeg's scaler cannot read or write these; they are other formats with their bytes or bits moved.
UNKNOWN_TO_SCALER = {"uyyvyy411", "v30xbe", "xv30be", "x2rgb10be", "x2bgr10be", "y210be", "y212be", "y216be"}
#: FFmpeg's scaler is off by one or two here.
INEXACT_IN_SCALER = {f"gbrp{bits}msb{end}" for bits in (10, 12) for end in ("le", "be")}


def supported() -> list[str]:
    found = []
    for name in sorted(names):
        try:
            canonical_format(name)
        except SourceError:
            continue
        found.append(name)
    return found


COMPARED = [name for name in supported() if name not in SPREAD | UNKNOWN_TO_SCALER | INEXACT_IN_SCALER]
CANONICAL = sorted({canonical_format(name) for name in supported()}, key=lambda pixel_format: pixel_format.name)
SIZES = [(16, 12), (35, 13)]


@functools.cache
def conversions(folder: Path, width: int, height: int) -> Path:
    """Files NAME.raw (noise in each format) and NAME.out (the same as FFmpeg converts it to the canonical format)."""
    target = folder / f"{width}x{height}"
    target.mkdir()
    source = f"testsrc2=size={width}x{height},format=gbrap16le,noise=alls=90"
    raw, back = ["-f", "lavfi", "-i", source], []
    for name in COMPARED:
        raw += ["-map", "0:v", "-frames:v", "1", "-pix_fmt", name, "-f", "rawvideo", str(target / f"{name}.raw")]
        back += ["-f", "rawvideo", "-pixel_format", name, "-video_size", f"{width}x{height}"]
        back += ["-i", str(target / f"{name}.raw")]
    for index, name in enumerate(COMPARED):
        back += ["-map", f"{index}:v", "-pix_fmt", canonical_format(name).name]
        back += ["-f", "rawvideo", str(target / f"{name}.out")]
    ffmpeg(*raw)
    ffmpeg(*back)
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


def decode_raw(raw: bytes, name: str, width: int, height: int) -> av.VideoFrame:
    options = {"pixel_format": name, "video_size": f"{width}x{height}"}
    with av.open(io.BytesIO(raw), format="rawvideo", options=options) as container:
        return next(container.decode(video=0))


def as_bytes(planes: Sequence[np.ndarray], pixel_format: PixelFormat) -> bytes:
    """Samples in the order of FFmpeg's raw output."""
    if pixel_format.name.startswith("ya"):
        return np.stack(planes, axis=-1).tobytes()
    return b"".join(plane.tobytes() for plane in planes)


def check_planes(planes: Sequence[np.ndarray], pixel_format: PixelFormat, width: int, height: int) -> None:
    assert [plane.shape for plane in planes] == [
        pixel_format.plane_shape(index, height, width) for index in range(pixel_format.plane_count)
    ]
    for plane in planes:
        assert plane.dtype == dtype_for(pixel_format)
        assert plane.dtype.isnative
        assert int(plane.max()) <= pixel_format.peak
        torch.from_numpy(plane)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("name", COMPARED)
def test_a_format_comes_apart_as_ffmpeg_converts_it(name: str, width: int, height: int, folder: Path) -> None:
    files = conversions(folder, width, height)
    frame = decode_raw((files / f"{name}.raw").read_bytes(), name, width, height)
    planes, pixel_format = planes_of(frame)
    assert pixel_format == canonical_format(name)
    check_planes(planes, pixel_format, width, height)
    assert as_bytes(planes, pixel_format) == (files / f"{name}.out").read_bytes()


def random_bytes(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, count, dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(UNKNOWN_TO_SCALER - {"uyyvyy411"}))
def test_big_endian_is_little_endian_with_its_bytes_swapped(name: str) -> None:
    size = 2 if name.startswith("y2") else 4
    raw = random_bytes(16 * 12 * 4)
    swapped = raw.reshape(-1, size)[:, ::-1].tobytes()
    big, big_format = planes_of(decode_raw(raw.tobytes(), name, 16, 12))
    little, little_format = planes_of(decode_raw(swapped, name[:-2] + "le", 16, 12))
    assert big_format == little_format
    assert as_bytes(big, big_format) == as_bytes(little, little_format)


@pytest.mark.parametrize("name", sorted(INEXACT_IN_SCALER))
def test_samples_in_the_upper_bits_move_down(name: str) -> None:
    bits, order = int(name[4:6]), "<u2" if name.endswith("le") else ">u2"
    values = np.random.default_rng(1).integers(0, 1 << bits, 3 * 16 * 12).astype(order)
    planes, pixel_format = planes_of(decode_raw((values << (16 - bits)).astype(order).tobytes(), name, 16, 12))
    assert pixel_format.name == f"gbrp{bits}le"
    assert as_bytes(planes, pixel_format) == values.astype("<u2").tobytes()


def test_uyyvyy411() -> None:
    raw = bytes([10, 1, 2, 20, 3, 4, 11, 5, 6, 21, 7, 8])
    planes, pixel_format = planes_of(decode_raw(raw, "uyyvyy411", 8, 1))
    assert pixel_format.name == "yuv411p"
    assert [plane.tolist() for plane in planes] == [[[1, 2, 3, 4, 5, 6, 7, 8]], [[10, 11]], [[20, 21]]]


@pytest.mark.parametrize("name", sorted(SPREAD))
def test_narrow_fields_keep_their_bits_on_top_and_reach_both_ends(name: str) -> None:
    size = 1 if name.endswith("8") else 2
    widths = {"8": (3, 3, 2)}.get(name[3:]) or tuple(int(digit) for digit in name[3:6])
    if name == "bgr8":
        widths = (2, 3, 3)
    words = random_bytes(16 * 12 * size).view(f"{'>' if name.endswith('be') else '<'}u{size}")
    words[:2] = 0, (1 << (8 * size)) - 1
    planes, pixel_format = planes_of(decode_raw(words.tobytes(), name, 16, 12))
    assert pixel_format.name == "gbrp"
    green, blue, red = (plane.reshape(-1).astype(np.uint16) for plane in planes)
    offset = 0
    for letter, width in zip(reversed(name[:3]), reversed(widths), strict=True):
        plane = {"r": red, "g": green, "b": blue}[letter]
        assert (plane >> (8 - width) == (words >> offset) & ((1 << width) - 1)).all(), letter
        assert (plane[0], plane[1]) == (0, 255)
        offset += width


def test_a_palette_with_transparency_as_pillow_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    picture = Image.fromarray(rng.integers(0, 200, (13, 35), dtype=np.uint8)).convert("P")
    picture.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture.save(tmp_path / "palette.png", transparency=rng.integers(0, 256, 256, dtype=np.uint8).tobytes())
    with av.open(str(tmp_path / "palette.png")) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == "pal8"
    planes, pixel_format = planes_of(frame)
    red, green, blue, alpha = Image.open(tmp_path / "palette.png").convert("RGBA").split()
    assert pixel_format.name == "gbrap"
    for plane, channel in zip(planes, (green, blue, red, alpha), strict=True):
        assert (plane == np.asarray(channel)).all()


@pytest.mark.parametrize("name", ["bayer_rggb8", "xyz12le", "gbrpf32le", "grayf32le", "cuda", "gbrap32le", "rgb4"])
def test_a_format_that_is_not_supported_is_named(name: str) -> None:
    with pytest.raises(SourceError, match=name):
        canonical_format(name)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gbrp", "gray16le", "yuva444p", "yuvj420p"])
def test_planar_formats_are_views_of_the_decoder_s_memory(name: str) -> None:
    frame = av.VideoFrame(35, 13, name)
    planes, _ = planes_of(frame)
    for index, plane in enumerate(planes):
        plane[-1, -1] = 77
        line = frame.planes[index].line_size
        start = line * (plane.shape[0] - 1) + plane.itemsize * (plane.shape[1] - 1)
        assert bytes(frame.planes[index])[start] == 77


def test_views_keep_the_decoder_s_memory_alive() -> None:
    """Frames outlive the decoder, while later frames are decoded and memory is used again."""
    kept, copies = [], []
    with av.open(str(clip("h264"))) as container:
        for frame in container.decode(video=0):
            planes, _ = planes_of(frame)
            kept.append(planes)
            copies.append([plane.copy() for plane in planes])
    del frame, planes, container
    gc.collect()
    filler = [np.full((96, 192), 255, np.uint8) for _ in range(300)]
    for planes, expected in zip(kept, copies, strict=True):
        for plane, copy in zip(planes, expected, strict=True):
            assert (plane == copy).all()
    assert len(filler) == 300


def test_a_frame_stored_bottom_up() -> None:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=12, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25))
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    raw = random_bytes(16 * 12 * 3 // 2)
    frame = decode_raw(raw.tobytes(), "yuv420p", 16, 12)
    graph.push(frame)
    flipped = graph.pull()
    assert flipped.planes[0].line_size < 0
    planes, pixel_format = planes_of(flipped)
    check_planes(planes, pixel_format, 16, 12)
    assert (planes[0][::-1].reshape(-1) == raw[: 16 * 12]).all()


def test_samples_off_their_boundary_are_moved_to_it() -> None:
    memory = np.arange(41, dtype=np.uint8)
    samples = np.ndarray((4, 5), "<u2", buffer=memory, offset=1)
    assert not samples.flags.aligned
    moved = native(samples)
    assert moved.flags.aligned
    assert (moved == samples).all()


@pytest.mark.parametrize("pixel_format", CANONICAL, ids=lambda pixel_format: pixel_format.name)
@pytest.mark.parametrize("tensors", [False, True], ids=["arrays", "tensors"])
def test_frames_go_back_to_ffmpeg(pixel_format: PixelFormat, tensors: bool) -> None:
    rng = np.random.default_rng(5)
    shapes = [pixel_format.plane_shape(index, 13, 35) for index in range(pixel_format.plane_count)]
    planes = [rng.integers(0, int(pixel_format.peak) + 1, shape).astype(dtype_for(pixel_format)) for shape in shapes]
    given = tuple(torch.from_numpy(plane) for plane in planes) if tensors else tuple(planes)
    made = video_frame_from(Frame(given, pixel_format, Colour(), pts=1234, time_base=Fraction(1, 90000)))
    assert (made.format.name, made.width, made.height) == (pixel_format.name, 35, 13)
    assert (made.pts, made.time_base) == (1234, Fraction(1, 90000))
    again, again_format = planes_of(made)
    assert again_format == pixel_format
    for plane, expected in zip(again, planes, strict=True):
        assert (plane == expected).all()
