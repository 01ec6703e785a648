"""Joined sources: pictures, sound and all else on one time line, in every container that people join."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from support.interruptions import restore, stopped
from support.media.clips import FOLDER, ffmpeg
from support.media.clock.joined import MARK_SECONDS, joined, marks, piece, shown
from support.media.writing import copy, packets, read_all, same_samples
from vdeblur.errors import SourceError
from vdeblur.pipeline import resume as pipeline_resume
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.sink.lengths import shortened_streams
from vdeblur.video.source.reader import Reader, probe

#: FFmpeg reads no more of Matroska.
PIECES = {"mkv": 2}
#: Each container into two others, and each of those from three.
WAYS = [
    *(("ts", "mp4"), ("ts", "mkv"), ("m2ts", "ts"), ("m2ts", "mov"), ("vob", "mkv"), ("vob", "ts")),
    *(("flv", "mp4"), ("flv", "mov"), ("mp4", "mov"), ("mp4", "ts"), ("mkv", "mp4"), ("mkv", "mkv")),
]


def in_sync(path: Path, count: int) -> None:
    """Each flash has its beep, as far from it as in a piece (preroll and the pictures' raster are the rest)."""
    flashes, beeps = marks(path)
    assert len(flashes) == len(beeps) == count, (flashes, beeps)
    assert max(abs(flash - beep) for flash, beep in zip(flashes, beeps, strict=True)) < 0.045, (flashes, beeps)


@pytest.mark.parametrize(("kind", "target"), WAYS)
def test_each_piece_is_in_sync(kind: str, target: str, tmp_path: Path) -> None:
    count = PIECES.get(kind, 3)
    source, out = joined(kind, [piece(kind, 0.8)] * count), tmp_path / f"out.{target}"
    copy(source, out)
    in_sync(out, count)
    times = shown(out)
    assert len(times) == 20 * count
    steps = np.diff(times)
    assert steps.min() > 0.03
    assert steps.max() < 0.07


@pytest.mark.parametrize("kind", ["ts", "mkv"])
def test_the_same_through_a_pipe(kind: str, tmp_path: Path) -> None:
    count = PIECES.get(kind, 3)
    source, out = joined(kind, [piece(kind, 0.8)] * count), tmp_path / "out.mp4"

    class Pipe(io.RawIOBase):
        data = io.BytesIO(source.read_bytes())

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return self.data.read(size)

    deblur_video(Pipe(), out, strength=0, device="cpu")  # type: ignore[arg-type]
    in_sync(out, count)


@pytest.mark.parametrize("lead", [-0.25, 0.25])
def test_sound_that_begins_before_or_after_the_pictures(lead: float, tmp_path: Path) -> None:
    """The offset in each piece stays, so pictures wait where sound of two pieces would overlap."""
    one = FOLDER / f"lead {lead}.ts"
    ffmpeg("-i", str(piece("ts", 0.8)), "-itsoffset", str(lead), "-i", str(piece("ts", 0.8)), "-map", "0:v", "-map",
           "1:a", "-c", "copy", "-f", "mpegts", str(one))  # fmt: skip
    out = tmp_path / "out.mp4"
    copy(joined("ts", [one] * 3), out)
    flashes, beeps = marks(out)
    assert len(flashes) == len(beeps) == 3
    assert np.ptp(np.subtract(beeps, flashes)) < 0.03
    assert abs(np.mean(np.subtract(beeps, flashes)) - lead) < 0.045


def test_pieces_of_any_length_and_clock(tmp_path: Path) -> None:
    """The second starts a bit earlier than the first ended, the third much earlier, the fourth a day later."""
    pieces = [piece("ts", 0.8, more=f"-output_ts_offset {start}") for start in (100, 100.3, 2, 95_400)]
    out = tmp_path / "out.mkv"
    copy(joined("ts", pieces), out)
    in_sync(out, 4)
    assert np.diff(shown(out)).max() < 0.07


def test_a_pause_stays_a_pause(tmp_path: Path) -> None:
    """A recorder that waits for motion, and whose clock goes on."""
    pieces = [piece("ts", 0.8, more=f"-output_ts_offset {start}") for start in (0, 60)]
    out = tmp_path / "out.mp4"
    source = joined("ts", pieces)
    assert probe(source).scan.pieces == 1  # type: ignore[union-attr]
    copy(source, out)
    in_sync(out, 2)
    assert np.diff(shown(out)).max() == pytest.approx(60 - 0.8, abs=0.1)


def test_two_sounds_and_subtitles_come_along(tmp_path: Path) -> None:
    texts = tmp_path / "texts.srt"
    texts.write_text("1\n00:00:00,200 --> 00:00:00,500\nHello\n")
    one = tmp_path / "one.mkv"
    ffmpeg("-i", str(piece("mkv", 0.8)), "-i", str(texts), "-map", "0:v", "-map", "0:a", "-map", "0:a", "-map", "1:s",
           "-c", "copy", "-c:s", "srt", "-metadata:s:a:1", "language=fra", str(one))  # fmt: skip
    source, out = tmp_path / "joined.mkv", tmp_path / "out.mkv"
    source.write_bytes(one.read_bytes() * 2)
    report = deblur_video(source, out, strength=0, device="cpu")
    assert report.summary.startswith("kept: 2 audio, 1 subtitle")
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "audio", "subtitle"]
        assert container.streams[2].metadata["language"] == "fra"
        times: dict[int, list[float]] = {}
        for packet in container.demux():
            if packet.size:
                times.setdefault(packet.stream.index, []).append(float((packet.pts or 0) * packet.time_base))
    assert np.diff(times[3]) == pytest.approx([0.82], abs=0.05)
    assert all(abs(max(each) - max(times[0])) < 0.1 for index, each in times.items() if index < 3)


def test_a_stretch_and_what_is_said_of_the_source_count_on_the_same_line(tmp_path: Path) -> None:
    source = joined("ts", [piece("ts", 0.8)] * 3)
    info = probe(source)
    assert info.duration_seconds == pytest.approx(2.45, abs=0.06)
    assert info.video.duration_seconds == pytest.approx(2.42, abs=0.04)
    with Reader(source) as reader:
        whole = [frame.pts for frame in reader]
        assert any("its 3 pieces follow one another" in note for note in reader.notes)
    with Reader(source, start_seconds=1.2, duration_seconds=0.8) as reader:
        begin = whole[0] + 1.2 * 90000
        assert [frame.pts for frame in reader] == [pts for pts in whole if begin <= pts < begin + 0.8 * 90000]
    out = tmp_path / "out.mp4"
    copy(source, out, start_seconds=1.0, duration_seconds=1.2)
    flashes, beeps = marks(out)
    assert flashes == pytest.approx([0.24, 1.08], abs=0.06)
    assert beeps == pytest.approx(flashes, abs=0.045)


def wrong_at(place: int, kind: str, seconds: float, folder: Path, *, shown_only: bool = False) -> Path:
    """A transport stream in which one packet has another time."""
    path, count = folder / "wrong.ts", itertools.count()
    with av.open(str(piece("ts", 1.2))) as source, av.open(str(path), "w", format="mpegts") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            if packet.stream.type == kind and next(count) == place:
                packet.pts += int(seconds / packet.time_base)
                if not shown_only:
                    packet.dts += int(seconds / packet.time_base)
            packet.stream = streams[packet.stream.index]
            target.mux_one(packet) if seconds > 0 or packet.stream.type == kind else target.mux(packet)
    return path


@pytest.mark.parametrize("place", [7, 12, 20])
def test_one_wrong_time_of_a_picture_moves_nothing_else(place: int, tmp_path: Path) -> None:
    source = wrong_at(place, "video", 100, tmp_path, shown_only=True)
    out = tmp_path / "out.mp4"
    copy(source, out)
    steps = np.diff(shown(out))
    assert len(steps) == 29
    assert steps.min() > 0.01
    assert steps.max() < 0.1
    in_sync(out, 1)


def retimed_pes(place: int, count: int, seconds: float, stream_id: int, folder: Path) -> Path:
    """A transport stream in which ``count`` PES packets from ``place`` on have another time (ISO/IEC 13818-1)."""
    data, number = bytearray(piece("ts", 2.4).read_bytes()), 0
    for begin in range(0, len(data), 188):
        pes = begin + 4 + (1 + data[begin + 4] if data[begin + 3] & 0x20 else 0)
        if not data[begin + 1] & 0x40 or data[pes : pes + 4] != bytes((0, 0, 1, stream_id)):
            continue
        if place <= number < place + count:
            for at in [pes + 9, pes + 14][: data[pes + 7].bit_count()]:
                bits = int.from_bytes(data[at : at + 5], "big")
                tick = (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF
                tick = (tick + int(seconds * 90_000)) % (1 << 33)
                parts = (tick >> 30) << 33 | (tick >> 15 & 0x7FFF) << 17 | (tick & 0x7FFF) << 1
                data[at : at + 5] = (bits & 0xF1_0001_0001 | parts).to_bytes(5, "big")
        number += 1
    path = folder / "retimed.ts"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("stream_id", "count", "seconds"), [(0xC0, 1, 100), (0xC0, 2, -1), (0xC0, 1, 0.3), (0xE0, 2, 100), (0xE0, 2, -0.3)]
)
def test_a_wrong_time_of_several_packets_moves_nothing_else(
    stream_id: int, count: int, seconds: float, tmp_path: Path
) -> None:
    """The sound of a PES packet has one time, which FFmpeg counts on from."""
    right, out = tmp_path / "right.mkv", tmp_path / "out.mkv"
    copy(piece("ts", 2.4), right)
    report = deblur_video(retimed_pes(3, count, seconds, stream_id, tmp_path), out, strength=0, device="cpu")
    assert shown(out) == shown(right)
    assert packets(out, 1) == packets(right, 1)
    assert any("have been mended" in note for note in report.notes)
    assert "LOST" not in report.summary


@pytest.mark.parametrize("kind", ["joined", "wrong time", "avi"])
def test_a_stopped_job_goes_on_to_the_same_result(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_resume, "LEAST_FRAMES", 7)
    if kind == "joined":
        source = joined("ts", [piece("ts", 0.8)] * 3)
    elif kind == "avi":
        source = tmp_path / "in.avi"
        ffmpeg("-i", str(piece("mp4", 2.4)), "-c:v", "libx264", "-bf", "2", "-c:a", "pcm_s16le", str(source))
    else:
        source = retimed_pes(3, 1, 100, 0xC0, tmp_path)
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    restore(source, whole, segment_seconds=None)
    stopped(source, resumed, 31)
    report = restore(source, resumed, resume=True)
    assert report.frames == 60
    assert same_samples(read_all(resumed), read_all(whole))
    assert shown(resumed) == shown(whole)
    assert packets(resumed, 1) == packets(whole, 1)


def test_a_broken_writer_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound of later pieces in an instant, as FFmpeg writes it when it reads the source itself."""
    monkeypatch.setattr("vdeblur.video.sink.writer.write_retimed_copy", lambda *_: None)
    source, out = joined("ts", [piece("ts", 0.8)] * 3), tmp_path / "out.mp4"
    report = deblur_video(source, out, strength=0, device="cpu")
    assert "LOST: audio 1 (aac): it lasts 0." in report.summary
    assert any(note.startswith("LOST: audio 1 (aac)") for note in report.notes)


def test_squeezed_packets_are_found_out(tmp_path: Path) -> None:
    """Two thirds of the sound within a millisecond, and the last packet where it belongs."""
    source, bad = piece("mp4", 1.2), tmp_path / "bad.mkv"
    squeeze = r"setts=pts='if(lt(N\,20)+gt(N\,50)\,PTS\,20*1024+N)':dts='if(lt(N\,20)+gt(N\,50)\,DTS\,20*1024+N)'"
    ffmpeg("-i", str(source), "-c", "copy", "-bsf:a", squeeze, str(bad))
    info = probe(source)
    assert shortened_streams(info, source, {1: 1}, suspicious=True) == {}
    assert "squeezed into an instant" in shortened_streams(info, bad, {1: 1}, suspicious=True)[1]


def test_what_no_copy_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.video.streams.retimed_copy._is_whole", lambda *_: False)
    with pytest.raises(SourceError, match=r"stream 1 cannot be moved along; leave it out with .*--drop 1"):
        copy(joined("ts", [piece("ts", 0.8)] * 2), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_marks_lie_where_pieces_have_them() -> None:
    assert marks(piece("mp4", 0.8))[0] == pytest.approx([MARK_SECONDS], abs=0.03)
