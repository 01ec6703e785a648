"""Interlaced video: found by its flags and its pictures, restored by its fields, and marked again as what it is."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.doubles import BT709, FORMATS, Constant, Identity, Mixing, clip, planes_equal
from support.media.clips import ffmpeg
from support.media.interlaced import FFV1, FLAGS, X264, ffmpeg_says, interlaced, made
from support.media.writing import same_samples
from support.synthetic import CLEAN, tiles
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import Interrupted, SourceError, UsageError
from vdeblur.frames import Frame, PixelFormat
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.pipeline.interlaced import restorations, weave
from vdeblur.training.synthesis.blur import synthesise
from vdeblur.training.synthesis.stills import Textures
from vdeblur.video.encode.video_plan import EncodeOptions
from vdeblur.video.interlace.combing import Combing
from vdeblur.video.interlace.deinterlacer import Deinterlacer, bob, carrier_format
from vdeblur.video.source.reader import Reader

QUICK: dict[str, Any] = {"model": Identity(), "device": "cpu", "precision": "float32"}


def restored(source: Any, target: Path, codec: str | None = None, **options: Any) -> Report:
    return deblur_video(source, target, encode=EncodeOptions(codec=codec), **{**QUICK, **options})


def read(source: Any, **options: Any) -> tuple[Reader, list[Frame]]:
    with Reader(source, **options) as reader:
        return reader, list(reader)


def times(frames: list[Frame]) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in frames]


# --- keep: interlaced in, interlaced out ------------------------------------------------------------------------------

KINDS = {
    "h264": ("libx264", X264, ".mp4"),
    "mpeg2": ("mpeg2video", f"-c:v mpeg2video -q:v 3 -bf 2 {FLAGS}", ".mpg"),
    "mpeg4": ("mpeg4", f"-c:v mpeg4 -q:v 3 {FLAGS}", ".avi"),
    "ffv1": ("ffv1", FFV1, ".mkv"),
    "prores": ("prores", f"-c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le {FLAGS}", ".mov"),
    "h264_10": ("libx264", X264.replace("yuv420p", "yuv422p10le"), ".mkv"),
    "utvideo": ("utvideo", "-c:v utvideo", ".mkv"),
    "y4m": (None, "-f yuv4mpegpipe -pix_fmt yuv420p", ".y4m"),
}


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_kept_and_marked_in_their_order(kind: str, order: str, tmp_path: Path) -> None:
    codec, encode, suffix = KINDS[kind]
    source, target = interlaced(order, encode, suffix, frames=4), tmp_path / f"out{suffix}"
    report = restored(source, target, codec, strength=0.0)
    reader, frames = read(target)
    _, originals = read(source)
    assert reader.info.video.interlacing.order == order
    assert len(frames) == len(originals) == report.frames == 4
    # MPEG-PS begins at a time of its own, which is noted.
    shift = times(frames)[0] - times(originals)[0] if kind == "mpeg2" else 0
    assert times(frames) == [time + shift for time in times(originals)]
    if kind != "utvideo":  # its pictures have no flags; the container's are checked above
        assert ffmpeg_says(target) == {order[0].upper()}
    assert "fields" in " ".join(report.notes) or "field is restored" in " ".join(report.notes)


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    ("pixel_format", "size"),
    [
        ("yuv420p", "160x480"),
        ("yuv420p", "98x54"),
        ("yuv420p", "97x53"),
        ("yuv422p10le", "64x48"),
        ("gray10le", "64x48"),
        ("yuv411p", "64x46"),
        ("gbrp", "64x49"),
        ("yuva444p12le", "64x48"),
    ],
)
def test_without_correction_every_sample_comes_back(pixel_format: str, size: str, order: str, tmp_path: Path) -> None:
    filters = f"crop={size.replace('x', ':')}:exact=1,noise=alls=20:allf=t,format={pixel_format},setfield={order}"
    source = made(filters, f"-c:v ffv1 -level 3 -pix_fmt {pixel_format}", ".mkv", frames=3)
    restored(source, tmp_path / "out.mkv", "ffv1", strength=0.0)
    _, originals = read(source)
    reader, frames = read(tmp_path / "out.mkv")
    assert same_samples(frames, originals)
    assert times(frames) == times(originals)
    assert reader.info.video.interlacing.order == order


def test_a_correction_reaches_every_row(tmp_path: Path) -> None:
    source = interlaced("bff", FFV1, ".mkv", frames=3)
    restored(source, tmp_path / "out.mkv", "ffv1", model=Constant(0.1))
    for before, after in zip(read(source)[1], read(tmp_path / "out.mkv")[1], strict=True):
        dark = before.planes[0] < 150
        assert (after.planes[0][dark].astype(int) - before.planes[0][dark] > 10).all()


@pytest.mark.parametrize("codec", ["hevc", "av1", "vp9", "mjpeg"])
def test_a_codec_without_fields_is_refused_before_work(codec: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"interlaced 160×480 .* does not mark|interlaced 160×480 .*mjpeg") as caught:
        restored(interlaced(frames=4), tmp_path / "out.mkv", codec)
    assert "ffv1" in str(caught.value)
    assert "--interlaced frame" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_left_to_choose_it_takes_a_codec_with_fields(tmp_path: Path) -> None:
    source = interlaced("tff", X264.replace("yuv420p", "yuv420p10le"), ".mp4", frames=4)
    report = restored(source, tmp_path / "out.mp4")
    assert any("encoded with libx264, for libx265 does not mark interlaced" in note for note in report.notes)
    assert ffmpeg_says(tmp_path / "out.mp4") == {"T"}


def test_chroma_is_converted_within_its_field(tmp_path: Path) -> None:
    """4:2:2 to 4:2:0, one field red and the other blue: the colours of the fields do not mix."""
    fields = "[0]trim=end_frame=4[a];[1]trim=end_frame=4[b];[a][b]blend=all_expr='if(mod(Y,2),A,B)',setfield=tff"
    red, blue = (("-f", "lavfi", "-i", f"color={name}:s=64x48,format=yuv422p") for name in ("red", "blue"))
    ffmpeg(
        *(*red, *blue),
        *("-filter_complex", fields, *["-c:v", "ffv1", "-level", "3"], str(tmp_path / "in.mkv")),
    )  # fmt: skip
    deblur_video(
        tmp_path / "in.mkv", tmp_path / "out.mkv", strength=0.0,
        encode=EncodeOptions(codec="ffv1", pixel_format="yuv420p"), **QUICK,
    )  # fmt: skip
    before, after = read(tmp_path / "in.mkv")[1][1].planes[2], read(tmp_path / "out.mkv")[1][1].planes[2]
    assert abs(int(after[8, 8]) - int(before[16, 16])) < 4
    assert abs(int(after[9, 8]) - int(before[17, 16])) < 4
    assert abs(int(before[16, 16]) - int(before[17, 16])) > 50


def test_before_and_after_beside_each_other_stay_interlaced(tmp_path: Path) -> None:
    source = interlaced("tff", FFV1, ".mkv", frames=3)
    restored(source, tmp_path / "out.mkv", "ffv1", strength=0.0, compare="side")
    reader, frames = read(tmp_path / "out.mkv")
    originals = read(source)[1]
    assert reader.info.video.interlacing.order == "tff"
    assert all(
        np.array_equal(a.planes[0][:, -100:], b.planes[0][:, -100:]) for a, b in zip(frames, originals, strict=True)
    )


# --- frame and field: whole frames ------------------------------------------------------------------------------------


def test_one_whole_frame_for_each_frame(tmp_path: Path) -> None:
    source = interlaced("bff", FFV1, ".mkv", frames=6)
    report = restored(source, tmp_path / "out.mkv", "hevc", interlaced="frame")
    _, frames = read(tmp_path / "out.mkv")
    assert (len(frames), report.frames) == (6, 6)
    assert times(frames) == times(read(source)[1])
    assert ffmpeg_says(tmp_path / "out.mkv") == {"P"}


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_one_whole_frame_for_each_field(order: str, tmp_path: Path) -> None:
    source = interlaced(order, FFV1, ".mkv", frames=6)
    restored(source, tmp_path / "out.mkv", "ffv1", interlaced="field", strength=0.0)
    reader, frames = read(tmp_path / "out.mkv")
    assert times(frames) == [Fraction(n, 50) for n in range(12)]
    assert reader.info.video.average_rate == 50
    assert ffmpeg_says(tmp_path / "out.mkv") == {"P"}
    first = 0 if order == "tff" else 1
    for number, original in enumerate(read(source)[1]):
        early, late = frames[2 * number].planes[0], frames[2 * number + 1].planes[0]
        assert np.array_equal(early[first::2], original.planes[0][first::2])
        assert np.array_equal(late[1 - first :: 2], original.planes[0][1 - first :: 2])


def test_times_of_fields_are_exact_at_an_odd_number_of_ticks() -> None:
    encode, rate = f"-r 30000/1001 {X264} -video_track_timescale 30000", "60000/1001"
    source = interlaced("tff", encode, ".mp4", frames=5, source=f"testsrc2=size=160x480:rate={rate}")
    reader, frames = read(source, interlaced="field")
    assert frames[0].time_base == reader.info.video.time_base == Fraction(1, 60000)
    assert [frame.pts for frame in frames] == [1001 * n for n in range(10)]
    assert {frame.duration for frame in frames} == {1001}
    assert reader.info.video.average_rate == Fraction(60000, 1001)
    assert reader.info.video.frame_count_from_header == 10


def test_fields_of_a_variable_rate_lie_half_way(tmp_path: Path) -> None:
    target = tmp_path / "vfr.mkv"
    words = "-vf settb=1/1000,setpts=N*40+gte(N\\,2)*60,setfield=tff -fps_mode passthrough -enc_time_base 1:1000"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", *words.split(), *FFV1.split(), "-frames:v", "4", str(target)
    )
    _, frames = read(target, interlaced="field")
    seconds = [round(1000 * float(t)) for t in times(frames)]
    assert seconds == [0, 20, 40, 90, 140, 160, 180, 200]


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_frames(count: int) -> None:
    source = interlaced("tff", FFV1, ".mkv", frames=count)
    assert times(read(source, interlaced="field")[1]) == [Fraction(n, 50) for n in range(2 * count)]
    assert times(read(source, interlaced="frame")[1]) == [Fraction(n, 25) for n in range(count)]
    assert len(read(source, interlaced="keep")[1]) == count


def test_a_stretch_is_deinterlaced_as_within_the_whole(tmp_path: Path) -> None:
    source = interlaced("tff", f"{FFV1} -g 1", ".mkv", frames=8)
    _, whole = read(source, interlaced="field")
    _, part = read(source, interlaced="field", start_seconds=0.12, duration_seconds=0.08)
    assert times(part) == times(whole)[6:10]
    assert same_samples(part, whole[6:10])


def test_samples_stay_within_their_bits() -> None:
    """Grey of ten bits travels in sixteen, where bwdif may overshoot."""
    filters = "format=gray10le,geq=lum='if(gt(random(1),0.5),1023,0)',setfield=tff"
    source = made(filters, "-c:v ffv1 -level 3 -pix_fmt gray10le", ".mkv", frames=4, source="color=s=64x48")
    _, frames = read(source, interlaced="field")
    assert {frame.format.name for frame in frames} == {"gray10le"}
    assert max(frame.planes[0].max() for frame in frames) == 1023


def test_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is interlaced, top field first; --interlaced keep .* frame and field"):
        restored(interlaced(frames=4), tmp_path / "out.mkv", interlaced="refuse")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="interlaced cannot be 'weave'; it is one of keep, frame, field, refuse"):
        Reader(interlaced(frames=4), interlaced="weave")  # type: ignore[arg-type]


def test_whole_frames_are_whole_frames_in_every_mode(tmp_path: Path) -> None:
    source = made("null", X264.replace(FLAGS, ""), ".mp4")
    plain = read(source)[1]
    for mode in ("keep", "frame", "field", "refuse"):
        reader, frames = read(source, interlaced=mode)
        assert same_samples(frames, plain)
        assert (reader.info.video.interlacing.order, reader.notes) == (None, [])


def test_formats_that_hold_no_fields_here_are_refused() -> None:
    source = made(
        "setfield=tff", FFV1.replace("yuv420p", "yuv440p10le"), ".mkv", frames=2, source="testsrc2=size=64x48"
    )
    with pytest.raises(SourceError, match="interlaced yuv440p10le, whose fields cannot be treated; convert it first"):
        Reader(source, interlaced="keep")


# --- What is believed -------------------------------------------------------------------------------------------------


def found(source: Any, mode: str = "keep") -> tuple[str | None, list[str]]:
    with Reader(source, interlaced=mode) as reader:  # type: ignore[arg-type]
        return reader.info.video.interlacing.order, reader.notes


def test_whole_frames_that_are_flagged_as_interlaced() -> None:
    order, notes = found(made("setfield=tff", X264, ".mp4", frames=12))
    assert order is None
    assert notes == [
        "flagged as interlaced, but the pictures are whole frames (PsF); they are treated and marked as such"
    ]


#: Bars that move sideways by six pixels a field.
BARS = "smptebars=size=320x480:rate=50"
SCROLL = "scroll=horizontal=0.02,crop=160:480"


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_combed_frames_that_are_flagged_as_whole(order: str, piped: bool) -> None:
    interleave = f"{SCROLL},tinterlace=interleave_{'top' if order == 'tff' else 'bottom'},setfield=prog"
    source = made(interleave, X264.replace(FLAGS, ""), ".ts", frames=12, source=BARS)
    said, notes = found(io.BytesIO(source.read_bytes()) if piped else source)
    assert said == order
    assert notes[0].startswith("flagged as whole frames, but its frames are combed")
    assert notes[1].startswith("interlaced, ")


def test_fields_that_are_flagged_in_the_wrong_order() -> None:
    filters = f"{SCROLL},tinterlace=interleave_top,setfield=bff"
    said, notes = found(made(filters, X264, ".mkv", frames=14, source=BARS))
    assert said == "tff"
    assert notes[0] == "flagged as bottom field first, but the pictures show top field first, which is believed"


@pytest.mark.parametrize("flag", ["tff", "prog"])
def test_pulldown_is_named(flag: str) -> None:
    filters = f"{SCROLL},fps=24,telecine=pattern=23,setfield={flag}"
    with Reader(made(filters, X264, ".mkv", frames=22, source=BARS), interlaced="keep") as reader:
        assert reader.info.video.interlacing.shown == "telecine"
        assert reader.info.video.interlacing.order == "tff"
        assert reader.notes[0].startswith(
            "the pictures are film in 3:2 pulldown; undoing it first restores better: ffmpeg "
        )


def test_flags_stand_where_the_pictures_do_not_tell() -> None:
    assert found(made("setfield=bff", X264, ".mkv", frames=6, source="smptebars=size=160x480:rate=25"))[0] == "bff"


def test_an_ordinary_raster_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.video.source.interlace_probe.InterlaceDetector", None)
    assert (
        found(made("null", "-c:v libx264 -preset ultrafast", ".mp4", frames=2, source="testsrc2=size=160x96"))[1] == []
    )


def test_flags_that_change_on_the_way(tmp_path: Path) -> None:
    """Bottom field first, then top field first, then whole frames, one behind the other in a transport stream."""
    path = tmp_path / "mixed.ts"
    encode = f"-c:v mpeg2video -q:v 3 {FLAGS}"
    parts = [interlaced(order, encode, ".ts", frames=5) for order in ("bff", "tff")]
    parts.append(
        made("setfield=prog", "-c:v mpeg2video -q:v 3", ".ts", frames=5, source="testsrc2=size=160x480:rate=25")
    )
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    report = restored(path, tmp_path / "out.mkv", "ffv1", strength=0.0)
    assert same_samples(read(tmp_path / "out.mkv")[1], read(path)[1])
    assert any("5 frames have the other field order, the first at" in note for note in report.notes)
    _, fields = read(path, interlaced="field")
    # Whole frames pass once, as they are.
    assert len(fields) == 25
    assert same_samples(fields[-4:], read(path)[1][-4:])


def test_what_a_picture_shows_is_counted_apart_from_what_it_repeats() -> None:
    combing = Combing()
    rows = np.arange(64)[:, None] + np.zeros((1, 64), int)
    for n in range(9):
        early, late = ((((np.arange(64)[None] + step) % 16 < 8) * 200 + 0 * rows) for step in (4 * n, 4 * n + 2))
        combing.add(np.where(rows % 2 == 0, early, late).astype(np.uint8), 255.0)
    assert combing.votes == {"tff": 8}
    assert combing.verdict() == "tff"
    assert combing.verdict(least=9) is None


# --- Fields coded as pictures -----------------------------------------------------------------------------------------

HEVC = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:interlace={order}:bframes=0"


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_hevc_fields_become_frames(order: str, tmp_path: Path) -> None:
    filters = f"tinterlace=interleave_{'top' if order == 'tff' else 'bottom'},setfield={order},separatefields"
    source = made(filters, HEVC.format(order=order), ".mkv", frames=8, source="testsrc2=size=160x192:rate=50")
    report = restored(source, tmp_path / "out.mkv", "ffv1", strength=0.0)
    reader, frames = read(tmp_path / "out.mkv")
    fields = read(source)[1]
    assert (len(fields), fields[0].size, report.frames) == (8, (96, 160), 4)
    assert times(frames) == [Fraction(n, 25) for n in range(4)]
    assert reader.info.video.interlacing.order == order
    first = 0 if order == "tff" else 1
    for index, frame in enumerate(frames):
        for plane, early, late in zip(
            frame.planes, fields[2 * index].planes, fields[2 * index + 1].planes, strict=True
        ):
            assert np.array_equal(plane[first::2], early)
            assert np.array_equal(plane[1 - first :: 2], late)
    assert len(read(source, interlaced="field")[1]) == 8


# --- The parts --------------------------------------------------------------------------------------------------------

TREATABLE = [fmt for fmt in FORMATS if not fmt.is_float and carrier_format(fmt) is not None]


def test_nearly_every_format_can_be_treated() -> None:
    assert {fmt.name for fmt in FORMATS} - {fmt.name for fmt in TREATABLE} == {"ya8", "gbrpf32le", "grayf32le"}


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("pixel_format", TREATABLE, ids=lambda fmt: fmt.name)
def test_bob_and_weave_are_inverses(pixel_format: PixelFormat, order: Any) -> None:
    frames = list(clip(4, 38, 52, pixel_format=pixel_format, start=100))
    halves = list(bob(iter(frames), order))
    assert [half.pts for half in halves] == [200 + 512 * n for n in range(8)]
    assert {(half.time_base, half.duration) for half in halves} == {(Fraction(1, 25600), 512)}
    woven = [weave(a, b, order, like=frame) for a, b, frame in zip(halves[::2], halves[1::2], frames, strict=True)]
    assert all(planes_equal(a, b) for a, b in zip(woven, frames, strict=True))
    assert [frame.pts for frame in woven] == [frame.pts for frame in frames]


@pytest.mark.parametrize("lookahead", [0, 1])
def test_fields_are_one_sequence_for_the_network(lookahead: int) -> None:
    """Every field sees the fields before and after it, and the memory goes through all of them."""
    network = Mixing()
    deblurrer = Deblurrer(network, device="cpu", precision="float32", lookahead=lookahead)
    frames = list(clip(5, 36, 52))
    expected = list(deblurrer.run(bob(iter(frames), "tff")))
    found = [each.frame for each in restorations(deblurrer, iter(frames), "tff")]
    assert len(found) == 5
    for n, frame in enumerate(found):
        assert np.array_equal(frame.planes[0][0::2], expected[2 * n].planes[0][0::2])
        assert np.array_equal(frame.planes[0][1::2], expected[2 * n + 1].planes[0][1::2])


def test_few_frames_are_under_way() -> None:
    taken = 0

    def frames() -> Iterator[Frame]:
        nonlocal taken
        for frame in clip(50, 36, 52):
            taken += 1
            yield frame

    deblurrer = Deblurrer(Identity(), device="cpu", precision="float32")
    restored = restorations(deblurrer, frames(), "tff")
    for given, _ in enumerate(restored, 1):
        assert taken <= given + 3


def test_a_cut_starts_anew_once() -> None:
    frames = [replace(frame, cut=n == 2) for n, frame in enumerate(clip(4, 36, 52))]
    assert [half.cut for half in bob(iter(frames), "tff")] == [False] * 4 + [True] + [False] * 3


def test_a_change_of_size_is_no_hindrance() -> None:
    frames = [*clip(3, 36, 52), *clip(3, 48, 64, start=512 * 3)]
    halves = list(bob(iter(frames), "bff"))
    assert [half.size for half in halves] == [(36, 52)] * 6 + [(48, 64)] * 6
    assert [half.pts for half in halves] == [512 * n for n in range(12)]


def test_flushing_nothing_gives_nothing() -> None:
    assert Deinterlacer("field", "tff", halved=True, frame_ticks=1).flush() == []


# --- Going on after a stop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lookahead", "jump"), [(0, True), (1, True), (1, False)])
@pytest.mark.parametrize(("mode", "frames"), [("keep", 1), ("keep", 5), ("frame", 5), ("field", 8), ("field", 9)])
def test_a_stopped_job_goes_on_to_the_same_result(
    mode: str, frames: int, lookahead: int, jump: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not jump:
        monkeypatch.setattr(Reader, "can_jump", False)
    source = interlaced("bff", f"{X264} -g 4", ".mp4", source="testsrc2=size=64x48:rate=50")
    options: dict[str, Any] = {"model": Mixing(), "interlaced": mode, "lookahead": lookahead, "segment_seconds": 0}
    count = itertools.count(1)
    restored(source, tmp_path / "whole.mkv", "ffv1", **options)
    with pytest.raises(Interrupted):
        restored(source, tmp_path / "out.mkv", "ffv1", **options, stop=lambda: next(count) >= frames)
    report = restored(source, tmp_path / "out.mkv", "ffv1", **options, resume=True)
    reader, found = read(tmp_path / "out.mkv")
    whole_reader, whole = read(tmp_path / "whole.mkv")
    assert report.frames == len(whole) == (20 if mode == "field" else 10)
    assert same_samples(found, whole)
    assert times(found) == times(whole)
    assert reader.info.video.interlacing == whole_reader.info.video.interlacing
    assert reader.info.video.interlacing.order == ("bff" if mode == "keep" else None)


def test_a_job_goes_on_in_its_own_mode_only(tmp_path: Path) -> None:
    source = interlaced("bff", FFV1, ".mkv", frames=4)
    with pytest.raises(Interrupted):
        restored(source, tmp_path / "out.mkv", "ffv1", segment_seconds=0, stop=lambda: True)
    with pytest.raises(UsageError, match="interlaced"):
        restored(source, tmp_path / "out.mkv", "ffv1", interlaced="frame", resume=True)


# --- What it is worth -------------------------------------------------------------------------------------------------


def sequence(pictures: torch.Tensor) -> list[Frame]:
    """Green planes of (T, 3, H, W) in [0, 1] as grey frames of 50 a second."""
    grey = PixelFormat("gray", "gray", 8)
    return [
        Frame(((picture[1] * 255).round().to(torch.uint8).numpy(),), grey, BT709, n, Fraction(1, 50), 1)
        for n, picture in enumerate(pictures)
    ]


def decibels(found: list[Frame], truth: list[Frame]) -> float:
    """PSNR of luma in dB, without the margin that the camera moved in."""
    errors = [(a.planes[0].astype(float) - b.planes[0])[12:-12, 12:-12] for a, b in zip(found, truth, strict=True)]
    return -10 * math.log10(float(np.mean(np.square(errors))) / 255**2)


def comb(frames: list[Frame]) -> float:
    """Mean size of what alternates from row to row."""
    return float(np.mean([np.abs(np.diff(frame.planes[0].astype(float), 2, axis=0)).mean() for frame in frames]))


@pytest.fixture(scope="module")
def moving() -> tuple[list[Frame], list[Frame]]:
    """Interlaced frames of a scene that moves 6 px a field, blurred all that way, and the same without the blur."""
    config = replace(CLEAN, frames=14, size_px=96, speed_px=(6.0, 6.0))
    clip = synthesise(Textures([tiles(1), tiles(2)]), config, seed=1, numbers=[3])
    made = []
    for pictures in map(sequence, (clip.blurry[0], clip.sharp[0])):
        pairs = zip(pictures[::2], pictures[1::2], strict=True)
        made.append([weave(first, second, "tff", like=first) for first, second in pairs])
    return made[0], made[1]


def test_fields_gain_what_blind_restoring_does_not(moving: tuple[list[Frame], list[Frame]]) -> None:
    blurred, sharp = moving
    deblurrer = Deblurrer("fast", device="cpu")
    before = decibels(blurred, sharp)
    blind = decibels(list(deblurrer.run(iter(blurred))), sharp)
    kept = [each.frame for each in restorations(deblurrer, iter(blurred), "tff")]
    assert decibels(kept, sharp) > before + 0.5
    assert decibels(kept, sharp) > blind + 0.5
    # No combs that are not the scene's own: rows do not alternate more than in the truth.
    assert comb(blurred) < comb(kept) < 1.05 * comb(sharp)
