"""Timeline: overlaps are what two people with pencils would find; each frame has each piece of work once."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from support.cli_fixtures import Call, call  # noqa: F401
from support.doubles import Mixing, clip
from support.watched_transfer import WatchedTransfer
from vdeblur.bench.timeline import Events, Span, overlap_of, watch_run
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import UsageError


def spans(*rows: tuple[str, float, float]) -> list[Span]:
    return [Span(stage, number, start, end) for number, (stage, start, end) in enumerate(rows)]


def test_one_after_the_other_hides_nothing() -> None:
    found = overlap_of(spans(("upload", 0, 2), ("encode", 2, 5), ("restore", 5, 10), ("download", 10, 12)))
    assert (found.frames, found.wall_ms) == (1, 12)
    assert (found.network_ms, found.upload_ms, found.download_ms) == (8, 2, 2)
    assert found.network_share == pytest.approx(8 / 12)
    assert found.hidden_share == 0
    assert found.both_ways_ms == 0
    assert found.frames_per_second == pytest.approx(1000 / 12)


def test_side_by_side_is_seen_in_part_and_whole() -> None:
    found = overlap_of(
        spans(
            ("encode", 0, 4), ("restore", 4, 10), ("restore", 12, 14),
            ("upload", 1, 3), ("upload", 2, 5), ("download", 9, 13), ("download", 4, 5),
        )
    )  # fmt: skip
    assert found.wall_ms == 14
    assert found.network_ms == 12
    assert (found.upload_ms, found.download_ms) == (4, 5)
    assert found.network_share == pytest.approx(12 / 14)
    # transfers: 1 to 5 and 9 to 13; beside the network: 1 to 5, 9 to 10, 12 to 13
    assert found.hidden_share == pytest.approx(6 / 8)
    assert found.both_ways_ms == 1
    assert "75% of the transfers" in found.words
    assert found.as_dict()["fps"] == pytest.approx(2000 / 14, abs=0.01)


class Ticking:
    """Makes events whose time is their number."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> TickingEvent:
        self.made += 1
        return TickingEvent(self.made)


class TickingEvent:
    def __init__(self, number: int) -> None:
        self.number = number
        self.streams: list[Any] = []

    def record(self, stream: Any) -> None:
        self.streams.append(stream)

    def synchronize(self) -> None:
        assert len(self.streams) == 1

    def elapsed_time(self, other: TickingEvent) -> float:
        return float(other.number - self.number)


@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_run_is_watched_from_upload_to_download(lookahead: int) -> None:
    deblurrer = Deblurrer(Mixing(), device="cpu", precision="float32", lookahead=lookahead)
    deblurrer.device_step.transfer = transfer = WatchedTransfer()
    found = watch_run(deblurrer, clip(9), Events(Ticking(), None))
    assert transfer.watch is None
    assert Counter(span.stage for span in found) == {"upload": 9, "encode": 9, "restore": 9, "download": 9}
    at = {(span.stage, span.frame): span for span in found}
    for frame in range(9):
        steps = [at[stage, frame] for stage in ("upload", "encode", "restore", "download")]
        assert all(span.start_ms < span.end_ms for span in steps)
        assert all(a.end_ms < b.start_ms for a, b in itertools.pairwise(steps))
    if lookahead:
        assert at["upload", 1].end_ms < at["restore", 0].start_ms


def test_without_streams_there_is_no_timeline() -> None:
    with pytest.raises(UsageError, match="CUDA"):
        watch_run(Deblurrer(Mixing(), device="cpu", precision="float32"), clip(2))


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--timeline", "t.json"], "CUDA device"), (["--timeline", "t.txt"], ".json")]
)
def test_wrong_calls_are_one_line(
    call: Call,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("bench", "--size", "360p", "--device", "cpu", *arguments)
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.cuda
def test_cuda_transfers_lie_beside_the_network(call: Call, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "timeline.json"
    result = call("bench", "--size", "1080p", "--device", "cuda", "--timeline", str(file))
    assert result.code == 0, result.err
    (timeline,) = json.loads(file.read_text())["timelines"]
    assert {span["stage"] for span in timeline["spans"]} == {"upload", "encode", "restore", "download"}
    assert timeline["overlap"]["frames"] == 36
    assert timeline["overlap"]["hidden_share"] > 0.3
    assert torch.cuda.is_available()
