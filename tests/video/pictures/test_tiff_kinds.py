"""TIFFs of every build give the samples that were written, and those that Pillow reads."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.doubles import Identity
from support.media.tiffs import TiffPage, picture, tiff_bytes
from vdeblur.errors import SourceError
from vdeblur.frames import Frame
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.formats.pixel_formats import video_frame_from
from vdeblur.video.source.reader import Reader, probe

GREY, RGB, WHITE_FIRST, PALETTE, INKS, YCBCR = 1, 2, 0, 3, 5, 6
ALPHA: dict[int, Any] = {338: (3, [2])}
_COLOURS = np.random.default_rng(3).integers(0, 65536, 3 * 256)


def _page(channels: int = 1, bits: int = 8, photometric: int | None = None, **more: Any) -> TiffPage:
    kind = photometric if photometric is not None else (RGB if channels >= 3 else GREY)
    tags = {**(ALPHA if channels in (2, 4) else {}), **more.pop("tags", {})}
    return TiffPage(picture(channels, bits), bits, kind, tags=tags, **more)


TILE = (16, 32)
#: Name: page, byte order, BigTIFF.
KINDS: dict[str, tuple[TiffPage, str, bool]] = {
    **{f"grey {bits} bits": (_page(bits=bits), "<", False) for bits in (1, 2, 4, 8, 10, 12, 14, 16)},
    **{f"white first {bits} bits": (_page(bits=bits, photometric=WHITE_FIRST), "<", False) for bits in (1, 4, 8, 16)},
    **{f"colour {bits} bits": (_page(3, bits), "<", False) for bits in (8, 10, 12, 16)},
    **{
        f"{name} {layout}": (_page(channels, bits, **more), order, big)
        for name, channels, bits in (("grey alpha", 2, 8), ("rgba", 4, 8), ("deep rgba", 4, 16), ("deep rgb", 3, 16))
        for layout, order, big, more in (
            ("big-endian", ">", False, {}),
            ("BigTIFF", "<", True, {}),
            ("planes apart", "<", False, {"planar": True}),
            ("planes apart in tiles", ">", True, {"planar": True, "tile": TILE}),
        )
    },
    **{
        f"{compression} {name}": (_page(3, bits, compression=compression, **more), order, False)
        for compression in ("lzw", "deflate", "old deflate", "packbits", "lzma")
        for name, bits, order, more in (
            ("strips", 8, "<", {}), ("deep tiles", 16, ">", {"tile": TILE}),
            ("deep differences", 16, "<", {"differences": True}), ("tiles of differences", 8, "<",
                                                             {"differences": True, "tile": TILE}),
        )
        if compression != "packbits" or "differences" not in name
    },
    "a thumbnail in a directory of its own": (_page(3, tags={330: (4, [8])}), "<", False),
    "tiles": (_page(tile=TILE), "<", False),
    "one tile larger than the picture": (_page(3, tile=(64, 64)), "<", False),
    "one strip": (_page(3, rows_per_strip=4_000_000), "<", False),
    "strips of one row": (_page(bits=12, compression="lzw", rows_per_strip=1), "<", False),
    "lowest bit first": (_page(bits=1, bits_reversed=True), "<", False),
    "lowest bit first lzw": (_page(bits_reversed=True, compression="lzw"), "<", False),
    **{
        f"palette {bits} bits": (
            TiffPage(picture(1, bits), bits, PALETTE, tags={320: (3, [int(v) for v in _COLOURS[: 3 << bits]])}), "<",
            False,
        )
        for bits in (1, 4, 8)
    },
}  # fmt: skip
#: What Pillow has no mode for, or reads with a plugin that is not there.
_NOT_FOR_PILLOW = ("10 bits", "14 bits", "deep", "grey alpha", "16 bits", "lzma", "colour 12", "apart in", "grey 12")


def expected(page: TiffPage) -> np.ndarray[Any, Any]:
    """What the frame must hold: rows, columns, channels."""
    peak = (1 << page.bits) - 1
    samples = page.samples
    if page.photometric == PALETTE:
        table = (np.asarray(page.tags[320][1]).reshape(3, -1) >> 8).astype(np.uint8)
        return np.moveaxis(table[:, samples[:, :, 0]], 0, -1)
    if page.photometric == WHITE_FIRST:
        samples = samples.dtype.type(peak) - samples
    return samples * (255 // peak) if page.bits < 8 else samples


def read(path: Path) -> tuple[np.ndarray[Any, Any], Frame]:
    with Reader(path, threads=1) as reader:
        (frame,) = list(reader)
    planes = [np.asarray(plane) for plane in frame.planes]
    if frame.format.family == "rgb":
        planes = [planes[2], planes[0], planes[1], *planes[3:]]
    return np.stack(planes, axis=-1), frame


def seen_by_pillow(path: Path) -> np.ndarray[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            shown = image.convert("RGB") if image.mode == "P" else image.convert("L") if image.mode == "1" else image
            found = np.asarray(shown)
    return found if found.ndim == 3 else found[:, :, None]


@pytest.mark.parametrize("name", KINDS)
def test_every_build_gives_the_samples_that_were_written(name: str, tmp_path: Path) -> None:
    page, order, big = KINDS[name]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes([page], order=order, big=big))
    found, frame = read(path)
    wanted = expected(page)
    assert found.shape == wanted.shape
    assert np.array_equal(found, wanted)
    assert frame.format.bits == max(8, page.bits)
    assert frame.format.alpha == (page.samples.shape[2] in (2, 4))
    if not any(words in name for words in _NOT_FOR_PILLOW):
        assert np.array_equal(seen_by_pillow(path), wanted), "the file is not what its writer meant"


def test_there_are_forty_kinds() -> None:
    assert len(KINDS) >= 40
    assert sum(not any(words in name for words in _NOT_FOR_PILLOW) for name in KINDS) >= 25


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_faxes(compression: str, tmp_path: Path) -> None:
    image = Image.fromarray(picture(1)[:, :, 0] > 120)
    image.save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read(tmp_path / "a.tif")[0][:, :, 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("strip", [16, 4096])
def test_strips_that_are_jpegs(mode: str, strip: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    rows, columns = np.mgrid[:96, :80]
    smooth = np.stack([rows * 2, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    Image.fromarray(smooth).convert(mode).save(path, compression="jpeg", quality=95, tiffinfo={278: strip})
    with Reader(path, threads=1) as reader:
        frame = next(reader)
    made = video_frame_from(frame)
    made.colorspace, made.color_range = 5, 2
    found = made.to_ndarray(format="rgb24" if mode == "RGB" else "gray").astype(int)
    with Image.open(path) as image:
        wanted = np.asarray(image.convert(mode)).astype(int)
    assert abs(found - wanted).mean() < 1.5
    assert found.std() > 20, "not black, as FFmpeg's own decoder would have it"
    assert frame.format.family == ("gray" if mode == "L" else "rgb")


@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1)])
def test_luma_and_chroma_in_blocks(sampling: tuple[int, int], tmp_path: Path) -> None:
    """YCbCr without JPEG: some luma samples, then the one Cb and Cr of theirs."""
    across, down = sampling
    luma = picture(1, height=8 * down, width=8 * across)[:, :, 0]
    chroma = picture(2, height=8, width=8, seed=5)
    blocks = luma.reshape(8, down, 8, across).swapaxes(1, 2).reshape(8, 8, -1)
    data = np.concatenate([blocks, chroma], axis=-1).reshape(8, -1)
    made = TiffPage(data[:, :, None], photometric=YCBCR, rows_per_strip=4096, compression="deflate", tags={
        256: (4, [luma.shape[1]]), 257: (4, [luma.shape[0]]), 258: (3, [8, 8, 8]), 277: (3, [3]), 530: (3, sampling),
    })  # fmt: skip
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes([made]))
    with Reader(path, threads=1) as reader:
        frame = next(reader)
    wanted = (luma, chroma[:, :, 0], chroma[:, :, 1])
    assert all(np.array_equal(plane, other) for plane, other in zip(frame.planes, wanted, strict=True))
    assert (frame.colour.matrix, frame.colour.range) == ("bt470bg", "pc")


@pytest.mark.parametrize(
    ("tags", "samples", "bits", "words"),
    [
        ({339: (3, [3])}, np.float16, 16, "floating-point numbers of 16 bits"),
        ({339: (3, [3])}, np.float32, 32, "floating-point numbers of 32 bits"),
        ({339: (3, [2])}, np.int16, 16, "signed integers of 16 bits"),
        ({}, np.uint32, 32, "its samples have 32 bits"),
        ({339: (3, [6])}, np.uint64, 64, "complex numbers"),
        ({262: (3, [8])}, np.uint8, 8, r"CIE L\*a\*b\*"),
        ({262: (3, [32803])}, np.uint16, 16, "raw mosaic"),
        ({259: (3, [50000])}, np.uint8, 8, "Zstandard"),
        ({317: (3, [3]), 259: (3, [5])}, np.uint16, 16, "predictor 3"),
        ({50706: (1, [1, 4, 0, 0])}, np.uint16, 16, "raw file of a camera"),
    ],
)
def test_what_would_be_read_wrongly_is_refused_with_a_way_out(
    tags: Any, samples: Any, bits: int, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes([TiffPage(picture(1).astype(samples), bits, tags=tags)]))
    with pytest.raises(SourceError, match=words) as caught:
        probe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("channels", "photometric", "words"), [
    (4, INKS, "CMYK"), (5, RGB, "5 channels"), (2, GREY, "two channels"), (3, GREY, "3 channels")])  # fmt: skip
def test_channels_that_are_no_colours(channels: int, photometric: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes([TiffPage(picture(channels), photometric=photometric)]))
    with pytest.raises(SourceError, match=words):
        probe(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_page_is_turned_in_a_video_too(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes([_page(3, tags={274: (3, [orientation])})]))
    turned = probe(path).video
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(picture(3)).save(tmp_path / "c.png", exif=exif)
    like = probe(tmp_path / "c.png").video
    assert (turned.rotation_degrees, turned.display_matrix) == (like.rotation_degrees, like.display_matrix)


@pytest.mark.parametrize("big", [False, True])
def test_a_map_stays_where_it_is(big: bool, tmp_path: Path) -> None:
    """GeoTIFF tags go into TIFF, and are missed elsewhere."""
    geo: dict[int, Any] = {
        33550: (12, [0.5, 0.5, 0.0]), 33922: (12, [0, 0, 0, 10.0, 50.0, 0]), 34735: (3, [1, 1, 0, 1, 1024, 0, 1, 2]),
        42113: (2, list(b"-999\0")),
    }  # fmt: skip
    source = tmp_path / "a.tif"
    source.write_bytes(tiff_bytes([_page(tags=geo)], big=big))
    run = {"model": Identity(), "device": "cpu", "strength": 0}
    report = deblur_video(source, tmp_path / "b.tif", **run)  # type: ignore[arg-type]
    assert not any("georeference" in note for note in report.notes)
    with Image.open(tmp_path / "b.tif") as image:
        found: Any = image.tag_v2  # type: ignore[attr-defined]
        assert (found[33550], found[33922][3:5], found[42113]) == ((0.5, 0.5, 0.0), (10.0, 50.0), "-999")
        assert found[34735] == (1, 1, 0, 1, 1024, 0, 1, 2)
    for target in ("b.png", "b.mkv"):
        report = deblur_video(source, tmp_path / target, **run)  # type: ignore[arg-type]
        assert any("not kept: the georeference (GeoTIFF)" in note for note in report.notes)
