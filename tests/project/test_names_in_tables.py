"""Facts on encoders and containers stand in their tables: nothing else asks which one it has by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import PACKAGE
from vdeblur.video.encode.containers import CONTAINERS
from vdeblur.video.encode.encoders import ENCODERS

TABLES = {"video/encode/containers.py", "video/encode/encoders.py"}
#: Rooms that read, or speak a fixed format of their own: the same words are names of demuxers and decoders there.
READING = (
    "video/source/", "video/encryption/", "video/exposure/", "video/formats/", "video/interlace/", "video/photo/",
    "video/realtime/", "video/spatial/",
)  # fmt: skip
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).as_posix() not in TABLES)

_WRITTEN = {name for row in CONTAINERS for name in (*row.encoders, *row.deep_encoders, *row.alpha_encoders)}
NAMES = _WRITTEN | {row.name for row in ENCODERS} | {word for row in CONTAINERS for word in (row.muxer, row.name)}
ROWS = {"encoder", "container", "carrier"}
QUESTIONS = {"startswith", "endswith", "removeprefix", "removesuffix", "lower", "casefold"}


def is_name_of_row(node: ast.AST) -> bool:
    """``encoder.name``, ``self.container.muxer``, ``plan.encoder.name`` …"""
    if not isinstance(node, ast.Attribute):
        return False
    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return node.attr == "muxer" or (node.attr == "name" and owner.lstrip("_") in ROWS)


def holds_name(node: ast.AST) -> bool:
    """A string of the tables, or a tuple, list or set of strings in which there is one."""
    return any(isinstance(part, ast.Constant) and part.value in NAMES for part in ast.walk(node))


def questions(tree: ast.AST, *, constants: bool) -> Iterator[int]:
    """Lines that ask for an encoder or a container by name; with ``constants`` also those that name one of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found = any(map(is_name_of_row, sides)) and not all(map(is_name_of_row, sides))
            found = found or (constants and any(map(holds_name, sides)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found = node.func.attr in QUESTIONS and is_name_of_row(node.func.value)
            found = found or (node.func.attr == "get" and any(map(is_name_of_row, node.args)))
            affix = node.func.attr in ("startswith", "endswith") and any(map(holds_name, node.args))
            found = found or (constants and affix)
        elif isinstance(node, ast.Subscript):
            found = is_name_of_row(node.slice)
        elif isinstance(node, ast.Match):
            found = is_name_of_row(node.subject)
        elif isinstance(node, ast.MatchValue):
            found = constants and holds_name(node.value)
        else:
            continue
        if found:
            yield node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_encoder_or_container_is_asked_for_by_name(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    lines = list(questions(ast.parse(path.read_text(encoding="utf-8")), constants=not name.startswith(READING)))
    assert not lines, f"lines {lines} compare names; make it a field of the row in {' or '.join(sorted(TABLES))}"


@pytest.mark.parametrize(
    "line",
    [
        'encoder.name == "libx265"', 'settings.encoder.name in ("libx265", "hevc_nvenc")', "plan.encoder.name in KNOWN",
        'self._container.muxer != "nut"', 'container.name == "MP4"', "container.muxer in _LISTS", "_SOUND[row.muxer]",
        '_SOUND.get(container.muxer, "aac")', "words[encoder.name][0]", 'encoder.name.startswith("libvpx")',
        'name == "libx265"', 'kind in {"mp4", "mov"}', 'name.startswith("libvpx")', '"gif" == name',
        'match encoder.name:\n case "gif": pass', 'match name:\n case "libwebp": pass',
    ],
)  # fmt: skip
def test_such_a_question_is_found(line: str) -> None:
    assert list(questions(ast.parse(line), constants=True))


@pytest.mark.parametrize(
    "line",
    [
        "encoder_details(encoder.name)", 'f"{encoder.name} in {container.name}"', "failures.pop(encoder.name, None)",
        "one.muxer != other.muxer", 'stream.codec == "webvtt"', 'path.suffix == ".mp4"', "encoder.quality == 3",
        "camera.name == wanted", 'Output(url, container.muxer)',
    ],
)  # fmt: skip
def test_other_uses_of_names_are_not(line: str) -> None:
    assert not list(questions(ast.parse(line), constants=True))
