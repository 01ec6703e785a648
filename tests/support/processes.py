"""Processes of the machine: a browser, and children of this one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def chromium() -> str | None:
    """Path of Chromium, or of Chrome."""
    return next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


def children() -> set[int]:
    """Process ids of our living direct children (Linux; empty elsewhere)."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(entry.parent.name))
    return found
