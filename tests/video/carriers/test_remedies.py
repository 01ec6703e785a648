"""The way out that a refusal names works as it is written, for every codec and carrier."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from support.media.clips import clip, ffmpeg
from support.media.corpus_carriers import source
from support.media.corpus_streams import FIRST_H264, H264, VIDEO, tone
from support.media.corpus_streams import source as stream_source
from support.media.writing import copy
from vdeblur.errors import UsageError
from vdeblur.video.streams.outcomes import summary_words

PAL = VIDEO.replace("64x48", "720x576")
MADE = {
    "pal": f"{PAL} {tone(440)} {H264} -ac 2 -c:a aac -t 0.2",
    "odd rate": f"{VIDEO} -f lavfi -i sine=440:sample_rate=44100 {H264} -c:a aac -t 0.3",
    "mixed": f"{VIDEO} {tone(440)} {tone(550)} {tone(660)} -map 0 -map 1 -map 2 -map 3 {FIRST_H264} -c:a:0 aac "
    "-c:a:1 libopus -c:a:2 flac -t 0.3",
}  # fmt: skip


def origin(name: str, folder: Path) -> Path:
    if name not in MADE:
        return source(name)
    path = folder / f"{name}.mkv"
    ffmpeg(*shlex.split(MADE[name]), str(path))
    return path


def refusal(path: Path, target: Path, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        copy(path, target, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ts_plain_aac", ".m2ts"), ("m2ts_lpcm", ".mkv"), ("m2ts_disc", ".ts"),
        ("mov_captions", ".mkv"), ("mp4_foreign_sound", ".mkv"), ("wmv_sound", ".flv"),
        ("wmv_sound", ".nut"), ("avi_divx", ".mkv"), ("ts_teletext", ".mkv"), ("3gp", ".mp4"),
        ("pal", ".dv"), ("odd rate", ".mxf"), ("mixed", ".mov"), ("mixed", ".3gp"),
    ],
)  # fmt: skip
def test_every_way_out_is_one(name: str, suffix: str, tmp_path: Path) -> None:
    path = origin(name, tmp_path)
    message = refusal(path, tmp_path / f"out{suffix}")
    ways: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    if ending := re.search(r"write to (\.\w+)", message):
        assert ending[1] != suffix
        ways.append((ending[1], (), ()))
    ways += [(suffix, (), tuple(re.findall(r"--drop (\w+)", message.rpartition("leave ")[2])))]
    for words, more in re.findall(r"\(--ffmpeg-args '([^']*)'\)((?: and(?: --drop \w+)+)?)", message):
        ways.append((suffix, tuple(shlex.split(words)), tuple(re.findall(r"--drop (\w+)", more))))
    for number, (end, arguments, drop) in enumerate(ways):
        target = tmp_path / f"out{number}{end}"
        writer = copy(path, target, ffmpeg_args=arguments, drop=drop)
        assert target.exists()
        assert "LOST" not in summary_words(writer.outcomes), (end, arguments, drop)


def test_only_what_is_refused_is_converted(tmp_path: Path) -> None:
    message = refusal(origin("mixed", tmp_path), tmp_path / "out.mov")
    assert "(--ffmpeg-args '-c:a:1 aac -c:a:2 aac')" in message, "the first sound stays as it is"
    message = refusal(stream_source("mkv_lossless"), tmp_path / "out.mov")
    assert "(--ffmpeg-args '-c:a alac')" in message, "nothing is lost in the others"


def test_streams_that_are_too_many_together_are_named(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    ffmpeg(*shlex.split(f"{PAL} {tone(440)} {tone(550)} {tone(660)} -map 0 -map 1 -map 2 -map 3 {H264} -ac 2 "
                        "-c:a pcm_s16le -t 0.2"), str(path))  # fmt: skip
    message = refusal(path, tmp_path / "out.dv")
    assert message.startswith("DV cannot hold audio 2 (pcm_s16le), audio 3 (pcm_s16le); ")
    copy(path, tmp_path / "out.dv", drop=("2", "3"))


@pytest.mark.parametrize(
    ("suffix", "options", "words"),
    [
        (".dv", {}, r"write to \.mkv, which holds everything$"),
        (".webm", {"codec": "h264"}, r"for WebM choose one of libvpx-vp9"),
        (".mp4", {"ffmpeg_args": ("-nonsense", "1")}, r"without ffmpeg_args \(--ffmpeg-args\) it can$"),
        (
            ".avi",
            {"codec": "libsvtav1", "pixel_format": "gray16le"},
            r"without pixel_format \(--pix-fmt\) it can$|choose",
        ),
    ],
)
def test_remedies_of_the_picture_are_tried(suffix: str, options: dict[str, object], words: str, tmp_path: Path) -> None:
    assert re.search(words, refusal(clip("h264", frames=3), tmp_path / f"out{suffix}", **options))


def test_whole_frames_are_offered_where_they_help(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    fields = "-vf setfield=tff -c:v libx264 -preset ultrafast -flags +ildct+ilme -pix_fmt yuv420p -t 0.2"
    ffmpeg(*f"{VIDEO} {fields}".split(), str(path))
    assert "--interlaced frame" in refusal(path, tmp_path / "out.webm")
    assert "--interlaced frame" not in refusal(path, tmp_path / "out.dv")
