"""Resume: an interrupted job goes on where it stopped, and what comes out is what would have come without a stop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clips import clip
from doubles import Mixing
from writing import packets, read_all, same_samples, ticks

from vdeblur import resuming
from vdeblur.errors import Interrupted
from vdeblur.pipeline import deblur_video
from vdeblur.video.encoding import EncodeOptions
from vdeblur.video.journal import Journal

QUICK: dict[str, Any] = {"device": "cpu", "precision": "float32", "model": Mixing()}
LOSSLESS = EncodeOptions(codec="ffv1")


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "LEAST_FRAMES", 7)


def after(frames: int) -> Callable[[], bool]:
    """Stop when so many frames have been restored."""
    count = itertools.count(1)
    return lambda: next(count) >= frames


def folder_of(target: Path) -> Path:
    return Journal(target).folder


def restore(source: Path, target: Path, **options: Any) -> Any:
    return deblur_video(source, target, **{"segment_seconds": 0, "encode": LOSSLESS, **QUICK, **options})


def stopped(source: Path, target: Path, frames: int, **options: Any) -> Interrupted:
    with pytest.raises(Interrupted) as caught:
        restore(source, target, stop=after(frames), **options)
    return caught.value


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
    assert f"{frames} frames are kept" in str(error)
    assert not resumed.exists()
    report = restore(source, resumed, resume=True, lookahead=lookahead)
    assert report.frames == 40
    assert same_samples(read_all(resumed), read_all(whole))
    assert ticks(resumed) == ticks(whole)
    assert packets(resumed, 1) == packets(whole, 1)
    assert not folder_of(resumed).exists()
