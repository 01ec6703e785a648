"""Resume: an interrupted job goes on where it stopped, and what comes out is what would have come without a stop."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.doubles import Mixing
from support.guides import some_guide
from support.interruptions import restore, stopped
from support.media.clips import clip, copy_of, ffmpeg
from support.media.writing import packets, read_all, same_samples, ticks
from vdeblur.errors import Interrupted, NetworkError, SourceError, TargetError, UsageError
from vdeblur.frames import Frame
from vdeblur.model.checkpoint import save_network
from vdeblur.pipeline import resume as pipeline_resume
from vdeblur.video.ffmpeg.user_arguments import sort_arguments
from vdeblur.video.info import VideoInfo
from vdeblur.video.segments.file_lock import FileLock
from vdeblur.video.segments.journal import Journal
from vdeblur.video.sink.encoder_process import SegmentJoin
from vdeblur.video.sink.writer import EncodeOptions, Writer
from vdeblur.video.source.reader import Reader, probe


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_resume, "LEAST_FRAMES", 7)


def folder_of(target: Path) -> Path:
    return Journal(target).folder


def test_pieces_give_what_one_piece_gives(tmp_path: Path) -> None:
    source = clip("h264_audio")
    whole, pieces = tmp_path / "whole.mkv", tmp_path / "pieces.mkv"
    restore(source, whole, segment_seconds=None)
    report = restore(source, pieces)
    assert report.frames == len(read_all(source))
    assert same_samples(read_all(pieces), read_all(whole))
    assert ticks(pieces) == ticks(whole)
    assert packets(pieces, 1) == packets(whole, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pieces.mkv", "whole.mkv"]


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("frames", [1, 7, 8, 20, 39])
def test_a_stopped_job_goes_on_to_the_same_result(frames: int, lookahead: int, tmp_path: Path) -> None:
    source = clip("h264_audio")
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    restore(source, whole, segment_seconds=None, lookahead=lookahead)
    error = stopped(source, resumed, frames, lookahead=lookahead)
    assert f"{frames} frame{'s are' if frames > 1 else ' is'} kept" in str(error)
    assert not resumed.exists()
    report = restore(source, resumed, resume=True, lookahead=lookahead)
    assert report.frames == 40
    assert same_samples(read_all(resumed), read_all(whole))
    assert ticks(resumed) == ticks(whole)
    assert packets(resumed, 1) == packets(whole, 1)
    assert not folder_of(resumed).exists()


@pytest.mark.parametrize("lookahead", [0, 1])
def test_stopped_at_every_frame_in_turn(lookahead: int, tmp_path: Path) -> None:
    """The state, the window and the search for cuts go on exactly, across a cut too; with the real network."""
    source = make_cut(tmp_path / "source.mkv")
    model = {"model": "fast", "precision": "auto", "lookahead": lookahead}
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    restore(source, whole, segment_seconds=None, **model)
    stopped(source, resumed, 1, **model)
    for done in range(2, 10):
        with pytest.raises(Interrupted, match=f"{done} frames are kept"):
            restore(source, resumed, resume=True, stop=lambda: True, **model)
    restore(source, resumed, resume=True, **model)
    assert same_samples(read_all(resumed), read_all(whole))


def make_cut(path: Path) -> Path:
    """Ten small moving frames with a cut in the middle."""
    graph = "testsrc2=size=64x64:rate=25[a];mandelbrot=size=64x64:rate=25[b];[a]trim=end_frame=5[c];[b]trim=end_frame=5"
    output = ["-pix_fmt", "yuv420p", "-c:v", "ffv1", str(path)]
    ffmpeg("-filter_complex", f"{graph}[d];[c][d]concat=n=2", *output)
    return path


def test_a_failure_keeps_the_finished_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = clip("h264_audio")
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    restore(source, whole, segment_seconds=None)
    write = Writer.write

    def failing(writer: Writer, frame: Frame) -> None:
        if frame.time_seconds > 1:
            raise OSError(28, "No space left on device")
        write(writer, frame)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", failing)
        with pytest.raises(TargetError, match=r"No space left on device; 21 frames are kept: .*resume=True"):
            restore(source, target)
    assert not target.exists()
    restore(source, target, resume=True)
    assert same_samples(read_all(target), read_all(whole))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv", "whole.mkv"]


def test_a_failure_before_the_first_piece_leaves_nothing(tmp_path: Path) -> None:
    class Broken(Mixing):
        def correction(self, *_: Any) -> Any:
            raise RuntimeError("broken")

    with pytest.raises(NetworkError) as caught:
        restore(clip("h264_audio"), tmp_path / "out.mkv", model=Broken())
    assert caught.value.kept is None
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_is_whole_but_not_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, whole, target = clip("h264_audio"), tmp_path / "whole.mkv", tmp_path / "out.mkv"
    restore(source, whole, segment_seconds=None)

    def full(*_: Any) -> None:
        raise TargetError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SegmentJoin, "run", full)
        with pytest.raises(TargetError, match="40 frames are kept"):
            restore(source, target)
        patch.setattr("vdeblur.pipeline.loop.Loop._restore", full)  # nothing is restored again
    report = restore(source, target, resume=True)
    assert report.frames == 40
    assert same_samples(read_all(target), read_all(whole))


def test_an_interrupted_job_is_not_thrown_away_by_mistake(tmp_path: Path) -> None:
    source, target = clip("h264_audio"), tmp_path / "out.mkv"
    stopped(source, target, 10)
    with pytest.raises(
        UsageError, match=r"interrupted job for .*out\.mkv is there, 10 frames done; resume=True .* overwrite=True"
    ):
        restore(source, target)
    assert folder_of(target).is_dir()
    report = restore(source, target, overwrite=True)
    assert report.frames == 40
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    source, target = clip("h264_audio"), tmp_path / "out.mkv"
    with pytest.raises(UsageError, match="no interrupted job"):
        restore(source, target, resume=True)
    with pytest.raises(UsageError, match="pipe"):
        restore(source, "-", resume=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strength": 0.5}, "strength was 1.0 .* and is 0.5 now"),
        ({"lookahead": 0}, "lookahead was 1 .* and is 0 now"),
        ({"reduce": 2}, "reduce was 1 .* and is 2 now; give reduce=1 again"),
        (
            {"encode": EncodeOptions(codec="ffv1", pixel_format="yuv444p")},
            "pixel_format was not given .* and is yuv444p now; leave out pixel_format='yuv444p'",
        ),
        ({"encode": EncodeOptions()}, "codec was ffv1 .* and is not given now; give codec='ffv1' again"),
        (
            {"encode": EncodeOptions(codec="ffv1", ffmpeg_args=("-g", "5"))},
            "ffmpeg_args was not given .* and is -g 5 now; leave out ffmpeg_args=",
        ),
        ({"compare": "side"}, "compare was not given .* and is side now; leave out compare='side'"),
        ({"duration_seconds": 1.0}, "duration_seconds was not given .* and is 1.0 now"),
        ({"precision": "bfloat16"}, "precision was float32 .* and is bfloat16 now; give precision='float32' again"),
        ({"size_change": "fit"}, "size_change was stop .* and is fit now; give size_change='stop' again"),
        ({"model": "fast"}, "model was Mixing .* and is fast now; give model='Mixing' again"),
    ],
    ids=[
        "strength",
        "lookahead",
        "reduce",
        "pixels",
        "codec",
        "arguments",
        "compare",
        "duration",
        "precision",
        "fit",
        "network",
    ],
)
def test_a_job_goes_on_in_its_own_terms_only(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    source, target = clip("h264_audio"), tmp_path / "out.mkv"
    stopped(source, target, 10)
    with pytest.raises(UsageError, match=f"cannot go on with .*{words}"):
        restore(source, target, resume=True, **change)
    assert restore(source, target, resume=True).frames == 40


def test_a_source_that_has_changed(tmp_path: Path) -> None:
    source, target = copy_of(clip("h264_audio"), tmp_path, "in.mp4"), tmp_path / "out.mkv"
    stopped(source, target, 10)
    os.utime(source, ns=(0, 0))
    with pytest.raises(UsageError, match="source was"):
        restore(source, target, resume=True)


def test_weights_that_have_changed_behind_the_same_name(tmp_path: Path) -> None:
    source, target, guide = clip("h264_audio"), tmp_path / "out.mkv", tmp_path / "mine.safetensors"
    network = some_guide()
    save_network(network, guide, {})
    stopped(source, target, 10, guide=guide)
    network.leave.weight.data.neg_()
    save_network(network, guide, {})
    with pytest.raises(UsageError, match="the weights of its guide have changed since the job began"):
        restore(source, target, resume=True, guide=guide)


def test_a_source_with_other_frames_behind_the_same_name(tmp_path: Path) -> None:
    source, target = copy_of(clip("h264_audio"), tmp_path, "in.mp4"), tmp_path / "out.mkv"
    stopped(source, target, 10)
    status = source.stat()
    other = tmp_path / "other.mp4"
    ffmpeg("-i", str(source), "-vf", "negate", "-c:a", "copy", str(other))
    source.write_bytes(other.read_bytes()[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(SourceError):
        restore(source, target, resume=True)


def test_a_jump_that_decodes_something_else_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, whole, target = clip("h264_audio"), tmp_path / "whole.mkv", tmp_path / "out.mkv"
    restore(source, whole, segment_seconds=None)
    stopped(source, target, 10)
    take = Reader.__next__
    jumped: list[Reader] = []

    def jump(reader: Reader, pts: int) -> bool:
        jumped.append(reader)
        return True  # it has not jumped at all: the first frame comes next

    monkeypatch.setattr(Reader, "skip_to", jump)
    restore(source, target, resume=True)
    assert jumped
    assert take is Reader.__next__
    assert same_samples(read_all(target), read_all(whole))


@pytest.mark.parametrize("damage", ["record", "memory", "piece"])
def test_a_damaged_journal_is_said(damage: str, tmp_path: Path) -> None:
    source, target = clip("h264_audio"), tmp_path / "out.mkv"
    stopped(source, target, 10)
    folder = folder_of(target)
    if damage == "record":
        (folder / "job.json").write_text("{")
    elif damage == "memory":
        next(folder.glob("memory-*")).write_bytes(b"nothing")
    else:
        next(folder.glob("segment-*")).unlink()
    with pytest.raises(TargetError, match="begins anew"):
        restore(source, target, resume=True)
    assert restore(source, target, overwrite=True).frames == 40


def test_the_record_is_replaced_as_a_whole(tmp_path: Path) -> None:
    source, target = clip("h264_audio"), tmp_path / "out.mkv"
    stopped(source, target, 20)
    record = json.loads((folder_of(target) / "job.json").read_text())
    assert [len(segment["times"]) for segment in record["segments"]] == [7, 7, 6]
    names = sorted(path.name for path in folder_of(target).iterdir())
    assert names == [
        "job.json",
        "lock",
        "memory-00000020.safetensors",
        *(f"segment-0000{n}.matroska" for n in range(3)),
    ]


# --- Two at once ------------------------------------------------------------------------------------------------------


def test_two_jobs_do_not_write_to_one_target(tmp_path: Path) -> None:
    source, target = clip("h264_audio"), tmp_path / "out.mkv"
    heard: list[str] = []

    def second() -> bool:
        if not heard:
            with pytest.raises(TargetError, match=r"another vdeblur is writing .*out\.mkv") as caught:
                restore(source, target, overwrite=True)
            heard.append(str(caught.value))
        return False

    assert restore(source, target, stop=second).frames == 40
    assert heard
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_a_lock_ends_with_its_owner(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.take()
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


# --- Every kind of target ---------------------------------------------------------------------------------------------

KINDS = {
    "h264 with B-frames": ("h264", "out.mp4", {}),
    "h264 in mov": ("h264_audio", "out.mov", {"codec": "h264"}),
    "h264 in ts": ("h264_ts", "out.ts", {}),
    "h264 vfr, late": ("h264_vfr_offset", "out.mp4", {}),
    "h264 vfr in mkv": ("h264_vfr", "out.mkv", {"codec": "h264"}),
    "hevc hdr": ("hevc10_hdr", "out.mp4", {"preset": "ultrafast"}),
    "hevc hdr in mkv": ("hevc10_hdr", "out.mkv", {"codec": "hevc", "preset": "ultrafast"}),
    "av1 hdr": ("hevc10_hdr", "out.mp4", {"codec": "av1", "preset": "8"}),
    "vp9": ("vp9", "out.webm", {}),
    "prores": ("anamorphic", "out.mov", {"codec": "prores"}),
    "ffv1, odd shape": ("anamorphic", "out.mkv", {"codec": "ffv1"}),
    "h264, odd shape": ("anamorphic", "out.mkv", {"codec": "h264"}),
    "turned": ("rotated", "out.mp4", {}),
    "everything": ("everything", "out.mkv", {}),
    "full range": ("mjpeg", "out.mkv", {"codec": "ffv1"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_say_what_one_piece_says(kind: str, tmp_path: Path) -> None:
    """Times, tags, shape, turn, HDR, order of streams: all as without pieces."""
    name, target, encode = KINDS[kind]
    options = EncodeOptions(**encode)
    whole, pieces = tmp_path / f"whole_{target}", tmp_path / f"pieces_{target}"
    restore(clip(name), whole, segment_seconds=None, encode=options, model=Mixing())
    stopped(clip(name), pieces, 10, encode=options)
    restore(clip(name), pieces, encode=options, resume=True)
    assert times(pieces) == times(whole)
    assert description(probe(pieces).video) == description(probe(whole).video)
    assert [stream_words(stream) for stream in probe(pieces).streams] == [
        stream_words(stream) for stream in probe(whole).streams
    ]
    assert probe(pieces).metadata == probe(whole).metadata
    assert decoding_times_rise(pieces)
    assert mean_difference(read_all(pieces), read_all(whole)) < 0.02


def times(path: Path) -> list[Any]:
    return ticks(path)


def description(video: VideoInfo) -> tuple[Any, ...]:
    # YUV that does not say is limited.
    colour = replace(video.colour, range=video.colour.range or "tv")
    return (
        video.codec, video.width, video.height, video.pixel_format, colour, video.time_base, video.start_pts,
        video.rotation_degrees, video.display_matrix, video.sample_aspect_ratio or 1, video.mastering_display,
        video.content_light,
    )  # fmt: skip


def stream_words(stream: Any) -> tuple[Any, ...]:
    return stream.kind, stream.codec, stream.language, stream.title, stream.default, stream.forced


def decoding_times_rise(path: Path) -> bool:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = [packet.dts for packet in container.demux(stream) if packet.size and packet.dts is not None]
        return all(before < behind for before, behind in itertools.pairwise(found))


def mean_difference(one: list[Frame], other: list[Frame]) -> float:
    """Of the samples, as a share of their range; pieces are encoded each by itself, so they differ a little."""
    shares = [
        np.abs(a.planes[0].astype(float) - b.planes[0]).mean() / a.format.peak for a, b in zip(one, other, strict=True)
    ]
    return float(np.mean(shares))


@pytest.mark.parametrize(
    ("size", "shape", "target", "codec"),
    [
        ("854x480", "1/1", "out.mp4", "h264"),
        ("162x98", "97/91", "out.mp4", "h264"),
        ("162x98", "97/91", "out.mkv", "hevc"),
        ("162x98", "97/91", "out.mkv", "ffv1"),
        ("162x98", "97/91", "out.mov", "prores"),
        ("720x576", "64/45", "out.mov", "prores"),
    ],
)
def test_the_shape_of_pixels_is_exact(size: str, shape: str, target: str, codec: str, tmp_path: Path) -> None:
    """FFmpeg's -aspect rounds; where it would, the video is made in one."""
    source = tmp_path / "in.mkv"
    graph = f"testsrc2=size={size}:rate=25,setsar={shape}:max=1000,format=yuv422p"
    ffmpeg("-f", "lavfi", "-i", graph, "-frames:v", "8", "-c:v", "ffv1", str(source))
    preset = None if codec in ("ffv1", "prores") else "ultrafast"
    restore(source, tmp_path / target, encode=EncodeOptions(codec=codec, preset=preset))
    assert (probe(tmp_path / target).video.sample_aspect_ratio or 1) == Fraction(shape)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("out.gif", {}),
        ("out.avi", {}),
        ("out_%03d.png", {}),
        ("out.mkv", {"codec": "ffv1", "ffmpeg_args": ("-vf", "hue=s=0")}),
    ],
    ids=["gif", "avi", "pictures", "filter"],
)
def test_what_cannot_be_made_in_pieces_is_made_in_one(target: str, options: Any, tmp_path: Path) -> None:
    source, encode = clip("h264_audio"), EncodeOptions(drop=("audio",), **options)
    assert restore(source, tmp_path / target, encode=encode).frames == 40
    with pytest.raises(UsageError, match=r"cannot be made in pieces|nothing is there"):
        restore(source, tmp_path / f"other_{target}", encode=encode, resume=True)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_options_go_where_they_belong(tmp_path: Path) -> None:
    arguments = ("-tune", "grain", "-c:a", "flac", "-metadata", "title=Pieces", "-g", "5")
    assert sort_arguments(arguments) == (
        ("-tune", "grain", "-g", "5"),
        ("-c:a", "flac", "-metadata", "title=Pieces"),
        None,
    )
    assert sort_arguments(("-t", "3")).unknown == "-t"
    assert sort_arguments(("-c:v", "libx264")).unknown == "-c:v"
    target = tmp_path / "out.mkv"
    encode = EncodeOptions(codec="h264", ffmpeg_args=arguments)
    stopped(clip("h264_audio"), target, 10, encode=encode)
    restore(clip("h264_audio"), target, encode=encode, resume=True)
    found = probe(target)
    assert [stream.codec for stream in found.streams] == ["h264", "flac"]
    assert found.metadata["title"] == "Pieces"
