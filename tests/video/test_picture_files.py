"""Photographs and sequences: what they say of themselves, which way up they are, their names, depth and samples."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from support.doubles import Identity
from support.wall_clock import patience
from vdeblur.errors import SourceError, UsageError
from vdeblur.pipeline.deblur_video import ALONE, Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.photo.exif import stream_of, with_orientation
from vdeblur.video.photo.metadata_copy import PictureTags, read_tags, write_tags
from vdeblur.video.source.reader import probe

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\xc3\xa9</a></x:xmpmeta>'
IPTC = b"8BIM\x04\x04\0\0\0\0\0\x09\x1c\x02\x78\0\x04Text\0"
ORIENTATION, MAKE, DATE, EXPOSURE, MAKER_NOTE = 0x112, 0x10F, 0x9003, 0x829A, 0x927C
EXIF_IFD, GPS_IFD = 0x8769, 0x8825


def run(source: Path | str, target: Path | str, **options: Any) -> Report:
    return deblur_video(source, target, **{"model": Identity(), "device": "cpu", "strength": 0, **options})


def picture(seed: int = 1, height: int = 48, width: int = 72) -> Image.Image:
    """Smooth coloured waves with a bright corner, by which one sees how it is turned."""
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(rows / (5 + seed) + n) + 50 * np.cos(columns / (7 + n)) for n in range(3)]
    shown = np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)
    shown[:12, :20] = 250
    return Image.fromarray(shown)


@functools.cache
def profile() -> bytes:
    """An ICC profile that is not the usual one: with it colours look different."""
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())


def exif(orientation: int = 6, *, xmp: bool = False) -> Image.Exif:
    tags = Image.Exif()
    if xmp:
        tags[700] = XMP
    tags[ORIENTATION], tags[MAKE], tags[0x110] = orientation, "Maker", "Model 5"
    tags[0x10E] = "a picture"
    camera = tags.get_ifd(EXIF_IFD)
    camera[DATE], camera[EXPOSURE], camera[MAKER_NOTE] = "2024:05:06 07:08:09", (1, 60), b"\1\2\3of the maker\xff"
    place = tags.get_ifd(GPS_IFD)
    place[1], place[2] = "N", (48.0, 8.0, 30.5)
    if xmp:  # for TIFF, to which Pillow passes on no other directories
        tags[EXIF_IFD], tags[GPS_IFD] = dict(camera), dict(place)
    return tags


SOURCES: dict[str, Callable[[Path], object]] = {
    "jpg": lambda path: picture().save(
        path, quality=92, exif=exif(), icc_profile=profile(), dpi=(300, 300), xmp=XMP, comment=b"seen"
    ),
    "png": lambda path: picture().save(
        path, exif=exif(), icc_profile=profile(), dpi=(300, 300), pnginfo=png_texts()
    ),
    "tif": lambda path: picture().save(
        path, exif=exif(xmp=True), icc_profile=profile(), dpi=(300, 300)
    ),
    "webp": lambda path: picture().save(path, lossless=True, exif=exif(), icc_profile=profile(), xmp=XMP),
}  # fmt: skip


def png_texts() -> PngImagePlugin.PngInfo:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "waves")
    texts.add_itxt("Description", "Wellen ü", lang="de")
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return texts


def tags_of(path: Path) -> dict[str, Any]:
    """What Pillow finds: Exif in three directories, profile, XMP and resolution."""
    with Image.open(path) as image:
        found = image.getexif()
        raw = {name: value for name, value in found.items() if name in (MAKE, 0x110, 0x10E)}
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        return {
            "orientation": found.get(ORIENTATION),
            "text": raw,
            "camera": {name: found.get_ifd(EXIF_IFD).get(name) for name in (DATE, EXPOSURE, MAKER_NOTE)},
            "place": found.get_ifd(GPS_IFD),
            "icc": image.info.get("icc_profile"),
            "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
            "dpi": None if (dpi := image.info.get("dpi")) is None else tuple(round(float(value), 1) for value in dpi),
        }


def upright(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)


def psnr(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    assert one.shape == other.shape
    error = float(((one - other) ** 2).mean())
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


# --- Tags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", SOURCES)
@pytest.mark.parametrize("source", SOURCES)
def test_tags_go_from_every_kind_into_every_kind(source: str, target: str, tmp_path: Path) -> None:
    made, out = tmp_path / f"in.{source}", tmp_path / f"out.{target}"
    SOURCES[source](made)
    if (source, target) == ("webp", "jpg"):  # lossless WebP is decoded with alpha, which JPEG has not
        picture().save(made, quality=98, exif=exif(), icc_profile=profile(), xmp=XMP)
    report = run(made, out)
    wanted, found = tags_of(made), tags_of(out)
    if target == "webp" and source != "webp":
        assert any("not kept: the resolution (dpi)" in note for note in report.notes)
    if "webp" in (source, target):
        wanted["dpi"] = found["dpi"] = None
    for one in (wanted, found):
        del one["orientation"]  # of which Pillow says nothing once it has turned a TIFF
    assert found == wanted
    assert found["text"][MAKE] == "Maker"
    assert found["camera"][DATE] == "2024:05:06 07:08:09"
    assert found["camera"][MAKER_NOTE] == b"\1\2\3of the maker\xff"
    assert (found["icc"], found["xmp"]) == (profile(), XMP)
    assert probe(out).video.rotation_degrees == -90
    if "jpg" not in (source, target):
        assert np.array_equal(upright(made), upright(out))
    else:
        assert psnr(upright(made), upright(out)) >= (40 if "webp" in (source, target) else 45)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_every_orientation_is_upright_again(ending: str, orientation: int, tmp_path: Path) -> None:
    made, out = tmp_path / "in.png", tmp_path / f"out.{ending}"
    picture().save(made, exif=exif(orientation))
    run(made, out)
    assert psnr(upright(made), upright(out)) > 40
    assert probe(made).video.display_matrix == probe(out).video.display_matrix


def test_a_frame_of_a_turned_video_is_upright(tmp_path: Path) -> None:
    """A video says how it is turned in its own way, and a picture in that of Exif."""
    from support.media.clips import clip

    for ending in ("jpg", "png", "webp"):
        out = tmp_path / f"out.{ending}"
        run(clip("rotated"), out, duration_seconds=0.04)
        assert probe(out).video.rotation_degrees == probe(clip("rotated")).video.rotation_degrees == 90


def test_png_keeps_its_own_words(tmp_path: Path) -> None:
    made, out = tmp_path / "in.png", tmp_path / "out.png"
    SOURCES["png"](made)
    made.write_bytes(with_chunk(made.read_bytes(), b"gAMA", (45455).to_bytes(4, "big")))
    run(made, out)
    with Image.open(made) as a, Image.open(out) as b:
        a.load()
        b.load()
        assert a.info == b.info
        assert b.info["gamma"] == 0.45455
        assert b.info["Description"] == "Wellen ü"
    report = run(made, tmp_path / "out.jpg")
    assert "not kept: texts and colour chunks of the PNG" in report.notes


def test_iptc_comes_along_where_it_can(tmp_path: Path) -> None:
    made = tmp_path / "in.jpg"
    picture().save(made)
    write_tags(made, PictureTags(resources=IPTC))
    assert b"IPTC" not in b"".join(note.encode() for note in run(made, tmp_path / "out.jpg").notes)
    with Image.open(made) as a, Image.open(tmp_path / "out.jpg") as b:
        assert a.info["photoshop"] == b.info["photoshop"] != {}
    assert read_tags(tmp_path / "out.jpg").resources == IPTC
    assert "not kept: IPTC and other image resources" in run(made, tmp_path / "out.png").notes


def test_what_no_file_holds_is_said(tmp_path: Path) -> None:
    made = tmp_path / "in.jpg"
    SOURCES["jpg"](made)
    words = "not kept: Exif data, the ICC colour profile, XMP, the resolution (dpi), comments"
    assert words in run(made, tmp_path / "out.bmp").notes
    assert words in run(made, tmp_path / "out.mkv").notes
    with (tmp_path / "piped.png").open("wb") as file:
        assert words in run(made, file, encode=EncodeOptions(container="png")).notes


def test_a_gain_map_is_missed(tmp_path: Path) -> None:
    made = tmp_path / "in.jpg"
    picture().save(made)
    data = made.read_bytes()
    made.write_bytes(data[:2] + b"\xff\xe2\0\x0eMPF\0II*\0\x08\0\0\0" + data[2:] + data)
    assert "not kept: further pictures inside the JPEG (previews, gain map)" in run(made, tmp_path / "out.jpg").notes


@pytest.mark.parametrize("dpi", [72, 96, 300, 118.11 * 2.54])
def test_resolutions_survive_rounding(dpi: float, tmp_path: Path) -> None:
    picture().save(tmp_path / "in.png", dpi=(dpi, dpi))
    run(tmp_path / "in.png", tmp_path / "a.jpg")
    run(tmp_path / "a.jpg", tmp_path / "b.png")
    for name in ("a.jpg", "b.png"):
        assert tags_of(tmp_path / name)["dpi"] == pytest.approx((dpi, dpi), abs=0.1)


def test_big_profiles_and_little_things(tmp_path: Path) -> None:
    """A profile of several segments; Exif data in the other byte order stay as they are but for the orientation."""
    large = profile() + bytes(range(256)) * 700
    big_endian = b"MM\0*\0\0\0\x08\0\1\1\x0f\0\2\0\0\0\6\0\0\0\x1a\0\0\0\0Maker\0"
    for ending in ("jpg", "png", "webp"):
        path = tmp_path / f"a.{ending}"
        picture().save(path)
        write_tags(path, PictureTags(icc=large, exif=with_orientation(big_endian, 8)))
        with Image.open(path) as image:
            image.load()
            assert image.info["icc_profile"] == large
            assert (image.getexif()[MAKE], image.getexif()[ORIENTATION]) == ("Maker", 8)
        assert read_tags(path).icc == large
    assert with_orientation(big_endian, 1) == big_endian
    assert with_orientation(None, 1) is None


@pytest.mark.parametrize("ending", SOURCES)
def test_damaged_tags_do_no_harm(ending: str, tmp_path: Path) -> None:
    """Cut off anywhere, or with any byte of the head changed, tags are read or not, quickly, and written again."""
    made, out = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    SOURCES[ending](made)
    whole, random = made.read_bytes(), np.random.default_rng(1)
    picture().save(out)
    plain = out.read_bytes()
    for _ in range(150):
        data = bytearray(whole[: random.integers(1, len(whole))])
        for place in random.integers(0, min(len(data), 3000), 3):
            data[place] = random.integers(0, 256)
        made.write_bytes(bytes(data))
        tags = read_tags(made, orientation=3)
        out.write_bytes(plain)
        write_tags(out, tags)
        with Image.open(out) as image:
            image.load()


def test_exif_claims_are_not_believed() -> None:
    """Directories that point to themselves, and values longer than the data."""
    loop = b"II*\0\x08\0\0\0\1\0" + (34665).to_bytes(2, "little") + b"\4\0\1\0\0\0\x08\0\0\0\0\0\0\0"
    assert with_orientation(loop, 6) is not None
    huge = b"II*\0\x08\0\0\0\1\0" + (271).to_bytes(2, "little") + b"\2\0\xff\xff\xff\xff\x08\0\0\0\0\0\0\0"
    assert stream_of({}) == b"II*\0\x08\0\0\0\0\0\0\0\0\0"
    for data in (loop, huge, b"II*\0\xff\xff\xff\xff", b"MM\0*"):
        write_all_kinds(data)


def write_all_kinds(data: bytes) -> None:
    from vdeblur.video.photo.exif import read_directory

    assert all(len(tag.data) <= len(data) for tag in read_directory(data).values())


def test_a_named_profile_in_a_png_does_not_end_the_process(tmp_path: Path) -> None:
    """In a process of its own, which PyAV's double free of the name would kill."""
    SOURCES["png"](tmp_path / "in.png")
    words = "from vdeblur.video.source.reader import probe; import sys; print(probe(sys.argv[1]).video.side_data)"
    done = subprocess.run(
        [sys.executable, "-c", words, str(tmp_path / "in.png")],
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(60),
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("ICC_PROFILE", "EXIF", "DISPLAYMATRIX"))


# --- Samples ----------------------------------------------------------------------------------------------------------


MODES = {
    "RGB": lambda: picture(),
    "RGBA": lambda: with_alpha(),
    "L": lambda: picture().convert("L"),
    "LA": lambda: picture().convert("LA"),
    "I;16": lambda: Image.fromarray((np.arange(48 * 72).reshape(48, 72) * 18).astype(np.uint16)),
    "P": lambda: picture().quantize(60),
}


def with_alpha() -> Image.Image:
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.linspace(0, 255, 48 * 72).reshape(48, 72).astype(np.uint8)))
    return image


@pytest.mark.parametrize(
    ("mode", "ending"),
    [(mode, ending) for mode in MODES for ending in ("png", "tif")] + [("RGB", "bmp"), ("RGB", "webp"), ("RGB", "jp2")],
)
def test_lossless_pictures_are_exact(mode: str, ending: str, tmp_path: Path) -> None:
    made, out = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    MODES[mode]().save(made, **({"lossless": True} if ending == "webp" else {}))
    run(made, out)
    with Image.open(made) as a, Image.open(out) as b:
        assert b.mode == ("RGBA" if mode == "P" and ending == "png" else a.mode if mode != "P" else b.mode)
        if mode == "I;16":
            assert np.array_equal(np.asarray(a), np.asarray(b))
        else:
            assert np.array_equal(np.asarray(a.convert("RGBA")), np.asarray(b.convert("RGBA")))


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    from support.media.clips import clip

    for ending in ("png", "tif"):
        run(clip("photo_tif"), tmp_path / f"out.{ending}")
        assert probe(tmp_path / f"out.{ending}").video.format.name == "gbrp16le"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_lose_nothing_that_one_sees(subsampling: int, progressive: bool, tmp_path: Path) -> None:
    made, out = tmp_path / "in.jpg", tmp_path / "out.jpg"
    picture().save(made, quality=92, subsampling=subsampling, progressive=progressive)
    run(made, out)
    assert probe(out).video.pixel_format == probe(made).video.pixel_format
    assert psnr(upright(made), upright(out)) >= 45


def test_inks_are_refused(tmp_path: Path) -> None:
    picture().convert("CMYK").save(tmp_path / "in.jpg")
    with pytest.raises(SourceError, match=r"in\.jpg is a JPEG in CMYK, for printing; convert it to RGB first"):
        run(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


def test_one_picture_is_told_that_its_blur_stays(tmp_path: Path) -> None:
    picture().save(tmp_path / "in.png")
    assert run(tmp_path / "in.png", tmp_path / "out.png").notes == (ALONE,)
    restored = run(tmp_path / "in.png", tmp_path / "real.png", model="fast", strength=1)
    assert restored.notes == (ALONE,)
    assert psnr(upright(tmp_path / "in.png"), upright(tmp_path / "real.png")) > 40
    assert ALONE not in run(sequence(tmp_path, [1, 2]), tmp_path / "o_%d.png").notes


# --- Names ------------------------------------------------------------------------------------------------------------


def sequence(folder: Path, numbers: list[int], name: str = "frame_%04d.png") -> str:
    for number in numbers:
        tags = Image.Exif()
        tags[0x10E] = f"number {number}"
        picture(number).save(folder / (name % number), exif=tags)
    return str(folder / name)


def said(path: Path) -> str:
    with Image.open(path) as image:
        return str(image.getexif()[0x10E])


def test_numbers_stay_as_they_are(tmp_path: Path) -> None:
    pattern = sequence(tmp_path, [7, 8, 10, 11, 100])
    run(pattern, tmp_path / "sharp_%03d.jpg")
    assert sorted(path.name for path in tmp_path.glob("sharp_*")) == [
        "sharp_007.jpg", "sharp_008.jpg", "sharp_010.jpg", "sharp_011.jpg", "sharp_100.jpg"
    ]  # fmt: skip
    assert said(tmp_path / "sharp_100.jpg") == "number 100"
    run(pattern, tmp_path / "late_%d.png", start_seconds=0.08)
    assert sorted(path.name for path in tmp_path.glob("late_*")) == ["late_10.png", "late_100.png", "late_11.png"]
    assert said(tmp_path / "late_11.png") == "number 11"
    run(pattern, tmp_path / "mine_%d.png", encode=EncodeOptions(ffmpeg_args=("-start_number", "50")))
    assert sorted(path.name for path in tmp_path.glob("mine_*")) == [f"mine_{n}.png" for n in range(50, 55)]


NAMES = ["b10.JPG", "b2.jpeg", "b9.jpg", "c %d ü.JPG"]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_becomes_a_folder_of_the_same_names(there: bool, tmp_path: Path) -> None:
    source, target = tmp_path / "50% in", tmp_path / "out"
    source.mkdir()
    if there:
        target.mkdir()
        (target / "other.txt").write_text("mine")
    for number, name in enumerate(NAMES):
        tags = Image.Exif()
        tags[0x10E], tags[ORIENTATION] = f"number {number}", 1 + number
        picture(number).save(source / name, quality=95, exif=tags)
    run(source, target)
    assert sorted(path.name for path in target.iterdir()) == sorted([*NAMES, *(["other.txt"] if there else [])])
    for name in NAMES:
        assert said(target / name) == said(source / name)
        assert psnr(upright(source / name), upright(target / name)) >= 45
    with pytest.raises(UsageError, match="exists; pass overwrite"):
        run(source, target)
    run(source, target, overwrite=True)
    with pytest.raises(UsageError, match="source itself"):
        run(source, source, overwrite=True)


def test_a_folder_counts_by_its_own_numbers(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sequence(tmp_path / "in", [3, 5], "take2_%d.png")
    run(tmp_path / "in", tmp_path / "o_%04d.png")
    assert sorted(path.name for path in tmp_path.glob("o_*")) == ["o_0003.png", "o_0005.png"]


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sequence(tmp_path / "in", [1, 2, 3])
    (tmp_path / "in" / "frame_0003.png").write_bytes(b"no picture")
    picture(3, 20, 20).save(tmp_path / "in" / "frame_0002.png")
    with pytest.raises(Exception, match=r"frame|size|read"):
        run(tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def with_chunk(data: bytes, kind: bytes, payload: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    import zlib

    chunk = len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(kind + payload).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]
