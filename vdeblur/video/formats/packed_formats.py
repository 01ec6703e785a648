"""Packed pixel formats (NV12, RGB24, YUYV, palettes, bit fields …) and their exact unpacking to planes."""

from __future__ import annotations

from functools import cache, partial

import av
import numpy as np
import numpy.typing as npt

from vdeblur.frames import PixelFormat
from vdeblur.video.formats.plane_layouts import Plane, PlaneLayout, contiguous, gray, native, rgb, rows, wide, yuv


def _unpack_semiplanar(
    frame: av.VideoFrame, canonical: PixelFormat, dtype: npt.DTypeLike, *, swapped: bool, shift: int
) -> tuple[Plane, ...]:
    """Y, then Cb and Cr side by side: NV12, NV16, P010 …"""
    _, columns = canonical.plane_shape(1, frame.height, frame.width)
    chroma = rows(frame, 1, dtype, 2 * columns)
    first, second = (contiguous(chroma[:, start::2], shift) for start in (0, 1))
    luma = native(rows(frame, 0, dtype, frame.width), shift)
    return (luma, second, first) if swapped else (luma, first, second)


def _unpack_pixels(
    frame: av.VideoFrame, dtype: npt.DTypeLike, step: int, order: tuple[int, ...], shift: int
) -> tuple[Plane, ...]:
    """Whole pixels of ``step`` samples: RGB24, BGRA, AYUV64 …; ``order`` picks them for Y Cb Cr A or G B R A."""
    pixels = rows(frame, 0, dtype, frame.width * step)
    return tuple(contiguous(pixels[:, position::step], shift) for position in order)


def _unpack_groups(
    frame: av.VideoFrame, dtype: npt.DTypeLike, luma: tuple[int, ...], chroma: tuple[int, int], shift: int
) -> tuple[Plane, ...]:
    """Groups of pixels that share their chroma: YUYV, Y210, UYYVYY …"""
    step, count = len(luma) + 2, -(-frame.width // len(luma))
    groups = rows(frame, 0, dtype, count * step).reshape(frame.height, count, step)
    luma_plane = groups[:, :, list(luma)].reshape(frame.height, -1)[:, : frame.width]
    return (
        contiguous(luma_plane, shift),
        contiguous(groups[:, :, chroma[0]], shift),
        contiguous(groups[:, :, chroma[1]], shift),
    )


def _unpack_fields(
    frame: av.VideoFrame, dtype: npt.DTypeLike, fields: tuple[tuple[int, int], ...], bits: int
) -> tuple[Plane, ...]:
    """Bit fields (offset, width) inside one word a pixel: X2RGB10, XV30, RGB565 …

    Fields narrower than ``bits`` are spread to the full range by repeating their bits, so the upper bits stay theirs.
    """
    words = rows(frame, 0, dtype, frame.width).astype(np.uint32)
    target = np.uint8 if bits == 8 else np.uint16
    return tuple(
        _spread((words >> offset) & ((1 << width) - 1), width, bits).astype(target) for offset, width in fields
    )


def _spread(values: Plane, width: int, bits: int) -> Plane:
    spread, missing = values << (bits - width), bits - width
    while missing > 0:
        missing -= width
        spread |= values << missing if missing >= 0 else values >> -missing
    return spread


def _unpack_palette(frame: av.VideoFrame) -> tuple[Plane, ...]:
    """Indices into 256 words of native-endian ARGB."""
    palette = np.frombuffer(memoryview(frame.planes[1]), np.uint32, 256)
    indices = rows(frame, 0, np.uint8, frame.width)
    return tuple((palette >> offset).astype(np.uint8)[indices] for offset in (8, 0, 16, 24))


def _unpack_mono(frame: av.VideoFrame, *, white_is_zero: bool) -> tuple[Plane, ...]:
    """One bit a pixel, leftmost first, as black 0 and white 255."""
    bits = np.unpackbits(rows(frame, 0, np.uint8, -(-frame.width // 8)), axis=1, count=frame.width)
    return ((1 - bits if white_is_zero else bits) * np.uint8(255),)


@cache
def packed_layouts() -> dict[str, PlaneLayout]:
    """Every format that is not planar, by FFmpeg's name."""
    return {**_semiplanar_layouts(), **_pixel_layouts(), **_group_layouts(), **_field_layouts(), **_odd_layouts()}


def _semiplanar_layouts() -> dict[str, PlaneLayout]:
    layouts: dict[str, PlaneLayout] = {}

    def add(name: str, canonical: PixelFormat, dtype: npt.DTypeLike, *, swapped: bool = False, shift: int = 0) -> None:
        unpack = partial(_unpack_semiplanar, canonical=canonical, dtype=dtype, swapped=swapped, shift=shift)
        layouts[name] = PlaneLayout(canonical, unpack)

    for name, sampling, swapped in (
        ("nv12", "420", False),
        ("nv21", "420", True),
        ("nv16", "422", False),
        ("nv24", "444", False),
        ("nv42", "444", True),
    ):
        add(name, yuv(sampling), np.uint8, swapped=swapped)
    for order in ("le", "be"):
        add(f"nv20{order}", yuv("422", 10), wide(order == "be"))
        for digit, sampling in (("0", "420"), ("2", "422"), ("4", "444")):
            for bits in (10, 12, 16):
                add(f"p{digit}{bits}{order}", yuv(sampling, bits), wide(order == "be"), shift=16 - bits)
    return layouts


def _pixel_layouts() -> dict[str, PlaneLayout]:
    layouts: dict[str, PlaneLayout] = {}

    def add(
        name: str, canonical: PixelFormat, order: tuple[int, ...], step: int, big: bool | None = None, shift: int = 0
    ) -> None:
        dtype: npt.DTypeLike = np.uint8 if big is None else wide(big)
        unpack = partial(_unpack_pixels, dtype=dtype, step=step, order=order, shift=shift)
        layouts[name] = PlaneLayout(canonical, unpack)

    for name in ("rgb24", "bgr24", "argb", "0rgb", "rgba", "rgb0", "abgr", "0bgr", "bgra", "bgr0"):
        letters = name.removesuffix("24")
        order = tuple(letters.index(letter) for letter in "gbra" if letter in letters)
        add(name, rgb(alpha="a" in letters), order, len(letters))
    add("ya8", gray(alpha=True), (0, 1), 2)
    for name in ("vuya", "vuyx", "ayuv", "uyva", "vyu444"):
        letters = name.removesuffix("444")
        order = tuple(letters.index(letter) for letter in "yuva" if letter in letters)
        add(name, yuv("444", alpha="a" in letters), order, len(letters))
    for ending, big in (("le", False), ("be", True)):
        add(f"rgb48{ending}", rgb(16), (1, 2, 0), 3, big)
        add(f"bgr48{ending}", rgb(16), (1, 0, 2), 3, big)
        add(f"rgba64{ending}", rgb(16, alpha=True), (1, 2, 0, 3), 4, big)
        add(f"bgra64{ending}", rgb(16, alpha=True), (1, 0, 2, 3), 4, big)
        add(f"ya16{ending}", gray(16, alpha=True), (0, 1), 2, big)
        add(f"ayuv64{ending}", yuv("444", 16, alpha=True), (1, 2, 3, 0), 4, big)
        add(f"xv36{ending}", yuv("444", 12), (1, 0, 2), 4, big, shift=4)
        add(f"xv48{ending}", yuv("444", 16), (1, 0, 2), 4, big)
    return layouts


def _group_layouts() -> dict[str, PlaneLayout]:
    layouts: dict[str, PlaneLayout] = {}

    def add(
        name: str,
        canonical: PixelFormat,
        luma: tuple[int, ...],
        chroma: tuple[int, int],
        dtype: npt.DTypeLike = np.uint8,
        shift: int = 0,
    ) -> None:
        unpack = partial(_unpack_groups, dtype=dtype, luma=luma, chroma=chroma, shift=shift)
        layouts[name] = PlaneLayout(canonical, unpack)

    add("yuyv422", yuv("422"), (0, 2), (1, 3))
    add("yvyu422", yuv("422"), (0, 2), (3, 1))
    add("uyvy422", yuv("422"), (1, 3), (0, 2))
    add("uyyvyy411", yuv("411"), (1, 2, 4, 5), (0, 3))
    for order in ("le", "be"):
        for bits in (10, 12, 16):
            add(f"y2{bits}{order}", yuv("422", bits), (0, 2), (1, 3), wide(order == "be"), 16 - bits)
    return layouts


def _field_layouts() -> dict[str, PlaneLayout]:
    layouts: dict[str, PlaneLayout] = {}

    def add(name: str, canonical: PixelFormat, size: int, fields: tuple[tuple[int, int], ...]) -> None:
        """``fields`` = (offset, width) of G, B, R or Y, Cb, Cr; ``size`` in bytes a word."""
        for ending, mark in (("le", "<"), ("be", ">")) if size > 1 else (("", "|"),):
            dtype = np.dtype(f"{mark}u{size}")
            unpack = partial(_unpack_fields, dtype=dtype, fields=fields, bits=canonical.bits)
            layouts[name + ending] = PlaneLayout(canonical, unpack)

    add("x2rgb10", rgb(10), 4, ((10, 10), (0, 10), (20, 10)))
    add("x2bgr10", rgb(10), 4, ((10, 10), (20, 10), (0, 10)))
    add("xv30", yuv("444", 10), 4, ((10, 10), (0, 10), (20, 10)))
    add("v30x", yuv("444", 10), 4, ((12, 10), (2, 10), (22, 10)))
    add("rgb565", rgb(), 2, ((5, 6), (0, 5), (11, 5)))
    add("bgr565", rgb(), 2, ((5, 6), (11, 5), (0, 5)))
    add("rgb555", rgb(), 2, ((5, 5), (0, 5), (10, 5)))
    add("bgr555", rgb(), 2, ((5, 5), (10, 5), (0, 5)))
    add("rgb444", rgb(), 2, ((4, 4), (0, 4), (8, 4)))
    add("bgr444", rgb(), 2, ((4, 4), (8, 4), (0, 4)))
    add("rgb8", rgb(), 1, ((2, 3), (0, 2), (5, 3)))
    add("bgr8", rgb(), 1, ((3, 3), (6, 2), (0, 3)))
    return layouts


def _odd_layouts() -> dict[str, PlaneLayout]:
    return {
        "pal8": PlaneLayout(rgb(alpha=True), _unpack_palette),
        "monob": PlaneLayout(gray(), partial(_unpack_mono, white_is_zero=False)),
        "monow": PlaneLayout(gray(), partial(_unpack_mono, white_is_zero=True)),
    }
