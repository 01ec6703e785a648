"""Shutter times in metadata tracks: GoPro, Sony, Canon and DJI, in real time and slow motion, damaged and absurd."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from support.media.camera_metadata import ctmd, djmd, gpmf, klv, nest, rtmd, with_track
from support.media.clips import clip, ffmpeg
from vdeblur.frames import CameraExposure
from vdeblur.video.av_compat import open_input
from vdeblur.video.exposure.gpmf import GpmfReader
from vdeblur.video.exposure.track import ExposureTrack
from vdeblur.video.exposure.written import PacketExposures, WrittenExposure, believed
from vdeblur.video.source.reader import Reader

RATE = 25
FRAMES = 40
OSMO, AIR = (3, 2, 4, 1), (3, 2, 10, 1)
MOV_TEXT = ["-c", "copy", "-c:s", "mov_text"]


def exposures(path: Path, **options: float) -> list[CameraExposure | None]:
    with Reader(path, threads=1, **options) as reader:  # type: ignore[arg-type]
        return [frame.exposure for frame in reader]


def seconds(found: Sequence[CameraExposure | None]) -> list[float | None]:
    return [None if one is None else one.seconds for one in found]


def made(folder: Path, packets: Sequence[bytes], kind: bytes, each_ms: int) -> Path:
    return with_track(clip("h264", frames=FRAMES), folder / "camera.mp4", packets, kind=kind, each_ms=each_ms)


def gopro(folder: Path, *, capture_rate: float = RATE, times: Sequence[float] | None = None) -> Path:
    """Two packets of a second each, with a value for every frame."""
    values = [1 / (200 + number) for number in range(2 * RATE)] if times is None else times
    first, second = (
        gpmf(values[:RATE], clock_us=7_000_000),
        gpmf(values[RATE:], clock_us=7_000_000 + round(1e6 * RATE / capture_rate)),
    )
    return made(folder, [first, second], b"gpmd", 1000)


def test_each_frame_has_its_own_value_of_gopro(tmp_path: Path) -> None:
    found = exposures(gopro(tmp_path))
    assert {one.source for one in found if one is not None} == {"GoPro GPMF"}
    assert seconds(found) == pytest.approx([1 / (200 + number) for number in range(FRAMES)], rel=1e-6)


def test_a_stretch_and_a_jump_have_the_values_of_their_frames(tmp_path: Path) -> None:
    path = gopro(tmp_path)
    assert seconds(exposures(path, start_seconds=0.8)) == seconds(exposures(path))[20:]
    with Reader(path) as reader:
        pts = reader.info.video.start_pts + round(33 / RATE / reader.info.video.time_base)
        assert reader.skip_to(pts)
        frame = next(reader)
    assert frame.exposure is not None
    assert frame.exposure.seconds == pytest.approx(1 / 233, rel=1e-6)


def test_far_into_a_file_values_are_read_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind ten seconds the track is sought in, not read through."""
    read, whole = [], GpmfReader.read

    def counted(reader: GpmfReader, data: bytes) -> PacketExposures:
        read.append(len(data))
        return whole(reader, data)

    monkeypatch.setattr(GpmfReader, "read", counted)
    video = tmp_path / "long.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=16", "-c:v", "libx264", "-preset", "ultrafast", str(video))
    packets = [gpmf([1 / (100 + second)] * RATE, clock_us=second * 1_000_000) for second in range(16)]
    path = with_track(video, tmp_path / "camera.mp4", packets, kind=b"gpmd")
    found = seconds(exposures(path, start_seconds=14))
    assert found == pytest.approx([1 / 114] * RATE + [1 / 115] * RATE, rel=1e-6)
    assert len(read) <= 4


def test_a_track_can_be_asked_for_an_earlier_time(tmp_path: Path) -> None:
    path = gopro(tmp_path)
    track = ExposureTrack(lambda: open_input(str(path)), 1 / RATE)
    for number in (30, 31, 3, 4):
        written = track.at(0, number / RATE)
        assert written is not None
        assert written.seconds == pytest.approx(1 / (200 + number), rel=1e-6)
    track.close()


def test_slow_motion_is_a_share_of_the_interval_between_captures(tmp_path: Path) -> None:
    found = exposures(gopro(tmp_path, capture_rate=4 * RATE, times=[1 / 200] * 2 * RATE))
    assert all(one is not None and one.seconds is None for one in found)
    assert [one.fraction for one in found if one is not None] == pytest.approx([0.5] * FRAMES, rel=1e-3)


def test_time_lapse_is_a_share_too(tmp_path: Path) -> None:
    """1/50 s would be half of a frame; the camera took a picture every half second."""
    found = exposures(gopro(tmp_path, capture_rate=2, times=[1 / 50] * 2 * RATE))
    assert [one.fraction for one in found if one is not None] == pytest.approx([0.04] * FRAMES, rel=1e-3)


def rational(top: int, bottom: int) -> bytes:
    return struct.pack(">II", top, bottom)


@pytest.mark.parametrize(
    ("packet", "kind", "source", "expected"),
    [
        (rtmd((0x8000, b"\0\1"), (0x8109, rational(1, 100))), b"rtmd", "Sony rtmd", 0.01),
        (rtmd((0x8106, rational(25, 1)), (0x8109, rational(1, 50))), b"rtmd", "Sony rtmd", 0.02),
        (ctmd(1, 125), b"CTMD", "Canon CTMD", 0.008),
        (djmd("dvtm_ac203.proto", (1, 240), clock_us=9, path=OSMO), b"djmd", "DJI djmd", 1 / 240),
        (djmd("dvtm_Air3.proto", (1, 160), clock_us=9, path=AIR), b"djmd", "DJI djmd", 1 / 160),
    ],
    ids=["Sony", "Sony with a capture rate", "Canon", "DJI Osmo", "DJI Air"],
)
def test_a_packet_for_each_frame(tmp_path: Path, packet: bytes, kind: bytes, source: str, expected: float) -> None:
    found = exposures(made(tmp_path, [packet] * FRAMES, kind, 40))
    assert {one.source for one in found if one is not None} == {source}
    assert seconds(found) == pytest.approx([expected] * FRAMES)


def test_only_the_first_packet_of_dji_names_the_protocol(tmp_path: Path) -> None:
    packets = [
        djmd("dvtm_ac204.proto" if number == 0 else None, (1, 100 + number), clock_us=40_000 * number, path=OSMO)
        for number in range(FRAMES)
    ]
    found = exposures(made(tmp_path, packets, b"djmd", 40))
    assert seconds(found) == pytest.approx([1 / (100 + number) for number in range(FRAMES)])


def test_a_protocol_that_nobody_knows_is_not_guessed_at(tmp_path: Path) -> None:
    packet = djmd("dvtm_new.proto", (1, 100), clock_us=0, path=OSMO)
    assert exposures(made(tmp_path, [packet] * FRAMES, b"djmd", 40)) == [None] * FRAMES


def test_slow_motion_of_dji_and_sony(tmp_path: Path) -> None:
    packets = [djmd("dvtm_ac203.proto", (1, 400), clock_us=10_000 * number, path=OSMO) for number in range(FRAMES)]
    dji = exposures(made(tmp_path, packets, b"djmd", 40))
    assert [one.fraction for one in dji if one is not None] == pytest.approx([0.25] * FRAMES)
    sony = rtmd((0x8106, rational(120_000, 1001)), (0x8109, rational(1, 240)))
    found = exposures(made(tmp_path, [sony] * FRAMES, b"rtmd", 40))
    assert [one.fraction for one in found if one is not None] == pytest.approx([120_000 / 1001 / 240] * FRAMES)


def test_a_shutter_angle_is_a_fraction(tmp_path: Path) -> None:
    packet = rtmd((0x8108, struct.pack(">i", 180 * 60)))
    found = exposures(made(tmp_path, [packet] * FRAMES, b"rtmd", 40))
    assert found == [CameraExposure("Sony rtmd", fraction=0.5)] * FRAMES


def test_subtitles_of_dji(tmp_path: Path) -> None:
    texts = tmp_path / "texts.srt"
    texts.write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nF/2.8, SS 206.14, ISO 150, EV 0\n\n"
        "2\n00:00:01,000 --> 00:00:02,000\n[iso : 100] [shutter : 1/500.0] [fnum : 280]\n",
        encoding="utf-8",
    )
    path = tmp_path / "DJI_0001.MP4"
    ffmpeg("-i", str(clip("h264", frames=FRAMES)), "-i", str(texts), *MOV_TEXT, str(path))
    assert seconds(exposures(path)) == pytest.approx([1 / 206.14] * RATE + [1 / 500] * (FRAMES - RATE))


def test_a_film_with_subtitles_for_people_has_no_shutter(tmp_path: Path) -> None:
    texts = tmp_path / "texts.srt"
    texts.write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nThe shutter: 100 men came in, SS 200 men, ISO 9.\n", encoding="utf-8"
    )
    path = tmp_path / "film.mp4"
    ffmpeg("-i", str(clip("h264", frames=FRAMES)), "-i", str(texts), *MOV_TEXT, str(path))
    with Reader(path) as reader:
        assert reader.exposure_range() is None
        assert all(frame.exposure is None for frame in reader)


def test_the_range_of_a_file(tmp_path: Path) -> None:
    with Reader(gopro(tmp_path)) as reader:
        found = reader.exposure_range()
        later = [frame.exposure for frame in reader]
        assert reader.exposure_range() is None
    assert found is not None
    assert found.source == "GoPro GPMF"
    assert found.seconds == pytest.approx((1 / 249, 1 / 200))
    assert found.fractions == pytest.approx((25 / 249, 25 / 200))
    assert seconds(later)[0] == pytest.approx(1 / 200)


def test_a_pipe_has_no_second_opening(tmp_path: Path) -> None:
    with gopro(tmp_path).open("rb") as file, Reader(file) as reader:
        assert next(reader).exposure is None


@pytest.mark.parametrize("value", [0.0, -0.01, math.nan, math.inf, -math.inf, 2.0, 0.061, 1e-12])
def test_absurd_values_are_not_known(tmp_path: Path, value: float) -> None:
    """At 25 frames a second 0.06 s is the most that rounding explains."""
    times = [value, *[0.01] * (2 * RATE - 1)]
    assert seconds(exposures(gopro(tmp_path, times=times))) == [None, *[pytest.approx(0.01)] * (FRAMES - 1)]


@pytest.mark.parametrize(
    ("written", "interval", "expected"),
    [
        (WrittenExposure("x", 0.05), 0.04, CameraExposure("x", seconds=0.05)),
        (WrittenExposure("x", 0.5), None, CameraExposure("x", seconds=0.5)),
        (WrittenExposure("x", 0.01, speed=0.25), None, None),
        (WrittenExposure("x", 0.0125, speed=0.25), 0.04, CameraExposure("x", fraction=1.0)),
        (WrittenExposure("x", 0.02, speed=0.25), 0.04, None),
        (WrittenExposure("x", 0.02, speed=0.0), 0.04, None),
        (WrittenExposure("x", 0.02, speed=math.nan), 0.04, None),
        (WrittenExposure("x", fraction=0.5), None, CameraExposure("x", fraction=0.5)),
        (WrittenExposure("x", fraction=math.nan), 0.04, None),
        (WrittenExposure("x", fraction=0.0), 0.04, None),
    ],
)  # fmt: skip
def test_what_is_believed(written: WrittenExposure, interval: float | None, expected: CameraExposure | None) -> None:
    assert believed(written, interval) == expected


def test_scales_and_types_of_gpmf() -> None:
    scaled = nest(b"DEVC", nest(b"STRM", klv(b"SCAL", "l", 4, struct.pack(">i", 1000)), klv(b"SHUT", "S", 2, b"\0\5")))
    assert GpmfReader().read(scaled).seconds == (0.005,)
    structure = nest(b"STRM", klv(b"TYPE", "c", 1, b"fL"), klv(b"SHUT", "?", 8, struct.pack(">fIfI", 0.5, 9, 0.25, 9)))
    assert GpmfReader().read(nest(b"DEVC", structure)).seconds == (0.5, 0.25)
    fixed = nest(b"STRM", klv(b"SHUT", "q", 4, struct.pack(">i", 1 << 14)))
    assert GpmfReader().read(nest(b"DEVC", fixed)).seconds == (0.25,)
    older = nest(b"STRM", klv(b"TICK", "L", 4, struct.pack(">I", 2500)), klv(b"SHUT", "f", 4, struct.pack(">f", 0.5)))
    assert GpmfReader().read(nest(b"DEVC", older)).clock_seconds == 2.5


def test_a_damaged_track_leaves_the_frames_as_they_are(tmp_path: Path) -> None:
    whole = gopro(tmp_path)
    damaged = tmp_path / "damaged.mp4"
    data = whole.read_bytes()
    place = data.index(b"SHUT", data.index(b"SHUT") + 4)
    damaged.write_bytes(data[: place + 4] + b"\xff" * 40 + data[place + 44 :])
    found = seconds(exposures(damaged))
    assert found[:RATE] == seconds(exposures(whole))[:RATE]
    assert found[RATE:] == [None] * (FRAMES - RATE)


def test_values_belong_to_the_nearest_frame(tmp_path: Path) -> None:
    """Packets of 1001 ms in a track that counts milliseconds, frames at 30000/1001 a second."""
    video = tmp_path / "ntsc.mp4"
    source = "testsrc2=s=64x48:r=30000/1001,trim=end_frame=70"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", str(video))
    values = [1 / (100 + number) for number in range(90)]
    packets = [gpmf(values[begin : begin + 30], clock_us=begin * 100_100 // 3) for begin in (0, 30, 60)]
    path = with_track(video, tmp_path / "camera.mp4", packets, kind=b"gpmd", each_ms=1001)
    with Reader(path) as reader:
        assert reader.info.video.average_rate == Fraction(30000, 1001)
    assert seconds(exposures(path)) == pytest.approx(values[:70], rel=1e-6)
