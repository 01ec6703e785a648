"""TIFFs of several pages: every page is a frame, or the refusal says what to do."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from support.doubles import Identity
from support.media.tiffs import TiffPage, picture, tiff_bytes
from vdeblur.errors import SourceError, UsageError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.source.reader import Reader

COUNT = 5
REDUCED, MASK = 1, 4


def run(source: Any, target: Path, **options: Any) -> Report:
    encode = EncodeOptions(codec="ffv1" if target.suffix == ".mkv" else None)
    return deblur_video(source, target, model=Identity(), device="cpu", strength=0, encode=encode, **options)


def pages(bits: int = 16, **first: Any) -> list[TiffPage]:
    """A stack of grey pictures; ``first`` is for the first page alone."""
    made = [TiffPage(picture(1, bits, seed=number), bits) for number in range(COUNT)]
    return [TiffPage(made[0].samples, bits, **first), *made[1:]]


def described(text: str) -> dict[int, Any]:
    return {270: (2, list(text.encode() + b"\0"))}


def stack(path: Path, made: list[TiffPage], **how: Any) -> Path:
    path.write_bytes(tiff_bytes(made, **how))
    return path


def grey_frames(path: Path) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize("how", [{}, {"order": ">"}, {"big": True}])
def test_every_page_is_a_frame(how: dict[str, Any], tmp_path: Path) -> None:
    source = stack(tmp_path / "a.tif", pages(), **how)
    report = run(source, tmp_path / "a.mkv")
    found = grey_frames(tmp_path / "a.mkv")
    assert report.frames == len(found) == COUNT
    for number, frame in enumerate(found):
        assert np.array_equal(frame, picture(1, 16, seed=number)[:, :, 0])


def test_a_stack_through_a_pipe_and_in_part(tmp_path: Path) -> None:
    data = tiff_bytes(pages())
    assert run(io.BytesIO(data), tmp_path / "a.mkv").frames == COUNT
    (tmp_path / "a.tif").write_bytes(data)
    assert run(tmp_path / "a.tif", tmp_path / "b.mkv", start_seconds=0.08, duration_seconds=0.08).frames == 2
    assert np.array_equal(grey_frames(tmp_path / "b.mkv")[0], picture(1, 16, seed=2)[:, :, 0])


def test_a_stack_becomes_a_sequence_and_comes_back(tmp_path: Path) -> None:
    words = f"ImageJ=1.54f\nimages={COUNT}\nslices={COUNT}\nunit=um\n"
    source = stack(tmp_path / "a.tif", pages(tags=described(words)))
    run(source, tmp_path / "b_%02d.tif")
    for number in range(COUNT):
        with Image.open(tmp_path / f"b_{number + 1:02}.tif") as image:
            assert np.array_equal(np.asarray(image), picture(1, 16, seed=number)[:, :, 0])
            assert image.tag_v2[270] == "ImageJ=1.54f\nunit=um\n"  # type: ignore[attr-defined]
    assert run(str(tmp_path / "b_%02d.tif"), tmp_path / "c.mkv").frames == COUNT
    assert np.array_equal(grey_frames(tmp_path / "c.mkv")[-1], picture(1, 16, seed=COUNT - 1)[:, :, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stack_becomes_a_stack(channels: int, tmp_path: Path) -> None:
    kind = {"photometric": 2 if channels == 3 else 1, "tile": (16, 32)}
    made = [TiffPage(picture(channels, 16, seed=number), 16, **kind) for number in range(COUNT)]  # type: ignore[arg-type]
    source = stack(tmp_path / "a.tif", made, order=">")
    report = run(source, tmp_path / "b.tif")
    assert report.frames == COUNT
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "b.tif"]
    with Reader(tmp_path / "b.tif") as reader:
        for number, frame in enumerate(reader):
            assert np.array_equal(frame.planes[0], picture(channels, 16, seed=number)[:, :, 1 if channels == 3 else 0])
        assert number == COUNT - 1
    if channels == 1:
        with Image.open(tmp_path / "b.tif") as image:
            assert image.n_frames == COUNT  # type: ignore[attr-defined]
            image.seek(3)
            assert np.array_equal(np.asarray(image), picture(1, 16, seed=3)[:, :, 0])
    with pytest.raises(UsageError, match=r"exists"):
        run(source, tmp_path / "b.tif")
    with pytest.raises(UsageError, match=r"b\.png is one picture but 5 frames would come; write to a pattern"):
        run(source, tmp_path / "b.png")
    with pytest.raises(UsageError, match="is the source itself"):
        run(source, source, overwrite=True)


def test_a_stack_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    source = stack(tmp_path / "a.tif", pages())

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "b.tif", progress=stop)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("named", [True, False])
def test_sequences_of_tiles_and_of_floats(named: bool, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        stack(folder / f"f_{number}.tif", [TiffPage(picture(3, seed=number), photometric=2, tile=(16, 16))], big=True)
    source = str(folder / "f_%d.tif") if named else folder
    assert run(source, tmp_path / "a.mkv").frames == 3
    with av.open(str(tmp_path / "a.mkv")) as container:
        last = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][-1]
    assert np.array_equal(last, picture(3, seed=2))
    stack(folder / "f_0.tif", [TiffPage(picture(1).astype(np.float16), 16, tags={339: (3, [3])})])
    with pytest.raises(SourceError, match=r"f_0\.tif: it holds floating-point numbers"):
        run(source, tmp_path / "b.mkv")


def test_a_stack_inside_a_sequence_is_not_one_picture(tmp_path: Path) -> None:
    for number in range(2):
        stack(tmp_path / f"f_{number}.tif", pages())
    with pytest.raises(SourceError, match=r"f_0\.tif has 5 pages; a sequence has one picture in each file"):
        run(str(tmp_path / "f_%d.tif"), tmp_path / "a.mkv")


@pytest.mark.parametrize("kind", [REDUCED, MASK, 0])
def test_smaller_versions_and_masks_are_no_frames(kind: int, tmp_path: Path) -> None:
    large = picture(3, height=64, width=96)
    small = TiffPage(large[::4, ::4] if kind != MASK else picture(1, 1, height=64, width=96), photometric=2, kind=kind)
    if kind == MASK:
        small = TiffPage(small.samples, 1, 4, kind=kind)
    source = stack(tmp_path / "a.tif", [TiffPage(large, photometric=2), small])
    with Reader(source) as reader:
        assert len(list(reader)) == 1
        assert any("1 page with a smaller version or a mask left out" in note for note in reader.notes)
        assert (reader.info.video.width, reader.info.video.height) == (96, 64)


def test_pages_of_different_kinds_are_refused(tmp_path: Path) -> None:
    source = stack(tmp_path / "a.tif", [*pages(), TiffPage(picture(1, 16, height=60, width=20), 16)])
    with pytest.raises(SourceError, match=r"its pages differ: 6 is 20×60 gray16le, others are 45×37 gray16le"):
        run(source, tmp_path / "a.mkv")


def test_imagej_says_how_fast_it_plays(tmp_path: Path) -> None:
    source = stack(tmp_path / "a.tif", pages(tags=described(f"ImageJ=1.54f\nimages={COUNT}\nfps=7.5\n")))
    with Reader(source) as reader:
        assert float(reader.info.video.average_rate or 0) == 7.5


def test_imagej_hides_pictures_behind_one_directory(tmp_path: Path) -> None:
    """As it does above 4 GiB."""
    whole = np.concatenate([picture(1, 8, seed=number) for number in range(COUNT)])
    one = TiffPage(whole, rows_per_strip=4096, tags={
        257: (4, [37]), 279: (4, [37 * 45]), **described(f"ImageJ=1.54f\nimages={COUNT}\n")})  # fmt: skip
    source = stack(tmp_path / "a.tif", [one])
    assert run(source, tmp_path / "a.mkv").frames == COUNT
    assert np.array_equal(grey_frames(tmp_path / "a.mkv")[3], picture(1, 8, seed=3)[:, :, 0])
    short = source.read_bytes().replace(b"images=5", b"images=9")
    source.write_bytes(short)
    with pytest.raises(SourceError, match="it says that it has 9 pictures, and not all of them are there"):
        run(source, tmp_path / "b.mkv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ImageJ=1.54f\nimages=5\nchannels=5\nhyperstack=true\n", "5 channels of each picture"),
        ("ImageJ=1.54f\nimages=5\nslices=5\nframes=1\n", None),
        ("ImageJ=1.54f\nimages=6\nslices=2\nframes=3\n", "3 pictures at 2 depths"),
        ('<?xml version="1.0"?><OME><Pixels SizeC="5" SizeT="1" SizeZ="1"/></OME>', "5 channels of each picture"),
        ('<?xml version="1.0"?><OME><Pixels SizeC="1" SizeT="5" SizeZ="1"/></OME>', None),
    ],
)
def test_channels_and_depths_are_no_frames(words: str, message: str | None, tmp_path: Path) -> None:
    source = stack(tmp_path / "a.tif", pages(tags=described(words)))
    if message is None:
        assert run(source, tmp_path / "a.mkv").frames == COUNT
        return
    with pytest.raises(SourceError, match=message):
        run(source, tmp_path / "a.mkv")


def test_a_damaged_page_is_counted_and_the_others_come(tmp_path: Path) -> None:
    made = [TiffPage(picture(1, 16, seed=number), 16, compression="deflate") for number in range(COUNT)]
    data = bytearray(tiff_bytes(made))
    data[20:60] = bytes(40)  # in the first strip of the first page
    (tmp_path / "a.tif").write_bytes(data)
    with Reader(tmp_path / "a.tif") as reader:
        assert [frame.pts for frame in reader] == [1, 2, 3, 4]
        assert reader.skipped_packets == 1


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    data = tiff_bytes(pages())
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    with Reader(tmp_path / "a.tif") as reader:
        assert len(list(reader)) < COUNT


def test_a_chain_of_pages_that_leads_back_ends(tmp_path: Path) -> None:
    data = bytearray(tiff_bytes(pages()))
    data[-4:] = data[4:8]
    (tmp_path / "a.tif").write_bytes(data)
    with Reader(tmp_path / "a.tif") as reader:
        assert len(list(reader)) == COUNT


@pytest.mark.parametrize("compression", ["deflate", "lzma", "lzw", "packbits"])
def test_bombs_are_unpacked_no_further_than_a_segment(compression: str, tmp_path: Path) -> None:
    """16 MiB of zeros in a strip that says it has 37 rows of 45 pixels."""
    bomb = TiffPage(np.zeros((1 << 12, 1 << 12, 1), np.uint8), rows_per_strip=1 << 12, compression=compression, tags={
        256: (4, [45]), 257: (4, [37])})  # fmt: skip
    if compression in ("lzw", "packbits"):
        bomb = TiffPage(bomb.samples[:64], rows_per_strip=64, compression=compression, tags=bomb.tags)
    (tmp_path / "a.tif").write_bytes(tiff_bytes([bomb]))
    tracemalloc.start()
    try:
        with Reader(tmp_path / "a.tif", threads=1) as reader:
            assert len(list(reader)) == 1
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


def test_a_page_that_claims_too_much(tmp_path: Path) -> None:
    for tags, words in (
        ({256: (4, [60000]), 257: (4, [60000])}, "60000×60000"),
        ({277: (3, [60000])}, "60000 samples"),
        ({278: (4, [1])}, "lacks"),
        ({256: (4, [0])}, "size"),
    ):
        (tmp_path / "a.tif").write_bytes(tiff_bytes([TiffPage(picture(1), tags=tags)]))
        with pytest.raises(SourceError, match=words):
            Reader(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHI", b"II", 42, 8))
    with pytest.raises(SourceError, match="it has no page"):
        Reader(tmp_path / "a.tif")
