"""Quantisers of real files: known by codec, the same for any number of threads and wherever reading begins."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.media.clips import ffmpeg
from support.media.interlaced import made
from vdeblur.video.quantiser.jpeg import jpeg_quality
from vdeblur.video.realtime.jpeg import decode_jpeg
from vdeblur.video.source.reader import Reader

SOURCE = "testsrc2=s=192x128"
NOISY = "noise=alls=12:allf=t+u"
X264 = "-c:v libx264 -threads 2 -preset veryfast"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=none:frame-threads=1"


def quantisers(path: Path, *, threads: int = 1, start_seconds: float | None = None) -> dict[int, float | None]:
    """By tick."""
    with Reader(path, threads=threads, interlaced="keep", start_seconds=start_seconds) as reader:
        return {frame.pts: frame.quantiser for frame in reader}


def clip(encode: str, suffix: str = ".mkv", *, frames: int = 12, filters: str = NOISY) -> Path:
    return made(filters, encode, suffix, frames=frames, source=SOURCE)


def of_step(step: float) -> float:
    return 4 + 6 * math.log2(step)


#: Encoder and container, and the quantiser of most frames, from the encoder's own scale.
CONSTANT = {
    "h264 mp4": (f"{X264} -qp 30 -bf 0", ".mp4", 30),
    "h264 ts": (f"{X264} -qp 30 -bf 0", ".ts", 30),
    "h264 cavlc fields": (f"{X264} -qp 33 -bf 0 -flags +ildct+ilme -coder 0", ".mkv", 33),
    "h264 weights": (f"{X264} -qp 28 -bf 0 -weightp 2 -refs 4 -slices 3 -x264-params cqm=jvt", ".mp4", 28),
    "hevc mp4": (f"{X265}:qp=30:bframes=0", ".mp4", 30),
    "hevc ts": (f"{X265}:qp=26:bframes=0:ref=3:weightp=1:scaling-list=default", ".ts", 26),
    "mpeg1": ("-c:v mpeg1video -qscale:v 5", ".mpg", of_step(10)),
    "mpeg2": ("-c:v mpeg2video -qscale:v 3 -bf 2", ".ts", of_step(6)),
    "mpeg4": ("-c:v mpeg4 -qscale:v 7", ".mp4", of_step(14)),
    "h263": ("-c:v flv1 -qscale:v 7", ".flv", of_step(14)),
    "vp8": ("-c:v libvpx -qmin 30 -qmax 30 -b:v 1M -deadline realtime -cpu-used 8", ".webm", of_step(43 / 2)),
    "vp9": ("-c:v libvpx-vp9 -qmin 30 -qmax 30 -b:v 1M -deadline realtime -cpu-used 8", ".webm", of_step(152 / 8)),
    "av1": ("-c:v libsvtav1 -qp 35 -preset 12 -svtav1-params rc=0:aq-mode=0:pred-struct=1", ".mkv", None),
    "mjpeg": ("-c:v mjpeg -qscale:v 4 -pix_fmt yuvj420p", ".mov", None),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_quantiser_is_read(name: str) -> None:
    encode, suffix, expected = CONSTANT[name]
    found = quantisers(clip(encode, suffix, frames=8))
    assert len(found) == 8
    values = sorted(value for value in found.values() if value is not None)
    assert len(values) >= 7  # FFmpeg does not tell that of MPEG's last frame
    assert all(0 <= value <= 51 for value in values)
    if expected is not None:
        assert values[len(values) // 2] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("name", "before", "after"), [("av1", "-qp 35", "-qp 62"), ("mjpeg", "-qscale:v 4", "-qscale:v 8")]
)
def test_a_coarser_one_is_higher(name: str, before: str, after: str) -> None:
    encode, suffix, _ = CONSTANT[name]
    low, high = (
        float(np.median([value or 0 for value in quantisers(clip(each, suffix)).values()]))
        for each in (encode, encode.replace(before, after))
    )
    assert 3 < low < high - 3


def test_i_p_and_b_frames_have_their_own() -> None:
    for encode in (f"{X264} -qp 30 -bf 2 -g 24", f"{X265}:qp=30:bframes=2:b-adapt=0:b-pyramid=0"):
        values = list(quantisers(clip(encode, ".mp4")).values())
        assert values[0] == 27
        assert {30, 32} <= set(values)


def test_more_bits_are_counted_alike() -> None:
    eight, ten = (
        np.mean(list(filter(None, quantisers(clip(f"{X264} -crf 26 -pix_fmt {name}")).values())))
        for name in ("yuv420p", "yuv420p10le")
    )
    assert eight == pytest.approx(ten, abs=1.5)


@pytest.mark.parametrize(
    ("encode", "suffix", "kind"),
    [(f"{X264} -crf 26 -g 12", ".avi", 6), (f"{X265}:crf=26:keyint=12:repeat-headers=1", ".ts", 39)],
    ids=["h264 avi", "hevc"],
)
def test_what_lowers_the_blocks_is_taken_off(encode: str, suffix: str, kind: int, tmp_path: Path) -> None:
    path, silent = clip(encode, suffix, frames=24), tmp_path / f"silent{suffix}"
    ffmpeg("-i", str(path), "-c", "copy", "-bsf:v", f"filter_units=remove_types={kind}", str(silent))
    told, slices = quantisers(path), quantisers(silent)
    assert len(told) == 24
    for value, own in zip(told.values(), slices.values(), strict=True):
        assert value is not None
        assert own is not None
        assert value == pytest.approx(own - 5.4)


@pytest.mark.parametrize("name", ["h264 ts", "hevc mp4", "mpeg4", "vp9", "av1", "mjpeg"])
def test_the_same_wherever_reading_begins_and_with_all_threads(name: str) -> None:
    encode, suffix, _ = CONSTANT[name]
    for constant, free in (("-qp 30", "-crf 26"), ("qp=30", "crf=26")):
        encode = encode.replace(constant, free)
    path = clip(f"{encode} -g 8", suffix, frames=40)
    found = quantisers(path)
    for threads in (0, 4):
        assert quantisers(path, threads=threads) == found
    with Reader(path, interlaced="keep") as reader:
        wanted = sorted(found)[29]
        assert reader.skip_to(wanted)
        later = {frame.pts: frame.quantiser for frame in reader}
    assert later == {tick: value for tick, value in found.items() if tick >= wanted}


@pytest.mark.parametrize(
    ("encode", "suffix"),
    [(f"{X264} -qp 0", ".mp4"), (f"{X265}:lossless=1", ".mkv"), ("-c:v ffv1", ".mkv"), ("-c:v png", ".mov"),
     ("-c:v prores_ks", ".mov"), ("-c:v huffyuv", ".avi")],
    ids=["x264", "x265", "ffv1", "png", "prores", "huffyuv"],
)  # fmt: skip
def test_of_lossless_and_silent_codecs_nothing_is_known(encode: str, suffix: str) -> None:
    assert set(quantisers(clip(encode, suffix, frames=3)).values()) == {None}


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 97])
def test_jpeg_is_counted_by_its_quality(quality: int, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
    found = jpeg_quality(written.getvalue())
    assert found is not None
    assert abs(found - quality) < 1.5
    sent = decode_jpeg(written.getvalue(), pts=0, time_base=Fraction(1, 25), most_pixels=10_000)
    assert sent.quantiser == pytest.approx((118 - quality) / 2, abs=0.8)
    path = tmp_path / "photo.jpg"
    path.write_bytes(written.getvalue())
    assert list(quantisers(path).values()) == [pytest.approx((118 - quality) / 2, abs=0.8)]


def test_fields_and_crops_keep_it() -> None:
    interlaced = clip(f"{X264} -qp 30 -bf 0 -flags +ildct+ilme", ".mp4", filters=f"{NOISY},tinterlace=interleave_top")
    with Reader(interlaced, interlaced="field") as reader:
        assert [frame.quantiser for frame in reader][4] == 30


def test_nobody_is_told_of_it_as_side_data() -> None:
    with Reader(clip(CONSTANT["mpeg4"][0], ".mp4")) as reader:
        assert reader.info.video.side_data == ()
        assert all(frame.quantiser is not None for frame in list(reader)[:-1])
        assert reader.notes == []
        assert reader.late_losses == ()
