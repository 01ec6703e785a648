"""Damaged and lying files: each ends in success or one line, soon, in little memory, and leaves nothing behind.

The long run is ``cd tests && python -m support.fuzzing.run --count 5000 --seed 1 --jobs 2``.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest

from support.fuzzing.corpus import make_corpus
from support.fuzzing.hostile_files import CLAIMS, png
from support.fuzzing.mutations import LARGEST_BYTES, mutate
from support.fuzzing.run import Limits, Worker, fuzz
from support.media.clips import clip, ffmpeg
from support.media.writing import read_all
from support.wall_clock import patience
from vdeblur.errors import SourceError
from vdeblur.video.source.demuxer import open_media
from vdeblur.video.source.limits import ALWAYS_PX, MOST_PX, PX_A_BYTE, pixel_limit
from vdeblur.video.source.location import PipeSource, locate
from vdeblur.video.source.reader import Reader

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
#: A file of a few kilobytes may cost this much at most, in us or in FFmpeg; 4096×4096 in 16-bit RGBA is 128 MB.
CLAIM_SECONDS, CLAIM_MB = 20, 300


@LINUX
def test_a_hundred_damaged_files(tmp_path: Path) -> None:
    summary = fuzz(110, 1, jobs=2, folder=tmp_path, limits=Limits(seconds=patience(30), memory_mb=600))
    assert not summary.faults, str(summary)
    assert summary.count == 110
    assert summary.outcomes["success"] > 20, "the damage is so heavy that little is tested"
    assert summary.outcomes["SourceError"] > 20, "the damage is so light that little is tested"


def test_the_same_seed_gives_the_same_files() -> None:
    seeds = [bytes(range(256)) * 20, b"text 12 and 13" * 40]
    first = [mutate(seeds, 7, number) for number in range(300)]
    assert first == [mutate(seeds, 7, number) for number in range(300)]
    assert len({data for _, data in first}) > 290
    assert all(len(data) <= LARGEST_BYTES for _, data in first)
    assert [mutate(seeds, 8, number) for number in range(300)] != first


@LINUX
def test_the_corpus_is_sound(tmp_path: Path) -> None:
    """Every seed that is a video can be read: otherwise its damage would test nothing."""
    unreadable = set()
    for path in make_corpus(tmp_path):
        try:
            read_all(path)
        except SourceError:
            unreadable.add(path.name)
    assert unreadable == {
        "words.srt", "words.ass", "list.m3u8", "list.ffconcat", "list.mpd", "session.sdp", "cover.mp3", "encrypted.mp4",
    }  # fmt: skip


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("worker"))
    yield made
    made.end()


def restored(worker: Worker, path: Path, limits: Limits) -> dict[str, Any]:
    request = {"path": str(path), "target": str(worker.targets / "out.mkv"), "codec": "ffv1", "piped": False}
    return worker.restore({**request, "start": None, "drop": []}, limits)


@LINUX
@pytest.mark.parametrize("name", CLAIMS)
def test_headers_are_not_believed(name: str, worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(CLAIMS[name](tmp_path))
    answer = restored(worker, path, Limits(seconds=patience(CLAIM_SECONDS), memory_mb=CLAIM_MB))
    assert answer["fault"] is None, answer
    width = next((word for word in ("65535", "65536", "16000", "16383") if word in name), None)
    if width is not None and name != "jpeg 16000.jpg":  # which fails before its size is looked at
        assert f"it says that its picture is {width}×{width}" in answer["message"]


def test_what_a_file_of_a_length_may_claim() -> None:
    assert pixel_limit(0) == pixel_limit(ALWAYS_PX // PX_A_BYTE) == ALWAYS_PX == 4096 * 4096
    assert pixel_limit(1024) == 1024 * PX_A_BYTE
    assert pixel_limit(10**9) == pixel_limit(None) == MOST_PX
    assert MOST_PX >= 16384 * 8192


def test_an_honest_large_picture_is_read(tmp_path: Path) -> None:
    """Black, so that it is as small as such a picture can be."""
    path = tmp_path / "large.png"
    ffmpeg("-f", "lavfi", "-i", "color=black:size=8192x4352", "-frames:v", "1", "-pix_fmt", "monob", str(path))
    with Reader(path, threads=1) as reader:
        frame = next(reader)
    assert (frame.width, frame.height) == (8192, 4352)
    assert frame.width * frame.height > ALWAYS_PX


def test_a_lie_in_a_pipe_that_can_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "lie.png"
    path.write_bytes(png(16000, 16000, depth=16, kind=6))
    with path.open("rb") as file, pytest.raises(SourceError, match=r"no frame of .* can be decoded"):
        Reader(file)


def test_looking_for_the_reason_leaves_ffmpeg_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lie.png"
    path.write_bytes(png(16000, 16000))
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    for _ in range(2):
        with pytest.raises(SourceError, match=r"16000×16000, which 1?[0-9]{2,4} bytes cannot hold"):
            Reader(path)
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before
    assert capfd.readouterr() == ("", "")


def test_a_pipe_survives_a_seek_before_its_beginning() -> None:
    with clip("h264").open("rb") as file:
        pipe = PipeSource(file, wait=False)
        assert pipe.seek(-5) == -1
        assert pipe.seek(3) == 3
        assert pipe.size() == clip("h264").stat().st_size
        assert pipe.tell() == 3


def test_a_length_in_a_tag_that_no_number_holds(tmp_path: Path) -> None:
    """Matroska's DURATION tag is text."""
    path = tmp_path / "long.mkv"
    ffmpeg("-i", str(clip("h264", frames=3)), "-c", "copy", "-metadata:s:v", f"length={'9' * 400}:00:00.0", str(path))
    path.write_bytes(path.read_bytes().replace(b"length", b"DURATION"[:6]).replace(b"LENGTH", b"DURATI"))
    assert len(read_all(path)) == 3


def test_a_stream_that_begins_in_mid_file(tmp_path: Path) -> None:
    """FLV whose sound comes so late that opening it finds none: every frame is read, whatever PyAV makes of it."""
    path = tmp_path / "late.flv"
    ffmpeg("-stream_loop", "5", "-i", str(clip("h264")), "-c", "copy", str(path))
    sound = bytes([0x2E]) + bytes(400)  # MP3, a tag of its own
    tag = bytes([8]) + len(sound).to_bytes(3, "big") + (9500).to_bytes(3, "big") + bytes(4) + sound
    data = path.read_bytes() + (tag + struct.pack(">I", len(tag))) * 3
    path.write_bytes(data)
    for _ in range(3):
        with Reader(path, threads=1) as reader:
            assert len(list(reader)) == 240
            assert [stream.kind for stream in reader.info.streams] == ["video"]


class Stumbling:
    """A container whose last step fails as PyAV's does."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def demux(self, streams: Any) -> Iterator[Any]:
        yield from (packet for packet in self._container.demux(streams) if packet.size)
        raise IndexError("list index out of range")

    def close(self) -> None:
        self._container.close()


def test_pyav_stumbles_at_the_end() -> None:
    with closing(open_media(locate(clip("h264_ts")), frame_rate=None)) as media:
        stored: Any = media
        stored._container = Stumbling(stored._container)
        assert len(list(media.packets())) == 40
        assert media.failure is None
