"""The plan of the house and CONTRIBUTING: rooms, layers, promises, and where a change belongs."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

import vdeblur
from support.documents import inline_code, section, table, text_of
from support.paths import ROOT

PLAN, CONTRIBUTING = text_of("vdeblur/README.md"), text_of(".github/CONTRIBUTING.md")


def paths_in(text: str) -> list[str]:
    """What inline code names that looks like a path of the checkout."""
    return sorted({code for code in inline_code(text) if re.fullmatch(r"[\w.][\w./-]*/[\w./-]*", code)})


@pytest.mark.parametrize("path", [*paths_in(PLAN), *paths_in(CONTRIBUTING)])
def test_every_path_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()
    assert path.endswith("/") == (ROOT / path).is_dir()


def test_the_plan_shows_every_room() -> None:
    rooms = {path.name for path in (ROOT / "vdeblur").iterdir() if (path / "__init__.py").exists()} | {"weights"}
    told = {re.sub(r"`vdeblur/(\w+)/`.*", r"\1", row[0]) for row in table(section(PLAN, "## Rooms"))[1:]}
    assert told == rooms


def test_the_plan_has_the_layers_of_the_contract() -> None:
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["vdeblur"])
    (shown,) = re.findall(r"^```\n(.*?)^```", section(PLAN, "## Layers"), re.DOTALL | re.MULTILINE)
    assert [line.strip() for line in shown.splitlines()] == layers


def test_every_promise_names_its_test() -> None:
    promises = table(section(PLAN, "## Promises"))[1:]
    assert len(promises) >= 8
    assert all(re.search(r"`test_\w+\.py::test_\w+`", row[-1]) for row in promises)


#: What somebody may come with, and files in which they should look.
QUESTIONS = (
    "MP4 rejects a subtitle",
    "a new encoder",
    "frames arrive late in live",
    "a camera's pixel format is unknown",
    "out of memory at 4K",
    "a scene cut is missed",
    "resume repeats a frame",
    "a Triton kernel is slow",
    "a wrong exposure fraction",
    "EXIF orientation is lost",
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_tree_tells_where_a_change_belongs(question: str) -> None:
    answers = {row[0]: row[1:] for row in table(section(CONTRIBUTING, "## Where things live"))}
    look, tests = answers[question]
    assert paths_in(look)
    assert any(path.startswith("tests/") for path in paths_in(tests))


def test_a_commit_is_checked_as_everything_is() -> None:
    """What `.ci/run` checks besides the tests, hooks check before each commit."""
    checks = re.findall(r"^(ruff .+|mypy|lint-imports)$", text_of(".ci/run"), re.MULTILINE)
    hooks = [hook for repo in yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    assert len(checks) == 4
    assert [hook["entry"] for hook in hooks] == checks


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    assert f"## {version} (" in text_of("CHANGELOG.md")
    assert vdeblur.__version__ == version
