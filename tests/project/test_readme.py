"""The documents: what they say of tests, options, commands, scores, files and each other is so."""

from __future__ import annotations

import ast
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from support.documents import anchors as anchors_of
from support.documents import documents, fenced, headings, links, name_of, section, table, text_of, vdeblur_calls
from support.media import clips
from support.paths import ROOT
from vdeblur.cli.app import root_command, with_default_command
from vdeblur.cli.live import live
from vdeblur.cli.run import run
from vdeblur.model.checkpoint import available_models, read_provenance

README = text_of("README.md")
MOST_LINES = 220
PRESERVED = "vdeblur/video/README.md"
NAMED = sorted(
    {
        named
        for document in documents()
        for named in re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", document.read_text(encoding="utf-8"))
    }
)


def preserved() -> list[str]:
    """Rows of the table "What is preserved"."""
    lines = section(text_of(PRESERVED), "## What is preserved").split("\nLonger runs")[0].splitlines()
    return [line for line in lines if line.startswith("| ")][1:]


def test_the_readme_is_short_and_in_its_order() -> None:
    assert len(README.splitlines()) <= MOST_LINES
    assert headings(README) == [
        "# vdeblur",
        "## Install",
        "## Three ways to use it",
        "## What it gains",
        "## Speed",
        "## Limits",
        "## Options",
        "## Links",
    ]


@pytest.mark.parametrize("row", preserved())
def test_every_row_of_what_is_preserved_names_a_test(row: str) -> None:
    assert re.search(r"`test_\w+\.py(::test_\w+)?` \|$", row)


def test_as_much_is_preserved_as_ever() -> None:
    assert len(preserved()) >= 26


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_tests_that_are_named_are_there(file: str, name: str) -> None:
    tree = ast.parse(next((ROOT / "tests").rglob(file)).read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    assert tests
    assert not name or name in tests


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", section(README, "## Options")))))
def test_every_option_that_is_told_exists(option: str) -> None:
    assert option in options_of(run) or option == "--help"


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", text_of("vdeblur/live/README.md")))))
def test_every_option_of_live_that_is_told_exists(option: str) -> None:
    assert option in options_of(live)


CALLS = [
    pytest.param(call, id=f"{name_of(document)}: {' '.join(call)}"[:100])
    for document in documents()
    for call in vdeblur_calls(document.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_of_the_command_line_can_be_understood(call: list[str]) -> None:
    """Its command, its options and the form of their values; whether files are there is another matter."""
    name, *arguments = with_default_command(call)
    if name.startswith("-"):
        assert name in ("-h", "--help", "--version")
        return
    command = root_command.get_command(click.Context(root_command), name)
    assert command is not None
    if not arguments:  # the command is only named
        return
    with pytest.raises(click.exceptions.Exit) if "--help" in arguments else nullcontext():
        command.make_context(name, arguments)


def test_calls_are_found() -> None:
    assert len(CALLS) > 50


LINKS = [
    pytest.param(document, target, id=f"{name_of(document)}: {target}")
    for document in documents()
    for target in links(document.read_text(encoding="utf-8"))
    if not re.match(r"[a-z]+:", target)
]


@pytest.mark.parametrize(("document", "target"), LINKS)
def test_every_link_leads_somewhere(document: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    assert file.exists()
    assert file.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors_of(file.read_text(encoding="utf-8"))


def test_links_are_found() -> None:
    assert len(LINKS) > 25


def test_the_library_in_a_few_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's own example, on a tiny clip."""
    monkeypatch.chdir(tmp_path)
    clips.ffmpeg("-i", str(clips.clip("h264_vfr")), "-frames:v", "3", "-c", "copy", "shaky.mp4")
    rows, columns = np.mgrid[:36, :52]
    pictures = [np.stack([128 + 50 * np.sin(rows / 3 + n), columns, rows], 2).astype(np.uint8) for n in range(3)]
    shown: list[Any] = []
    names = {"pictures": pictures, "show": shown.append, "frame": pictures[0]}
    (example,) = fenced(README, "python")
    exec(compile(example, "README.md", "exec"), names)
    assert Path("sharp.mp4").stat().st_size > 0
    assert [picture.shape for picture in shown] == [(36, 52, 3)] * 3
    assert names["sharp"].shape == (36, 52, 3)


# --- Scores -----------------------------------------------------------------------------------------------------------

GAINS = {row[0].strip("*"): row for row in table(section(README, "## What it gains"))}
CARD = {row[0]: row for row in table(section(text_of("vdeblur/weights/README.md"), "## What they gain"))}


def number(cell: str) -> float:
    return float(cell.strip("*+").replace("−", "-"))


@pytest.mark.parametrize("name", available_models())
def test_readme_model_card_and_weights_tell_the_same_scores(name: str) -> None:
    scores = read_provenance(name)["scores"]
    readme, card = (rows[next(iter(rows))].index(f"`{name}`") for rows in (GAINS, CARD))
    for row, key in {
        "synthetic set, mild and strong": "synthetic_blurred_gain_db",
        "synthetic set, mild blur (10 clips)": "synthetic_mild_gain_db",
        "synthetic set, strong blur (10 clips)": "synthetic_strong_gain_db",
        "synthetic set, sharp clips (8)": "synthetic_sharp_gain_db",
        "DAVIDE robot04 (real blur, 30 frames)": "davide_robot04_gain_db",
        "DAVIDE toy01 (real blur, 30 frames)": "davide_toy01_gain_db",
        "REDS a (10 frames)": "reds_a_gain_db",
    }.items():
        assert number(GAINS[row][readme]) == scores[key]
    for row, keys in {
        "synthetic set, mild and strong blur (20 clips)": ["synthetic_blurred_gain_db"],
        "mild (10), strong (10)": ["synthetic_mild_gain_db", "synthetic_strong_gain_db"],
        "synthetic set, sharp (8 clips)": ["synthetic_sharp_gain_db"],
        "DAVIDE robot04, toy01, REDS a": ["davide_robot04_gain_db", "davide_toy01_gain_db", "reds_a_gain_db"],
    }.items():
        assert [number(cell) for cell in CARD[row][card].split(", ")] == [scores[key] for key in keys]
    kept = CARD["sharp synthetic clips in (28), mean, worst clip, worst frame"][card]
    assert number(kept.split(", ")[0]) == scores["sharp_kept_db"]


def test_tables_and_changelog_agree() -> None:
    total = GAINS["synthetic set, mild and strong"][3:]
    assert [number(cell) for cell in total] == sorted(number(cell) for cell in total)
    told = re.search(r"Gain on the synthetic set: (.+?) and\s+(\S+) dB", text_of("CHANGELOG.md"), re.DOTALL)
    assert told is not None
    assert [number(cell) for cell in (*told.group(1).split(", "), told.group(2))] == [number(cell) for cell in total]
