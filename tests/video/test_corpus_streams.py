"""Nothing beside the video is lost: every kind of file of the corpus into every container of its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.media.corpus_streams import CASES, KINDS, Fate, source
from support.media.looking import losses
from vdeblur.errors import UsageError
from vdeblur.pipeline.deblur_video import Report, deblur_video
from vdeblur.video.encode.encoder_options import EncodeOptions


def restore(name: str, target: Path, fate: Fate) -> Report:
    encode = EncodeOptions(drop=fate.drop)
    return deblur_video(source(name), target, strength=0, device="cpu", encode=encode)


@pytest.mark.parametrize(("name", "suffix"), CASES, ids=lambda value: value.removeprefix("."))
def test_nothing_is_lost(name: str, suffix: str, tmp_path: Path) -> None:
    fate, target = KINDS[name].to[suffix], tmp_path / f"out{suffix}"
    if fate.refused is not None:
        with pytest.raises(UsageError, match=fate.refused):
            restore(name, target, fate)
        assert list(tmp_path.iterdir()) == []
        return
    report = restore(name, target, fate)
    assert report.frames > 0
    lost = losses(source(name), target, fate.order, fate.without)
    assert not lost, "\n".join(lost)
    assert report.summary == fate.summary
    assert all(any(words in note for note in report.notes) for words in fate.noted)
    assert not any("FFmpeg warned" in note or "LOST" in note for note in report.notes), report.notes
