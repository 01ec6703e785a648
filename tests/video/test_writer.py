"""The writer's promises: every frame, tick, stream and tag comes back; every failure leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.media.clips import clip, copy_of, ffmpeg, sequence
from support.media.writing import (
    copy,
    kinds,
    leftovers,
    made_frames,
    packet_times,
    packets,
    read_all,
    same_samples,
    seconds,
    ticks,
    write_all,
    writer_for,
)
from support.paths import PYTHONPATH
from support.wall_clock import patience, scaled, until
from vdeblur.errors import TargetError, UsageError
from vdeblur.frames import Frame
from vdeblur.video.sink.writer import Writer
from vdeblur.video.source.reader import Reader, probe

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


class Trickle(io.RawIOBase):
    """A source that can be read once, as from a pipe."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(buffer)


# Times.


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        ("h264", ".mp4"), ("h264", ".mov"), ("h264_vfr", ".mp4"), ("h264_vfr", ".mov"), ("h264_offset", ".mkv"),
        ("h264_ts", ".ts"), ("h264_ts", ".mp4"), ("hevc10_hdr", ".mp4"), ("vp9", ".webm"),
        ("everything", ".mkv"), ("y4m", ".y4m"), ("cover", ".mp4"),
    ],
)  # fmt: skip
def test_every_tick_comes_back(source: str, suffix: str, tmp_path: Path) -> None:
    path = clip(source)
    target = tmp_path / f"out{suffix}"
    copy(path, target)
    assert ticks(target) == ticks(path)


def test_avi_begins_at_zero(tmp_path: Path) -> None:
    """It has no word for a later start: the first frame is shown until the second one's time has come."""
    copy(clip("h264_ts"), tmp_path / "out.avi")
    late = round(seconds(clip("h264_ts"))[0] * 25)
    assert ticks(tmp_path / "out.avi") == [(n, Fraction(1, 25)) for n in (0, *range(late + 1, late + 40))]


def test_frames_are_reordered_by_the_encoder(tmp_path: Path) -> None:
    """The test above means something only if B-frames are encoded."""
    copy(clip("h264_vfr"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        order = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert order != sorted(order)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_frames(count: int, suffix: str, tmp_path: Path) -> None:
    frames = made_frames("yuv420p", [40 * n for n in range(count)], width=64, height=48)
    write_all(tmp_path / f"out{suffix}", frames)
    assert seconds(tmp_path / f"out{suffix}") == [Fraction(n, 25) for n in range(count)]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mov", "hevc"), (".mkv", "av1"), (".mkv", "ffv1")])
def test_uneven_times_far_from_zero(suffix: str, codec: str, tmp_path: Path) -> None:
    times = [7_200_013, 7_200_040, 7_200_041, 7_200_207, 7_201_999, 7_202_000]
    write_all(tmp_path / f"out{suffix}", made_frames("yuv420p", times, width=64, height=48), codec=codec)
    assert ticks(tmp_path / f"out{suffix}") == [(pts, Fraction(1, 1000)) for pts in times]


def test_times_before_zero_move_everything(tmp_path: Path) -> None:
    frames = made_frames("yuv420p", [-50, -10, 30, 77], width=64, height=48)
    writer = write_all(tmp_path / "out.mp4", frames)
    assert [pts for pts, _ in ticks(tmp_path / "out.mp4")] == [0, 40, 80, 127]
    assert "the video begins before 0; everything is shown 0.05 s later" in writer.notes


def test_last_frame_keeps_its_length(tmp_path: Path) -> None:
    copy(clip("h264"), tmp_path / "out.mp4")
    with av.open(str(clip("h264"))) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert after.streams.video[0].duration == before.streams.video[0].duration


def test_matroska_says_that_it_rounds(tmp_path: Path) -> None:
    writer = copy(clip("h264_vfr"), tmp_path / "out.mkv")
    assert "Matroska rounds times to 1/1000 s" in writer.notes
    pairs = zip(seconds(tmp_path / "out.mkv"), seconds(clip("h264_vfr")), strict=True)
    assert all(abs(a - b) <= Fraction(1, 2000) for a, b in pairs)


# A stretch of a source.


@pytest.mark.parametrize("source", ["h264_audio", "everything"])
def test_a_stretch_begins_at_zero_and_sound_stays_in_step(source: str, tmp_path: Path) -> None:
    path = clip(source)
    target = tmp_path / f"out{path.suffix}"
    start, duration = Fraction(1, 2), Fraction(3, 5)
    copy(path, target, start_seconds=0.5, duration_seconds=0.6)
    wanted = [time - start for time in seconds(path) if start <= time < start + duration]
    assert seconds(target) == wanted
    before = dict(zip(packets(path, 1), packet_times(path, 1), strict=True))
    sound = list(zip(packets(target, 1), packet_times(target, 1), strict=True))
    assert len(sound) > 20
    assert all(abs(time - (before[data] - start)) < Fraction(3, 1000) for data, time in sound)
    # What lies before or behind the stretch stays away, but for the packets at its ends.
    assert -Fraction(1, 20) < sound[0][1] < Fraction(1, 10)
    assert sound[-1][1] < duration


def test_chapters_move_with_the_stretch(tmp_path: Path) -> None:
    copy(clip("everything"), tmp_path / "out.mkv", start_seconds=0.5)
    with av.open(str(tmp_path / "out.mkv")) as container:
        starts = [chapter["start"] * chapter["time_base"] for chapter in container.chapters()]
    assert starts == [0, Fraction(3, 10)]


def test_a_stretch_of_a_source_that_begins_late(tmp_path: Path) -> None:
    copy(clip("h264_offset"), tmp_path / "out.mkv", start_seconds=0.4)
    assert seconds(tmp_path / "out.mkv")[0] == 0
    copy(clip("h264_offset"), tmp_path / "end.mkv", duration_seconds=0.4)
    assert seconds(tmp_path / "end.mkv") == [5 + Fraction(n, 25) for n in range(10)]


# Everything beside the frames.


def test_other_streams_are_copied_byte_for_byte(tmp_path: Path) -> None:
    source, target = clip("everything"), tmp_path / "out.mkv"
    writer = copy(source, target)
    assert kinds(target) == kinds(source) == ["video", "audio", "audio", "subtitle", "attachment"]
    for index in (1, 2, 3):
        assert packets(target, index) == packets(source, index)
        assert packet_times(target, index) == packet_times(source, index)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        pairs = list(zip(before.streams, after.streams, strict=True))
        assert [b.metadata.get("language") for b, _ in pairs] == [a.metadata.get("language") for _, a in pairs]
        assert [b.metadata.get("title") for b, _ in pairs] == [a.metadata.get("title") for _, a in pairs]
        assert [int(b.disposition) for b, _ in pairs] == [int(a.disposition) for _, a in pairs]
        assert after.metadata["title"] == before.metadata["title"]
        assert after.chapters() == before.chapters()
    assert any(note.startswith("copied: audio 1 (aac, eng), audio 2 (flac, fra)") for note in writer.notes)


def test_attachments_keep_their_bytes(tmp_path: Path) -> None:
    copy(clip("everything"), tmp_path / "out.mkv")
    for path in (clip("everything"), tmp_path / "out.mkv"):
        ffmpeg("-dump_attachment:4", str(tmp_path / f"{path.stem}.ttf"), "-i", str(path), "-f", "null", "-")
    fonts = {(tmp_path / f"{stem}.ttf").read_bytes() for stem in ("out", clip("everything").stem)}
    assert len(fonts) == 1


def test_cover_pictures_stay_covers(tmp_path: Path) -> None:
    copy(clip("cover"), tmp_path / "out.mp4")
    copy(clip("cover"), tmp_path / "out.mkv")
    covers = []
    for path in (clip("cover"), tmp_path / "out.mp4", tmp_path / "out.mkv"):
        [index] = [stream.index for stream in probe(path).streams if stream.attached_picture]
        covers.append(packets(path, index))
    assert covers[0] == covers[1] == covers[2]


def test_order_of_the_streams_stays(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    ffmpeg("-i", str(clip("h264_audio")), "-map", "0:a", "-map", "0:v", "-map", "0:a", "-c", "copy", str(source))
    copy(source, tmp_path / "out.mkv")
    assert kinds(tmp_path / "out.mkv") == ["audio", "video", "audio"]


def test_further_videos_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "two.mkv"
    ffmpeg("-i", str(clip("h264")), "-i", str(clip("vp9")), "-map", "0", "-map", "1", "-c", "copy", str(source))
    copy(source, tmp_path / "out.mkv")
    assert packets(tmp_path / "out.mkv", 1) == packets(source, 1)
    assert packets(tmp_path / "out.mkv", 0) != packets(source, 0)


def test_tags_of_cameras_survive(tmp_path: Path) -> None:
    """Tags MP4 has no classic place for, as telephones and action cameras write them."""
    source = tmp_path / "camera.mov"
    tags = ["-metadata", "com.apple.quicktime.make=Acme", "-metadata", "title=A day"]
    ffmpeg("-i", str(clip("h264")), "-c", "copy", *tags, "-movflags", "use_metadata_tags", str(source))
    copy(source, tmp_path / "out.mov")
    copy(clip("everything"), tmp_path / "classic.mp4", drop=("attachment",))
    with av.open(str(tmp_path / "out.mov")) as after, av.open(str(tmp_path / "classic.mp4")) as classic:
        assert after.metadata["com.apple.quicktime.make"] == "Acme"
        assert after.metadata["title"] == "A day"
        assert after.metadata["major_brand"].strip() == "qt"
        assert classic.metadata["title"] == "A title"


# What the picture is, beside its samples.


def test_hdr_survives(tmp_path: Path) -> None:
    before = probe(clip("hevc10_hdr")).video
    assert before.mastering_display is not None
    for target in ("out.mp4", "out.mkv"):
        writer = copy(clip("hevc10_hdr"), tmp_path / target, limit=5)
        after = probe(tmp_path / target).video
        assert (after.mastering_display, after.content_light) == (before.mastering_display, before.content_light)
        assert after.colour == before.colour
        assert after.pixel_format == "yuv420p10le"
        assert not any("does not keep" in note for note in writer.notes)


@pytest.mark.parametrize("turn", ["-display_rotation 90", "-display_rotation -90 -display_hflip", "-display_hflip",
                                  "-display_rotation 180", "-display_vflip"])  # fmt: skip
def test_rotation_and_mirroring_survive(turn: str, tmp_path: Path) -> None:
    source = tmp_path / "turned.mp4"
    ffmpeg(*turn.split(), "-i", str(clip("h264")), "-c", "copy", str(source))
    matrix = probe(source).video.display_matrix
    assert matrix is not None
    for target in ("out.mp4", "out.mkv"):
        writer = copy(source, tmp_path / target, limit=3)
        after = probe(tmp_path / target).video
        assert after.display_matrix == matrix
        assert (after.width, after.height) == (160, 96)
        assert not any("does not keep" in note for note in writer.notes)


def test_pixel_shape_survives(tmp_path: Path) -> None:
    for source, target in (("anamorphic", "out.mp4"), ("everything", "out.mkv"), ("anamorphic", "out.mov")):
        copy(clip(source), tmp_path / target, limit=3)
        assert probe(tmp_path / target).video.sample_aspect_ratio == Fraction(4, 3)


# Names and places.


NAMES = ["a b'c.mp4", '"quoted".mp4', "-dash.mp4", "100%d.mkv", "ünï:côdé.mkv", "n" * 240 + ".mp4", "a\\b.mp4"]
#: Bytes that are no text: only Linux has such names.
NAMES += ["\udcff\udcfe\n.mp4"] if sys.platform == "linux" else []


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids these names")
def test_any_name_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = copy_of(clip("h264_audio", frames=5), tmp_path, name.replace(".mkv", ".mp4"))
    (tmp_path / "100%d").mkdir()
    target = Path("100%d") / name
    copy(source.name, str(target))
    assert len(read_all(target)) == 5
    assert packets(target, 1) == packets(source, 1)
    assert leftovers(target.parent) == []


def test_an_old_target_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"out\.mp4 exists; pass overwrite=True"):
        copy(clip("h264", frames=3), target)
    assert target.read_bytes() == b"old"
    copy(clip("h264", frames=3), target, overwrite=True)
    assert len(read_all(target)) == 3
    assert leftovers(tmp_path) == []


def test_the_old_target_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    frames = made_frames("yuv420p", [0, 40, 80], width=64, height=48)
    with writer_for(target, frames[0], overwrite=True) as writer:
        for frame in frames:
            writer.write(frame)
            assert target.read_bytes() == b"old"
        assert len(leftovers(tmp_path)) == 1
    assert len(read_all(target)) == 3
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_the_source_is_never_the_target(link: str, tmp_path: Path) -> None:
    source = copy_of(clip("h264", frames=3), tmp_path)
    before = source.read_bytes()
    target = source if link == "same" else tmp_path / "link.mp4"
    if link == "symbolic":
        target.symlink_to(source)
    if link == "hard":
        os.link(source, target)
    with pytest.raises(UsageError, match="is the source itself"):
        copy(source, target, overwrite=True)
    assert source.read_bytes() == before


@pytest.mark.parametrize("source", ["pattern", "folder"])
@pytest.mark.parametrize("link", [False, True])
def test_source_pictures_are_never_the_target(source: str, link: bool, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pattern = sequence(folder, frames=3)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    seen = tmp_path / "link" if link else folder
    if link:
        seen.symlink_to(folder)
    for name in ("frame_%05d.png", "frame_00002.png"):
        with pytest.raises(UsageError, match="is the source itself"):
            copy(pattern if source == "pattern" else folder, seen / name, overwrite=True, duration_seconds=0.04)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    copy(pattern if source == "pattern" else folder, seen / "other_%05d.png")
    assert len(list(folder.iterdir())) == 6
    with pytest.raises(UsageError, match=r"has 2 numbers; a pattern has one"):
        copy(pattern, tmp_path / "a_%d_%03d.png")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "file.mp4")
    copy(clip("h264", frames=3), tmp_path / "link.mp4")
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(read_all(tmp_path / "real" / "file.mp4")) == 3


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for target, words in (
        (tmp_path / "none" / "out.mp4", "there is no folder"),
        (tmp_path / "folder.mp4", "is a folder; name a file in it"),
        (tmp_path / "file" / "out.mp4", "there is no folder"),
        ("", "is no name of a file"),
        (7, "cannot write to a int"),
    ):
        with pytest.raises(UsageError, match=words):
            copy(clip("h264", frames=3), target, container="mp4")


@LINUX
def test_a_folder_that_refuses_is_said_at_once() -> None:
    with pytest.raises(TargetError, match="cannot write in /proc"):
        copy(clip("h264", frames=3), "/proc/out.mp4")


# Pictures.


def test_numbered_pictures(tmp_path: Path) -> None:
    frames = made_frames("gbrp", range(0, 200, 40))
    write_all(tmp_path / "p_%03d.png", frames)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == [f"p_{number:03d}.png" for number in range(1, 6)]
    assert same_samples(read_all(tmp_path / "p_%03d.png"), frames)
    with pytest.raises(UsageError, match=r"p_00\d\.png exists"):
        write_all(tmp_path / "p_%03d.png", frames)
    write_all(tmp_path / "p_%03d.png", frames[::-1][:1], overwrite=True)
    assert same_samples(read_all(tmp_path / "p_001.png"), frames[-1:])


def test_numbered_pictures_keep_the_numbers_of_their_source(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "100%").mkdir()
    write_all(tmp_path / "in" / "%04d.png", made_frames("gbrp", [0, 40, 80]))
    for number in (3, 2, 1):
        (tmp_path / "in" / f"{number:04d}.png").rename(tmp_path / "in" / f"{number + 8:04d}.png")
    copy(tmp_path / "in" / "%04d.png", tmp_path / "100%" / "out%04d.png")
    assert sorted(p.name for p in (tmp_path / "100%").iterdir()) == ["out0009.png", "out0010.png", "out0011.png"]


def test_a_single_picture(tmp_path: Path) -> None:
    for source in ("photo_png", "photo_jpg", "photo_tif", "photo_webp"):
        for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp"):
            copy(clip(source), tmp_path / f"{source}{suffix}")
            assert read_all(tmp_path / f"{source}{suffix}")[0].size == (96, 160)
    for source in ("photo_png", "photo_tif"):
        same = {"photo_png": ".png", "photo_tif": ".tif"}[source]
        assert same_samples(read_all(tmp_path / f"{source}{same}"), read_all(clip(source)))


def test_many_frames_are_no_single_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"write to a pattern like out_%05d\.png"):
        copy(clip("h264", frames=3), tmp_path / "out.png")
    frames = made_frames("gbrp", [0, 40])
    with pytest.raises(UsageError, match="more frames have come"):
        write_all(tmp_path / "out.png", frames)
    assert list(tmp_path.iterdir()) == []


def test_animated_pictures(tmp_path: Path) -> None:
    writer = copy(clip("h264_audio", frames=6), tmp_path / "out.gif")
    assert "GIF holds pictures only: left out audio 1 (aac)" in writer.notes
    assert seconds(tmp_path / "out.gif") == [Fraction(n, 25) for n in range(6)]
    copy(clip("h264", frames=6), tmp_path / "out.webp")
    text = ffmpeg("-i", str(tmp_path / "out.webp"), "-f", "framecrc", "-").decode()
    assert len([line for line in text.splitlines() if line.startswith("0,")]) == 6


# Pipes.


def test_a_file_object_gets_y4m_when_that_can_be(tmp_path: Path) -> None:
    sink = io.BytesIO()
    copy(clip("ffv1_8", frames=4), sink)
    assert sink.getvalue().startswith(b"YUV4MPEG2 W160 H96 F25:1")
    (tmp_path / "out.y4m").write_bytes(sink.getvalue())
    assert same_samples(read_all(tmp_path / "out.y4m"), read_all(clip("ffv1_8", frames=4)))


def test_a_file_object_gets_nut_when_y4m_has_no_words(tmp_path: Path) -> None:
    sink = io.BytesIO()
    frames = made_frames("gbrap", [0, 7, 100])
    write_all(sink, frames)
    (tmp_path / "out.nut").write_bytes(sink.getvalue())
    assert same_samples(read_all(tmp_path / "out.nut"), frames)
    assert seconds(tmp_path / "out.nut") == [0, Fraction(7, 1000), Fraction(1, 10)]


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_a_file_object_gets_the_container_asked_for(container: str, tmp_path: Path) -> None:
    sink = io.BytesIO()
    copy(clip("h264_audio"), sink, container=container)
    (tmp_path / "out").write_bytes(sink.getvalue())
    assert seconds(tmp_path / "out") == seconds(clip("h264_audio"))
    sound = packets(clip("h264_audio"), 1)
    found = packets(tmp_path / "out", 1)
    # MPEG-TS puts a header of seven bytes before each packet of AAC.
    assert [data[7:] if container == "mpegts" else data for data in found] == sound


@pytest.mark.parametrize("piped", [False, True])
def test_aac_of_a_transport_stream_gets_into_fragments(piped: bool, tmp_path: Path) -> None:
    """MPEG-TS has a header before each packet, which MP4 does not want."""
    source, sink = tmp_path / "in.ts", io.BytesIO()
    ffmpeg("-i", str(clip("h264_audio")), "-c", "copy", str(source))
    copy(io.BytesIO(source.read_bytes()) if piped else source, sink, container="mp4", piped=piped)
    (tmp_path / "out").write_bytes(sink.getvalue())
    assert seconds(tmp_path / "out") == seconds(source)
    assert packets(tmp_path / "out", 1) == [data[7:] for data in packets(source, 1)]


def test_streams_of_a_pipe_come_along(tmp_path: Path) -> None:
    source = clip("everything")
    with pytest.raises(UsageError, match=r"subtitle 3 .*, attachment 4 .* cannot come along .*drop=\('3', '4'\)"):
        copy(Trickle(source.read_bytes()), tmp_path / "out.mkv", piped=True)
    writer = copy(Trickle(source.read_bytes()), tmp_path / "out.mkv", piped=True, drop=("subtitle", "attachment"))
    assert ticks(tmp_path / "out.mkv") == ticks(source)
    for index in (1, 2):
        assert packets(tmp_path / "out.mkv", index) == packets(source, index)
    info = probe(tmp_path / "out.mkv")
    assert [stream.language for stream in info.streams[1:]] == ["eng", "fra"]
    assert info.metadata["title"] == "A title"
    assert "chapters do not come along from a pipe" in writer.notes


def test_a_stretch_of_a_pipe(tmp_path: Path) -> None:
    data, start = clip("everything").read_bytes(), Fraction(1, 2)
    drop = ("subtitle", "attachment")
    copy(Trickle(data), tmp_path / "out.mkv", piped=True, drop=drop, start_seconds=0.5, duration_seconds=0.5)
    assert seconds(tmp_path / "out.mkv")[0] < Fraction(1, 25)
    before = dict(zip(packets(clip("everything"), 1), packet_times(clip("everything"), 1), strict=True))
    sound = list(zip(packets(tmp_path / "out.mkv", 1), packet_times(tmp_path / "out.mkv", 1), strict=True))
    assert len(sound) > 18
    assert all(abs(time - (before[data] - start)) < Fraction(3, 1000) for data, time in sound)


def test_a_late_stretch_of_a_pipe(tmp_path: Path) -> None:
    """NUT has no times before 0, so what was read long before the start must not travel."""
    source = tmp_path / "long.mkv"
    inputs = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5", "-f", "lavfi", "-i", "sine")
    ffmpeg(*inputs, "-t", "14", "-preset", "ultrafast", "-c:a", "mp2", str(source))
    copy(Trickle(source.read_bytes()), tmp_path / "out.mkv", piped=True, start_seconds=12)
    assert seconds(tmp_path / "out.mkv") == [Fraction(n, 5) for n in range(10)]
    before = packets(source, 1)
    sound = packets(tmp_path / "out.mkv", 1)
    assert sound == before[-len(sound) :]
    assert 0 <= packet_times(tmp_path / "out.mkv", 1)[0] < Fraction(1, 20)


SCRIPT = """
import sys
from support.media.writing import copy
from support.media.clips import clip
copy(sys.argv[1], "-")
"""


def run_script(source: Path, **arguments: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", SCRIPT, str(source)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **arguments,  # type: ignore[call-overload, no-any-return]
    )


def test_standard_output(tmp_path: Path) -> None:
    with run_script(clip("ffv1_8")) as process:
        data, errors = process.communicate(timeout=patience(60))
    assert process.returncode == 0, errors.decode()
    (tmp_path / "out.y4m").write_bytes(data)
    assert same_samples(read_all(tmp_path / "out.y4m"), read_all(clip("ffv1_8")))


def test_standard_output_that_is_closed(tmp_path: Path) -> None:
    """Like ``vdeblur … | head``."""
    with run_script(clip("ffv1_8")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(timeout=patience(60)) == 1
    assert errors.strip().splitlines()[-1].startswith("vdeblur.errors.TargetError: cannot write standard output: ")


def test_a_live_pipe_is_not_held_back() -> None:
    """The third frame has left before the fourth is there."""

    class Sink:
        name = "sink"
        taken = 0

        def write(self, data: bytes) -> int:
            self.taken += len(data)
            return len(data)

    frames = made_frames("yuv420p", [0, 40, 80, 120], width=64, height=48)
    with writer_for(Sink(), frames[0]) as writer:
        sink = writer._target.sink
        for frame in frames[:3]:
            writer.write(frame)
        until(lambda: sink.taken > 3 * 64 * 48 * 3 // 2)
        writer.write(frames[3])


class FullSink:
    """A file object that takes a few kilobytes."""

    name = "full"

    def __init__(self) -> None:
        self.room = 20_000

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return len(data)


def test_a_file_object_that_fails() -> None:
    with pytest.raises(TargetError, match=r"cannot write full: .*No space left on device"):
        copy(clip("ffv1_8"), FullSink())


# Failures.


def big_frames(count: int) -> list[Frame]:
    return made_frames("yuv420p", [40 * n for n in range(count)], width=192, height=192)


def fails_once(writer: Writer, frames: list[Frame]) -> TargetError:
    """Write more until it fails; afterwards the writer is quiet."""

    def go_on() -> None:
        for number in range(1, 1000):
            writer.write(replace(frames[number % len(frames)], pts=40 * number))
        writer.close()

    with pytest.raises(TargetError) as caught:
        go_on()
    writer.close()
    writer.abort()
    with pytest.raises(TargetError, match="the writer is closed"):
        writer.write(frames[0])
    return caught.value


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_ffmpeg_killed_in_the_middle(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    frames = big_frames(5)
    writer = writer_for(target, frames[0], overwrite=True)
    writer.write(frames[0])
    os.kill(writer._feed.encoder_process.process.pid, signal.SIGKILL)
    error = fails_once(writer, frames)
    assert "FFmpeg was ended by SIGKILL" in str(error)
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@LINUX
def test_disk_full(tmp_path: Path) -> None:
    """A limit on the file's size stands for a full disk."""
    import resource

    frames = big_frames(5)
    writer = writer_for(tmp_path / "out.mkv", frames[0], codec="ffv1")
    writer.write(frames[0])
    resource.prlimit(writer._feed.encoder_process.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    error = fails_once(writer, frames)
    assert "File too large" in str(error) or "SIGXFSZ" in str(error)
    assert list(tmp_path.iterdir()) == []


@LINUX
def test_disk_full_at_the_very_end(tmp_path: Path) -> None:
    """The encoder has held everything back, so nothing fails before the file is finished."""
    import resource

    (tmp_path / "out.mp4").write_bytes(b"old")
    frames = made_frames("yuv420p", [0, 40, 80], width=64, height=48)
    writer = writer_for(tmp_path / "out.mp4", frames[0], overwrite=True)
    for frame in frames:
        writer.write(frame)
    resource.prlimit(writer._feed.encoder_process.process.pid, resource.RLIMIT_FSIZE, (100, 100))
    with pytest.raises(TargetError, match=r"cannot write .*out\.mp4: "):
        writer.close()
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@LINUX
def test_device_full() -> None:
    """``/dev/full`` has no room, ever."""
    frames = big_frames(5)
    writer = writer_for("/dev/full", frames[0], container="nut")
    assert "No space left on device" in str(fails_once(writer, frames))


def test_an_exception_leaves_the_old_target(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    frames = big_frames(3)

    def broken(exception: type[BaseException]) -> None:
        with writer_for(target, frames[0], overwrite=True) as writer:
            writer.write(frames[0])
            raise exception

    for exception in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(exception):
            broken(exception)
        assert target.read_bytes() == b"old"
        assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_abort_wakes_a_writer_that_waits(tmp_path: Path) -> None:
    frames = big_frames(3)
    writer = writer_for(tmp_path / "out.mp4", frames[0])
    writer.write(frames[0])
    os.kill(writer._feed.encoder_process.process.pid, signal.SIGSTOP)
    errors: list[TargetError] = []
    thread = threading.Thread(target=lambda: errors.append(fails_once(writer, frames)), name="vdeblur-test")
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    before = time.monotonic()
    writer.abort()
    thread.join(patience(10))
    assert not thread.is_alive()
    assert time.monotonic() - before < scaled(5)
    assert len(errors) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_ctrl_c_while_ffmpeg_is_slow(tmp_path: Path) -> None:
    """The signal comes while the main thread waits in a write, deep inside FFmpeg's own call."""
    frames = big_frames(3)
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        with writer_for(tmp_path / "out.mp4", frames[0]) as writer:
            writer.write(frames[0])
            os.kill(writer._feed.encoder_process.process.pid, signal.SIGSTOP)
            threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
            for number in range(1, 1000):
                writer.write(replace(frames[0], pts=40 * number))

    with pytest.raises(KeyboardInterrupt):
        press()
    assert list(tmp_path.iterdir()) == []


def test_no_frames(tmp_path: Path) -> None:
    writer = writer_for(tmp_path / "out.mp4", big_frames(1)[0])
    with pytest.raises(TargetError, match=r"no frame was written to .*out\.mp4"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_frames_that_do_not_fit(tmp_path: Path) -> None:
    first = big_frames(1)[0]
    smaller = made_frames("yuv420p", [40], width=64, height=48)[0]
    earlier = made_frames("yuv420p", [0], width=192, height=192)[0]
    for frame, words in ((smaller, "64×48 yuv420p does not fit"), (earlier, "tick 0 cannot follow one at tick 0")):
        writer = writer_for(tmp_path / "out.mp4", first)
        writer.write(first)
        with pytest.raises(TargetError, match=words):
            writer.write(frame)
        assert list(tmp_path.iterdir()) == []


def test_ffmpeg_may_end_early_when_asked(tmp_path: Path) -> None:
    frames = big_frames(40)
    writer = write_all(tmp_path / "out.mp4", frames, ffmpeg_args=("-frames:v", "6"))
    assert len(read_all(tmp_path / "out.mp4")) == 6
    assert "FFmpeg ended before the last frame, as its options asked" in writer.notes


def test_a_damaged_source_still_gives_a_whole_target(tmp_path: Path) -> None:
    source = tmp_path / "cut.mkv"
    data = clip("everything").read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    copy(source, tmp_path / "out.mkv")
    with Reader(source) as reader:
        assert len(read_all(tmp_path / "out.mkv")) == len(list(reader))


def test_planes_may_be_tensors_and_views(tmp_path: Path) -> None:
    import torch

    [frame] = made_frames("yuv420p10le", [0], width=40, height=32)
    padded = [np.pad(plane, ((0, 0), (0, 9))) for plane in frame.planes]
    views = [wide[:, : plane.shape[1]] for wide, plane in zip(padded, frame.planes, strict=True)]
    tensors = [torch.from_numpy(plane) for plane in frame.planes]
    for number, planes in enumerate((views, tensors)):
        write_all(tmp_path / f"{number}.mkv", [frame.with_planes(planes)], codec="ffv1")
        assert same_samples(read_all(tmp_path / f"{number}.mkv"), [frame])
