"""Markdown documents of the checkout: sections, headings' anchors, links, fenced code and the commands in it."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from support.paths import ROOT

#: Folders of the checkout whose documents are the project's own, whatever else lies beside them.
FOLDERS = (".github", "configs", "findings", "samples", "tests", "vdeblur")

_FENCE = re.compile(r"^```([\w+-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    found = set(ROOT.glob("*.md"))
    for folder in FOLDERS:
        found |= set((ROOT / folder).rglob("*.md"))
    return sorted(found)


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    """A document of the checkout by its path, e.g. "vdeblur/video/README.md"."""
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A document's text without its fenced code."""
    return _FENCE.sub("", text)


def section(text: str, heading: str) -> str:
    """What stands under a heading, e.g. "## Options", up to the next one of its level or above.

    Raises:
        ValueError: there is no such heading.
    """
    level = len(heading) - len(heading.lstrip("#"))
    begin = re.search(rf"^{re.escape(heading)}$", text, re.MULTILINE)
    if begin is None:
        raise ValueError(f"no heading {heading!r}")
    rest = text[begin.end() :]
    hidden = _FENCE.sub(lambda fence: " " * len(fence.group(0)), rest)  # "#" begins comments there
    end = re.search(rf"^#{{1,{level}}} ", hidden, re.MULTILINE)
    return rest if end is None else rest[: end.start()]


def headings(text: str) -> list[str]:
    """Headings with their level, e.g. "## Options"."""
    return [f"{level} {title}" for level, title in _HEADING.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    times: Counter[str] = Counter()
    for _, title in _HEADING.findall(prose(text)):
        plain = _LINK.sub(lambda link: link.group(0)[1:].partition("]")[0], title).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{anchor}-{times[anchor]}" if times[anchor] else anchor)
        times[anchor] += 1
    return found


def links(text: str) -> list[str]:
    """Targets of links and pictures."""
    return _LINK.findall(_INLINE.sub("", prose(text)))


def inline_code(text: str) -> list[str]:
    return _INLINE.findall(prose(text))


def fenced(text: str, language: str) -> list[str]:
    """Fenced blocks of a language; "" for those that name none."""
    return [block for name, block in _FENCE.findall(text) if name == language]


def table(text: str) -> list[list[str]]:
    """Cells of the first table in a text, its heading first."""
    rows = re.search(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    if rows is None:
        return []
    lines = [line for line in rows.group(0).splitlines() if not re.fullmatch(r"[|:\- ]+", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def vdeblur_calls(text: str) -> Iterator[list[str]]:
    """Arguments of every call of the command line, in blocks without a language and in inline code."""
    lines = [line for block in fenced(text, "") for line in block.splitlines()]
    for line in [*lines, *inline_code(text)]:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        if "vdeblur" not in line:
            continue
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set("|&;<>"):
                yield from _call(words)
                words = []
            else:
                words.append(word)


def _call(words: list[str]) -> Iterator[list[str]]:
    if words[:1] == ["vdeblur"] and len(words) > 1:
        yield words[1:]
    if "-m" in words and words[words.index("-m") + 1 :][:1] == ["vdeblur"]:
        yield words[words.index("-m") + 2 :]
