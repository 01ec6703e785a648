"""The reader against the FFmpeg program: every frame, every sample, every tick, whatever the source."""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from support.media.clips import RECIPES, clip, copy_of, ffmpeg, raw_frames, sequence
from support.wall_clock import patience, scaled, until
from vdeblur.errors import SourceError, UsageError, VdeblurError
from vdeblur.frames import Colour, Frame
from vdeblur.video.formats.colour_tags import frame_colour
from vdeblur.video.info import ContentLight
from vdeblur.video.source.decode_session import DecodeSession
from vdeblur.video.source.location import SourceLocation
from vdeblur.video.source.opening import choose_video
from vdeblur.video.source.reader import Reader, probe
from vdeblur.video.source.timestamps import TimestampRepair

VIDEOS = [name for name in RECIPES if not name.startswith("photo") and name != "audio_only"]
SHORT = ["h264", "h264_open_gop", "hevc10_hdr", "vp9", "av1", "mpeg4_avi", "ffv1_8", "y4m"]


def frames_of(source: object, **options: object) -> list[Frame]:
    with Reader(source, **options) as reader:  # type: ignore[arg-type]
        return list(reader)


def samples(frames: list[Frame]) -> bytes:
    """Samples of all frames in the order of FFmpeg's raw output."""
    return b"".join(plane.tobytes() for frame in frames for plane in frame.planes)


@functools.cache
def ffmpeg_ticks(path: Path) -> tuple[Fraction, list[int]]:
    """Time base and pts of every frame as the FFmpeg program gives them."""
    text = ffmpeg(
        *("-copyts", "-noautorotate", "-i", str(path), "-map", "0:V:0", "-fps_mode", "passthrough"),
        *("-enc_time_base", "demux", "-c:v", "rawvideo", "-f", "framecrc", "-"),
    ).decode()
    numerator, denominator = re.search(r"#tb 0: (\d+)/(\d+)", text).groups()  # type: ignore[union-attr]
    lines = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    return Fraction(int(numerator), int(denominator)), [int(line[2]) for line in lines]


def same(frames: list[Frame], expected: list[Frame]) -> None:
    assert [frame.pts for frame in frames] == [frame.pts for frame in expected]
    assert samples(frames) == samples(expected)


@pytest.mark.parametrize("name", VIDEOS)
def test_every_sample_is_the_ffmpeg_program_s(name: str) -> None:
    frames = frames_of(clip(name))
    assert len(frames) == 40
    assert samples(frames) == raw_frames(clip(name), frames[0].format.name)


@pytest.mark.parametrize("name", [name for name in VIDEOS if name != "h264_raw"])
def test_every_tick_is_the_ffmpeg_program_s(name: str) -> None:
    frames = frames_of(clip(name))
    time_base, ticks = ffmpeg_ticks(clip(name))
    # AVI does not say when reordered frames are shown: FFmpeg shows them late, players begin with the sound.
    late = ticks[0] if name == "mpeg4_avi" else 0
    assert [frame.pts * frame.time_base for frame in frames] == [(tick - late) * time_base for tick in ticks]
    with av.open(str(clip(name))) as container:
        assert frames[0].time_base == container.streams.video[0].time_base


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("threads", [0, 1, 5])
@pytest.mark.parametrize("name", SHORT)
def test_short_clips_lose_no_frame(name: str, count: int, threads: int) -> None:
    frames = frames_of(clip(name, frames=count), threads=threads)
    assert len(frames) == count
    assert samples(frames) == raw_frames(clip(name, frames=count), frames[0].format.name)


def test_the_variable_rate_is_the_recipe_s() -> None:
    frames = frames_of(clip("h264_vfr"))
    assert frames[0].time_base == Fraction(1, 90000)
    assert [frame.pts for frame in frames] == [n * 3003 + n // 3 * 4500 for n in range(40)]


def test_a_raw_stream_gets_ticks_at_its_rate() -> None:
    with Reader(clip("h264_raw"), frame_rate=Fraction(30000, 1001)) as reader:
        frames = list(reader)
        assert reader.info.input_options["framerate"] == "30000/1001"
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(n * 1001, 30000) for n in range(40)]
    frames = frames_of(clip("h264_raw"), frame_rate=Fraction(50), start_seconds=0.2, duration_seconds=0.1)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(n, 50) for n in range(10, 15)]


def test_a_raw_stream_says_that_it_had_no_ticks() -> None:
    with Reader(clip("h264_raw")) as reader:
        frames = list(reader)
        assert reader.notes == ["40 timestamps were missing or did not rise and have been mended"]
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(n, 25) for n in range(40)]


# Stretches


STRETCHED = [*SHORT, "h264_ts", "h264_vfr", "h264_offset", "h264_raw", "hevc10_open_gop", "mjpeg", "prores"]


@pytest.mark.parametrize("name", STRETCHED)
def test_a_start_gives_the_tail_of_the_whole(name: str) -> None:
    whole = frames_of(clip(name))
    start_pts = probe(clip(name)).video.start_pts
    for index in range(0, 40, 4):
        seconds = float((whole[index].pts - start_pts) * whole[index].time_base)
        same(frames_of(clip(name), start_seconds=seconds), whole[index:])


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_key_frames_far_apart_and_frames_shown_before_theirs(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open groups of 90 pictures: the first tries at a key frame fail and the reader steps back, not to the start."""
    path = tmp_path / f"long.{suffix}"
    x264 = "-c:v libx264 -preset ultrafast -bf 3 -x264-params open-gop=1:keyint=90:min-keyint=90:scenecut=0:b-pyramid=0"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-frames:v", "200", *x264.split(), str(path))
    whole = frames_of(path)
    assert len(whole) == 200
    opened = []
    monkeypatch.setattr(
        DecodeSession, "_open", lambda session, plain=DecodeSession._open: (opened.append(1), plain(session))
    )
    for index in (1, 86, 87, 88, 89, 90, 91, 92, 178, 179, 180, 199):
        opened.clear()
        seconds = float((whole[index].pts - whole[0].pts) * whole[0].time_base)
        same(frames_of(path, start_seconds=seconds, threads=1), whole[index:])
        assert len(opened) == 1 or index < 90


def test_a_stretch_ends_before_the_frame_at_its_end() -> None:
    whole = frames_of(clip("h264"))
    same(frames_of(clip("h264"), start_seconds=0.4, duration_seconds=0.2), whole[10:15])
    same(frames_of(clip("h264"), start_seconds=0.39, duration_seconds=0.22), whole[10:16])
    same(frames_of(clip("h264"), duration_seconds=0.04), whole[:1])
    same(frames_of(clip("h264_offset"), start_seconds=0, duration_seconds=0.1), frames_of(clip("h264_offset"))[:3])


def test_a_start_in_a_pipe_is_reached_by_reading() -> None:
    whole = frames_of(clip("h264_ts"))
    same(frames_of(io.BytesIO(clip("h264_ts").read_bytes()), start_seconds=1.0), whole[25:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_seconds": -1.0}, "start cannot be -1.0 s"),
        ({"start_seconds": float("nan")}, "start cannot be nan"),
        ({"duration_seconds": 0.0}, "duration cannot be 0.0 s"),
        ({"threads": -1}, "threads cannot be -1"),
        ({"frame_rate": Fraction(0)}, "frame rate cannot be 0"),
        ({"frame_rate": Fraction(25)}, "has timestamps of its own"),
        ({"start_seconds": 9.0}, r"no frame is shown from 9 s in .*h264_40.mp4, which has 1.600 s"),
        ({"start_seconds": 0.41, "duration_seconds": 0.01}, r"from 0.41 s to 0.42 s"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Reader(clip("h264"), **options)  # type: ignore[arg-type]


# What is known before


def test_info_of_hdr() -> None:
    video = probe(clip("hevc10_hdr")).video
    assert (video.codec, video.pixel_format, video.format.bits) == ("hevc", "yuv420p10le", 10)
    assert video.colour == Colour("bt2020nc", "tv", "bt2020", "smpte2084", "topleft")
    assert video.content_light == ContentLight(1000, 400)
    display = video.mastering_display
    assert display is not None
    assert display.primaries is not None
    assert display.primaries[0] == (Fraction(34000, 50000), Fraction(16000, 50000))
    assert display.primaries[1] == (Fraction(13250, 50000), Fraction(34500, 50000))
    assert display.white_point == (Fraction(15635, 50000), Fraction(16450, 50000))
    assert (display.min_luminance, display.max_luminance) == (Fraction(50, 10000), 1000)


def test_info_of_an_ordinary_file() -> None:
    info = probe(clip("h264"))
    video = info.video
    assert (info.path, info.input_url) == (clip("h264"), f"file:{clip('h264')}")
    assert (video.width, video.height, video.time_base) == (160, 96, Fraction(1, 12800))
    assert video.colour == Colour("bt709", "tv", "bt709", "bt709", "left")
    assert (video.average_rate, video.frame_count_from_header, video.start_pts) == (25, 40, 0)
    assert video.duration_seconds == info.duration_seconds == 1.6
    assert (video.rotation_degrees, video.sample_aspect_ratio, video.interlacing.order) == (0, 1, None)


def test_info_counts_from_a_start_that_is_not_zero() -> None:
    video = probe(clip("h264_offset")).video
    assert (video.start_pts, video.time_base) == (5000, Fraction(1, 1000))
    assert video.duration_seconds == pytest.approx(1.6)


def test_info_of_rotation_and_shape() -> None:
    rotated = probe(clip("rotated")).video
    assert (rotated.width, rotated.height, rotated.rotation_degrees) == (160, 96, 90)
    assert rotated.display_matrix is not None
    assert [value >> 16 for value in rotated.display_matrix[:2]] == [0, -1]
    assert probe(clip("anamorphic")).video.sample_aspect_ratio == Fraction(4, 3)


def test_info_of_all_streams() -> None:
    info = probe(clip("everything"))
    assert [stream.kind for stream in info.streams] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert [stream.codec for stream in info.streams[:3]] == ["h264", "aac", "flac"]
    assert [stream.language for stream in info.streams[1:4]] == ["eng", "fra", "deu"]
    assert info.streams[2].title == "Commentary"
    assert (info.chapters, info.metadata["title"]) == (2, "A title")
    assert info.streams[4].metadata["mimetype"] == "font/ttf"


def test_full_range_of_the_old_jpeg_formats() -> None:
    video = probe(clip("mjpeg")).video
    assert (video.pixel_format, video.format.name) == ("yuvj420p", "yuv420p")
    assert (video.colour.range, video.colour.chroma_location) == ("pc", "center")


def test_the_name_of_a_format_tells_its_range() -> None:
    frame = av.VideoFrame(16, 16, "yuvj420p")
    assert frame_colour(frame, Colour("bt709", "tv")) == Colour("bt709", "pc")
    assert frame_colour(av.VideoFrame(16, 16, "yuv420p"), Colour("bt709", "tv")) == Colour("bt709", "tv")


def test_a_cover_picture_is_no_video() -> None:
    info = probe(clip("cover"))
    assert (info.video.codec, info.video.width) == ("h264", 160)
    assert [stream.attached_picture for stream in info.streams] == [False, True]


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    pictures = (
        "-i",
        str(clip("photo_png")),
        "-map",
        "0:a",
        "-map",
        "1:v",
        "-c",
        "copy",
        "-disposition:v",
        "attached_pic",
    )
    ffmpeg("-i", str(clip("audio_only")), *pictures, str(path))
    with pytest.raises(SourceError, match="holds no video, only a cover picture and audio"):
        probe(path)


def test_a_picture_in_tiles_is_refused() -> None:
    """A stand-in for the photos of some telephones, which FFmpeg opens as dozens of videos of one tile each."""
    tiles = [SimpleNamespace(disposition=Disposition.dependent, type="video", index=index) for index in range(4)]
    container = SimpleNamespace(streams=SimpleNamespace(video=tiles))
    with pytest.raises(SourceError, match="is a picture in tiles"):
        choose_video(container, SourceLocation("photo.heic"))  # type: ignore[arg-type]


def test_the_default_video_is_chosen_then_the_largest(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    sources = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-f", "lavfi", "-i", "testsrc2=size=128x64:rate=25"]
    common = ["-map", "0", "-map", "1", "-frames:v:0", "5", "-frames:v:1", "5", "-c:v", "ffv1"]
    ffmpeg(*sources, *common, "-disposition:v:0", "0", "-disposition:v:1", "0", str(path))
    assert probe(path).video.width == 128
    ffmpeg(*sources, *common, "-disposition:v:0", "default", "-disposition:v:1", "0", str(path))
    assert probe(path).video.width == 64


# Damage


def damage(path: Path, packets: tuple[int, ...]) -> None:
    """Overwrite whole packets of the video with bytes that are no picture."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for index in packets:
        packet = found[index]
        assert packet.pos is not None
        data[packet.pos : packet.pos + packet.size] = b"\x13" * packet.size
    path.write_bytes(data)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("packets", [(10,), (36,), (37, 38), (39,), (5, 30, 38)])
def test_a_bad_packet_costs_one_frame(packets: tuple[int, ...], threads: int, tmp_path: Path) -> None:
    path = copy_of(clip("prores"), tmp_path)
    damage(path, packets)
    whole = frames_of(clip("prores"))
    with Reader(path, threads=threads) as reader:
        frames = list(reader)
        assert reader.skipped_packets == len(packets)
    same(frames, [frame for index, frame in enumerate(whole) if index not in packets])


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("packet", [10, 37])
@pytest.mark.parametrize("name", ["h264", "hevc10_hdr", "mpeg4_avi"])
def test_decoding_goes_on_behind_a_bad_packet(name: str, packet: int, threads: int, tmp_path: Path) -> None:
    """Frames that refer to the lost one are wrong but there; MPEG-4 decoders wait for the next picture without B."""
    path = copy_of(clip(name), tmp_path)
    damage(path, (packet,))
    whole = frames_of(clip(name))
    with Reader(path, threads=threads) as reader:
        frames = list(reader)
        assert reader.skipped_packets == 1
    lost = {frame.pts for frame in whole} - {frame.pts for frame in frames}
    assert len(lost) == len(whole) - len(frames) == (3 if name == "mpeg4_avi" else 1)


def test_a_first_key_frame_that_is_bad_costs_the_frames_that_need_it(tmp_path: Path) -> None:
    path = copy_of(clip("h264"), tmp_path)
    damage(path, (0,))
    whole = frames_of(clip("h264"))
    with Reader(path) as reader:
        frames = list(reader)
        assert reader.skipped_packets >= 1
    same(frames[-20:], whole[-20:])


@pytest.mark.parametrize("name", ["ffv1_8", "h264_open_gop"])
def test_a_file_cut_off_gives_what_is_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / clip(name).name
    data = clip(name).read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    whole = frames_of(clip(name))
    frames = frames_of(path)
    assert 15 < len(frames) < 30
    same(frames[:-4], whole[: len(frames) - 4])


def test_an_mp4_cut_off_says_so(tmp_path: Path) -> None:
    """Its index stands in front, so it is known at once, and from when on."""
    path = tmp_path / "front.mp4"
    ffmpeg("-i", str(clip("h264")), "-c", "copy", "-movflags", "+faststart", str(path))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with Reader(path) as reader:
        found = re.fullmatch(r"the file ends at (0\.\d\d) s of its 1\.60 s: it is cut off", reader.shortfall or "")
        frames = list(reader)
        assert reader.shortfall is not None
        assert reader.shortfall in reader.notes
    assert found is not None
    assert 10 < len(frames) < 30
    with Reader(path, duration_seconds=float(found[1])) as reader:
        assert len(list(reader)) == round(float(found[1]) * 25)
        assert reader.shortfall is None


def test_a_header_that_promises_too_much_is_only_noted(tmp_path: Path) -> None:
    """As in a slide show: how long Matroska shows the last picture is only in a tag."""
    path = tmp_path / "slides.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-frames:v", "5", "-c:v", "ffv1", str(path))
    data = path.read_bytes()
    assert data.count(b"00:00:00.200000000") == 1
    path.write_bytes(data.replace(b"00:00:00.200000000", b"00:00:02.200000000"))
    with Reader(path) as reader:
        assert len(list(reader)) == 5
        assert reader.shortfall is None
        assert reader.notes == ["the video ends at 0.20 s but its header promises 2.20 s"]


def test_an_mp4_without_its_index(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip("h264").read_bytes()[:30000])
    with pytest.raises(SourceError, match=r"cannot read .*cut.mp4 as a video"):
        Reader(path)


def test_ffmpeg_keeps_its_messages_to_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = copy_of(clip("h264"), tmp_path)
    damage(path, (0, 7, 20))
    frames_of(path)
    with pytest.raises(SourceError):
        Reader(copy_of(clip("audio_only"), tmp_path))
    assert capfd.readouterr() == ("", "")


def test_a_video_without_a_frame_that_can_be_decoded(tmp_path: Path) -> None:
    path = copy_of(clip("prores"), tmp_path)
    damage(path, tuple(range(40)))
    with pytest.raises(SourceError, match=r"no frame of .*prores_40.mov can be decoded: Invalid data"):
        Reader(path)


def test_a_change_of_size_is_passed_on(tmp_path: Path) -> None:
    """Two transport streams one behind the other: the size changes and time starts anew."""
    path = tmp_path / "two.ts"
    second = tmp_path / "second.ts"
    x264 = ("-frames:v", "50", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25", *x264, str(path))
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", *x264, str(second))
    path.write_bytes(path.read_bytes() + second.read_bytes())
    frames = frames_of(path)
    assert [frame.size for frame in frames] == [(96, 160)] * 50 + [(64, 96)] * 50
    steps = np.diff([frame.pts for frame in frames])
    assert (steps == 3600).all()


# The clock


def test_a_clock_leaves_good_ticks_alone() -> None:
    clock = TimestampRepair(Fraction(1, 1000), Fraction(25))
    given = [-80, -40, 0, 1, 500, 501]
    assert [clock.stamp(pts, pts - 7, 3) for pts in given] == given
    assert clock.repaired == 0


def test_a_clock_fills_in_what_is_missing() -> None:
    clock = TimestampRepair(Fraction(1, 1000), Fraction(25), start=7)
    assert clock.stamp(None, None, 30) == 7
    assert clock.stamp(None, None, 0) == 37
    assert clock.stamp(None, None, 0) == 77
    assert clock.stamp(None, 90, 0) == 90
    assert clock.stamp(None, 90, 0) == 130
    assert clock.stamp(200, 90, 0) == 200
    assert clock.repaired == 5


def test_a_clock_always_rises() -> None:
    clock = TimestampRepair(Fraction(1, 1000), Fraction(25))
    assert [clock.stamp(pts, None, 40) for pts in (0, 40, 40, 30, 80)] == [0, 40, 41, 42, 80]


def test_a_clock_appends_a_time_line_that_starts_anew() -> None:
    clock = TimestampRepair(Fraction(1, 1000), Fraction(25))
    assert [clock.stamp(pts, None, 40) for pts in (5000, 5040, 0, 40, 100)] == [5000, 5040, 5080, 5120, 5180]


# Pictures


def picture(path: Path, frame: int) -> Path:
    source = f"testsrc2=size=64x48:rate=25,trim=start_frame={frame}"
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "1", "-update", "1", str(path))
    return path


def test_a_sequence_of_numbered_pictures(tmp_path: Path) -> None:
    pattern = sequence(tmp_path, start=17, frames=5)
    with Reader(pattern) as reader:
        frames = list(reader)
        info = reader.info
        assert reader.notes == []
    assert [(frame.pts, frame.time_base, frame.duration) for frame in frames] == [
        (n, Fraction(1, 25), 1) for n in range(5)
    ]
    assert samples(frames) == ffmpeg("-start_number", "17", "-i", pattern, "-pix_fmt", "gbrp", "-f", "rawvideo", "-")
    assert info.video.frame_count_from_header == 5
    assert info.path is None
    assert info.input_url is not None
    options = [word for key, value in info.input_options.items() for word in (f"-{key}", value)]
    assert samples(frames) == ffmpeg(*options, "-i", info.input_url, "-pix_fmt", "gbrp", "-f", "rawvideo", "-")


def test_a_sequence_at_a_rate_of_its_own(tmp_path: Path) -> None:
    frames = frames_of(sequence(tmp_path), frame_rate=Fraction(30000, 1001), start_seconds=0.06)
    assert [frame.pts for frame in frames] == [2, 3, 4]
    assert frames[0].time_base == Fraction(1001, 30000)


def test_a_sequence_with_a_gap_says_so(tmp_path: Path) -> None:
    pattern = sequence(tmp_path, frames=5)
    (tmp_path / "frame_00003.png").unlink()
    with Reader(pattern) as reader:
        assert [frame.pts for frame in reader] == [0, 1, 2, 3]
        assert "1 numbers are missing" in reader.notes[0]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_a_bad_picture_is_skipped(content: bytes, threads: int, tmp_path: Path) -> None:
    pattern = sequence(tmp_path, frames=5)
    whole = frames_of(pattern)
    (tmp_path / "frame_00004.png").write_bytes(content)
    with Reader(pattern, threads=threads) as reader:
        same(list(reader), [*whole[:3], whole[4]])
        assert reader.skipped_packets == 1


def test_a_folder_of_pictures_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        picture(tmp_path / f"shot {number}.png", number)
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = frames_of(tmp_path)
    assert [frame.pts for frame in frames] == [0, 1, 2]
    for frame, number in zip(frames, (1, 9, 10), strict=True):
        same([frame.with_planes(frame.planes)], [frame])
        assert samples([frame]) == samples(frames_of(tmp_path / f"shot {number}.png"))


def test_pictures_of_two_sizes_in_one_sequence(tmp_path: Path) -> None:
    pattern = sequence(tmp_path, frames=2)
    picture(tmp_path / "frame_00003.png", 0)
    assert [frame.size for frame in frames_of(pattern)] == [(96, 160), (96, 160), (48, 64)]


@pytest.mark.parametrize(
    ("name", "pixel_format"),
    [("photo_png", "gbrp"), ("photo_jpg", "yuv422p"), ("photo_tif", "gbrp16le"), ("photo_webp", "yuv420p")],
)
def test_a_photo_is_a_video_of_one_frame(name: str, pixel_format: str) -> None:
    frames = frames_of(clip(name))
    assert [(frame.pts, frame.format.name) for frame in frames] == [(0, pixel_format)]
    assert samples(frames) == raw_frames(clip(name), None if pixel_format[0] == "y" else pixel_format)


def test_a_photo_with_alpha_as_pillow_reads_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 35, 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "alpha.png")
    (frame,) = frames_of(tmp_path / "alpha.png")
    assert frame.format.alpha
    for plane, channel in zip(frame.planes, (1, 2, 0, 3), strict=True):
        assert (plane == pixels[:, :, channel]).all()


def test_a_photo_held_upright_keeps_its_rotation(tmp_path: Path) -> None:
    image = Image.open(clip("photo_jpg"))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "upright.jpg", exif=exif)
    assert probe(tmp_path / "upright.jpg").video.rotation_degrees == -90


# Pipes


def test_a_file_object_is_a_source_that_opens_once() -> None:
    for name in ("h264", "y4m", "nut", "everything"):
        source = io.BytesIO(clip(name).read_bytes())
        with Reader(source) as reader:
            same(list(reader), frames_of(clip(name)))
            assert (reader.info.path, reader.info.input_url) == (None, None)
        assert not source.closed


class Trickle(io.RawIOBase):
    """A pipe: not seekable, a few bytes at a time, then perhaps an exception."""

    def __init__(self, data: bytes, failure: BaseException | None = None) -> None:
        self.data, self.failure = io.BytesIO(data), failure

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.data.read(min(size, 1500))
        if not data and self.failure is not None:
            raise self.failure
        return data


@pytest.mark.parametrize("name", ["y4m", "nut", "h264_ts", "everything", "photo_png", "photo_jpg"])
def test_a_pipe_that_trickles(name: str) -> None:
    same(frames_of(Trickle(clip(name).read_bytes())), frames_of(clip(name)))


def test_an_mp4_through_a_pipe_needs_its_index_in_front() -> None:
    with pytest.raises(SourceError, match=r"must have its index in front .*faststart"):
        Reader(Trickle(clip("h264").read_bytes()))


def test_an_empty_pipe() -> None:
    with pytest.raises(SourceError, match="file object is empty"):
        Reader(io.BytesIO())


@pytest.mark.parametrize("cut", [0, 200_000])
def test_an_error_of_a_file_object_is_told_once(cut: int) -> None:
    data = clip("y4m").read_bytes()[:cut]
    with (
        pytest.raises(SourceError, match=r"cannot read .*the cable fell out") as caught,
        Reader(Trickle(data, OSError("the cable fell out")), threads=1) as reader,
    ):
        list(reader)
    assert isinstance(caught.value.__cause__, OSError)


def test_ctrl_c_while_a_file_object_is_read() -> None:
    with Reader(Trickle(clip("y4m").read_bytes()[:200_000], KeyboardInterrupt()), threads=1) as reader:
        next(reader)
        with pytest.raises(KeyboardInterrupt):
            list(reader)


def test_the_packets_of_the_other_streams_are_handed_over() -> None:
    with av.open(str(clip("everything"))) as container:
        expected = [(packet.stream_index, packet.pts, bytes(packet)) for packet in container.demux() if packet.size]
    taken = []
    with Reader(Trickle(clip("everything").read_bytes()), keep_packets=True) as reader:
        assert [stream.type for stream in reader.stream_templates()] == ["audio", "audio", "subtitle", "attachment"]
        for _ in reader:
            taken += [(packet.stream_index, packet.pts, bytes(packet)) for packet in reader.take_packets()]
        taken += [(packet.stream_index, packet.pts, bytes(packet)) for packet in reader.take_packets()]
        assert reader.take_packets() == []
    assert taken == [packet for packet in expected if packet[0] != 0]
    assert len(taken) > 50


def test_a_stretch_brings_the_packets_up_to_its_end(tmp_path: Path) -> None:
    """In this file each second's sound lies behind its pictures."""
    path = tmp_path / "fragments.mp4"
    ffmpeg(
        "-i", str(clip("h264_audio")), "-c", "copy", "-movflags", "empty_moov", "-frag_duration", "1000000", str(path)
    )
    with Reader(Trickle(path.read_bytes()), duration_seconds=0.4, keep_packets=True, threads=1) as reader:
        assert len(list(reader)) == 10
        packets = reader.take_packets()
    ends = [float((packet.pts + packet.duration) * packet.time_base) for packet in packets]  # type: ignore[operator]
    assert max(ends) >= 0.4


def test_no_packets_are_kept_unasked() -> None:
    with Reader(Trickle(clip("everything").read_bytes())) as reader:
        list(reader)
        assert reader.take_packets() == []


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in place of standard input; gives the end to write to."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "r") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield writing
    with os.fdopen(writing, "wb") if _is_open(writing) else io.BytesIO():
        pass


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_standard_input(standard_input: int) -> None:
    def feed() -> None:
        with os.fdopen(standard_input, "wb") as pipe:
            pipe.write(clip("y4m").read_bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    with Reader("-") as reader:
        assert reader.info.name == "standard input"
        same(list(reader), frames_of(clip("y4m")))
    feeder.join()


def test_an_empty_standard_input(standard_input: int) -> None:
    os.close(standard_input)
    with pytest.raises(SourceError, match="standard input is empty"):
        Reader("-")


def test_closing_while_standard_input_is_silent(standard_input: int) -> None:
    """The reader waits for more data in one thread and is closed in another."""
    os.write(standard_input, clip("y4m").read_bytes()[:60_000])
    reader = Reader("-", threads=1)
    got: list[Frame] = []
    thread = threading.Thread(target=lambda: got.extend(reader), name="vdeblur-test-read")
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    started = time.monotonic()
    reader.close()
    thread.join(patience(5))
    assert not thread.is_alive()
    assert time.monotonic() - started < scaled(2)
    assert got


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_opens_once(tmp_path: Path) -> None:
    fifo = tmp_path / "named"
    os.mkfifo(fifo)
    feeder = threading.Thread(target=lambda: fifo.write_bytes(clip("y4m").read_bytes()))
    feeder.start()
    with Reader(fifo, start_seconds=0.4) as reader:
        assert (reader.info.path, reader.info.input_url) == (None, None)
        same(list(reader), frames_of(clip("y4m"))[10:])
    feeder.join()


def test_a_url(tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(clip("nut").parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{clip('nut').name}"
        with Reader(url, allow_network=True) as reader:
            same(list(reader), frames_of(clip("nut")))
            assert (reader.info.path, reader.info.input_url) == (None, url)
        with pytest.raises(SourceError, match=r"cannot read http.*missing.mp4 as a video: .*404"):
            Reader(f"http://127.0.0.1:{server.server_port}/missing.mp4", allow_network=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Names


NAMES = ["a b", "x%d", "x%03d", "-lead", "a:b", "http:", "q'uo\"te", "[br]*?{1,2}", "grün 映画", "per%cent%%", "-"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids most of these names")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["h264", "photo_png", "photo_jpg"])
def test_an_existing_file_wins_whatever_its_name(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = copy_of(clip(kind), tmp_path, name + clip(kind).suffix)
    copy_of(clip("photo_webp"), tmp_path, "x1" + clip(kind).suffix)  # which x%d would mean
    expected = frames_of(clip(kind))
    for source in (path, Path(path.name), path.name):
        with Reader(source) as reader:
            same(list(reader), expected)
            info = reader.info
    options = [word for key, value in info.input_options.items() for word in (f"-{key}", value)]
    assert info.input_url is not None
    decoded = ffmpeg(
        *options, "-i", info.input_url, "-fps_mode", "passthrough", "-pix_fmt", expected[0].format.name,
        *("-color_range", "pc") if kind == "photo_jpg" else (), "-f", "rawvideo", "-",
    )  # fmt: skip
    assert len(decoded) == len(samples(expected))


# Bad calls


def text_file(folder: Path) -> Path:
    path = folder / "words.txt"
    path.write_text("These are words.\n" * 50)
    return path


def test_bad_sources(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "mixed").mkdir()
    shutil.copy(clip("photo_png"), tmp_path / "mixed")
    shutil.copy(clip("photo_jpg"), tmp_path / "mixed")
    (tmp_path / "words.mp4").write_text("These are words.\n" * 50)
    (tmp_path / "subtitles.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nWords\n")
    cases: list[tuple[object, type[VdeblurError], str]] = [
        ("missing.mp4", UsageError, "no such file: missing.mp4"),
        (tmp_path / "missing.mp4", UsageError, "no such file"),
        ("nonsense:missing.mp4", UsageError, "no such file, and no protocol"),
        ("", UsageError, "no name of a file"),
        (tmp_path / "folder", UsageError, "a folder without pictures"),
        (tmp_path / "mixed", UsageError, "holds 1 .*; a sequence is of one kind"),
        (tmp_path / "frame_%05d.png", UsageError, "no file fits the pattern"),
        (tmp_path / "frame_%05d_%d.png", UsageError, "has 2 numbers"),
        (tmp_path / "empty.mp4", SourceError, "empty.mp4 is empty"),
        (text_file(tmp_path), SourceError, "words.txt"),
        (tmp_path / "words.mp4", SourceError, "cannot read .*words.mp4 as a video: Invalid data"),
        (tmp_path / "subtitles.srt", SourceError, "holds no video, only subtitle"),
        (clip("audio_only"), SourceError, "holds no video, only audio"),
        (42, UsageError, "cannot read from a int"),
    ]
    for source, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            Reader(source)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip("h264")

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match=r"cannot read .*h264_40.mp4: Permission denied"):
        Reader(path)


def test_a_pixel_format_that_is_not_supported(tmp_path: Path) -> None:
    path = tmp_path / "float.nut"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "2", "-c:v", "rawvideo", "-pix_fmt", "gbrpf32le",
           str(path))  # fmt: skip
    with pytest.raises(SourceError, match="pixel format 'gbrpf32le' is not supported"):
        Reader(path)


# Ends


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by /proc")
@pytest.mark.parametrize("taken", [0, 1, 7, 40])
@pytest.mark.parametrize("name", ["h264", "av1", "photo_png"])
def test_closing_ends_the_decoder_s_threads(name: str, taken: int) -> None:
    before = native_threads()
    reader = Reader(clip(name), threads=4)
    kept = [frame for frame, _ in zip(reader, range(taken), strict=False)]
    reader.close()
    reader.close()
    assert list(reader) == []
    until(lambda: native_threads() <= before, 5)
    assert all(int(frame.planes[0][0, 0]) >= 0 for frame in kept)


def test_a_failed_start_leaves_no_threads() -> None:
    before = native_threads()
    with pytest.raises(UsageError):
        Reader(clip("h264"), start_seconds=50, threads=4)
    assert native_threads() <= before


def test_closing_while_another_thread_reads() -> None:
    for _ in range(20):
        reader = Reader(clip("h264"), threads=2)
        got: list[Frame] = []
        thread = threading.Thread(target=lambda reader=reader, got=got: got.extend(reader), name="vdeblur-test-read")
        thread.start()
        time.sleep(0.002)
        reader.close()
        thread.join(patience(5))
        assert not thread.is_alive()
        assert len(got) <= 40


def test_a_reader_left_alone_does_not_hold_the_program() -> None:
    code = (
        "import sys; from vdeblur.video.source.reader import Reader; "
        "reader = Reader(sys.argv[1], threads=4); next(reader); print('done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip("h264"))],
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=True,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.timeout(60)
def test_closing_a_sequence_never_waits_for_its_decoder(tmp_path: Path) -> None:
    """Packets around Python's own memory would be freed by decoder threads that wait for the GIL."""
    pattern = sequence(tmp_path, frames=6)
    for turn in range(60):
        with Reader(pattern) as reader:
            if turn % 2:
                next(iter(reader))


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "mpeg2video"])
def test_a_recording_that_begins_in_the_middle(encoder: str, tmp_path: Path) -> None:
    """What lies in front of the first key frame cannot be decoded; how many pictures that costs is said."""
    whole, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
    pictures = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-frames:v", "40")
    ffmpeg(*pictures, "-c:v", encoder, "-bf", "0", "-g", "20", "-pix_fmt", "yuv420p", str(whole))
    data = whole.read_bytes()
    cut.write_bytes(data[len(data) // 4 // 188 * 188 :])
    for path, told in ((whole, 0), (cut, 1)):
        with Reader(path) as reader:
            given = len(list(reader))
            notes = [note for note in reader.notes if "in front of the first key frame" in note]
        assert len(notes) == told
    assert given == 20
    with av.open(str(cut)) as container:
        packets = sum(bool(packet.size) for packet in container.demux(video=0))
    assert notes[0].startswith(f"{packets - given} pictures in front of the first key frame cannot be decoded")
