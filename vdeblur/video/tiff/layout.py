"""Layout of a TIFF page: size, samples, colours and segments, checked before a sample is read.

What FFmpeg would take for something else (floating point, signed numbers, inks) is refused here, with the way out.

Source: TIFF 6.0; Adobe's TIFF technical notes 1 to 3; libtiff for the compressions of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vdeblur.errors import SourceError
from vdeblur.frames import PixelFormat
from vdeblur.video.formats.plane_layouts import gray, rgb, yuv
from vdeblur.video.tiff.directories import Directory

NONE, RLE, FAX3, FAX4, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA = 1, 2, 3, 4, 5, 7, 8, 32946, 32773, 34925
FAX = frozenset({RLE, FAX3, FAX4})
_READ = frozenset({NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA}) | FAX
#: As in libtiff, nothing else is predicted, whatever its tag says.
_PREDICTED = frozenset({LZW, DEFLATE, OLD_DEFLATE, LZMA})
_COMPRESSIONS = {
    6: "old JPEG", 9: "JBIG", 34661: "JBIG", 34676: "SGI LogLuv", 34712: "JPEG 2000", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
    52546: "JPEG XL",
}  # fmt: skip
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_COLOURS = {
    4: "a mask of transparency", 5: "inks (CMYK), for printing", 8: "CIE L*a*b*", 9: "CIE L*a*b*", 10: "CIE L*a*b*",
    32803: "a sensor's raw mosaic", 34892: "a sensor's raw samples", 32844: "logarithmic luminance",
    32845: "logarithmic luminance",
}  # fmt: skip
_KINDS = {2: "signed integers", 3: "floating-point numbers", 5: "complex integers", 6: "complex numbers"}
_GREY_BITS, _COLOUR_BITS, _PALETTE_BITS = (1, 2, 4, 8, 10, 12, 14, 16), (8, 10, 12, 14, 16), (1, 2, 4, 8)
_SAMPLINGS = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}
#: Red's share of luma, and FFmpeg's number of the matrix (ITU-T H.273).
_MATRICES = ((Fraction(299, 1000), 5), (Fraction(2126, 10000), 1))
_RANGES = {(0, 255, 128, 255, 128, 255): 2, (16, 235, 128, 240, 128, 240): 1}


@dataclass(frozen=True)
class PageLayout:
    """How the samples of one page lie in its file, and what they become."""

    format: PixelFormat
    width: int
    height: int
    #: Bits a sample in the file, and samples a pixel.
    bits: int
    samples: int
    photometric: int
    compression: int
    #: Each row holds differences from sample to sample.
    differences: bool
    #: The lowest bit of a byte comes first.
    bits_reversed: bool
    #: Each channel has segments of its own.
    planar: bool
    #: Segments are tiles of this size or, as wide as the page, strips of so many rows.
    tiled: bool
    segment_width: int
    segment_height: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    #: Byte order of samples of more than eight bits: "<" or ">".
    order: str
    #: Red, green and blue of each index.
    palette: tuple[int, ...] = ()
    #: What all segments share when they are JPEGs.
    jpeg_tables: bytes = b""
    fax_options: int = 0
    #: FFmpeg's numbers of matrix and range of YCbCr.
    matrix: int = 2
    value_range: int = 0
    #: Exif's number, 1 to 8; 0 where nothing is said.
    orientation: int = 0
    pixel_aspect: Fraction | None = None
    #: A smaller version or a mask of another page.
    auxiliary: bool = False

    @property
    def columns(self) -> int:
        """Segments side by side."""
        return -(-self.width // self.segment_width)

    @property
    def rows(self) -> int:
        """Segments one below the other."""
        return -(-self.height // self.segment_height)

    def same_pictures(self, other: PageLayout) -> bool:
        """Whether both give frames of the same size and format."""
        return (self.width, self.height, self.format) == (other.width, other.height, other.format)


def layout_of(directory: Directory, order: str, most_px: int, file_bytes: int) -> PageLayout:
    """The layout of a page.

    Args:
        order: the file's byte order.
        most_px: pixels that it may have.

    Raises:
        SourceError: it is damaged, or of a kind that is not supported; in words that follow "it".
    """
    width, height = directory.integer(256, 0), directory.integer(257, 0)
    if width <= 0 or height <= 0:
        raise SourceError("it does not say its size")
    if width * height > most_px:
        raise SourceError(f"it says that its picture is {width}×{height}, which {file_bytes} bytes cannot hold")
    samples = directory.integer(277, 1)
    bits = _bits(directory, samples)
    compression = directory.integer(259, NONE)
    if compression not in _READ:
        name = _COMPRESSIONS.get(compression, "a method that is not known")
        raise SourceError(f"it is compressed as {name} ({compression}); save it with LZW or Deflate instead")
    photometric = directory.integer(262, BLACK_IS_ZERO)
    subsampling = (directory.integers(530) or (2, 2))[:2]
    pixel_format = _format(directory, photometric, bits, samples, subsampling)
    planar = directory.integer(284, 1) == 2 and samples > 1
    predictor = directory.integer(317, 1) if compression in _PREDICTED else 1
    if predictor not in (1, 2) or (predictor == 2 and (bits not in (8, 16) or photometric == YCBCR)):
        raise SourceError(f"its samples are predicted in a way (predictor {predictor}) that is not supported")
    if compression in FAX and (bits, samples) != (1, 1):
        raise SourceError("it is compressed as a fax, but has more than black and white")
    if compression == JPEG and bits != 8:
        raise SourceError(f"it is compressed as JPEG of {bits} bits; save it with LZW or Deflate instead")
    tiled, size, offsets, counts = _segments(directory, width, height, samples if planar else 1, most_px)
    if photometric == YCBCR and (planar or _is_cut(size, (width, height), subsampling)):
        raise SourceError("its colour samples are split in a way that is not supported; save it as RGB instead")
    matrix, value_range = _colours(directory) if photometric == YCBCR else (2, 0)
    return PageLayout(
        pixel_format, width, height, bits, samples, photometric, compression,
        differences=predictor == 2, bits_reversed=directory.integer(266, 1) == 2, planar=planar, tiled=tiled,
        segment_width=size[0], segment_height=size[1], offsets=offsets, counts=counts, order=order,
        palette=_palette(directory, bits) if photometric == PALETTE else (),
        jpeg_tables=directory[347].data if 347 in directory else b"",
        fax_options=directory.integer(292, 0), matrix=matrix, value_range=value_range,
        orientation=directory.integer(274, 0), pixel_aspect=_pixel_aspect(directory),
        auxiliary=bool(directory.integer(254, 0) & 5) or directory.integer(255, 1) == 2,
    )  # fmt: skip


def _is_cut(segment: tuple[int, int], whole: tuple[int, int], subsampling: tuple[int, ...]) -> bool:
    """Whether segments meet in the middle of a chroma sample."""
    return any(part < all_of and part % step for part, all_of, step in zip(segment, whole, subsampling, strict=True))


def _bits(directory: Directory, samples: int) -> int:
    """Bits of every sample, which are unsigned integers."""
    if not 1 <= samples <= 64:
        raise SourceError(f"it says that a pixel has {samples} samples")
    kinds = set(directory.integers(339)[:samples]) - {1, 4}
    bits = set(directory.integers(258)[:samples]) or {1}
    if kinds:
        width = "/".join(map(str, sorted(bits)))
        name = _KINDS.get(kind := kinds.pop(), f"samples of kind {kind}")
        raise SourceError(f"it holds {name} of {width} bits; save it with unsigned integers of 16 bits instead")
    if len(bits) > 1:
        raise SourceError("its channels have different numbers of bits; save it with 16 bits in all of them")
    return bits.pop()


def _format(
    directory: Directory, photometric: int, bits: int, samples: int, subsampling: tuple[int, ...]
) -> PixelFormat:
    """The pixel format of the frames."""
    if photometric in _COLOURS:
        raise SourceError(f"it holds {_COLOURS[photometric]}; convert it to RGB or grey first")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise SourceError(f"it holds colours of a kind that is not known ({photometric}); convert it to RGB first")
    colours = {RGB: 3, YCBCR: 3}.get(photometric, 1)
    further = samples - colours
    if further < 0 or further > 1 or (further and photometric in (PALETTE, YCBCR)):
        raise SourceError(
            f"it has {samples} channels where its colours take {colours}; save three of them as RGB, or each as grey"
        )
    if further and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and not directory.integers(338):
        raise SourceError("it has two channels and does not say what they are; save each in a file of its own")
    wanted = {RGB: _COLOUR_BITS, YCBCR: (8,), PALETTE: _PALETTE_BITS}.get(photometric, _GREY_BITS)
    if further and photometric != RGB:
        wanted = (8, 16)
    if bits not in wanted:
        raise SourceError(f"its samples have {bits} bits; save it with 8 or 16")
    if photometric == YCBCR:
        if subsampling not in _SAMPLINGS:
            raise SourceError("its chroma is subsampled in a way that is not supported; save it as RGB instead")
        return yuv(_SAMPLINGS[(subsampling[0], subsampling[1])])
    if photometric in (RGB, PALETTE):
        return rgb(max(8, bits), alpha=bool(further))
    return gray(max(8, bits), alpha=bool(further))


def _segments(
    directory: Directory, width: int, height: int, planes: int, most_px: int
) -> tuple[bool, tuple[int, int], tuple[int, ...], tuple[int, ...]]:
    """Whether there are tiles, the size of a segment, and where the segments lie."""
    tiled = 324 in directory
    if tiled:
        size = directory.integer(322, 0), directory.integer(323, 0)
        offsets, counts = directory.integers(324), directory.integers(325)
    else:
        size = width, min(height, directory.integer(278, height) or height)
        offsets, counts = directory.integers(273), directory.integers(279)
    if size[0] <= 0 or size[1] <= 0 or size[0] * size[1] > most_px:
        raise SourceError(f"it says that its tiles are {size[0]}×{size[1]}")
    wanted = -(-width // size[0]) * -(-height // size[1]) * planes
    if not counts and wanted == len(offsets) == 1:
        counts = (1 << 62,)
    if len(offsets) < wanted or len(counts) < wanted:
        raise SourceError(f"it lacks {wanted - min(len(offsets), len(counts))} of its {wanted} parts")
    return tiled, size, offsets[:wanted], counts[:wanted]


def _palette(directory: Directory, bits: int) -> tuple[int, ...]:
    found = directory.integers(320)
    if len(found) < 3 << bits:
        raise SourceError("its palette is not there")
    return found[: 3 << bits]


def _colours(directory: Directory) -> tuple[int, int]:
    """FFmpeg's numbers of the matrix and the range of YCbCr."""
    red = Fraction(next(iter(directory.numbers(529)), _MATRICES[0][0]))
    matrix = next((number for share, number in _MATRICES if abs(share - red) < Fraction(1, 200)), None)
    levels = tuple(round(float(value)) for value in directory.numbers(532)) or (0, 255, 128, 255, 128, 255)
    value_range = next((number for wanted, number in _RANGES.items() if _near(levels, wanted)), None)
    if matrix is None or value_range is None:
        raise SourceError("its YCbCr is of an unusual matrix or range; save it as RGB instead")
    return matrix, value_range


def _near(levels: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether levels are those of a range; FFmpeg writes 15 for 16."""
    return len(levels) == len(wanted) and all(abs(a - b) <= 1 for a, b in zip(levels, wanted, strict=True))


def _pixel_aspect(directory: Directory) -> Fraction | None:
    """Width of a pixel by its height, from the resolution in both directions; ``None`` = not said."""
    across, down = (Fraction(next(iter(directory.numbers(tag)), 0)) for tag in (282, 283))
    if across <= 0 or down <= 0:
        return None
    found = (down / across).limit_denominator(10_000)
    return found if Fraction(1, 100) < found < 100 else None
