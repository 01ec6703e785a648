"""Processes of the machine: a browser, children of this one, and the signals that they inherit."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path


def chromium() -> str | None:
    """Path of Chromium, or of Chrome."""
    return next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


def hear_ending_signals() -> None:
    """Undo what ``nohup`` and background jobs of a shell do: ignore Ctrl-C and hang-up, here and in all children."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def children() -> set[int]:
    """Process ids of our living direct children (Linux; empty elsewhere)."""
    found: set[int] = set()
    tasks = list(Path("/proc/self/task").glob("*/children"))
    for entry in tasks or Path("/proc").glob("[0-9]*/stat"):
        try:
            words = entry.read_text()
        except OSError:
            continue
        if tasks:
            found.update(map(int, words.split()))
        elif int(words.rsplit(")", 1)[1].split()[1]) == os.getpid():  # a kernel that has no such lists
            found.add(int(entry.parent.name))
    return found
