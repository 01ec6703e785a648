"""Size and pixel format that change in mid-stream: one clear line, or all fitted into the first picture's."""

from __future__ import annotations

import itertools
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.doubles import FORMATS, Identity, Mixing, clip, planes_equal
from support.media.interlaced import FLAGS
from support.media.size_changes import SMALL_THEN_LARGE, X264, joined, part
from support.media.writing import same_samples
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.scene_cuts import SceneCutDetector
from vdeblur.errors import Interrupted, SourceError, UsageError
from vdeblur.frames import Colour, Frame, PixelFormat
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.changes.size_change import FitBox, black, fitted_box
from vdeblur.video.encode.video_plan import EncodeOptions
from vdeblur.video.source.reader import Reader

QUICK: dict[str, Any] = {"model": Identity(), "device": "cpu", "precision": "float32", "strength": 0.0}


def read(path: Path, **options: Any) -> list[Frame]:
    with Reader(path, **options) as reader:
        return list(reader)


def restored(source: Path, target: Path, **options: Any) -> Report:
    return deblur_video(source, target, encode=EncodeOptions(codec="ffv1"), **{**QUICK, **options})


@pytest.fixture
def two_sizes(tmp_path: Path) -> Path:
    return joined(tmp_path, *(part(*words) for words in SMALL_THEN_LARGE))


# --- stop -------------------------------------------------------------------------------------------------------------


def test_a_change_stops_with_time_sizes_and_remedy(two_sizes: Path, tmp_path: Path) -> None:
    message = (
        r"^read at .* s: the picture changes from 160×96 yuv420p to 192×192 yuv420p at 0\.200 s; "
        r"--duration 0\.2 restores what is before, --size-change fit goes on in the first size$"
    )
    with pytest.raises(SourceError, match=message):
        restored(two_sizes, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()
    assert restored(two_sizes, tmp_path / "out.mkv", duration_seconds=0.2).frames == 5


def test_the_remedy_counts_from_the_start(two_sizes: Path) -> None:
    with pytest.raises(SourceError, match=r"at 0\.200 s; --duration 0\.12 restores"):
        read(two_sizes, size_change="stop", start_seconds=0.08)
    assert len(read(two_sizes, size_change="stop", start_seconds=0.08, duration_seconds=0.12)) == 3


def test_the_remedy_counts_source_time_at_field_rate(tmp_path: Path) -> None:
    encode, filters = f"{X264} {FLAGS}", "setfield=tff"
    path = joined(tmp_path, part("160x96", "1", encode, filters=filters), part("64x48", "1.2", encode, filters=filters))
    with pytest.raises(SourceError, match=r"--duration 0\.2 restores"):
        read(path, size_change="stop", interlaced="field")


def test_what_lies_before_the_start_does_not_matter(two_sizes: Path) -> None:
    frames = read(two_sizes, size_change="stop", start_seconds=0.2)
    assert [frame.size for frame in frames] == [(192, 192)] * 5


def test_a_change_of_depth_stops_too(tmp_path: Path) -> None:
    path = joined(tmp_path, part("160x96", "0"), part("160x96", "0.2", X264 + "10le"))
    with pytest.raises(SourceError, match="from 160×96 yuv420p to 160×96 yuv420p10le"):
        restored(path, tmp_path / "out.mkv")


def test_a_wrong_word_is_refused(two_sizes: Path) -> None:
    with pytest.raises(UsageError, match="size change cannot be 'crop'; it is one of stop, fit"):
        Reader(two_sizes, size_change="crop")  # type: ignore[arg-type]


# --- fit --------------------------------------------------------------------------------------------------------------


def test_frames_of_another_size_are_fitted_with_bars(two_sizes: Path, tmp_path: Path) -> None:
    report = restored(two_sizes, tmp_path / "out.mkv", size_change="fit")
    before, after = read(two_sizes), read(tmp_path / "out.mkv")
    assert [frame.time_seconds for frame in after] == [pytest.approx(0.04 * n, abs=1e-3) for n in range(10)]
    assert same_samples(after[:5], before[:5])
    for frame in after[5:]:
        luma, cb, cr = frame.planes
        assert frame.size == (96, 160)
        # 192×192 becomes 96×96 in the middle of 160.
        assert (luma[:, :32] == 16).all()
        assert (luma[:, 128:] == 16).all()
        assert all((plane[:, :16] == 128).all() and (plane[:, 64:] == 128).all() for plane in (cb, cr))
        assert luma[:, 32:128].std() > 20
    words = "the picture changes from 160×96 yuv420p to 192×192 yuv420p at 0.200 s; 5 frames are fitted into"
    assert any(note.startswith(words) for note in report.notes)


def test_the_picture_inside_is_the_scaled_one(two_sizes: Path) -> None:
    fitted, plain = read(two_sizes, size_change="fit")[7], read(two_sizes)[7]
    halved = plain.planes[0].reshape(96, 2, 96, 2).astype(float).mean(axis=(1, 3))
    error = fitted.planes[0][2:-2, 34:126] - halved[2:-2, 2:-2]
    assert abs(error.mean()) < 0.5
    assert np.abs(error).mean() < 4


def test_back_to_the_first_size_is_as_it_was(tmp_path: Path) -> None:
    path = joined(tmp_path, *(part(*words) for words in SMALL_THEN_LARGE), part("160x96", "0.4"))
    with Reader(path, size_change="fit") as reader:
        fitted = list(reader)
        assert reader.notes == [
            "the picture changes 2 times, first from 160×96 yuv420p to 192×192 yuv420p at 0.200 s; "
            "5 frames are fitted into 160×96 yuv420p"
        ]
    assert same_samples(fitted[10:], read(path)[10:])
    assert [n for n, frame in enumerate(fitted) if frame.cut] == [5, 10]


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    """128×128 of 2:1 pixels is 2:1 on the screen: 160×80 in a frame of 160×96."""
    path = joined(tmp_path, part("160x96", "0"), part("128x128", "0.2", filters="setsar=2"))
    luma = read(path, size_change="fit")[6].planes[0]
    assert (luma[:8] == 16).all()
    assert (luma[88:] == 16).all()
    assert (luma[8:88] != 16).mean() > 0.9


@pytest.mark.parametrize("change", ["stop", "fit"])
def test_another_shape_of_the_pixels_is_said(change: Any, tmp_path: Path) -> None:
    """Broadcasts change from 4:3 to 16:9 in pictures of one size."""
    path = joined(tmp_path, part("160x96", "0", filters="setsar=16/15"), part("160x96", "0.2", filters="setsar=64/45"))
    with Reader(path, size_change=change, threads=1) as reader:
        assert len(list(reader)) == 10
        assert reader.notes == ["the shape of the pixels changes from 16:15 to 64:45 near 0.200 s, and is not kept"]
        assert reader.info.video.sample_aspect_ratio == Fraction(16, 15)


def test_another_depth_is_converted(tmp_path: Path) -> None:
    shallow, deep = part("160x96", "0"), part("160x96", "0.2", X264 + "10le")
    up = read(joined(tmp_path, shallow, deep), size_change="fit")
    assert {frame.format.name for frame in up} == {"yuv420p"}
    exact = read(deep)
    assert np.abs(up[7].planes[0] - exact[2].planes[0] / 4).max() <= 1
    down = read(joined(tmp_path, part("160x96", "0", X264 + "10le"), part("160x96", "0.2")), size_change="fit")
    assert {frame.format.name for frame in down} == {"yuv420p10le"}
    assert np.array_equal(down[7].planes[0], read(part("160x96", "0.2"))[2].planes[0].astype(np.uint16) * 4)


@pytest.mark.parametrize(("name", "suffix", "encode"), [
    ("vp9", ".webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 30 -b:v 0 -pix_fmt yuv420p"),
    ("mjpeg", ".avi", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
])  # fmt: skip
def test_other_codecs_change_too(name: str, suffix: str, encode: str, tmp_path: Path) -> None:
    """Packets of two files in one container, as browsers and cameras write them."""
    import av

    path = tmp_path / f"joined{suffix}"
    with av.open(str(path), "w") as target:
        stream = None
        for number, size in enumerate(("160x96", "128x128")):
            with av.open(str(part(size, "0", encode, suffix))) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + round(number / 5 / packet.time_base)
                        packet.stream = stream
                        target.mux(packet)
    with pytest.raises(SourceError, match=r"from 160×96 yuv420p to 128×128 yuv420p at 0\.200 s"):
        read(path, size_change="stop")
    frames = read(path, size_change="fit")
    assert [frame.size for frame in frames] == [(96, 160)] * 10
    # Full range is black at 0.
    assert (frames[7].planes[0][:, :30] == (0 if name == "mjpeg" else 16)).all()


def test_interlaced_frames_are_scaled_within_their_fields(tmp_path: Path) -> None:
    """Bright top fields and dark bottom fields stay apart."""
    stripes, encode = "geq=lum='if(mod(Y,2),40,200)':cb=128:cr=128,setfield=tff", f"{X264} {FLAGS}"
    path = joined(
        tmp_path, part("160x96", "0", encode, filters=stripes), part("192x192", "0.2", encode, filters=stripes)
    )
    luma = read(path, interlaced="keep", size_change="fit")[8].planes[0][8:88, 40:120].astype(int)
    assert np.abs(luma[0::2] - 200).max() < 12
    assert np.abs(luma[1::2] - 40).max() < 12


def test_nothing_is_carried_across() -> None:
    frames = list(clip(6, 36, 52))
    cut = [
        Frame(f.planes, f.format, f.colour, f.pts, f.time_base, f.duration, cut=n == 3) for n, f in enumerate(frames)
    ]
    breaks = SceneCutDetector()
    assert [breaks(a, b) for a, b in pairwise(cut)] == [False, False, True, False, False]
    deblurrer = Deblurrer(Mixing(), device="cpu", precision="float32")
    apart = [*deblurrer.run(iter(frames[:3])), *deblurrer.run(iter(frames[3:]))]
    assert all(planes_equal(a, b) for a, b in zip(deblurrer.run(iter(cut)), apart, strict=True))


@pytest.mark.parametrize("frames", [4, 5, 6, 8])
def test_a_stopped_job_goes_on_to_the_same_result(frames: int, two_sizes: Path, tmp_path: Path) -> None:
    options = {"model": Mixing(), "strength": 1.0, "size_change": "fit", "segment_seconds": 0}
    count = itertools.count(1)
    restored(two_sizes, tmp_path / "whole.mkv", **options)
    with pytest.raises(Interrupted):
        restored(two_sizes, tmp_path / "out.mkv", **options, stop=lambda: next(count) >= frames)
    restored(two_sizes, tmp_path / "out.mkv", **options, resume=True)
    assert same_samples(read(tmp_path / "out.mkv"), read(tmp_path / "whole.mkv"))


# --- The parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "into", "shapes", "step", "box"),
    [
        ((96, 160), (96, 160), (1, 1), (2, 2), FitBox(96, 160, 0, 0)),
        ((192, 192), (96, 160), (1, 1), (2, 2), FitBox(96, 96, 0, 32)),
        ((100, 1000), (100, 100), (1, 1), (1, 1), FitBox(10, 100, 45, 0)),
        ((1000, 100), (53, 97), (1, 1), (2, 2), FitBox(53, 6, 0, 44)),
        ((576, 720), (1080, 1920), (Fraction(16, 11), 1), (2, 2), FitBox(1056, 1920, 12, 0)),
        ((1080, 1920), (576, 720), (1, Fraction(16, 15)), (4, 2), FitBox(432, 720, 72, 0)),
        ((1, 5000), (96, 160), (1, 1), (4, 2), FitBox(4, 160, 44, 0)),
    ],
)
def test_boxes(size: Any, into: Any, shapes: tuple[Any, Any], step: Any, box: FitBox) -> None:
    pixel_shape, into_shape = map(Fraction, shapes)
    assert fitted_box(size, into, pixel_shape=pixel_shape, into_shape=into_shape, step=step) == box


@pytest.mark.parametrize("pixel_format", [f for f in FORMATS if not f.is_float], ids=lambda f: f.name)
@pytest.mark.parametrize("value_range", ["tv", "pc"])
def test_black_is_black(pixel_format: PixelFormat, value_range: str) -> None:
    from vdeblur.engine.pixels import rgb_of

    colour = Colour("bt709", value_range)
    planes = black(pixel_format, colour, 10, 12)
    assert np.abs(rgb_of(Frame(planes, pixel_format, colour, 0, Fraction(1))).numpy()).max() < 1e-6
    if pixel_format.alpha:
        assert (planes[-1] == pixel_format.peak).all()
