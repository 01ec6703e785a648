"""The house: what the layer contracts of ``lint-imports`` do not see. Those stand in pyproject.toml."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from pathlib import Path

import pytest

from support.paths import PACKAGE, ROOT, TESTS

MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for top in (PACKAGE, TESTS) for path in top.rglob("*.py")})
MOST_MODULES = 20
LONGEST_CLASS, LONGEST_FUNCTION = 300, 60

#: Classes and functions (without their docstrings) that are longer, and why each is better whole.
LONG_WITH_REASON: dict[str, str] = {}
#: Kernels: one function each, for what is inlined stays in registers.
KERNELS = ("kernels/triton/", "kernels/cpu/jit/")
#: Modules that may call ``torch.cuda``.
CUDA = ("runtime/",)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_are_absolute(path: Path) -> None:
    relative = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_cuda_is_asked_at_run_time_only(path: Path) -> None:
    used = [
        node.lineno
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "cuda"
        and isinstance(node.value, ast.Name)
        and node.value.id == "torch"
    ]
    assert not used or name_of(path).startswith(CUDA), f"torch.cuda in lines {used}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_folder_can_be_overlooked(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


def test_no_public_class_name_stands_for_two_things() -> None:
    homes = defaultdict(list)
    for path in MODULES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def lines_of(node: ast.AST) -> int:
    """Lines of a class or function without its docstring."""
    assert isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    assert node.end_lineno is not None
    total = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is None or first.end_lineno is None:
        return total
    return total - (first.end_lineno - first.lineno + 1)


def test_long_classes_and_functions_have_a_reason() -> None:
    found = set()
    for path in MODULES:
        name = name_of(path)
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not name.startswith(KERNELS):
                limit = LONGEST_FUNCTION
            elif isinstance(node, ast.ClassDef):
                limit = LONGEST_CLASS
            else:
                continue
            if lines_of(node) > limit:
                found.add(f"{name}:{node.name}")
    assert found == set(LONG_WITH_REASON), "too long, or named without need"


def test_folders_of_tests_mirror_the_package() -> None:
    """A room's tests stand in the folder of its name; beside them are those of the project and of hostile files."""
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py") if path.parent != TESTS}
    assert folders - {"project", "hostile"} <= rooms
    assert not list(TESTS.glob("test_*.py")), "a test belongs into a folder"
    assert not list((TESTS / "support").rglob("test_*.py")), "helpers are no tests"


def test_no_test_imports_a_test() -> None:
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(parsed(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            tests = [name for name in names if name.rpartition(".")[2].startswith("test_")]
            assert not tests, f"{path.name} imports {tests}: put what both need into tests/support/"


def test_the_top_level_is_as_it_was_fixed() -> None:
    top = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    allowed = {"pyproject.toml", "vdeblur", "configs", "tests", "samples", "README.md", "LICENSE", "CHANGELOG.md"}
    generated = {"dist", "build"}
    assert top - generated <= allowed | {"findings"}
