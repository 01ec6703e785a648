"""Recordings that break off: what is there is restored, and a note says where it ends, whatever the container."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from support.media.clock.joined import JOINABLE, piece
from vdeblur.errors import SourceError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.broken_off import ElementWalk, walk_path

#: Containers that are written as the pictures come.
RECORDED = [kind for kind in JOINABLE if kind != "vob"] + ["avi", "live.mkv"]


def recorded(kind: str) -> bytes:
    more = {"avi": "-c:v mpeg4 -vf noise=alls=40:allf=t -c:a mp3 -f avi", "live.mkv": "-f matroska -live 1"}.get(
        kind, ""
    )
    return piece("mkv" if more else kind, 1.2, more=more).read_bytes()


class Pipe(io.RawIOBase):
    """A file object that can be read only once, in small bites."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 777) if size > 0 else 777)


def restored(data: bytes, folder: Path, *, piped: bool) -> Report:
    path = folder / "source"
    path.write_bytes(data)
    source = Pipe(data) if piped else path
    return deblur_video(source, folder / "out.mkv", strength=0, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize(("place", "kind"), list(enumerate(RECORDED)))
def test_what_is_there_is_restored(place: int, kind: str, piped: bool, tmp_path: Path) -> None:
    """Each container as a file and through a pipe, once cut and once with zeros behind."""
    ending = "zeros" if (place + piped) % 2 else "cut"
    whole = recorded(kind)
    data = whole[: len(whole) * 6 // 10 // 192 * 192 + 7] + bytes(100_000) * (ending == "zeros")
    report = restored(data, tmp_path, piped=piped)
    assert 3 < report.frames < 29
    [note] = [note for note in report.notes if "breaks off" in note]
    found = re.search(r"the recording breaks off at (\d\.\d\d) s, .*; what is there is restored", note)
    assert found is not None
    assert 0.1 < float(found[1]) < 1.2
    assert "LOST" not in report.summary
    assert not any("unavailable" in note or "FFmpeg warned" in note for note in report.notes)


@pytest.mark.parametrize("kind", RECORDED)
def test_nothing_is_said_of_a_whole_recording(kind: str, tmp_path: Path) -> None:
    for piped in (False, True):
        report = restored(recorded(kind), tmp_path, piped=piped)
        assert report.frames == 30
        assert not any("breaks off" in note for note in report.notes)
        (tmp_path / "out.mkv").unlink()


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_an_mp4_without_index_says_so(piped: bool, tmp_path: Path) -> None:
    data = piece("mp4", 1.2, more="-movflags 0").read_bytes()
    for broken in (data[: len(data) // 2], data[: len(data) // 2] + bytes(5000)):
        with pytest.raises(SourceError, match=r"the index \(moov\) is missing: the recording was not finished$"):
            restored(broken, tmp_path, piped=piped)


def test_a_file_behind_the_file_is_told(tmp_path: Path) -> None:
    """FFmpeg stops at the head of a second FLV."""
    report = restored(recorded("flv") * 2, tmp_path, piped=False)
    assert report.frames == 30
    assert any("another file follows" in note for note in report.notes)


@pytest.mark.parametrize("size", [1, 15, 16, 1000, 1 << 20])
def test_pieces_of_any_size_give_the_same_verdict(size: int, tmp_path: Path) -> None:
    for kind in RECORDED:
        for cut in (1, 2):
            data = recorded(kind)[: len(recorded(kind)) // cut + (cut == 2)]
            walk = ElementWalk()
            for begin in range(0, len(data), size):
                walk.feed(data[begin : begin + size])
            (tmp_path / "whole").write_bytes(data)
            whole = walk_path(tmp_path / "whole")
            assert whole is not None
            assert walk.verdict == whole.verdict, kind
            assert walk.boxes == whole.boxes


def test_hostile_lengths_end_the_walk() -> None:
    for head in (
        b"\x1a\x45\xdf\xa3\x80" + bytes(50),
        b"\0\0\0\0ftyp" * 9,
        b"FLV\x01\x05\0\0\0\0" * 9,
        b"RIFF\xff\xff\xff\xff" * 9,
    ):
        walk = ElementWalk()
        for _ in range(100):
            walk.feed(head)
        assert walk.count == 100 * len(head)
