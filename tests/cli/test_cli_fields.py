"""`--interlaced` and `--size-change` on the command line, and what `info` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.cli_fixtures import Call, Result, call
from support.media.interlaced import FFV1, X264, interlaced, made
from support.media.size_changes import SMALL_THEN_LARGE, joined, part
from support.media.writing import read_all
from vdeblur.cli import options as cli_options
from vdeblur.errors import UsageError

__all__ = ["call"]


def run(call: Call, source: Path, target: Path, *arguments: str) -> Result:
    return call(source, "-o", target, "--strength", "0", "--device", "cpu", *arguments)


@pytest.mark.parametrize(("mode", "count"), [("keep", 2), ("frame", 2), ("field", 4)])
def test_interlaced_modes(call: Call, mode: str, count: int, tmp_path: Path) -> None:
    source, target = interlaced("tff", FFV1, ".mkv", frames=2, source="testsrc2=size=64x48:rate=50"), tmp_path / "o.mkv"
    done = run(call, source, target, "--interlaced", mode)
    assert done.code == 0
    assert "interlaced, top field first: " in done.err
    assert len(read_all(target)) == count


def test_refused(call: Call, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("interlaced: refuse\n")
    done = run(call, interlaced(frames=2), tmp_path / "o.mkv", "--config", str(config))
    assert done.code == 2
    assert len(done.errors) == 1
    assert "is interlaced, top field first; --interlaced keep" in done.errors[0]
    assert not (tmp_path / "o.mkv").exists()


def test_size_change(call: Call, tmp_path: Path) -> None:
    source = joined(tmp_path, *(part(*words) for words in SMALL_THEN_LARGE))
    stopped = run(call, source, tmp_path / "o.mkv")
    assert stopped.code == 3
    assert "--size-change fit goes on in the first size" in stopped.errors[0]
    assert run(call, source, tmp_path / "o.mkv", "--size-change", "fit").code == 0
    assert [frame.size for frame in read_all(tmp_path / "o.mkv")] == [(96, 160)] * 10


@pytest.mark.parametrize(("name", "value"), [("interlaced", "weave"), ("size_change", "crop")])
def test_wrong_words(call: Call, name: str, value: str, tmp_path: Path) -> None:
    done = run(call, interlaced(frames=2), tmp_path / "o.mkv", f"--{name.replace('_', '-')}", value)
    assert done.code == 2
    assert value in done.err
    config = tmp_path / "run.yaml"
    config.write_text(f"{name}: {value}\n")
    with pytest.raises(UsageError, match=value):
        cli_options.merge_options(config, {})


def test_info_shows_flags_pictures_and_what_becomes_of_them(call: Call) -> None:
    source = made("setfield=tff", X264, ".mp4", frames=12)
    shown = call("info", source).out
    assert "fields       flagged top field first, the pictures show whole frames" in shown
    assert "note: flagged as interlaced, but the pictures are whole frames (PsF)" in shown
    told: dict[str, Any] = json.loads(call("info", "--json", interlaced()).out)
    assert told["video"]["interlacing"] == {"order": "tff", "flagged": "tff", "shown": "tff"}
    assert told["notes"][0].startswith("interlaced, top field first: each field is restored")
    assert "fields" not in call("info", made("null", "-c:v libx264", ".mp4", frames=2, source="testsrc2=s=160x96")).out
