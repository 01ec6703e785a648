"""What changes or begins in mid-stream, in every container that lets it: converted, stopped, or told with its time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.doubles import Identity
from support.engines import QUICK
from support.media.clips import ffmpeg
from support.media.colour_changes import BT709, PQ, coloured, followed, plain
from support.media.late_side_data import (
    active_format,
    captions,
    in_container,
    late_dolby_vision,
    late_hdr10_plus,
    mpeg2_captions,
)
from vdeblur.engine.pixels import rgb_of
from vdeblur.errors import Interrupted, SourceError
from vdeblur.frames import Colour, Frame
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.changes.colour_conversion import converted
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.segments.journal import Journal
from vdeblur.video.sink.writer import Writer
from vdeblur.video.source.reader import Reader, probe

CONTAINERS = (".ts", ".mkv", ".mp4", ".h264")
#: Colour of the later frames, and what is said; the first are BT.709 in limited range.
CONVERTED = {
    "range": (("bt709", "bt709", "bt709", "pc"), ["the range changes from limited to full"]),
    "matrix": (("smpte170m", "bt709", "bt709", "tv"), ["the colour matrix changes from bt709 to smpte170m"]),
    "both": (
        ("bt470bg", "bt709", "bt709", "pc"),
        ["the range changes from limited to full", "the colour matrix changes from bt709 to bt470bg"],
    ),
}
SAID = {
    "primaries": (("bt709", "smpte170m", "bt709", "tv"), "the colour primaries change from bt709 to smpte170m"),
    "transfer": (("bt709", "bt709", "smpte170m", "tv"), "the transfer function changes from bt709 to smpte170m"),
}
STOPPED = {
    "PQ": (BT709, PQ, r"transfer function changes from bt709 to smpte2084 \(PQ\)"),
    "HLG": (
        BT709, ("bt2020nc", "bt2020", "arib-std-b67", "tv"),
        r"transfer function changes from bt709 to arib-std-b67 \(HLG\)",
    ),
    "no PQ": (PQ, BT709, r"transfer function changes from smpte2084 \(PQ\) to bt709"),
    "wide": (BT709, ("bt2020nc", "bt2020", "bt709", "tv"), r"colour primaries change from bt709 to bt2020 \(BT.2020\)"),
}  # fmt: skip


def read(path: Path, **options: Any) -> tuple[list[Frame], list[str]]:
    with Reader(path, **options) as reader:
        return list(reader), reader.notes


def restored(source: Path, target: Path, **options: Any) -> Report:
    return deblur_video(source, target, model=Identity(), strength=0, **QUICK, **options)


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("what", CONVERTED)
def test_range_and_matrix_become_the_first(what: str, suffix: str, tmp_path: Path) -> None:
    colour, words = CONVERTED[what]
    path = followed(tmp_path, suffix, coloured(BT709), coloured(colour))
    frames, notes = read(path, size_change="stop")
    assert len(frames) == 8
    assert {frame.colour for frame in frames} == {frames[0].colour}
    assert [note for note in notes if "change" in note] == [
        f"{one} at 0.160 s; 4 frames are converted" for one in words
    ]
    untouched, _ = read(path)
    for frame, same in zip(frames[:4], untouched[:4], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, same.planes, strict=True))
    for frame, other in zip(frames[4:], untouched[4:], strict=True):
        assert np.abs(rgb_of(frame).numpy() - rgb_of(other).numpy()).mean() < 0.004


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("what", SAID)
def test_names_of_nearly_the_same_are_said(what: str, suffix: str, tmp_path: Path) -> None:
    colour, words = SAID[what]
    frames, notes = read(followed(tmp_path, suffix, coloured(BT709), coloured(colour)), size_change="stop")
    assert f"{words} at 0.160 s, and is not kept" in notes
    assert {frame.colour for frame in frames} == {frames[0].colour}


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("what", STOPPED)
def test_other_light_stops_with_a_remedy(what: str, suffix: str, tmp_path: Path) -> None:
    first, second, words = STOPPED[what]
    path = followed(tmp_path, suffix, coloured(first), coloured(second))
    remedy = "which cannot be converted; --duration 0.16 restores what is before, --start 0.16 what follows"
    for change in ("stop", "fit"):
        with pytest.raises(SourceError, match=rf"the {words} at 0\.160 s, {remedy}"):
            read(path, size_change=change)
    if suffix != ".h264":
        assert len(read(path, size_change="stop", duration_seconds=0.16)[0]) == 4
        assert len(read(path, size_change="stop", start_seconds=0.16)[0]) == 4


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p", "yuv444p"])
def test_depth_and_subsampling_stop_or_are_fitted(pixel_format: str, suffix: str, tmp_path: Path) -> None:
    path = followed(tmp_path, suffix, plain("yuv420p"), plain(pixel_format))
    with pytest.raises(SourceError, match=rf"to 64×48 {pixel_format} at 0\.160 s.*--size-change fit"):
        read(path, size_change="stop")
    frames, notes = read(path, size_change="fit")
    assert {frame.format.name for frame in frames} == {"yuv420p"}
    assert any("4 frames are fitted" in note for note in notes)
    for first, later in zip(frames[:4], frames[4:], strict=True):
        for one, other in zip(first.planes, later.planes, strict=True):
            # Sharp edges of colour ring in the larger chroma.
            assert np.abs(one.astype(int) - other).mean() < 3


def test_the_result_is_as_the_first_says(tmp_path: Path) -> None:
    source = followed(tmp_path, ".ts", coloured(BT709), coloured(("smpte170m", "bt709", "bt709", "pc")))
    report = restored(source, tmp_path / "out.mkv", encode=EncodeOptions(codec="ffv1"))
    assert any("the range changes from limited to full" in note for note in report.notes)
    colour = probe(tmp_path / "out.mkv").video.colour
    assert (colour.range or "tv", colour.matrix) == ("tv", "bt709")
    for made, expected in zip(read(tmp_path / "out.mkv")[0], read(source, size_change="stop")[0], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(made.planes, expected.planes, strict=True))


def test_frames_as_they_are_without_the_option(tmp_path: Path) -> None:
    frames, notes = read(followed(tmp_path, ".ts", coloured(BT709), coloured(PQ)))
    assert [frame.colour.transfer for frame in frames] == ["bt709"] * 4 + ["smpte2084"] * 4
    assert not any("change" in note for note in notes)


# The numbers.


@pytest.mark.parametrize("name", ["yuv444p", "yuv444p10le", "yuv444p12le", "yuv444p16le"])
@pytest.mark.parametrize("before", ["bt709", "smpte170m", "bt2020nc", "smpte240m", "fcc"])
@pytest.mark.parametrize("after", ["bt709", "bt470bg"])
@pytest.mark.parametrize("ranges", [("tv", "tv"), ("pc", "tv"), ("tv", "pc")])
def test_the_same_light_comes_out(name: str, before: str, after: str, ranges: tuple[str, str]) -> None:
    """As R'G'B', within the rounding of each of three samples."""
    pixel_format, draw = canonical_format(name), np.random.default_rng(1)
    scale = pixel_format.peak / 255
    kind = np.uint8 if pixel_format.bits == 8 else np.uint16
    # Colours that both matrices hold, away from the ends of the range.
    planes = tuple(
        (draw.uniform(low, high, (20, 30)) * scale).astype(kind) for low, high in ((100, 150), *[(110, 146)] * 2)
    )
    old, new = (Colour(matrix, value) for matrix, value in zip((before, after), ranges, strict=True))
    made = converted(planes, pixel_format, old, new)
    one, other = (
        rgb_of(Frame(each, pixel_format, colour, 0, Fraction(1))).numpy()
        for each, colour in ((planes, old), (made, new))
    )
    assert np.abs(one - other).max() * pixel_format.peak < 2.2
    back = converted(made, pixel_format, new, old)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(planes, back, strict=True)) <= 1


@pytest.mark.parametrize(
    ("sample", "limited"), [(0, 16), (255, 235), (128, 126), (1, 17), (254, 234)], ids=lambda value: str(value)
)
def test_levels_of_full_range_in_limited(sample: int, limited: int) -> None:
    pixel_format = canonical_format("yuv420p")
    planes = tuple(
        np.full(pixel_format.plane_shape(n, 4, 4), level, np.uint8) for n, level in enumerate((sample, 128, 255))
    )
    full, tv = Colour("bt709", "pc"), Colour("bt709", "tv")
    luma, blue, red = converted(planes, pixel_format, full, tv)
    assert (luma[0, 0], blue[0, 0], red[0, 0]) == (limited, 128, 240)
    grey = canonical_format("gray10le")
    (plane,) = converted((np.array([[0, 1023]], np.uint16),), grey, Colour(None, "pc"), Colour(None, "tv"))
    assert plane.tolist() == [[64, 940]]


def test_small_chroma_is_laid_where_it_belongs() -> None:
    """A ramp of colour stays a ramp: luma moves with the chroma around it, and not in steps."""
    pixel_format = canonical_format("yuv420p")
    blue = np.tile(np.linspace(60, 190, 32).round().astype(np.uint8), (16, 1))
    planes = (np.full((32, 64), 120, np.uint8), blue, np.full((16, 32), 128, np.uint8))
    luma = converted(planes, pixel_format, Colour("bt709", "tv", chroma_location="left"), Colour("smpte170m", "tv"))[0]
    steps = np.diff(luma[16].astype(int))
    assert np.abs(steps).max() <= 1
    assert abs(int(luma[16, -1]) - int(luma[16, 0])) > 8
    assert (luma == luma[0]).all()


# Side data that begin late.

LATE: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], str]] = {
    "active format": (active_format, (".mp4", ".ts"), "the active format description in 3 frames from "),
    "HDR10+": (late_hdr10_plus, (".mp4", ".mkv", ".hevc"), "HDR10+ metadata in 2 frames from "),
    "Dolby Vision": (late_dolby_vision, (".mkv", ".hevc"), "Dolby Vision metadata in 1 frame from "),
}


@pytest.mark.parametrize(("name", "suffix"), [(name, suffix) for name, row in LATE.items() for suffix in row[1]])
def test_what_begins_late_is_told(name: str, suffix: str, tmp_path: Path) -> None:
    make, _, words = LATE[name]
    source = in_container(make(tmp_path), suffix)
    with Reader(source, size_change="fit") as reader:
        count = len(list(reader))
        found = [note for note in reader.notes if note.startswith(f"not kept: {words}")]
        assert len(found) == 1, reader.notes
        assert found[0].endswith(" s on")
        assert count >= 6
        assert len(reader.late_losses) == 1


def test_the_line_at_the_end_says_it_too(tmp_path: Path) -> None:
    report = restored(in_container(active_format(tmp_path), ".mp4"), tmp_path / "out.mp4")
    assert report.summary == "left out: the active format description: in 3 frames from 0.200 s on"


def test_what_lies_before_the_start_or_behind_the_end_is_not_told(tmp_path: Path) -> None:
    source = in_container(active_format(tmp_path), ".mp4")
    assert read(source, duration_seconds=0.2)[1] == []
    with Reader(source, start_seconds=0.12, duration_seconds=0.12) as reader:
        assert len(list(reader)) == 3
        assert reader.late_losses == (("the active format description", "in 1 frame from 0.200 s on"),)


# Captions.

WORDS = "closed captions inside the pictures"


def captions_in(path: Path) -> list[bytes]:
    return [frame.captions for frame in read(path)[0]]


@pytest.mark.parametrize(("make", "suffix"), [
    (captions, ".mp4"), (captions, ".mkv"), (captions, ".ts"), (captions, ".h264"), (mpeg2_captions, ".mpg"),
    (mpeg2_captions, ".m2v"),
])  # fmt: skip
def test_frames_take_captions_along(make: Callable[[Path], Path], suffix: str, tmp_path: Path) -> None:
    with Reader(in_container(make(tmp_path), suffix)) as reader:
        found = [frame.captions for frame in reader]
        assert found == [b""] * 5 + [b"\xfc\x94\x20"] * 3
        assert str(reader.captioned).startswith("in 3 frames from ")


@pytest.mark.parametrize(("codec", "suffix"), [
    ("libx264", ".mp4"), ("libx264", ".mkv"), ("libx264", ".ts"), ("libx264", ".mov"), ("libx265", ".mp4"),
    ("libx265", ".ts"),
])  # fmt: skip
def test_captions_are_kept_where_the_encoder_carries_them(codec: str, suffix: str, tmp_path: Path) -> None:
    source, target = in_container(captions(tmp_path), ".mp4"), tmp_path / f"out{suffix}"
    report = restored(source, target, encode=EncodeOptions(codec=codec), segment_seconds=0)
    assert captions_in(target) == captions_in(source)
    assert f"{WORDS} kept in 3 frames from 0.200 s on" in report.notes
    assert report.summary == ""


@pytest.mark.parametrize("options", [{"segment_seconds": 0, "encode": EncodeOptions(codec="ffv1")}, {}])
def test_captions_are_told_where_they_are_lost(options: dict[str, Any], tmp_path: Path) -> None:
    report = restored(in_container(captions(tmp_path), ".mp4"), tmp_path / "out.mkv", **options)
    assert f"not kept: {WORDS} in 3 frames from 0.200 s on" in report.notes
    assert report.summary == f"left out: {WORDS}: in 3 frames from 0.200 s on"


def test_captions_outlive_an_interruption(tmp_path: Path) -> None:
    source, target, seen = in_container(captions(tmp_path), ".mp4"), tmp_path / "out.mp4", count(1)
    with pytest.raises(Interrupted):
        restored(source, target, segment_seconds=0, stop=lambda: next(seen) >= 7)
    restored(source, target, segment_seconds=0, resume=True)
    assert captions_in(target) == captions_in(source)


def test_captions_of_any_bytes_come_through(tmp_path: Path) -> None:
    """Zeros that look like the beginning of a unit, and as many pairs as five bits count."""
    source, target = in_container(captions(tmp_path), ".mp4"), tmp_path / "out.mp4"
    wanted = [bytes(93), b"\0\0\1" * 20, b"\0\0\3" * 31, b"", b"\xfc\x80\x80", bytes(range(90)), b"", bytes(3)]
    with Reader(source) as reader:
        video = reader.info.video
        with Writer(
            target, info=reader.info, frame_format=video.format, colour=video.colour, width=video.width,
            height=video.height, time_base=video.time_base, journal=Journal(target),
        ) as writer:  # fmt: skip
            for frame, data in zip(reader, wanted, strict=True):
                writer.write(replace(frame, captions=data))
    assert captions_in(target) == wanted


def test_a_picture_that_was_watched_goes_at_once(tmp_path: Path) -> None:
    """Without the garbage collector: large pictures would fill the memory before it looks."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.2", "-c:v", "libx264", str(tmp_path / "a.mp4"))
    gc.collect()
    gc.disable()
    try:
        with Reader(tmp_path / "a.mp4") as reader:
            assert len(list(reader)) == 5
        assert not [each for each in gc.get_objects() if type(each) is av.VideoFrame]
    finally:
        gc.enable()
