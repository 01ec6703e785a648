"""Every pixel format that an encoder takes, in the container of its segments: each piece can be read again."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from support.doubles import Identity
from support.media.clips import ffmpeg
from support.media.writing import read_all
from vdeblur.errors import SourceError, TargetError
from vdeblur.frames import Colour, PixelFormat
from vdeblur.pipeline.deblur_video import deblur_video
from vdeblur.video.encode.containers import CONTAINERS, Container, container_of
from vdeblur.video.encode.encoder_options import EncodeOptions, encoder_settings
from vdeblur.video.encode.encoders import ENCODERS, Encoder
from vdeblur.video.encode.raw_video import RawMuxer, RawVideoSpec, flat_frame
from vdeblur.video.encode.video_plan import VideoPlan
from vdeblur.video.ffmpeg.command import Input, Output, OutputStream, build_command, file_url
from vdeblur.video.ffmpeg.executable import encoder_details
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.segments.joining import inspect_segment, segment_container
from vdeblur.video.source.reader import Reader

TIMES = (0, 1, 2)
#: Whose segments are all alike, and slow to make.
_SLOW = {"libsvtav1": "12", "libaom-av1": "8", "libvpx-vp9": "8", "libx265": "ultrafast", "libx264": "ultrafast"}
_WITH_SEGMENTS = [encoder for encoder in ENCODERS if encoder.segment_muxer is not None and "nvenc" not in encoder.name]


def target_of(encoder: Encoder) -> Container:
    """A container that takes segments, and that this encoder is for."""
    return next(row for row in CONTAINERS if row.takes_segments and row.muxer in ("matroska", "mov"))


def formats_of(encoder: Encoder) -> list[tuple[str, PixelFormat]]:
    """Pixel formats that it offers and that frames can have, each only once."""
    details = encoder_details(encoder.name)
    found: dict[str, tuple[str, PixelFormat]] = {}
    for name in details.pixel_formats if details is not None else ():
        try:
            found.setdefault(canonical_format(name).name, (name, canonical_format(name)))
        except SourceError:
            continue
    return list(found.values())


def segment(encoder: Encoder, name: str, frames: PixelFormat, folder: Path) -> Path | None:
    """A segment as a job would write it; ``None`` where it would make none."""
    spec = RawVideoSpec(frames, Colour(), 64, 48, Fraction(1, 25), Fraction(25))
    options = EncodeOptions(preset=_SLOW.get(encoder.name))
    settings = encoder_settings(container_of("mkv"), spec, encoder, name, options)
    plan = VideoPlan(encoder, name, settings.input_options, settings.options, False, ())
    carrier = segment_container(plan, target_of(encoder), spec)
    if carrier is None:
        return None
    path = folder / f"{encoder.name} {name}.{carrier.muxer}"
    raw = io.BytesIO()
    muxer = RawMuxer(raw, spec)
    for pts in TIMES:
        muxer.write(flat_frame(spec, pts, 60 + 20 * pts), pts)
    muxer.close()
    output = Output(file_url(str(path)), carrier.muxer, carrier.time_options(spec.time_base))
    stream = OutputStream(0, from_pipe=True, options=plan.options)
    command = build_command(Input("pipe:0", plan.input_options), [stream], output)
    done = subprocess.run(command, input=raw.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return path


@pytest.mark.parametrize("encoder", _WITH_SEGMENTS, ids=lambda encoder: encoder.name)
def test_every_format_in_the_carrier_of_its_segments(encoder: Encoder, tmp_path: Path) -> None:
    made = 0
    for name, frames in formats_of(encoder):
        path = segment(encoder, name, frames, tmp_path)
        if path is None:
            assert frames.alpha
            continue
        assert inspect_segment(path, TIMES).times == TIMES
        with Reader(path, threads=1) as reader:
            assert len(list(reader)) == len(TIMES)
            found = reader.info.video.format
        # H.264 has no grey of its own here, ProRes has twelve bits, and layers of alpha are not decoded.
        assert found.bits >= frames.bits, name
        assert found.chroma_shift == frames.chroma_shift or frames.family == "gray", name
        made += 1
    assert made > 1


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@pytest.mark.parametrize("name", ["yuv440p", "yuv440p10le"])
def test_a_job_with_half_as_many_rows_of_chroma(name: str, suffix: str, tmp_path: Path) -> None:
    source = tmp_path / "a.webm"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-frames:v", "6", "-pix_fmt", name, "-c:v", "libvpx-vp9",
           "-deadline", "realtime", "-cpu-used", "8", str(source))  # fmt: skip
    target = tmp_path / f"out{suffix}"
    report = deblur_video(source, target, model=Identity(), device="cpu", encode=EncodeOptions(preset="8"))
    assert report.frames == 6
    before, after = read_all(source), read_all(target)
    assert {frame.format.name for frame in after} == {name}
    assert [frame.pts for frame in after] == [frame.pts for frame in before]


@pytest.mark.parametrize("data", [b"", b"no video at all" * 50])
def test_a_piece_that_cannot_be_read_is_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(
        TargetError, match=r"a piece of the result cannot be read again .*segment_seconds=None may help"
    ):
        inspect_segment(tmp_path / "a.mp4", TIMES)
