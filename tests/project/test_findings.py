"""Findings: the form of their scripts, and the table of them. None is run here: that takes downloads and a minute."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

FOLDER = ROOT / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
FIELDS = ("Expected", "What happens", "Versions", "Output seen", "Why it matters", "Workaround", "Upstream")
#: Options of ``pip install`` that take a value, which is no package.
VALUED = {"--target"}
#: Words that would tell of the machine a script was written on, or fetch what pip does not.
FOREIGN = re.compile(r"/home/|/root/|/work\b|/Users/|\b(?:wget|curl|git clone|apt(?:-get)?)\b")

each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def header_of(script: Path) -> list[str]:
    """The comment lines before the first command, without the interpreter's line."""
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    header = lines[1 : next(number for number, line in enumerate(lines) if line and not line.startswith("#"))]
    return [line.removeprefix("#").removeprefix(" ") for line in header]


def installed_by(script: Path) -> list[str]:
    """Everything the script has pip install."""
    packages: list[str] = []
    text = script.read_text().replace("\\\n", " ")
    for words in re.findall(r"^.*\bpip install\b(.*)$", text, re.MULTILINE):
        previous = ""
        for word in words.split():
            if not word.startswith("-") and previous not in VALUED:
                packages.append(word)
            previous = word
    return packages


def test_there_are_findings() -> None:
    assert len(SCRIPTS) >= 6


@each
def test_the_shell_can_read_it(script: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    subprocess.run([bash, "-n", str(script)], check=True)


@each
def test_it_is_executable(script: Path) -> None:
    if os.name != "posix":
        pytest.skip("no executable bit here")
    assert os.access(script, os.X_OK)


@each
def test_the_header_says_everything(script: Path) -> None:
    header = header_of(script)
    title, gap, *lines = header
    assert title.endswith(".")
    assert not gap, "an empty line behind a title of one line"
    fields = [line.partition(":")[0].partition(" (")[0] for line in lines if re.match(r"[A-Z]", line)]
    assert tuple(fields) == FIELDS
    seen = header[next(number for number, line in enumerate(header) if line.startswith("Output seen")) + 1 :]
    assert seen[0].startswith("  "), "the output itself"
    assert max(map(len, script.read_text().splitlines())) <= 120


@each
def test_packages_are_pinned_and_named_in_the_header(script: Path) -> None:
    packages = installed_by(script)
    versions = " ".join(header_of(script))
    assert packages
    for package in packages:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", package), f"{package} has no fixed version"
        assert package in versions, f"the header does not name {package}"


@each
def test_it_cleans_up_and_stops_at_the_first_error(script: Path) -> None:
    code = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert code[0] == "set -euo pipefail"
    assert "folder=$(mktemp -d)" in code
    assert "trap 'rm -rf \"$folder\"' EXIT" in code


@each
def test_it_stands_by_itself(script: Path) -> None:
    text = script.read_text()
    assert "vdeblur" not in text
    assert not FOREIGN.search(text)


@each
def test_it_fails_when_the_behaviour_changes(script: Path) -> None:
    text = script.read_text()
    assert re.search(r'sys\.exit\("changed: |sys\.exit\(f"changed: |echo "changed: .*exit 1', text)


def test_the_table_names_each_script_once() -> None:
    table = re.findall(r"^\| \[`([\w-]+\.sh)`\]\(([\w-]+\.sh)\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _ in table] == [script.name for script in SCRIPTS]
    assert all(name == target for name, target in table)
