"""Match the header of a file with the columns of its stream, by name."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_csv.columns import PROVENANCE
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_csv.blocks import BlockReader
    from tap_csv.settings import Dialect
    from tap_kit.columns import Column


@dataclass(frozen=True)
class Layout:
    """Where the columns of a stream are in one file."""

    width: int
    """Fields that each record must have."""
    positions: dict[str, int]
    """Column name -> position of its field. A column that the file lacks is not in it."""
    missing: tuple[str, ...]
    """Columns of the stream that the file lacks; all of them may be NULL."""
    extra: tuple[str, ...]
    """Names in the file that are no columns of the stream."""


def read_names(reader: BlockReader, dialect: Dialect) -> list[str] | None:
    """Column names of a file; None when there is nothing in it.

    The reader then stands at the first record behind the header. Without a header it stands at the first record, and
    the columns are called c1, c2, ... for as many fields as that has.
    """
    for _ in range(dialect.header - 1):
        if reader.take_line() is None:
            return None
    while (record := reader.peek_record()) == "":
        reader.take_line()
    if record is None:
        return None
    fields = _fields(record, dialect)
    if dialect.header:
        reader.take_record()
    return [(dialect.header and name) or f"c{n}" for n, name in enumerate(fields, start=1)]


def _fields(record: str, dialect: Dialect) -> list[str]:
    if dialect.quotechar:
        rows = csv.reader([record], delimiter=dialect.delimiter, quotechar=dialect.quotechar)
    else:
        rows = csv.reader([record], delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
    return [name.strip() for name in next(rows, [])]


def lay_out(names: Sequence[str], columns: Sequence[Column], file: str) -> Layout:
    """Find each column of the stream in a file that has these names.

    Raises:
        TapError: a name that matters stands twice, a required column is missing, or nothing fits at all.
    """
    wanted = {column.name for column in columns}
    _refuse_duplicates([name for name in names if name in wanted], names, file)
    positions = {name: n for n, name in enumerate(names) if name in wanted}
    if not positions and columns:
        raise TapError(
            f"{file}: none of its columns ({_some(names)}) is one of the stream's ({_some(sorted(wanted))}); is this the "
            "right file? Otherwise check header, delimiter and encoding, or run discovery again"
        )
    required = [c.name for c in columns if c.required and c.name not in positions]
    if required:
        raise TapError(f"{file}: has no column {_with_guesses(required, names)}, which must not be NULL")
    return Layout(
        width=len(names),
        positions=positions,
        missing=tuple(c.name for c in columns if c.name not in positions),
        extra=tuple(name for name in names if name not in wanted),
    )


def refuse_unusable(names: Sequence[str], file: str) -> None:
    """For discovery, where every name becomes a column.

    Raises:
        TapError: a name stands twice, or is one that the tap adds itself.
    """
    _refuse_duplicates(names, names, file)
    taken = [name for name in names if name in PROVENANCE]
    if taken:
        raise TapError(f"{file}: {taken[0]!r} is a name that the tap itself adds to each row; rename the column")


def _refuse_duplicates(relevant: Sequence[str], names: Sequence[str], file: str) -> None:
    for name, times in Counter(relevant).items():
        if times > 1:
            places = ", ".join(str(n) for n, other in enumerate(names, start=1) if other == name)
            raise TapError(
                f"{file}: {times} columns are called {name!r} ({places}); rename all but one, or set header: false"
            )


def _with_guesses(missing: Sequence[str], names: Sequence[str]) -> str:
    parts = []
    for name in missing:
        close = [n for n in names if n.lower() == name.lower()] or difflib.get_close_matches(name, names, n=1)
        parts.append(f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name))
    return ", ".join(parts)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown}, ..." if len(names) > 8 else shown
