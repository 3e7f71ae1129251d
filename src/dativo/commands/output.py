"""Printing of commands: text for people, JSON for programs; data on stdout, nothing else."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_FOLDED_CHARACTERS = 20
"""The widest column of a table may be folded down to this; if that is not enough, records are printed instead."""


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(title: str | None, rows: Sequence[Mapping[str, Any]], *, columns: Iterable[str] | None = None) -> None:
    """Print rows below their column names; a NULL is a dim dash."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = list(columns) if columns is not None else list(rows[0]) if rows else []
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        numeric = all(_is_number(row.get(name)) for row in rows) and bool(rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-", style="dim") if row.get(n) is None else Text(cell(row[n])) for n in names))
    # Where the output is no terminal nothing is folded: whoever reads it wants whole lines.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    if _cannot_be_folded(names, rows, console.width):
        _print_records(title, names, rows)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().strip("\n").splitlines():
        click.echo(line.rstrip())


def _cannot_be_folded(names: Sequence[str], rows: Sequence[Mapping[str, Any]], width: int) -> bool:
    widths = [max([len(n), *(len(cell(row.get(n))) for row in rows)]) + 3 for n in names]
    return bool(widths) and sum(widths) - max(widths) + _FOLDED_CHARACTERS > width


def _print_records(title: str | None, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """One value a line: what is wider than the terminal cannot be read as a table."""
    click.echo(f"{title or ''}\n")
    width = max(map(len, names))
    for row in rows:
        for name in names:
            click.echo(f" {name:{width}}  {'-' if row.get(name) is None else cell(row[name])}")
        click.echo()


def cell(value: Any) -> str:
    """One value in a table."""
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="auto")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
