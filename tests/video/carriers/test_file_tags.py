"""Dates and software of recordings: where each container keeps them, once."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from support.media.clips import clip, ffmpeg
from support.media.corpus_carriers import source
from support.media.corpus_streams import VIDEO
from support.media.writing import copy, read_all
from vdeblur.errors import TargetError
from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.sink.iso_patch import write_creation_time
from vdeblur.video.sink.riff_patch import write_riff_tags
from vdeblur.video.streams.asf_header import asf_date
from vdeblur.video.streams.file_tags import date_of
from vdeblur.video.streams.outcomes import summary_words

DATE = datetime(2012, 9, 10, 20, 52, tzinfo=UTC)
ENCODED = "-c:v mpeg4 -q:v 5 -t 0.2"


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {name.lower(): value for name, value in container.metadata.items()}


def as_ffmpeg_says(path: Path) -> str:
    return subprocess.run([str(find_ffmpeg()), "-i", str(path)], capture_output=True, check=False).stderr.decode()


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mov", ".mkv", ".flv", ".wmv", ".nut"])
def test_a_camera_keeps_its_name_and_its_date(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"out{suffix}"
    writer = copy(source("avi_dated"), target)
    assert date_of(tags(target), target) == DATE
    assert tags(target)["software"] == "CAMERA-01"
    assert summary_words(writer.outcomes) == ""
    assert ";" not in next((line for line in as_ffmpeg_says(target).splitlines() if "creation_time" in line), "")


@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".avi"])
def test_the_software_of_quicktime_is_not_replaced_by_ours(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "in.mov"
    ffmpeg(*f"{VIDEO} {ENCODED}".split(), str(path))
    data = path.read_bytes()
    at = data.index(b"Lavf")
    end = at + int.from_bytes(data[at - 4 : at - 2], "big")
    path.write_bytes(data[:at] + b"CAM 1".ljust(end - at) + data[end:])
    copy(path, tmp_path / f"out{suffix}")
    assert tags(tmp_path / f"out{suffix}")["software"].strip() == "CAM 1"
    writer = copy(path, tmp_path / "out.mov")
    assert "tags of the file encoder (CAM 1" in summary_words(writer.outcomes), "named, not quoted from the new file"


def test_what_ffmpeg_wrote_is_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "in.avi"
    ffmpeg(*f"{VIDEO} {ENCODED} -metadata album=Reise".split(), str(path))
    path.write_bytes(path.read_bytes().replace(b"Lavf6", b"Lavf5"))
    writer = copy(path, tmp_path / "out.avi")
    assert summary_words(writer.outcomes) == ""
    assert tags(tmp_path / "out.avi")["product"] == "Reise"


def test_windows_media_has_its_date_in_the_header(tmp_path: Path) -> None:
    path = tmp_path / "in.wmv"
    ffmpeg(*f"{VIDEO} -c:v wmv2 -t 0.2 -metadata creation_time=2012-09-10T20:52:00Z".split(), str(path))
    assert asf_date(path) == DATE
    for suffix in (".wmv", ".mkv", ".avi"):
        target = tmp_path / f"out{suffix}"
        writer = copy(path, target)
        assert date_of(tags(target), target) == DATE
        assert summary_words(writer.outcomes) == ""
    data = path.read_bytes()
    for cut in range(0, 70, 7):
        path.write_bytes(data[:cut])
        assert asf_date(path) is None
    ffmpeg(*f"{VIDEO} -c:v wmv2 -t 0.2".split(), str(path))
    assert asf_date(path) is None, "FFmpeg says 1970 where it knows none"
    for suffix in (".mkv", ".mp4", ".mov", ".avi", ".wmv"):
        copy(path, tmp_path / f"undated{suffix}")
        assert "creation_time" not in tags(tmp_path / f"undated{suffix}")
    assert asf_date(tmp_path / "none.wmv") is None
    assert asf_date(clip("h264")) is None


def test_dates_of_every_spelling() -> None:
    for text in ("2012-09-10T20:52:00.000000Z", "2012-09-10 20:52:00", "2012-09-10T22:52:00+02:00"):
        assert date_of({"Creation_Time": text}, None) == DATE
    for text in ("", "yesterday", "2012", "9999-12-31T23:59:59-23:59", "2012-13-40 20:52:00"):
        assert date_of({"creation_time": text}, None) in (None, datetime(2012, 1, 1, tzinfo=UTC))


def test_patches_leave_the_packets_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.avi"
    ffmpeg(*f"{VIDEO} {ENCODED}".split(), str(path))
    before, size = read_all(path), path.stat().st_size
    assert write_riff_tags(path, DATE, "Ä" * 300)
    assert (path.stat().st_size, tags(path)["software"]) == (size, "Ä" * 300)
    assert [frame.pts for frame in read_all(path)] == [frame.pts for frame in before]
    assert not write_riff_tags(path, DATE, "x" * 5000), "there is no room"
    for data in (b"", b"RIFF", b"RIFF\0\0\0\0AVI LIST\xff\xff\xff\xff", clip("h264").read_bytes()):
        path.write_bytes(data)
        assert not write_riff_tags(path, DATE, "x")
        assert path.read_bytes() == data


def test_the_header_of_a_movie_takes_the_date(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(clip("h264", frames=3).read_bytes())
    assert write_creation_time(path, DATE)
    assert date_of(tags(path), path) == DATE
    assert len(read_all(path)) == 3
    assert not write_creation_time(path, datetime(1850, 1, 1, tzinfo=UTC))
    for data in (b"", b"\0\0\0\1moov", b"\0\0\0\0moov", b"\0\0\0\x08free" * 2000, b"\0\0\0\4moov" + bytes(20)):
        path.write_bytes(data)
        assert not write_creation_time(path, DATE)
    with pytest.raises(TargetError, match="cannot write the date into"):
        write_creation_time(tmp_path / "none.mp4", DATE)
