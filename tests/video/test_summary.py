"""What is said of everything beside the video: the summary, the remedies, and a result that is not as promised."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from support.cli_fixtures import Call, call  # noqa: F401
from support.media.clips import HDR, clip, ffmpeg
from support.media.corpus_streams import ingredients, source
from support.media.writing import copy, kinds, packets, read_all, writer_for
from vdeblur.video.encode.containers import container_of
from vdeblur.video.ffmpeg.executable import find_ffmpeg
from vdeblur.video.ffmpeg.process import COUNTING, FFmpegProcess, PacketCounts
from vdeblur.video.mpegts_programs import Identifiers, Programs, read_programs
from vdeblur.video.sink.verification import Expectation, verify_output
from vdeblur.video.source.reader import probe
from vdeblur.video.streams.outcomes import Outcome, summary_words
from vdeblur.video.streams.plan import StreamPlan, plan_streams

# The line at the end.


def test_the_summary_has_a_part_for_each_fate() -> None:
    outcomes = [
        Outcome("kept", "audio", "audio 1 (aac)", index=1),
        Outcome("kept", "audio", "audio 2 (aac)", index=2),
        Outcome("converted", "subtitle", "subtitle 3 (srt)", "SRT → mov_text", index=3),
        Outcome("left out", "data", "data 4 (tmcd)", "as asked", index=4),
        Outcome("lost", "font", "attachment 5 (a.ttf)", "it is not in the result", index=5),
        Outcome("kept", "chapter", "3 chapters", count=3),
        Outcome("kept", "font", "attachment 6 (b.ttf)", index=6),
    ]
    assert summary_words(outcomes) == (
        "kept: 2 audio, 3 chapters, 1 font · converted: subtitle 3 SRT → mov_text · "
        "left out: data 4 (tmcd): as asked · LOST: attachment 5 (a.ttf): it is not in the result"
    )
    assert summary_words([]) == ""


def test_people_and_programs_are_told(call: Call, tmp_path: Path) -> None:  # noqa: F811
    source_path, words = source("mkv_roles"), "kept: 2 audio · converted: subtitle 5 SRT → mov_text"
    arguments = (source_path, "--strength", 0, "--drop", "1", "--drop", "4", "--drop", "6", "--device", "cpu")
    said = call(*arguments, "-o", tmp_path / "out.mp4").err.splitlines()
    [line] = [line for line in said if line.startswith("vdeblur: kept")]
    assert line.startswith(f"vdeblur: {words} · left out: audio 1 (aac): as asked, subtitle 4 (srt, deu): as asked")
    events = [json.loads(line) for line in call(*arguments, "-o", tmp_path / "two.mp4", "--json").out.splitlines()]
    [done] = [event for event in events if event["event"] == "done"]
    assert done["summary"].startswith(words)
    fates = {stream["index"]: (stream["fate"], stream["kind"]) for stream in done["streams"]}
    assert fates[2] == ("kept", "audio")
    assert fates[5] == ("converted", "subtitle")
    assert fates[6] == ("left out", "subtitle")


# The way out, pasted.

REFUSED = [
    ("mkv_disc", ".mp4"), ("mp4_modern", ".mov"), ("mkv_ass", ".mp4"), ("mkv_covers", ".webm"),
    ("mkv_two_videos", ".webm"), ("mkv_told", ".ts"), ("wmv", ".mp4"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "suffix"), REFUSED)
def test_every_remedy_works_as_it_is_written(
    name: str, suffix: str, call: Call, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    arguments = (source(name), "--strength", 0, "--device", "cpu")
    refused = call(*arguments, "-o", tmp_path / f"out{suffix}")
    assert refused.code == 2
    [message] = refused.errors
    ending = re.search(r"write to (\.\w+)", message)
    assert ending is not None
    remedies = [[], *(shlex.split(words) for words in re.findall(r"\((--drop [^)]*)\)", message))]
    for convert, more in re.findall(r"\((--ffmpeg-args '[^']*')\)((?: and(?: --drop \w+)+)?)", message):
        remedies.append(shlex.split(convert) + more.replace(" and", "").split())
    for number, words in enumerate(remedies):
        target = tmp_path / f"out{number}{suffix if words else ending[1]}"
        result = call(*arguments, "-o", target, *words)
        assert (result.code, target.exists()) == (0, True), (words, result.err)
        assert "LOST" not in result.err


# What was promised, and what is there.


def expected_for(name: str, suffix: str) -> tuple[Expectation, StreamPlan]:
    info = probe(source(name))
    plan = plan_streams(info, container_of(suffix))
    return Expectation(info, container_of(suffix), plan, whole=True, changed=False), plan


def without(name: str, folder: Path, *mapped: str) -> Path:
    """A result from which something is missing."""
    path = folder / f"result{source(name).suffix}"
    ffmpeg("-i", str(source(name)), "-map", "0", *mapped, "-c", "copy", str(path))
    return path


def test_a_stream_that_is_missing_is_lost(tmp_path: Path) -> None:
    expected, plan = expected_for("mkv_modern", "mkv")
    outcomes, notes = verify_output(without("mkv_modern", tmp_path, "-map", "-0:2"), expected, PacketCounts())
    assert [outcome.fate for outcome in outcomes] == ["kept", "lost", "kept"]
    assert notes == ["LOST: audio 2 (opus, fra): it is not in the result"]
    assert verify_output(source("mkv_modern"), expected, PacketCounts()) == (list(plan.outcomes), [])


def test_fonts_and_chapters_that_are_missing_are_lost(tmp_path: Path) -> None:
    expected, _ = expected_for("mkv_ass", "mkv")
    _, notes = verify_output(without("mkv_ass", tmp_path, "-map", "-0:3"), expected, PacketCounts())
    assert notes == ["LOST: attachment 3 (Schrift ö.otf): it is not in the result"]
    expected, _ = expected_for("mkv_told", "mkv")
    _, notes = verify_output(without("mkv_told", tmp_path, "-map_chapters", "-1"), expected, PacketCounts())
    assert notes == ["LOST: 3 chapters: 0 of 3 are in the result"]


def test_tags_that_are_missing_are_named(tmp_path: Path) -> None:
    expected, _ = expected_for("mkv_told", "mkv")
    path = without(
        "mkv_told", tmp_path, "-metadata", "artist=", "-metadata:s:v", "title=", "-metadata:s:v", "language="
    )
    outcomes, [note] = verify_output(path, expected, PacketCounts())
    assert note == ("Matroska has no place for: language jpn, title of video 0 (h264, jpn); tags of the file ARTIST")
    assert outcomes[-1].fate == "left out"


def test_packets_that_are_missing_are_lost() -> None:
    expected, _ = expected_for("mkv_modern", "mkv")
    tally = PacketCounts(read={(1, 1): 17, (1, 2): 5, (1, 3): 4}, written={(0, 1): 15, (0, 2): 5, (0, 3): 4})
    outcomes, notes = verify_output(source("mkv_modern"), expected, tally)
    assert notes == ["LOST: audio 1 (mp3, eng): 2 of 17 packets are missing"]
    assert [outcome.fate for outcome in outcomes] == ["lost", "kept", "kept"]
    part = replace(expected, whole=False)
    assert verify_output(source("mkv_modern"), part, tally)[1] == [], "a stretch leaves packets out"


def test_a_result_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    expected, _ = expected_for("mkv_modern", "mkv")
    (tmp_path / "out.mkv").write_bytes(b"no video")
    _, [note] = verify_output(tmp_path / "out.mkv", expected, PacketCounts())
    assert note.startswith("the result could not be checked: ")


def test_the_users_own_options_are_no_loss(tmp_path: Path) -> None:
    writer = copy(source("mkv_modern"), tmp_path / "out.mkv", ffmpeg_args=("-c:a:1", "flac"))
    assert summary_words(writer.outcomes) == "kept: 2 audio · converted: audio 2 Opus → FLAC"
    writer = copy(source("webm"), tmp_path / "silent.mkv", ffmpeg_args=("-an",))
    assert summary_words(writer.outcomes) == (
        "left out: audio 1 (opus, eng): by ffmpeg_args, audio 2 (vorbis, fra): by ffmpeg_args"
    )


def test_a_stretch_without_chapters_is_no_loss(tmp_path: Path) -> None:
    writer = copy(source("mkv_told"), tmp_path / "out.mkv", start_seconds=0.04, duration_seconds=0.08)
    [outcome] = [outcome for outcome in writer.outcomes if outcome.kind == "chapter"]
    assert (outcome.fate, outcome.count) == ("kept", 2)


# What FFmpeg counts and warns of.


def test_packets_are_counted_by_ffmpeg_itself(tmp_path: Path) -> None:
    path = source("mkv_modern")
    command = [str(find_ffmpeg()), *COUNTING, "-i", str(path), "-map", "0", "-map", "-0:2", "-c", "copy"]
    process = FFmpegProcess([*command, str(tmp_path / "out.mkv")], stdout=subprocess.DEVNULL)
    process.feed(b"")
    assert process.wait() == 0
    process.kill()
    counts = {(0, index): len(packets(path, index)) for index in (0, 1, 3)}
    assert {key: process.tally.read[key] for key in counts} == counts
    assert process.tally.written == {(0, 0): counts[0, 0], (0, 1): counts[0, 1], (0, 2): counts[0, 3]}
    assert process.messages() == (), "numbers are no messages"


def test_packets_whose_times_are_changed_are_named(tmp_path: Path) -> None:
    """Subtitles of which a later one is shown earlier, as broken encoders write them."""
    path = tmp_path / "in.ts"
    video = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-i", str(ingredients()["sup"]))
    ffmpeg(*video, "-c:v", "libx264", "-c:s", "dvbsub", "-t", "0.32", str(path))
    writer = copy(path, tmp_path / "out.ts")
    assert any(re.match(r"FFmpeg warned 2 times: Non-monotonic DTS", note) for note in writer.notes), writer.notes


def test_warnings_are_counted_by_kind() -> None:
    tally = PacketCounts()
    for number in range(3):
        tally.warn(f"[sost#0:1/copy @ 0x55ca1] [warning] Non-monotonic DTS; previous: {number}")
    tally.warn("[mp4 @ 0x55ca1] [warning] pts has no value")
    tally.warn("[libx264 @ 0x55ca1] [warning] something about quality")
    assert tally.notes(lost=False) == ["FFmpeg warned 3 times: Non-monotonic DTS; previous: 0"]
    assert tally.notes(lost=True)[1:] == ["FFmpeg warned: pts has no value"]


# Programs of an MPEG-TS.


def test_programs_are_read_from_the_tables() -> None:
    found = read_programs(source("ts_program"))
    [program] = found.programs
    assert (program.number, program.name, program.provider) == (0x44, "Ünser: Ö", "Wir é")
    assert program.pids == {0x121, 0x142}
    assert (found.stream_id, found.network_id) == (0x33, 0x22)
    assert [program.number for program in read_programs(source("m2ts_pgs")).programs] == [1], "192 bytes a packet"


def test_damaged_tables_say_nothing_wrong(tmp_path: Path) -> None:
    whole = source("ts_programs").read_bytes()
    chance = random.Random(4)
    for _ in range(200):
        data = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(20 if data else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "x.ts").write_bytes(data)
        found = read_programs(tmp_path / "x.ts")
        assert "\0" not in "".join(found.words([0x121, 0x122], Identifiers()))
        assert len(found.programs) <= 100
    assert read_programs(tmp_path / "none.ts") == Programs()


# Dynamic metadata of the picture.


def hdr10_plus(target: Path) -> Path:
    """HEVC whose every picture has HDR10+ metadata of one window (SMPTE ST 2094-40, in a message of ITU-T T.35)."""
    plain = target.with_suffix(".plain.hevc")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", *HDR.split(), "-frames:v", "3", "-f", "hevc", str(plain))
    bits = "01" + f"{400:027b}" + "0" + f"{1000:017b}" * 3 + f"{500:017b}" + "0000" + f"{5:010b}" + "000"
    bits += "0" * (-len(bits) % 8)
    told = bytes.fromhex("b5003c00010401") + int(bits, 2).to_bytes(len(bits) // 8, "big")
    message = bytes([4, len(told)]) + told + b"\x80"
    escaped = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", message)
    data = plain.read_bytes()
    first_of_a_picture = rb"\x00\x00\x01(?=[\x00-\x2b].[\x80-\xff])"
    target.write_bytes(re.sub(first_of_a_picture, b"\0\0\1\x4e\x01" + escaped.replace(b"\\", rb"\\") + b"\0\0\1", data))
    return target


def test_hdr10_plus_is_named(tmp_path: Path) -> None:
    path = hdr10_plus(tmp_path / "plus.hevc")
    assert "DYNAMIC_HDR_PLUS" in probe(path).video.side_data
    writer = copy(path, tmp_path / "out.mkv")
    assert any(note.startswith("not kept: ") and "HDR10+ metadata" in note for note in writer.notes)


def test_dolby_vision_is_named(tmp_path: Path) -> None:
    info = probe(clip("h264_audio"))
    info = replace(info, video=replace(info.video, side_data=("DOVI_RPU_BUFFER", "DOVI_METADATA")))
    frames = read_all(clip("h264_audio"))[:1]
    with writer_for(tmp_path / "out.mkv", frames[0], info=info) as writer:
        writer.write(frames[0])
    assert "not kept: Dolby Vision metadata" in writer.notes
    assert kinds(tmp_path / "out.mkv") == ["video", "audio"]
