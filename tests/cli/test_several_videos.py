"""Several videos in one file: which is restored can be chosen, the others are copied, and roles stay."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import Call, call
from support.doubles import Identity
from support.engines import QUICK
from support.media.clips import ffmpeg
from support.media.corpus_streams import source
from support.media.writing import packets
from vdeblur.errors import Interrupted, UsageError, VdeblurError
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.source.reader import Reader, probe

__all__ = ["call"]

H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
LIST = r"has video 0 \(h264, 64×48\) and 2 \(h264, 48×32\)"


@pytest.fixture(scope="module")
def front_and_rear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As dash cams write: two videos, of which the first is the default, with sound between them and a cover behind."""
    folder = tmp_path_factory.mktemp("videos")
    cover, path = folder / "cover.jpg", folder / "in.mp4"
    ffmpeg(*["-f", "lavfi", "-i", "color=red:size=16x16", "-frames:v", "1"], str(cover))
    inputs = "-f lavfi -i testsrc2=size=64x48:rate=25 -f lavfi -i sine -f lavfi -i testsrc=size=48x32:rate=25 -i"
    maps = f"-map 0 -map 1 -map 2 -map 3 -t 0.24 {H264} -c:v:2 copy -disposition:v:2 attached_pic -c:a aac"
    ffmpeg(*inputs.split(), str(cover), *maps.split(), str(path))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("number", "other", "size"), [(0, 2, (48, 64)), (2, 0, (32, 48))])
def test_the_chosen_video_is_restored(
    number: int, other: int, size: tuple[int, int], suffix: str, front_and_rear: Path, call: Call, tmp_path: Path
) -> None:
    target = tmp_path / f"out{suffix}"
    result = call(front_and_rear, "-o", target, "--video", str(number), "--strength", "0", "--device", "cpu")
    assert result.code == 0, result.err
    assert f"video {number} is restored, video {other} (h264) copied as it is" in result.err
    kept = "1 audio, 1 video" if number == 0 else "1 video, 1 audio"
    assert f"kept: {kept}, 1 cover\n" in result.err
    assert "role" not in result.err
    assert packets(target, other) == packets(front_and_rear, other)
    assert packets(target, number) != packets(front_and_rear, number)
    with Reader(target, video=number) as reader:
        assert next(reader).size == size
    found = [stream.default for stream in probe(target).streams if stream.kind == "video"]
    assert found[:2] == [True, False]


def test_both_videos_may_be_the_default(tmp_path: Path, call: Call) -> None:
    words = "-f lavfi -i testsrc2=size=64x48:rate=25 -f lavfi -i testsrc=size=48x32:rate=25 -map 0 -map 1 -t 0.16"
    for number, roles in enumerate(("default,default", "0,default", "0,0")):
        first, second = roles.split(",")
        path, target = tmp_path / f"in{number}.mkv", tmp_path / f"out{number}.mkv"
        marks = ("-disposition:v:0", first, "-disposition:v:1", second)
        ffmpeg(*words.split(), *H264.split(), *marks, str(path))
        for video in (0, 1):
            assert "role" not in call(path, "-o", target, "-y", "--video", str(video), "--device", "cpu").err
            before, after = ([stream.default for stream in probe(each).streams] for each in (path, target))
            assert before == after


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, rf"video cannot be 1: stream 1 is audio, not a video; .* {LIST}"),
        (3, rf"video cannot be 3: stream 3 is a cover picture, not a video; .* {LIST}"),
        (9, rf"video cannot be 9: there is no stream 9; .* {LIST}"),
        (-1, r"video cannot be -1; it is the number of a stream, from 0 \(see vdeblur info\)"),
    ],
)
def test_what_is_no_video_is_refused(number: int, words: str, front_and_rear: Path, call: Call, tmp_path: Path) -> None:
    result = call(front_and_rear, "-o", tmp_path / "out.mp4", "--video", str(number))
    assert result.code == 2
    assert re.fullmatch(rf"vdeblur: error: --{words}\n", result.err)
    with pytest.raises(UsageError, match=words):
        deblur_video(front_and_rear, tmp_path / "out.mp4", video=number)
    assert list(tmp_path.iterdir()) == []


def test_pictures_have_one_video(tmp_path: Path) -> None:
    ffmpeg(*["-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "2"], str(tmp_path / "p%d.png"))
    with pytest.raises(UsageError, match="there is no stream 1"):
        Reader(tmp_path / "p%d.png", video=1)
    with Reader(tmp_path / "p%d.png", video=0) as reader:
        assert len(list(reader)) == 2


def test_info_and_configs_know_it(front_and_rear: Path, call: Call, tmp_path: Path) -> None:
    said = call("info", front_and_rear, "--video", "2").out
    assert "#2 video h264 (restored)" in said
    assert "size         48x32" in said
    (tmp_path / "run.yaml").write_text("video: 2\nstrength: 0\ndevice: cpu\n")
    result = call(front_and_rear, "-o", tmp_path / "out.mp4", "--config", tmp_path / "run.yaml")
    assert "video 2 is restored" in result.err


def test_a_program_of_a_transport_stream(call: Call, tmp_path: Path) -> None:
    path = source("ts_programs")
    videos = [stream.index for stream in probe(path).streams if stream.kind == "video"]
    assert len(videos) == 2
    for number in videos:
        result = call(path, "-o", tmp_path / "out.ts", "-y", "--video", str(number), "--device", "cpu")
        assert result.code == 0, result.err
        assert f"video {number} is restored" in result.err


def test_a_job_goes_on_with_the_same_video_only(front_and_rear: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": Identity(), "strength": 0, "segment_seconds": 0, **QUICK}
    seen = count(1)
    with pytest.raises(Interrupted):
        deblur_video(front_and_rear, tmp_path / "out.mp4", video=2, stop=lambda: next(seen) >= 3, **options)
    with pytest.raises(VdeblurError, match="video was 2 when the job began and is 0 now"):
        deblur_video(front_and_rear, tmp_path / "out.mp4", video=0, resume=True, **options)
    assert deblur_video(front_and_rear, tmp_path / "out.mp4", video=2, resume=True, **options).frames == 6


@pytest.mark.parametrize("degrees", ["90", "180"])
def test_a_turned_video_has_no_exif_to_lose(degrees: str, call: Call, tmp_path: Path) -> None:
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    ffmpeg(*f"-f lavfi -i testsrc2=size=64x48 -frames:v 3 {H264}".split(), str(flat))
    ffmpeg("-display_rotation", degrees, "-i", str(flat), "-c", "copy", str(turned))
    for suffix in (".mp4", ".mkv"):
        result = call(turned, "-o", tmp_path / f"out{suffix}", "--device", "cpu")
        assert result.code == 0
        assert "Exif" not in result.err
        assert "not kept" not in result.err
    call(turned, "-o", tmp_path / "out_%d.png", "--device", "cpu")
    assert probe(tmp_path / "out_1.png").video.rotation_degrees in (int(degrees), -int(degrees))
