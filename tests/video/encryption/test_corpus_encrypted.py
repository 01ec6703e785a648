"""Encrypted sources are refused by name; encrypted sound is left out; what a decoder made up is no result."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from support.doubles import Identity
from support.engines import QUICK
from support.media.clips import ffmpeg
from support.media.encrypted import ENCRYPTED, sound_only, unprotected
from vdeblur.errors import SourceError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encryption import iso_media, matroska, mpeg_streams, windows_media
from vdeblur.video.encryption.lookup import scheme_of_unreadable
from vdeblur.video.source.reader import Reader, probe


def restored(source: Path, target: Path) -> Report:
    return deblur_video(source, target, model=Identity(), strength=0, **QUICK)


@pytest.mark.parametrize("name", ENCRYPTED)
def test_encrypted_video_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, scheme = ENCRYPTED[name]
    source = tmp_path / name
    make(source)
    with pytest.raises(SourceError, match=rf"is encrypted \({scheme}\), and vdeblur has no key") as caught:
        restored(source, tmp_path / "out.mkv")
    assert caught.value.exit_code == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["fragments.mp4", "vp9.webm", "transport.ts", "media.wmv"])
def test_through_a_pipe_too(name: str, tmp_path: Path) -> None:
    ENCRYPTED[name][0](tmp_path / name)
    with (tmp_path / name).open("rb") as file, pytest.raises(SourceError, match="is encrypted"):
        Reader(Unseekable(file), threads=1)  # type: ignore[arg-type]


class Unseekable:
    """A pipe."""

    def __init__(self, file: object) -> None:
        self.read = file.read  # type: ignore[attr-defined]

    def seekable(self) -> bool:
        return False


def test_encrypted_sound_is_left_out_and_named(tmp_path: Path) -> None:
    sound_only(tmp_path / "in.mp4")
    report = restored(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert report.summary == "left out: audio 1 (aac): encrypted"
    assert any("encrypted in the source" in note and "audio 1" in note for note in report.notes)
    assert [stream.kind for stream in probe(tmp_path / "out.mp4").streams] == ["video"]


def test_a_protected_track_in_the_clear_is_restored(tmp_path: Path) -> None:
    unprotected(tmp_path / "in.mp4")
    assert restored(tmp_path / "in.mp4", tmp_path / "out.mp4").frames == 10


def test_plain_files_are_not_called_encrypted(tmp_path: Path) -> None:
    for suffix, codec in ((".mp4", "libx264"), (".mkv", "libx264"), (".ts", "libx264"), (".vob", "mpeg2video")):
        path = tmp_path / f"plain{suffix}"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48", "-frames:v", "2", "-c:v", codec, str(path))
        assert scheme_of_unreadable(path, b"") is None
        assert not probe(path).streams[0].encrypted


@pytest.mark.parametrize("name", ENCRYPTED)
def test_parsers_bear_any_bytes(name: str, tmp_path: Path) -> None:
    """Damaged heads end in an answer, soon."""
    ENCRYPTED[name][0](tmp_path / name)
    whole, chance = (tmp_path / name).read_bytes()[:20_000], random.Random(name)
    for _ in range(40):
        data = bytearray(whole[: chance.randrange(1, len(whole))])
        for _ in range(chance.choice((1, 4, 40))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        head = bytes(data)
        start = max(0, head.find(b"moov") - 4)
        assert isinstance(iso_media.encrypted_tracks(head[start:]), dict)
        assert isinstance(matroska.encrypted_tracks(head), frozenset)
        assert isinstance(mpeg_streams.scrambled_pids(head), frozenset)
        assert mpeg_streams.is_scrambled_program(head) in (True, False)
        assert windows_media.is_encrypted(head) in (True, False)


def noisy(path: Path, sound: int, codec: str) -> Path:
    """An MP4 of 40 pictures of which all behind the first ``sound`` are noise where their slices were."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-frames:v", "40", *codec.split(), str(path))
    import av

    data, chance = bytearray(path.read_bytes()), random.Random(5)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in packets[sound:]:
        place = start
        while place < start + size:
            length = struct.unpack_from(">I", data, place)[0]
            if data[place + 4] & 31 in (1, 5):
                data[place + 16 : place + 4 + length] = chance.randbytes(max(0, length - 12))
            place += 4 + length
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("sound", "fine"), [(0, False), (8, False), (32, True)])
def test_a_video_that_the_decoder_made_up_is_no_result(sound: int, fine: bool, tmp_path: Path) -> None:
    codec = "-c:v libx264 -preset ultrafast -bf 0 -pix_fmt yuv420p -x264-params slices=1"
    source = noisy(tmp_path / "in.mp4", sound, codec)
    if fine:
        report = restored(source, tmp_path / "out.mp4")
        assert any("damaged in the source" in note for note in report.notes)
        return
    with pytest.raises(SourceError, match=r"\d\d of 40 pictures are damaged or cannot be decoded"):
        restored(source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_sound_stretch_of_it_is_restored(tmp_path: Path) -> None:
    source = noisy(tmp_path / "in.mp4", 10, "-c:v libx264 -preset ultrafast -bf 0 -pix_fmt yuv420p")
    report = deblur_video(source, tmp_path / "out.mp4", model=Identity(), strength=0, duration_seconds=0.36, **QUICK)
    assert report.frames == 9
