"""The README: what it says of tests is so."""

from __future__ import annotations

import ast
import re

import pytest

from support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", README)


def preserved() -> list[str]:
    """Rows of the table "What is preserved"."""
    section = README.split("## What is preserved")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", preserved())
def test_every_row_of_what_is_preserved_names_a_test(row: str) -> None:
    assert re.search(r"`test_\w+\.py(::test_\w+)?` \|$", row)


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_the_tests_that_are_named_are_there(file: str, name: str) -> None:
    tree = ast.parse(next((ROOT / "tests").rglob(file)).read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    assert tests
    assert not name or name in tests


@pytest.mark.parametrize(
    "option", sorted(set(re.findall(r"`(--[a-z-]+)", README.split("## Options")[1].split("\n## ")[0])))
)
def test_every_option_that_is_told_exists(option: str) -> None:
    assert f'"{option}"' in (ROOT / "vdeblur" / "cli" / "run.py").read_text(encoding="utf-8") or option == "--help"
