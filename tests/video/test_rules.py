"""Adding a container or an encoder is a row of its table: the examples of CONTRIBUTING, run as they stand there."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.doubles import Identity
from support.media.clips import clip
from support.media.writing import kinds, packets, read_all, ticks
from support.paths import ROOT
from vdeblur.errors import UsageError
from vdeblur.pipeline.deblur_video import EncodeOptions, Report, deblur_video
from vdeblur.video.encode import containers, encoders
from vdeblur.video.encode.containers import Container, container_of
from vdeblur.video.encode.encoders import Encoder, find_encoder
from vdeblur.video.ffmpeg.executable import encoder_details, video_encoders
from vdeblur.video.source.reader import probe


def example(heading: str) -> Any:
    """The row in the block of code that follows a heading of CONTRIBUTING."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^### {heading}\n(.*?)(?=^#|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    [block] = re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    return eval(block, {"Container": Container, "Encoder": Encoder, "Fraction": Fraction})


def restored(source: Path, target: Path, **options: Any) -> Report:
    return deblur_video(
        source, target, model=Identity(), encode=EncodeOptions(**options), device="cpu", precision="float32"
    )


def test_a_container_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, source = example("Add a container"), clip("h264_audio", frames=12)
    target = tmp_path / f"out.{row.endings[0]}"
    assert row.muxer not in {known.muxer for known in containers.CONTAINERS}
    with pytest.raises(UsageError, match="does not keep times exactly"):
        restored(source, target)
    monkeypatch.setattr(containers, "CONTAINERS", (*containers.CONTAINERS, row))
    assert container_of(target.name) is row
    report = restored(source, target)
    assert (report.frames, report.summary) == (12, "kept: 1 audio")
    assert ticks(target) == ticks(source)
    assert kinds(target) == ["video", "audio"]
    assert packets(target, 1) == packets(source, 1)
    assert probe(target).video.codec == "h264"
    with pytest.raises(UsageError, match=r"cannot encode .* into F4V"):
        restored(source, tmp_path / f"deep.{row.endings[0]}", pixel_format="yuv420p10le")


def test_an_encoder_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, source, target = example("Add an encoder"), clip("ffv1_10", frames=6), tmp_path / "out.mov"
    if encoder_details(row.name) is None:
        pytest.skip(f"this FFmpeg has no {row.name}")
    [alias] = row.aliases
    assert row.name not in {known.name for known in encoders.ENCODERS}
    assert alias not in video_encoders()
    with pytest.raises(UsageError, match=f"no video encoder '{alias}'"):
        restored(source, target, codec=alias)
    monkeypatch.setattr(encoders, "ENCODERS", (*encoders.ENCODERS, row))
    assert find_encoder(row.name) is row
    report = restored(source, target, codec=alias)
    before, after = read_all(source), read_all(target)
    assert report.frames == len(after) == len(before) == 6
    assert probe(target).video.codec == row.name
    assert [frame.pts * frame.time_base for frame in after] == [frame.pts * frame.time_base for frame in before]
    for one, other in zip(before, after, strict=True):
        assert one.format == other.format
        assert np.abs(np.asarray(one.planes[0], int) - np.asarray(other.planes[0], int)).mean() < 1, "of 1023 levels"
    low, high = row.quality_range
    with pytest.raises(UsageError, match=f"out of range for {row.name}; it takes {low:g} to {high:g}"):
        restored(source, tmp_path / "worse.mov", codec=alias, crf=high + 1)
