"""Shutter times in the pictures themselves and beside the file: AVCHD, Exif, DJI's texts, tags of the container."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from support.media.camera_metadata import mdpm, with_user_data
from support.media.clips import clip, copy_of, ffmpeg
from vdeblur.frames import CameraExposure
from vdeblur.video.av_compat import open_input
from vdeblur.video.exposure.dji_text import SidecarTexts
from vdeblur.video.exposure.mdpm import MdpmWatch
from vdeblur.video.source.reader import Reader

FRAMES = 30
X264 = "-c:v libx264 -preset ultrafast -threads 1 -bf 0 -g 10 -x264-params slices=1"


def read(source: Path | str, **options: float | Fraction) -> list[CameraExposure | None]:
    with Reader(source, threads=1, **options) as reader:  # type: ignore[arg-type]
        return [frame.exposure for frame in reader]


def seconds(found: Sequence[CameraExposure | None]) -> list[float | None]:
    return [None if one is None else one.seconds for one in found]


def avchd(folder: Path, messages: Sequence[bytes | None], *, further: str = "") -> Path:
    """A transport stream as camcorders write it, with user data before each picture."""
    plain, marked, target = folder / "plain.h264", folder / "marked.h264", folder / "00001.mts"
    words = f"{X264}{further}".split()
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25,trim=end_frame={len(messages)}", *words, str(plain))
    marked.write_bytes(with_user_data(plain.read_bytes(), messages))
    ffmpeg("-r", "25", "-i", str(marked), "-c", "copy", "-f", "mpegts", str(target))
    return target


def shutter(ticks: int) -> bytes:
    """Ticks of 1/28125 s, the highest bit set as in real files."""
    return mdpm((0x13, bytes(4)), (0x70, b"\xff\xff\xff\xff"), (0x7F, b"\xff\xff" + struct.pack("<H", ticks | 0x8000)))


def test_each_picture_of_avchd(tmp_path: Path) -> None:
    found = read(avchd(tmp_path, [shutter(100 + number) for number in range(FRAMES)]))
    assert {one.source for one in found if one is not None} == {"AVCHD MDPM"}
    assert seconds(found) == pytest.approx([(100 + number) / 28125 for number in range(FRAMES)])


def test_an_exposure_of_avchd_in_two_numbers(tmp_path: Path) -> None:
    found = read(avchd(tmp_path, [mdpm((0xA0, struct.pack(">HH", 1, 60)))] * FRAMES))
    assert seconds(found) == pytest.approx([1 / 60] * FRAMES)


def test_a_value_of_avchd_holds_until_the_next(tmp_path: Path) -> None:
    """The first picture says nothing, as Panasonic's do; later ones speak up now and then."""
    messages = [shutter(200) if number in (1, 11) else shutter(400) if number == 21 else None for number in range(30)]
    found = seconds(read(avchd(tmp_path, messages)))
    assert found == [None, *[pytest.approx(200 / 28125)] * 20, *[pytest.approx(400 / 28125)] * 9]


def test_a_stretch_of_avchd_and_a_pipe(tmp_path: Path) -> None:
    path = avchd(tmp_path, [shutter(100 + number) for number in range(FRAMES)])
    assert seconds(read(path, start_seconds=0.52)) == pytest.approx([(113 + number) / 28125 for number in range(17)])
    with path.open("rb") as file, Reader(file) as reader:
        assert next(reader).exposure == CameraExposure("AVCHD MDPM", seconds=pytest.approx(100 / 28125))


def test_pictures_of_avchd_that_are_read_anew(tmp_path: Path) -> None:
    path, watch = avchd(tmp_path, [shutter(100 + number) for number in range(FRAMES)]), MdpmWatch("h264", 1 / 25)
    for _ in range(2):
        with open_input(str(path)) as container:
            for tick, picture in enumerate(container.decode(video=0)):
                watch.watch(picture, tick)
        for tick in (5, 20):
            written = watch.at(tick, tick / 25)
            assert written is not None
            assert written.seconds == pytest.approx((100 + tick) / 28125)
    assert watch.at(20 + 3 * 25 + FRAMES, 5.0) is None


def test_an_interlaced_picture_keeps_its_exposure(tmp_path: Path) -> None:
    path = avchd(tmp_path, [shutter(300)] * 12, further=":interlaced=1")
    with Reader(path, interlaced="field") as reader:
        assert reader.info.video.interlacing.flagged is not None
        fields = [frame.exposure for frame in reader]
    assert len(fields) == 24
    assert seconds(fields) == pytest.approx([300 / 28125] * 24)


def photo(path: Path, exposure: tuple[int, int] | None, taken: str | None = None, fraction: str | None = None) -> None:
    rows, columns = np.mgrid[:48, :64]
    exif = Image.Exif()
    exif[0x010F] = "Maker"  # Pillow takes a directory of directories for empty
    told = exif.get_ifd(0x8769)
    if exposure is not None:
        told[0x829A] = IFDRational(*exposure)
    if taken is not None:
        told[0x9003] = taken
    if fraction is not None:
        told[0x9291] = fraction
    if path.suffix == ".tif":  # to which Pillow passes on no other directories
        exif[0x8769] = dict(told)
    Image.fromarray(((rows * 3 + columns * 2) % 256).astype(np.uint8)).convert("RGB").save(path, exif=exif)


def sequence(folder: Path, exposures: Sequence[tuple[int, int] | None], step: Fraction | None, suffix: str) -> str:
    """Pictures taken ``step`` seconds apart; ``None`` = they do not tell when."""
    for number, exposure in enumerate(exposures):
        at = 0 if step is None else number * step
        taken = None if step is None else f"2024:05:01 12:{int(at // 60):02}:{int(at % 60):02}"
        fraction = None if step is None else f"{int(at % 1 * 1000):03}"
        photo(folder / f"shot_{number:04}{suffix}", exposure, taken, fraction)
    return str(folder / f"shot_%04d{suffix}")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_each_picture_of_a_sequence(tmp_path: Path, suffix: str) -> None:
    pattern = sequence(tmp_path, [(1, 100 + number) for number in range(5)] + [None], None, suffix)
    found = read(pattern, frame_rate=Fraction(25))
    assert seconds(found) == [*[pytest.approx(1 / (100 + number)) for number in range(5)], None]
    assert found[0] is not None
    assert found[0].source == "Exif"


def test_a_burst_is_played_slower_than_it_was_taken(tmp_path: Path) -> None:
    """Taken at 50 a second and played at 25: 1/100 s is half of the time between two pictures."""
    pattern = sequence(tmp_path, [(1, 100)] * 20, Fraction(1, 50), ".jpg")
    found = read(pattern, frame_rate=Fraction(25))
    assert [one.fraction for one in found if one is not None] == pytest.approx([0.5] * 20, rel=0.05)


def test_a_time_lapse_is_sharp_however_it_is_played(tmp_path: Path) -> None:
    """1/30 s would be most of a frame at 25 a second, and is nothing of five seconds."""
    found = read(sequence(tmp_path, [(1, 30)] * 12, Fraction(5), ".jpg"), frame_rate=Fraction(25))
    assert [one.fraction for one in found if one is not None] == pytest.approx([1 / 150] * 12)


def test_pictures_at_the_rate_they_were_taken(tmp_path: Path) -> None:
    found = read(sequence(tmp_path, [(1, 50)] * 12, Fraction(1, 10), ".jpg"), frame_rate=Fraction(10))
    assert seconds(found) == pytest.approx([0.02] * 12)


def test_three_pictures_of_one_second_tell_no_rate(tmp_path: Path) -> None:
    """Whole seconds alone: taken within one or two of them, at no rate that anybody could tell."""
    for number in range(3):
        photo(tmp_path / f"shot_{number}.jpg", (1, 50), f"2024:05:01 12:00:0{number}")
    assert read(str(tmp_path / "shot_%d.jpg"), frame_rate=Fraction(25)) == [None] * 3


def test_one_photograph(tmp_path: Path) -> None:
    """It has no frame interval, so a long exposure is not absurd."""
    photo(tmp_path / "night.jpg", (1, 2))
    with Reader(tmp_path / "night.jpg") as reader:
        found = reader.exposure_range()
        assert next(reader).exposure == CameraExposure("Exif", seconds=0.5)
    assert found is not None
    assert (found.seconds, found.fractions, found.first_frame_only) == ((0.5, 0.5), None, False)


@pytest.mark.parametrize("exposure", [(0, 1), (1, 0), (0, 0), (30, 1)])
def test_an_absurd_exif_time(tmp_path: Path, exposure: tuple[int, int]) -> None:
    photo(tmp_path / "shot_1.jpg", (7, 11))
    data = (tmp_path / "shot_1.jpg").read_bytes()
    assert struct.pack(">II", 7, 11) in data or struct.pack("<II", 7, 11) in data
    for order in "<>":
        data = data.replace(struct.pack(f"{order}II", 7, 11), struct.pack(f"{order}II", *exposure))
    (tmp_path / "shot_1.jpg").write_bytes(data)
    assert read(str(tmp_path / "shot_%d.jpg")) == [None]


SRT = (
    "1\n00:00:00,000 --> 00:00:00,400\n"
    '<font size="28">SrtCnt : 1, DiffTime : 400ms\n2024-03-15 10:30:00.033\n'
    "[iso : 100] [shutter : 1/200.0] [fnum : 280] [ev : 0]</font>\n\n"
    "2\n00:00:00,400 --> 00:00:00,800\nISO:100 Shutter:60 EV:0 Fnum:F2.8\n\n"
)


def test_texts_can_be_asked_for_an_earlier_time(tmp_path: Path) -> None:
    (tmp_path / "DJI_0001.SRT").write_text(SRT, encoding="utf-8")
    texts = SidecarTexts(tmp_path / "DJI_0001.SRT")
    for seconds_shown, expected in ((0.5, 1 / 60), (0.1, 1 / 200)):
        written = texts.at(0, seconds_shown)
        assert written is not None
        assert written.seconds == pytest.approx(expected)
    texts.close()


@pytest.mark.parametrize("suffix", [".SRT", ".srt"])
def test_texts_beside_a_video_of_dji(tmp_path: Path, suffix: str) -> None:
    path = copy_of(clip("h264", frames=25), tmp_path, "DJI_0001.MP4")
    path.with_suffix(suffix).write_text(SRT, encoding="utf-8")
    found = read(path)
    assert seconds(found) == [*[pytest.approx(1 / 200)] * 10, *[pytest.approx(1 / 60)] * 10, *[None] * 5]
    assert found[0] is not None
    assert found[0].source == "DJI SRT file"


def test_other_files_beside_a_video_say_nothing(tmp_path: Path) -> None:
    path = copy_of(clip("h264", frames=5), tmp_path, "film.mp4")
    texts = path.with_suffix(".srt")
    texts.write_text("1\n00:00:00,000 --> 00:00:01,000\nThe shutter: 100 men came in.\n", encoding="utf-8")
    assert read(path) == [None] * 5
    texts.write_bytes(os.urandom(100_000))
    assert read(path) == [None] * 5
    texts.unlink()
    texts.mkdir()
    assert read(path) == [None] * 5


def test_a_text_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = copy_of(clip("h264", frames=5), tmp_path, "DJI_0001.MP4")
    path.with_suffix(".SRT").write_text(SRT + "x" * 1_000_000, encoding="utf-8")
    assert seconds(read(path)) == pytest.approx([1 / 200] * 5)


def tagged(folder: Path, name: str, value: str) -> Path:
    path = folder / "tagged.mov"
    words = ["-c", "copy", "-movflags", "use_metadata_tags", "-metadata", f"org.smpte.rdd18.camera.{name}={value}"]
    ffmpeg("-i", str(clip("h264", frames=5)), *words, str(path))
    return path


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("shutterspeed_angle", "172.8", CameraExposure("QuickTime tags", fraction=0.48)),
        ("shutterspeed_angle", "360", CameraExposure("QuickTime tags", fraction=1.0)),
        ("shutterspeed_angle", "10368", None),
        ("shutterspeed_angle", "auto", None),
        ("shutterspeed_time", "1/50", CameraExposure("QuickTime tags", seconds=0.02)),
        ("shutterspeed_time", "0.01", CameraExposure("QuickTime tags", seconds=0.01)),
        ("shutterspeed_time", "1/0", None),
    ],
)
def test_tags_of_the_container(tmp_path: Path, name: str, value: str, expected: CameraExposure | None) -> None:
    found = read(tagged(tmp_path, name, value))
    if expected is None:
        assert found == [None] * 5
    else:
        assert seconds(found) == [expected.seconds] * 5
        assert [one.fraction for one in found if one is not None] == [pytest.approx(expected.fraction)] * 5


def test_an_ordinary_video_has_no_exposure() -> None:
    with Reader(clip("h264", frames=5)) as reader:
        assert reader.exposure_range() is None
        assert [frame.exposure for frame in reader] == [None] * 5
