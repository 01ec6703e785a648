"""The package is typed: a program that uses it passes mypy --strict, and mistakes in it do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.paths import PACKAGE, ROOT, TESTS


def test_a_program_that_uses_the_library_is_checked(tmp_path: Path) -> None:
    """With every element's type preserved; an ignored error that is none would be an error too."""
    assert (PACKAGE / "py.typed").exists()
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(TESTS / "support" / "typed_example.py")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.stdout + checked.stderr == ""
    assert checked.returncode == 0
