"""What a container is, and what becomes of the streams it cannot hold: said before work starts."""

from __future__ import annotations

import io
import zlib
from fractions import Fraction
from pathlib import Path

import pytest

from support.media.clips import clip, ffmpeg
from support.media.writing import BT709, copy, kinds, made_frames, made_info, packets, read_all, writer_for
from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Colour
from vdeblur.video.encode.containers import NUT, Y4M, choose_container, container_of
from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.sink.matroska_patch import mark_range
from vdeblur.video.source.reader import probe


def picture(
    name: str = "yuv420p", *, time_base: Fraction = Fraction(1, 90000), rate: Fraction | None = Fraction(25)
) -> RawVideoSpec:
    return RawVideoSpec(canonical_format(name), BT709, 64, 48, time_base, rate)


@pytest.mark.parametrize(
    ("name", "muxer"),
    [
        ("a.mp4", "mp4"), ("a.M4V", "mp4"), ("a.b.mkv", "matroska"), ("matroska", "matroska"), ("mkv", "matroska"),
        ("a.mov", "mov"), ("a.webm", "webm"), ("a.ts", "mpegts"), ("mpegts", "mpegts"), ("a.jpeg", "image2"),
        ("a.tif", "image2"), ("a.y4m", "yuv4mpegpipe"), ("a.3gp", "3gp"), ("a.mxf", "mxf"), ("a.gif", "gif"),
    ],
)  # fmt: skip
def test_names_of_containers(name: str, muxer: str) -> None:
    assert container_of(name).muxer == muxer


def test_a_pipe_gets_what_can_hold_the_frames() -> None:
    assert choose_container("-", picture(), None) is Y4M
    assert choose_container(io.BytesIO(), picture("yuv444p16le"), None) is Y4M
    assert choose_container("-", picture(rate=None), None) is NUT
    assert choose_container("-", picture("gbrp"), None) is NUT
    assert choose_container("-", picture("gbrp"), "mp4").muxer == "mp4"
    assert choose_container("a.mkv", picture(), "mov").muxer == "mov"


def test_ticks_of_containers() -> None:
    mp4, matroska, avi = container_of("mp4"), container_of("mkv"), container_of("avi")
    fine = picture(time_base=Fraction(1001, 30000), rate=Fraction(30000, 1001))
    assert mp4.encoder_time_base(fine) == Fraction(1001, 30000)
    assert mp4.output_options(fine, seekable=True)["video_track_timescale"] == "30000"
    assert matroska.encoder_time_base(picture(time_base=Fraction(1, 25))) == Fraction(1, 25)
    assert not matroska.rounds_times(picture(time_base=Fraction(1, 25)))
    assert matroska.rounds_times(fine)
    assert avi.encoder_time_base(fine) == Fraction(1001, 30000)
    assert not mp4.rounds_times(fine)


# Streams.


def test_text_subtitles_become_what_the_container_holds(tmp_path: Path) -> None:
    source = clip("everything")
    for suffix, codec in ((".mp4", "mov_text"), (".mov", "mov_text"), (".mkv", "subrip")):
        drop = () if suffix == ".mkv" else ("attachment", "2")
        writer = copy(source, tmp_path / f"out{suffix}", drop=drop)
        [stream] = [stream for stream in probe(tmp_path / f"out{suffix}").streams if stream.kind == "subtitle"]
        assert stream.codec in (codec, "srt")
        assert stream.language in ("deu", "ger")
        converted = [note for note in writer.notes if note.startswith("converted: subtitle 3")]
        assert len(converted) == (suffix != ".mkv")
        assert all(" to mov_text, the text " in note for note in converted)
    back = copy(tmp_path / "out.mp4", tmp_path / "back.mkv")
    assert any(note.startswith("converted: subtitle 2 (mov_text, deu) to subrip") for note in back.notes)
    text = b"".join(packets(tmp_path / "back.mkv", 2)).decode()
    assert "Grüße" in text


def test_styled_subtitles_stay_as_they_are_in_matroska(tmp_path: Path) -> None:
    source = tmp_path / "styled.mkv"
    ffmpeg("-i", str(clip("everything")), "-map", "0:v", "-map", "0:s", "-c:v", "copy", "-c:s", "ass", str(source))
    copy(source, tmp_path / "out.mkv")
    assert packets(tmp_path / "out.mkv", 1) == packets(source, 1)


def test_what_mp4_cannot_hold_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        copy(clip("everything"), tmp_path / "out.mp4")
    assert str(caught.value) == (
        "MP4 cannot hold attachment 4 (font.ttf); write to .mkv, or leave it out with drop=('4',) (--drop 4)"
    )
    assert list(tmp_path.iterdir()) == []
    for drop in (("4",), ("attachment",)):
        writer = copy(clip("everything"), tmp_path / "out.mp4", drop=drop, overwrite=True)
        assert "left out as asked: attachment 4 (font.ttf)" in writer.notes
    assert kinds(tmp_path / "out.mp4")[:4] == ["video", "audio", "audio", "subtitle"]


def test_several_refused_streams_are_named_together(tmp_path: Path) -> None:
    words = r"WebM cannot hold audio 1 .*, audio 2 .*drop=\('1', '2'\) \(--drop 1 --drop 2\)"
    with pytest.raises(UsageError, match=words):
        copy(clip("everything"), tmp_path / "out.webm", drop=("attachment",))


def test_subtitles_in_mpegts_would_be_lost(tmp_path: Path) -> None:
    """FFmpeg writes them as private data that nobody finds again; its warning is heeded."""
    with pytest.raises(UsageError, match=r"MPEG-TS cannot hold .*subtitle 3"):
        copy(clip("everything"), tmp_path / "out.ts", drop=("attachment", "2"))


def test_pictures_hold_nothing_else_and_say_so(tmp_path: Path) -> None:
    writer = copy(clip("everything", frames=4), tmp_path / "out_%02d.png")
    [note] = [note for note in writer.notes if note.startswith("PNG holds pictures only")]
    assert all(word in note for word in ("audio 1", "audio 2", "subtitle 3", "attachment 4"))


def timecoded(folder: Path) -> Path:
    path = folder / "timecode.mov"
    ffmpeg("-i", str(clip("h264_audio")), "-c", "copy", "-timecode", "01:02:03:04", str(path))
    return path


def test_time_code_is_written_anew(tmp_path: Path) -> None:
    source = timecoded(tmp_path)
    assert "data" in kinds(source)
    for suffix in (".mp4", ".mov"):
        writer = copy(source, tmp_path / f"out{suffix}")
        assert any(note.startswith("written anew from its tag: data 2") for note in writer.notes)
        streams = probe(tmp_path / f"out{suffix}").streams
        assert [stream.kind for stream in streams].count("data") == 1
        assert streams[0].metadata["timecode"] == "01:02:03:04"


def test_time_code_becomes_a_tag_where_there_is_no_track_for_it(tmp_path: Path) -> None:
    source = timecoded(tmp_path)
    writer = copy(source, tmp_path / "out.mkv")
    assert any(note.startswith("time code kept as a tag of the video: data 2") for note in writer.notes)
    assert kinds(tmp_path / "out.mkv") == ["video", "audio"]
    assert probe(tmp_path / "out.mkv").streams[0].metadata["TIMECODE"] == "01:02:03:04"


def test_dropping(tmp_path: Path) -> None:
    copy(clip("everything"), tmp_path / "kinds.mkv", drop=("audio", "subtitle"))
    copy(clip("everything"), tmp_path / "index.mkv", drop=("2",))
    copy(clip("cover"), tmp_path / "cover.mp4", drop=("cover",))
    assert kinds(tmp_path / "kinds.mkv") == ["video", "attachment"]
    assert kinds(tmp_path / "index.mkv") == ["video", "audio", "subtitle", "attachment"]
    assert kinds(tmp_path / "cover.mp4") == ["video"]


def test_stale_numbers_do_not_come_along(tmp_path: Path) -> None:
    """Matroska's statistics of the old video stream would be wrong for the new one."""
    source = tmp_path / "source.mkv"
    tags = ["-metadata:s:v", "BPS=12345", "-metadata:s:v", "NUMBER_OF_BYTES=77", "-metadata:s:v", "title=Main"]
    ffmpeg("-i", str(clip("h264_audio")), "-c", "copy", *tags, "-metadata:s:a", "BPS=128000", str(source))
    copy(source, tmp_path / "out.mkv")
    video, sound = probe(tmp_path / "out.mkv").streams
    assert "BPS" not in video.metadata
    assert "NUMBER_OF_BYTES" not in video.metadata
    assert video.title == "Main"
    assert sound.metadata["BPS"] == "128000"


def test_mp4_bookkeeping_does_not_become_tags(tmp_path: Path) -> None:
    copy(clip("h264_audio"), tmp_path / "out.mkv")
    assert not {"MAJOR_BRAND", "COMPATIBLE_BRANDS", "major_brand"} & set(probe(tmp_path / "out.mkv").metadata)


def test_a_source_of_which_only_frames_are_left(tmp_path: Path) -> None:
    """A pipe whose other packets nobody passes on."""
    info = probe(clip("everything"))
    frames = read_all(clip("everything"))
    once = type(info)(**{**vars(info), "path": None, "input_url": None})
    with pytest.raises(UsageError, match="cannot come along from"):
        writer_for(tmp_path / "out.mkv", frames[0], info=once)
    drop = ("audio", "subtitle", "attachment")
    with writer_for(tmp_path / "out.mkv", frames[0], info=once, drop=drop) as writer:
        writer.write(frames[0])
    assert kinds(tmp_path / "out.mkv") == ["video"]
    assert probe(tmp_path / "out.mkv").metadata["title"] == "A title"


# The one number that is changed in a finished file.


def test_only_matroska_can_be_marked(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    for data in (b"", b"text", b"\x1a\x45\xdf\xa3\x80", clip("h264").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(TargetError, match="cannot mark"):
            mark_range(path, 0, "pc")
        assert path.read_bytes() == data


def test_a_marked_file_keeps_its_checksum(tmp_path: Path) -> None:
    frames = made_frames("yuv420p", [0, 40], colour=Colour("bt709", "pc"))
    with writer_for(tmp_path / "out.mkv", frames[0], info=made_info(frames[0].format, frames[0].colour, 33, 17,
                    frames[0].time_base), codec="ffv1") as writer:  # fmt: skip
        for frame in frames:
            writer.write(frame)
    assert probe(tmp_path / "out.mkv").video.colour.range == "pc"
    # RFC 8794: the checksum stands first in its element and covers the rest of it, here of the element Tracks.
    data = (tmp_path / "out.mkv").read_bytes()
    tracks = b"\x16\x54\xae\x6b"
    mentioned = data.index(tracks)
    start = data.index(tracks, mentioned + 4) + 4
    width = 9 - data[start].bit_length()
    size = int.from_bytes(data[start : start + width], "big") & ((1 << 7 * width) - 1)
    content = data[start + width : start + width + size]
    assert content[:2] == b"\xbf\x84"
    assert int.from_bytes(content[2:6], "little") == zlib.crc32(content[6:])
