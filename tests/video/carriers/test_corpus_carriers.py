"""Carriers of cameras, discs and broadcasters: what is kept is whole, and what is not is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.media.corpus_carriers import CASES, KINDS, source
from support.media.looking import losses
from support.media.writing import copy
from vdeblur.errors import UsageError
from vdeblur.video.streams.outcomes import summary_words


@pytest.mark.parametrize(("name", "suffix"), CASES, ids=lambda value: value.removeprefix("."))
def test_nothing_is_lost(name: str, suffix: str, tmp_path: Path) -> None:
    fate, target = KINDS[name].to[suffix], tmp_path / f"out{suffix}"
    if fate.refused is not None:
        with pytest.raises(UsageError, match=fate.refused):
            copy(source(name), target)
        assert list(tmp_path.iterdir()) == []
        return
    writer = copy(source(name), target)
    lost = losses(source(name), target, fate.order, fate.without)
    assert not lost, "\n".join(lost)
    assert summary_words(writer.outcomes) == fate.summary
    assert not any("FFmpeg warned" in note or "LOST" in note for note in writer.notes), writer.notes
