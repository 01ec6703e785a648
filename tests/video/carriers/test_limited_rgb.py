"""R'G'B' of limited range, as screen recorders and capture cards make it, is never called full."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.media.clips import ffmpeg
from support.media.corpus_streams import VIDEO
from support.media.writing import copy, read_all, same_samples

LIMITED = "-c:v libx264rgb -preset ultrafast -qp 0 -pix_fmt gbrp -bsf:v h264_metadata=video_full_range_flag=0 -t 0.2"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rgb") / "in.mp4"
    ffmpeg(*f"{VIDEO} {LIMITED}".split(), str(path))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "exact"), [
        (".mp4", "h264", False), (".mov", "hevc", False), (".mkv", "h264", False), (".mkv", "ffv1", True),
    ],
)  # fmt: skip
def test_limited_stays_limited(suffix: str, codec: str, exact: bool, limited: Path, tmp_path: Path) -> None:
    target = tmp_path / f"out{suffix}"
    writer = copy(limited, target, codec=codec)
    before, after = read_all(limited), read_all(target)
    assert (before[0].colour.range, after[0].colour.range) == ("tv", "tv")
    assert same_samples(before, after) or not exact
    assert not any("range" in note for note in writer.notes)


def test_a_container_without_a_word_for_it_says_so(limited: Path, tmp_path: Path) -> None:
    writer = copy(limited, tmp_path / "out.avi")
    assert "ffv1 in AVI does not keep: limited range" in writer.notes


def test_full_is_not_called_limited(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    ffmpeg(*f"{VIDEO} {LIMITED.replace('flag=0', 'flag=1')}".split(), str(path))
    copy(path, tmp_path / "out.mkv", codec="ffv1")
    assert read_all(tmp_path / "out.mkv")[0].colour.range == "pc"
