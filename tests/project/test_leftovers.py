"""The rule that no test leaves a thread or a process behind can be broken, and is then told."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.paths import ROOT, TESTS
from support.processes import children


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_children_are_seen_until_they_are_waited_for() -> None:
    before = children()
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert children() - before == {process.pid}
    assert process.pid not in children()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_a_test_leaves_behind_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(
        textwrap.dedent("""
            import subprocess, sys, threading
            import conftest
            conftest.LEAVING_SECONDS = 0.1
            LEFT = []
            def test_something():
                LEFT.append(subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE))
                LEFT.append(threading.Event())
                threading.Thread(target=LEFT[1].wait, name="vdeblur-left", daemon=True).start()
            def test_nothing():
                LEFT[0].communicate()
                LEFT[1].set()
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(tmp_path), "--confcutdir", str(TESTS), "-p", "conftest", str(tmp_path / "test_bad.py")]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert re.search(r"left behind: threads \['vdeblur-left'\], child processes \[\d+\]", done.stdout)
