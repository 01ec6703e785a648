"""`vdeblur live` with the page, as people start and end it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli_fixtures import COMMAND, Call, call
from support.wall_clock import patience

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")

__all__ = ["call"]
LIVE = [*COMMAND, "live", "--no-browser", "--port", "0"]


@contextlib.contextmanager
def serving(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the page's address as it prints it."""
    process = subprocess.Popen(
        [*LIVE, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)}
    )
    try:
        assert process.stderr is not None
        address = re.search(r"https?://\S+", process.stderr.readline())
        assert address is not None
        yield process, address[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_served_until_ctrl_c_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with serving("lavfi:testsrc2=size=96x64:rate=25", folder=tmp_path) as (process, address):
        with urllib.request.urlopen(address, timeout=patience(20)) as answer:
            assert b"vdeblur live" in answer.read()
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        _, words = process.communicate(timeout=patience(20))
        assert process.returncode == 0
        assert "Traceback" not in words
        assert "error" not in words
    assert list(tmp_path.iterdir()) == []


def test_another_address_prints_a_token(tmp_path: Path) -> None:
    with serving("--host", "0.0.0.0", folder=tmp_path) as (_, address):
        assert re.fullmatch(r"https://[\d.]+:\d+/\?token=[\w-]{32}", address)
        trusting = ssl._create_unverified_context()
        with urllib.request.urlopen(address, timeout=patience(20), context=trusting) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tls-cert", "a.pem"), "belong together"),
        (("--host", "192.0.2.7"), "cannot listen on 192.0.2.7"),
        (("--upload-limit", "0"), "cannot be 0; it is 1 or more"),
        (("--cameras", "0"), "cannot be 0; it is 1 or more"),
    ],
)
def test_wrong_options_end_in_one_line(call: Call, arguments: tuple[str, ...], words: str) -> None:
    done = call("live", "--no-browser", *arguments)
    assert done.code == 2
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1
