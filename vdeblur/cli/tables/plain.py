"""Console tables (rich) in the one style that all commands share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

#: Columns where the width is unknown, so that no row is wrapped.
WIDTH = 200

Titled = tuple[str, Table]


def print_tables(tables: Iterable[Titled], stream: IO[str]) -> None:
    """Print tables with their titles; those without rows are left out."""
    console = plain_console(stream)
    for title, table in tables:
        if table.row_count:
            console.print(title, end="")
            console.print(table)


def plain_console(stream: IO[str]) -> Console:
    """Console for tables: no highlighting, and no wrapping where the width is unknown."""
    width = None if stream.isatty() else WIDTH
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def plain_table(words: Sequence[str], numbers: Sequence[str]) -> Table:
    """Table without rules: left-aligned text columns, then right-aligned number columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def number_words(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def gain_words(value: float | None) -> str:
    """A gain in dB; a clip that equals its truth has none."""
    return "–" if value is None else f"{value:+.2f}"


def numbers_words(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]
