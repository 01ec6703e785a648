"""The pipeline: every frame arrives, stages overlap in bounded memory, and a failure anywhere leaves nothing behind."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.doubles import BT709, Constant, Failing, FakeReader, FakeWriter, Identity, Mixing, Slow, clip, planes_equal
from support.engines import QUICK
from support.media import clips
from support.media.writing import read_all
from support.paths import TESTS
from support.wall_clock import patience, scaled
from vdeblur.errors import (
    DeviceError,
    Interrupted,
    NetworkError,
    SourceError,
    TargetError,
    UsageError,
    VdeblurError,
)
from vdeblur.frames import Frame
from vdeblur.pipeline import deblur_video as pipeline_module
from vdeblur.pipeline.deblur_video import ALONE, Progress, deblur_video
from vdeblur.pipeline.loop import expected_frames
from vdeblur.video.encode.video_plan import EncodeOptions
from vdeblur.video.source.reader import probe

Run = Callable[..., pipeline_module.Report]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """deblur_video with doubles for the reader and the writer."""

    def with_doubles(
        reader: FakeReader, writer: FakeWriter, model: Any = None, **options: Any
    ) -> pipeline_module.Report:
        def make_writer(target: Any, **options: Any) -> FakeWriter:
            writer.options = options
            return writer

        monkeypatch.setattr(pipeline_module, "Reader", lambda source, **_: reader)
        monkeypatch.setattr(pipeline_module, "Writer", make_writer)
        return deblur_video("in.mp4", "out.mp4", model=model or Identity(), **{**QUICK, **options})

    return with_doubles


# --- Every frame, unchanged in all but what is corrected --------------------------------------------------------------


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_as_many_come_out_as_went_in(run: Run, count: int, lookahead: int) -> None:
    frames = list(clip(count, 4, 6, start=777))
    reader, writer = FakeReader(frames), FakeWriter()
    report = run(reader, writer, lookahead=lookahead)
    assert [f.pts for f in writer.frames] == [f.pts for f in frames]
    assert all(planes_equal(a, b) for a, b in zip(writer.frames, frames, strict=True))
    assert report.frames == count
    assert report.skipped_packets == 2
    assert report.notes == ("a note of the reader", "a note of the writer", *([ALONE] if count == 1 else []))
    assert report.target == "out.mp4"
    assert (reader.closed, writer.closed, writer.aborted) == (True, True, False)


EXACT = ["ffv1_8", "ffv1_10", "ffv1_444_12", "ffv1_gray16", "ffv1_rgb", "ffv1_alpha", "h264", "mjpeg", "hevc10_hdr"]
SAMPLINGS = ("420", "422", "444")
ODD = [*(f"yuv{s}p{depth}" for s in SAMPLINGS for depth in ("", "10le")), "yuv411p", "gbrp10le"]


def odd_clip(folder: Path, pixel_format: str, colour_range: str = "tv") -> Path:
    """Four frames of 97×53, in FFV1."""
    path = folder / f"{pixel_format}.mkv"
    turn = f"crop=97:53:exact=1,format={pixel_format},setparams=range={colour_range}"
    lossless = ("-frames:v", "4", "-c:v", "ffv1", "-strict", "-1", "-color_range", colour_range)
    clips.ffmpeg("-f", "lavfi", "-i", f"{clips.SOURCE},format=yuv444p,{turn}", *lossless, str(path))
    video = probe(path).video
    assert (video.width, video.height, video.format.name) == (97, 53, pixel_format)
    return path


def check_that_nothing_changes(source: Path, target: Path) -> None:
    """Strength 0 into FFV1 with a network that would change every sample."""
    encode = EncodeOptions(codec="ffv1")
    report = deblur_video(source, target, model=Constant(0.2), strength=0, encode=encode, **QUICK)
    before, after = read_all(source), read_all(target)
    assert report.frames == len(before) == len(after)
    assert all(planes_equal(a, b) for a, b in zip(before, after, strict=True))
    assert [f.colour for f in after] == [f.colour for f in before]
    assert clips.raw_frames(target) == clips.raw_frames(source), "as the FFmpeg program decodes them"


@pytest.mark.parametrize("name", EXACT)
def test_strength_0_returns_the_decoders_planes(name: str, tmp_path: Path) -> None:
    check_that_nothing_changes(clips.clip(name, frames=6), tmp_path / "out.mkv")


@pytest.mark.parametrize("colour_range", ["tv", "pc"])
@pytest.mark.parametrize("pixel_format", ODD)
def test_strength_0_at_an_odd_size(pixel_format: str, colour_range: str, tmp_path: Path) -> None:
    source = odd_clip(tmp_path, pixel_format, colour_range)
    if pixel_format.startswith("yuv"):
        assert probe(source).video.colour.range == colour_range
    check_that_nothing_changes(source, tmp_path / "out.mkv")


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_a_real_file_keeps_every_frame(count: int, lookahead: int, tmp_path: Path) -> None:
    """B-frames on both sides: decoder and encoder hold frames back, and give all of them out at the end."""
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=32x16:rate=25", "-frames:v", str(count))
    clips.ffmpeg(*picture, *clips.X264.split(), "-pix_fmt", "yuv420p", "-bf", "3", str(source))
    report = deblur_video(source, target, model=Identity(), lookahead=lookahead, **QUICK)
    before, after = read_all(source), read_all(target)
    assert report.frames == len(before) == len(after) == count
    assert [(f.pts, f.time_base) for f in after] == [(f.pts, f.time_base) for f in before]


TIMED = {
    "constant rate, B-frames": ("h264", ".mp4"),
    "variable rate": ("h264_vfr", ".mp4"),
    "variable rate, beginning late": ("h264_vfr_offset", ".mp4"),
    "beginning late in MP4": ("h264_offset_mp4", ".mp4"),
    "beginning late in Matroska": ("h264_offset", ".mkv"),
    "transport stream": ("h264_ts", ".ts"),
    "transport stream into MP4": ("h264_ts", ".mp4"),
    "ten bits, B-frames": ("hevc10_hdr", ".mp4"),
    "Matroska into MP4": ("h264_open_gop", ".mp4"),
}


@pytest.mark.parametrize("case", TIMED)
def test_timestamps_are_kept_to_the_tick(case: str, tmp_path: Path) -> None:
    name, suffix = TIMED[case]
    source, target = clips.clip(name, frames=12), tmp_path / f"out{suffix}"
    deblur_video(source, target, model=Mixing(), **QUICK)
    before, after = read_all(source), read_all(target)
    assert len(before) >= 12
    assert [(f.pts, f.time_base) for f in after] == [(f.pts, f.time_base) for f in before]
    assert (before[0].pts > 0) == ("late" in case or name == "h264_ts")
    assert (len({b.pts - a.pts for a, b in pairwise(before)}) > 1) == ("variable" in case)


def test_the_correction_arrives(tmp_path: Path) -> None:
    source, target = clips.clip("ffv1_gray", frames=4), tmp_path / "out.mkv"
    deblur_video(source, target, model=Constant(10 / 255), encode=EncodeOptions(codec="ffv1"), **QUICK)
    for before, after in zip(read_all(source), read_all(target), strict=True):
        assert np.array_equal(after.planes[0], np.minimum(before.planes[0].astype(int) + 10, 255))


def test_a_stretch_begins_at_0(tmp_path: Path) -> None:
    source, target = clips.clip("ffv1_8", frames=20), tmp_path / "out.mkv"
    seen: list[Progress] = []
    stretch = {"start_seconds": 0.2, "duration_seconds": 0.4}
    deblur_video(
        source, target, model=Identity(), progress=seen.append, encode=EncodeOptions(codec="ffv1"), **stretch, **QUICK
    )
    before, after = read_all(source), read_all(target)
    assert len(after) == 10
    assert after[0].pts == 0
    assert all(planes_equal(a, b) for a, b in zip(before[5:15], after, strict=True))
    assert seen[-1].frames_total == 10


@pytest.mark.parametrize("opened", ["path", "file object"])
def test_sound_comes_along(opened: str, tmp_path: Path) -> None:
    source, target = clips.clip("h264_audio", frames=10), tmp_path / "out.mkv"
    given: Any = source if opened == "path" else io.BytesIO(source.read_bytes())
    deblur_video(given, target, model=Identity(), **QUICK)
    assert [stream.kind for stream in probe(target).streams] == ["video", "audio"]


# --- Side by side in time, bounded in space ---------------------------------------------------------------------------


@pytest.mark.parametrize("slowest", ["read", "network", "write"])
def test_stages_overlap(run: Run, slowest: str) -> None:
    """One after the other they would take 2.2 times as long as the slowest alone."""
    seconds = {stage: 0.03 if stage == slowest else 0.018 for stage in ("read", "network", "write")}
    count = 30
    reader = FakeReader(clip(count, 4, 6), seconds=seconds["read"])
    writer = FakeWriter(seconds=seconds["write"])
    start = time.perf_counter()
    run(reader, writer, Slow(seconds["network"]))
    took = time.perf_counter() - start
    assert len(writer.frames) == count
    assert took <= scaled(1.5, below=2.2) * count * max(seconds.values())


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("slow", ["read", "network", "write"])
def test_queues_hold_few_frames(run: Run, slow: str, lookahead: int) -> None:
    def most_alive(count: int) -> int:
        watched: list[weakref.ref[Any]] = []
        most = 0

        def source() -> Iterator[Frame]:
            nonlocal most
            for frame in clip(count, 4, 6):
                watched.append(weakref.ref(frame.planes[0]))
                most = max(most, sum(plane() is not None for plane in watched))
                yield frame

        pause = {stage: 0.004 if stage == slow else 0.0 for stage in ("read", "network", "write")}
        writer = FakeWriter(seconds=pause["write"], forget=True)
        run(FakeReader(source(), seconds=pause["read"]), writer, Slow(pause["network"]), lookahead=lookahead)
        assert writer.written == count
        return most

    # three in the reader's queue, three in the window, the one in the loop and the one just made
    assert most_alive(15) <= 8
    assert most_alive(60) <= 8


def test_restored_frames_wait_in_a_bounded_queue(run: Run) -> None:
    made = 0

    class Counting(Identity):
        def correction(self, *args: Any) -> Any:
            nonlocal made
            made += 1
            return super().correction(*args)

    class Watching(FakeWriter):
        most_ahead = 0

        def write(self, frame: Frame) -> None:
            time.sleep(0.01)
            self.most_ahead = max(self.most_ahead, made - self.written)
            super().write(frame)

    writer = Watching()
    run(FakeReader(clip(30, 4, 6)), writer, Counting())
    assert 2 <= writer.most_ahead <= 4, "three in the queue and the one that waits for room"


# --- Progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_told_in_this_thread_and_ends_with_all(run: Run) -> None:
    seen: list[tuple[Progress, threading.Thread]] = []
    reader = FakeReader(clip(20, 4, 6), count=20)
    run(reader, FakeWriter(seconds=0.002), progress=lambda p: seen.append((p, threading.current_thread())))
    progress = [p for p, _ in seen]
    assert {thread for _, thread in seen} == {threading.current_thread()}
    assert [p.frames for p in progress] == sorted({p.frames for p in progress}), "each number once, rising"
    assert len(progress) >= 5
    last = progress[-1]
    assert (last.frames, last.frames_total, last.eta_seconds) == (20, 20, 0.0)
    assert last.media_seconds == pytest.approx(20 / 25)


def test_notes_are_told_before_work_starts(run: Run) -> None:
    told: list[tuple[str, int]] = []
    reader, writer = FakeReader(clip(3, 4, 6)), FakeWriter()
    report = run(reader, writer, note=lambda words: told.append((words, reader._given + writer.written)))
    assert told == [("a note of the reader", 0), ("a note of the writer", 0)]
    assert report.notes == ("a note of the reader", "a note of the writer")


def test_speeds_and_time_to_go() -> None:
    half = Progress(50, 100, media_seconds=2.0, elapsed_seconds=4.0)
    assert (half.frames_per_second, half.speed, half.eta_seconds) == (12.5, 0.5, 4.0)
    assert Progress(50, None, 2.0, 4.0).eta_seconds is None
    assert Progress(50, 40, 2.0, 4.0).eta_seconds is None, "the header lied"
    assert Progress(0, 10, 0.0, 0.0).frames_per_second == Progress(0, 10, 0.0, 0.0).speed == 0.0


# --- Failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (SourceError("broken at byte 7"), SourceError, "read at 0.120 s: broken at byte 7"),
        (OSError("pulled out\nsecond line"), SourceError, "read at 0.120 s: OSError: pulled out"),
    ],
)
def test_a_failing_reader(run: Run, failure: Exception, kind: type[VdeblurError], message: str) -> None:
    reader, writer = FakeReader(clip(10), failure=(4, failure)), FakeWriter()
    with pytest.raises(kind) as caught:
        run(reader, writer)
    assert str(caught.value) == message
    assert (reader.closed, writer.aborted) == (True, True)


def test_a_source_that_ends_too_early_is_no_success(run: Run) -> None:
    class SegmentEnd(FakeReader):
        @property
        def shortfall(self) -> str | None:  # type: ignore[override]
            return "it is cut off" if self._given > 5 else None

    reader, writer = SegmentEnd(clip(5)), FakeWriter()
    with pytest.raises(SourceError, match=r"^read at 0\.160 s: it is cut off; a shorter duration restores what is"):
        run(reader, writer)
    assert (reader.closed, writer.aborted, writer.closed) == (True, True, False)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (TargetError("disk full"), TargetError, "write at 0.120 s: disk full"),
        (BrokenPipeError("gone"), TargetError, "write at 0.120 s: BrokenPipeError: gone"),
    ],
)
def test_a_failing_writer(run: Run, failure: Exception, kind: type[VdeblurError], message: str) -> None:
    reader, writer = FakeReader(clip(10)), FakeWriter(failure=(3, failure))
    with pytest.raises(kind) as caught:
        run(reader, writer)
    assert str(caught.value) == message
    assert (reader.closed, writer.aborted) == (True, True)


def test_a_writer_that_fails_at_the_end(run: Run) -> None:
    writer = FakeWriter(failure=(-1, TargetError("FFmpeg ended with 1")))
    with pytest.raises(TargetError, match=r"^write at 0\.160 s: FFmpeg ended with 1$"):
        run(FakeReader(clip(5)), writer)
    assert writer.aborted


@pytest.mark.parametrize("error", [NetworkError("bad"), RuntimeError("bad"), MemoryError()])
def test_a_failing_network(run: Run, error: Exception) -> None:
    reader, writer = FakeReader(clip(10)), FakeWriter()
    with pytest.raises(
        DeviceError if isinstance(error, MemoryError) else NetworkError, match=r"^network at 0\.120 s: "
    ):
        run(reader, writer, Failing(3, error))
    assert (reader.closed, writer.aborted) == (True, True)


def test_a_failing_progress_callback_stops_the_job(run: Run) -> None:
    def progress(_: Progress) -> None:
        raise ZeroDivisionError

    reader, writer = FakeReader(clip(10)), FakeWriter()
    with pytest.raises(ZeroDivisionError):
        run(reader, writer, progress=progress)
    assert (reader.closed, writer.aborted) == (True, True)


@pytest.mark.parametrize("where", ["network", "progress", "reader", "writer"])
def test_an_interrupt_closes_everything(run: Run, where: str) -> None:
    """In the main thread; a worker passes on what its own call raises."""
    error = KeyboardInterrupt()
    reader = FakeReader(clip(10), failure=(3, error) if where == "reader" else None)
    writer = FakeWriter(failure=(3, error) if where == "writer" else None)

    def progress(_: Progress) -> None:
        if where == "progress":
            raise error

    with pytest.raises(Interrupted, match=r"stopped by Ctrl-C before out\.mp4 was complete") as caught:
        run(reader, writer, Failing(3, error) if where == "network" else Identity(), progress=progress)
    assert type(caught.value.__cause__) is KeyboardInterrupt
    assert (reader.closed, writer.aborted) == (True, True)


def test_a_reader_that_waits_for_data_is_woken(run: Run) -> None:
    woken = threading.Event()

    class Waiting(FakeReader):
        def __next__(self) -> Frame:
            if self._given == 3:
                woken.wait(20)
                raise StopIteration
            return super().__next__()

        def close(self) -> None:
            woken.set()
            super().close()

    start = time.perf_counter()
    with pytest.raises(NetworkError):
        run(Waiting(clip(10)), FakeWriter(), Failing(0, RuntimeError("bad")))
    assert time.perf_counter() - start < scaled(4, below=20)


def test_a_writer_that_waits_for_ffmpeg_is_woken(run: Run) -> None:
    woken = threading.Event()

    class Waiting(FakeWriter):
        def write(self, frame: Frame) -> None:
            woken.wait(20)

        def abort(self) -> None:
            woken.set()
            super().abort()

    start = time.perf_counter()
    with pytest.raises(NetworkError):
        run(FakeReader(clip(10)), Waiting(), Failing(2, RuntimeError("bad")))
    assert time.perf_counter() - start < scaled(4, below=20)


def test_a_change_of_size_in_the_middle_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [*clip(3), *clip(3, 20, 40, start=3 * 512)]
    monkeypatch.setattr(pipeline_module, "Reader", lambda source, **_: FakeReader(frames))
    monkeypatch.setattr(pipeline_module, "_can_be_read_only_once", lambda source: False)
    with pytest.raises(TargetError, match=r"^write at 0\.120 s: a frame of 40×20 yuv420p does not fit .*52×36"):
        deblur_video("in.nut", tmp_path / "out.mkv", model=Identity(), **QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": 3}, "strength cannot be 3"),
        ({"lookahead": 5}, "lookahead cannot be 5"),
        ({"compare": "above"}, "compare cannot be 'above'; it is side or split"),
        ({"device": "tpu"}, "device cannot be 'tpu'"),
        ({"model": "nonesuch"}, "nonesuch"),
        ({"encode": EncodeOptions(codec="h26x")}, "h26x"),
        ({"start_seconds": -1.0}, "start cannot be -1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(options: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        deblur_video(clips.clip("ffv1_8"), tmp_path / "out.mkv", **{"model": Identity(), **QUICK, **options})
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_target_alone(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    target.write_bytes(b"precious")
    source = clips.clip("ffv1_8")
    with pytest.raises(UsageError):
        deblur_video(source, target, model=Identity(), **QUICK)
    with pytest.raises(NetworkError, match=r"network at 0\.4"):
        deblur_video(source, target, model=Failing(10, RuntimeError("bad")), overwrite=True, **QUICK)
    assert target.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


INTERRUPTED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from support.doubles import Slow
    from vdeblur import Interrupted, deblur_video

    def progress(p):
        if p.frames >= 3:
            print("going", flush=True)
    try:
        deblur_video(sys.argv[2], sys.argv[3], model=Slow(0.05), device="cpu", precision="float32", progress=progress)
    except Interrupted as exc:
        print(exc)
        raise SystemExit(exc.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_a_real_ctrl_c(tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(TESTS)]
    with subprocess.Popen(
        [*command, str(clips.clip("h264")), str(target)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGINT)
        words = process.communicate(timeout=patience(30))[0]
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in words
    assert list(tmp_path.iterdir()) == []


# --- Compare ----------------------------------------------------------------------------------------------------------


def test_compare_shows_before_and_after(tmp_path: Path) -> None:
    source, target = odd_clip(tmp_path, "yuv420p"), tmp_path / "out.mkv"
    encode = EncodeOptions(codec="ffv1")
    deblur_video(source, target, model=Constant(0.1), compare="side", encode=encode, **QUICK)
    for before, shown in zip(read_all(source), read_all(target), strict=True):
        assert shown.size == (53, 196)
        assert np.array_equal(shown.planes[0][:, :97], before.planes[0])
        assert np.all(shown.planes[0][:, 98:195].astype(int) >= before.planes[0])
        assert shown.pts * shown.time_base == before.pts * before.time_base


def test_compare_sizes_the_writer_and_turns_with_the_video(run: Run) -> None:
    for rotation, size in ((0, (36, 104)), (90, (72, 52))):
        writer = FakeWriter()
        run(FakeReader(clip(3), rotation_degrees=rotation), writer, Constant(0.1), compare="side")
        assert (writer.options["height"], writer.options["width"]) == size
        assert [frame.size for frame in writer.frames] == [size] * 3


def test_frame_totals() -> None:
    video = FakeReader(clip(1, colour=BT709), count=100).info.video
    assert expected_frames(video, None, None) == 100
    assert expected_frames(video, 1.0, None) == 75
    assert expected_frames(video, 3.0, 5.0) == 25
    assert expected_frames(video, None, 0.5) == 12
    unknown = FakeReader(clip(1)).info.video
    assert expected_frames(unknown, None, None) is None
    assert expected_frames(unknown, None, 2.0) == 50
    assert Fraction(25) == video.average_rate
