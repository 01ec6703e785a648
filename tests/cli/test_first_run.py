"""The first run on a machine compiles kernels: that is said once, and no ETA is made of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.cli_fixtures import Call, call, media, tiny_model
from vdeblur.cli.doctor import _kernel_cache
from vdeblur.cli.guidance.kernel_notes import LOGGER, kernel_notes
from vdeblur.kernels import compilation_count
from vdeblur.pipeline.loop import Loop, Progress, SteadyPace

compiling = pytest.importorskip("vdeblur.kernels.cpu.compiling", reason="needs Numba")

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: nothing has been said, and this kernel is not loaded."""
    for said in (compiling._tell_compiling, compiling._tell_uncached):
        said.cache_clear()


def halve() -> None:
    """Compile or load a small kernel."""
    x, y = torch.arange(256.0).view(1, 1, 4, 64), torch.empty(1, 1, 2, 32)
    compiling.Kernel("pyramid", "halve")(x.data_ptr(), y.data_ptr(), 4, 64)
    assert np.isfinite(y.numpy()).all()


def test_compiling_is_said_once(anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    count = compilation_count.compiled_kernels()
    for folder in ("one", "two"):
        monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path / folder))
        with kernel_notes(told.append):
            halve()
    assert told == ["compiling kernels for this processor, once; the first frames wait some seconds for it"]
    assert compilation_count.compiled_kernels() == count + 2
    with kernel_notes(told.append):
        halve()
    assert len(told) == 1, "from the cache"
    assert compilation_count.compiled_kernels() == count + 2


def test_a_cache_that_cannot_be_written_is_said_once(
    anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also to programs that use the library and show warnings."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path / "file" / "folder"))
    halve()
    halve()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"compiled kernels cannot be kept in {tmp_path / 'file' / 'folder'} (Not a directory), so every run compiles "
        "them anew; VDEBLUR_CACHE names another folder"
    )


@pytest.mark.parametrize("way", [[], ["--json"], ["-q"]])
def test_a_run_says_what_the_compiler_says(
    way: list[str], call: Call, media: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -v; quiet runs stay quiet."""
    real = Loop.run

    def compiled(self: Loop, *given: Any) -> None:
        logging.getLogger(LOGGER).info("compiling kernels")
        logging.getLogger(LOGGER).warning("cannot be kept")
        real(self, *given)

    monkeypatch.setattr(Loop, "run", compiled)
    result = call(media / "clip.mp4", "-o", tmp_path / "out.mp4", "--model", tiny_model, *way)
    assert result.code == 0, result.err
    for words in ("compiling kernels", "cannot be kept"):
        if way == ["--json"]:
            assert {"note"} == {json.loads(line)["event"] for line in result.out.splitlines() if words in line}
        else:
            assert (f"vdeblur: note: {words}" in result.err) is (way == [])
    logger = logging.getLogger(LOGGER)
    assert (logger.handlers, logger.propagate, logger.level) == ([], True, logging.NOTSET)


def test_there_is_no_eta_before_the_pace_is_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frames wait for the compiler; they say nothing of the rest."""
    compiled = 0
    monkeypatch.setattr("vdeblur.pipeline.loop.compiled_kernels", lambda: compiled)
    pace, etas = SteadyPace(), {}
    for frames in range(1, 61):
        if frames == 3:
            compiled += 4
        seconds = 15.0 + 0.1 * frames if frames < 3 else 29.7 + 0.1 * frames
        etas[frames] = Progress(frames, 100, frames / 25, seconds, warm_up=pace.warm_up(frames, seconds)).eta_seconds
    assert [frames for frames, eta in etas.items() if eta is None] == list(range(1, 13))
    assert etas[13] == pytest.approx(8.7)
    assert etas[60] == pytest.approx(4.0)
    assert Progress(100, 100, 4.0, 40.0, warm_up=None).eta_seconds == 0.0


def test_doctor_finds_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words, (problem,) = _kernel_cache(tmp_path / "file")
    assert words.startswith("not kept")
    assert str(tmp_path / "file") in problem
    assert "VDEBLUR_CACHE" in problem
    assert _kernel_cache(tmp_path / "new" / "folder") == (f"kept in {tmp_path / 'new' / 'folder'}", [])
    assert not list((tmp_path / "new" / "folder").iterdir()), "the trial leaves nothing"
    assert _kernel_cache(None)[1] == []
