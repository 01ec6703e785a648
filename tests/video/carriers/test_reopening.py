"""The finished file is opened again: what nothing decodes is lost, whatever the muxer took."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from support.media.clips import ffmpeg
from support.media.corpus_carriers import source
from support.media.corpus_streams import H264, VIDEO, tone
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.ffmpeg.process import PacketCounts
from vdeblur.video.ffmpeg.stream_listing import ListedStream, list_codecs
from vdeblur.video.sink.verification import Expectation, verify_output
from vdeblur.video.source.reader import probe
from vdeblur.video.streams import plan
from vdeblur.video.streams.outcomes import summary_words
from vdeblur.video.streams.reopening import Look, look_at_streams


def promised(name: str, container: Container, monkeypatch: pytest.MonkeyPatch) -> Expectation:
    """The plan of a job whose muxer was believed."""
    monkeypatch.setattr(plan, "refused_streams", lambda probe, codecs: set())
    info = probe(source(name))
    return Expectation(info, container, plan.plan_streams(info, container), whole=True, changed=False)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("wmv_sound", "audio 1 (wmav2)"), ("mov_mebx", "data 1 (GoPro MET)"), ("mov_camm", "data 1 (GoPro MET)"),
        ("mp4_foreign_sound", "audio 1 (unknown)"),
    ],
)  # fmt: skip
def test_what_quicktime_takes_and_nobody_reads_is_lost(
    name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, container = tmp_path / "out.mov", container_of("mov")
    ffmpeg("-i", str(source(name)), "-map", "0", "-c", "copy", "-c:v", "mpeg4", str(path))
    outcomes, notes = verify_output(path, promised(name, container, monkeypatch), PacketCounts())
    assert summary_words(outcomes) == f"LOST: {what}: nothing in the result can decode it again"
    assert notes == [f"LOST: {what}: nothing in the result can decode it again"]


def test_whole_streams_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.mov"
    ffmpeg("-i", str(source("mov_gpmd")), "-map", "0", "-c", "copy", str(path))
    outcomes, notes = verify_output(path, promised("mov_gpmd", container_of("mov"), monkeypatch), PacketCounts())
    assert (summary_words(outcomes), notes) == ("kept: 1 data", [])


def test_a_track_without_a_packet_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QuickTime gives G.722 a sample table with nothing in it."""
    origin, path = tmp_path / "in.mkv", tmp_path / "out.mov"
    ffmpeg(*f"{VIDEO} {tone(440)} {H264} -ar 16000 -c:a g722 -t 0.5".split(), str(origin))
    ffmpeg("-i", str(origin), "-map", "0", "-c", "copy", str(path))
    monkeypatch.setattr(plan, "refused_streams", lambda probe, codecs: set())
    info, container = probe(origin), container_of("mov")
    expected = Expectation(info, container, plan.plan_streams(info, container), whole=True, changed=False)
    tally = PacketCounts(read={(1, 1): 25}, written={(0, 0): 12, (0, 1): 25})
    assert "LOST: audio 1 (g722)" in summary_words(verify_output(path, expected, tally)[0])


def test_streams_are_looked_at_as_far_as_need_be(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    late = f"{VIDEO} -itsoffset 0.2 {tone(440)} {H264} -c:a aac -t 0.4"
    ffmpeg(*late.split(), str(path))
    with av.open(str(path)) as container:
        assert look_at_streams(container, [0, 1]) == {0: Look.DECODED, 1: Look.DECODED}


def test_codecs_are_listed_with_their_codes() -> None:
    listed = list_codecs(f"file:{source('mov_mebx')}", {})
    assert listed == {0: ListedStream("h264", "avc1"), 1: ListedStream(None, "mebx")}
    assert list_codecs("file:/no such file", {}) == {}
