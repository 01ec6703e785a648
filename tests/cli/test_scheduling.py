"""Turns: a run's threads and programs do not cut each other short, and all is as before afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.cli_fixtures import Call, call, media, tiny_model
from vdeblur.cli.scheduling import batch_scheduling
from vdeblur.errors import SourceError

#: Fixtures.
__all__ = ["call", "media", "tiny_model"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such turns")

ASK = "import os; print(os.sched_getscheduler(0))"


def test_threads_and_programs_that_begin_within_have_long_turns() -> None:
    found: list[int] = []
    with batch_scheduling():
        thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
        program = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert [*found, int(program.stdout)] == [os.SCHED_BATCH, os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_what_is_set_from_outside_stays() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with batch_scheduling():
            pass
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_a_system_that_refuses_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with batch_scheduling():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_run_has_them(
    call: Call, media: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def look(*arguments: object, **options: object) -> None:
        seen.append(os.sched_getscheduler(0))
        raise SourceError("that is enough")

    monkeypatch.setattr("vdeblur.pipeline.deblur_video.deblur_video", look)
    call(media / "clip.mp4", "-o", tmp_path / "out.mkv", "-m", tiny_model)
    assert seen == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
