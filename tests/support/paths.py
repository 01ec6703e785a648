"""Paths of the checkout, and an environment in which another Python process finds it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vdeblur"
TESTS = ROOT / "tests"
SAMPLES = ROOT / "samples"

#: ``PYTHONPATH`` with which a child process imports the checkout's package and the tests' support.
PYTHONPATH = os.pathsep.join((str(ROOT), str(TESTS)))
