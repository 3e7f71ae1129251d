"""Blocks of CSV to Arrow tables in the stream's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tap_csv.columns import SOURCE_FILE, SOURCE_RECORD
from tap_csv.direct import DirectReader
from tap_kit.cast import arrow_type, cast_texts
from tap_kit.lanes import Misfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_csv.blocks import Block, Reject
    from tap_csv.header import Layout
    from tap_csv.settings import Dialect
    from tap_kit.columns import Column


class Parsed(NamedTuple):
    """What has become of a block."""

    rows: pa.Table
    """The stream's columns, those that say where a row comes from last."""
    misfits: list[Misfit]
    rejects: list[Reject]
    numbers: np.ndarray
    """Position in the file of each row."""

    def head(self, count: int) -> Parsed:
        """The first rows."""
        misfits = [m for m in self.misfits if m.row < count]
        return self._replace(rows=self.rows.slice(0, count), misfits=misfits, numbers=self.numbers[:count])


class _Fields(NamedTuple):
    """Fields of a block by their name (f0, f1, ...)."""

    rows: int
    columns: dict[str, pa.Array]
    is_typed: bool
    """In the types of their columns, instead of as text."""


class Parser:
    """Parses the blocks of one file."""

    def __init__(
        self, dialect: Dialect, layout: Layout, columns: Sequence[Column], provenance: Sequence[str], file: str
    ):
        self._dialect = dialect
        self._layout = layout
        self._columns = columns
        self._provenance = provenance
        self._file = file
        self._names = [f"f{position}" for position in range(layout.width)]
        self._wanted = [f"f{position}" for position in layout.positions.values()]
        self._null_values = ["", *dialect.null_values]
        types = {f"f{layout.positions[c.name]}": c.type for c in columns if c.name in layout.positions}
        self._direct = DirectReader(types, self._null_values) if types else None

    def parse(self, block: Block) -> Parsed:
        """Rows, values that do not fit, records that have no shape."""
        fields, ragged = self._fields(block.data)
        if not block.accepts(fields.rows + len(ragged)):
            fields, ragged = self._fields(block.data)
        seen = fields.rows + len(ragged)
        numbers = np.delete(block.numbers(seen), list(ragged)) if ragged else block.numbers(seen)
        rejects = [*block.rejects, *(block.ragged(position, message) for position, message in ragged.items())]
        columns, misfits = self._typed(fields)
        for name, values in self._origin(numbers).items():
            columns[name] = values
        return Parsed(pa.table(columns), misfits, sorted(rejects, key=lambda r: r.record), numbers)

    def _fields(self, data: bytes) -> tuple[_Fields, dict[int, str]]:
        """All fields, and the records (position -> what is wrong) that have too few or too many."""
        ragged: dict[int, str] = {}
        if not data:
            return _Fields(0, {name: pa.array([], pa.string()) for name in self._wanted}, is_typed=False), ragged

        def note(row: pa.csv.InvalidRow) -> str:
            ragged[row.number - 1] = f"has {row.actual_columns} fields, the header {row.expected_columns}"
            return "skip"

        def read_csv(convert: pa.csv.ConvertOptions) -> pa.Table:
            ragged.clear()
            return pa.csv.read_csv(
                pa.BufferReader(data),
                # One block, one thread: only then rows are numbered. The target runs on the other core.
                pa.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._names),
                pa.csv.ParseOptions(
                    delimiter=self._dialect.delimiter,
                    quote_char=self._dialect.quotechar or False,
                    # Line ends in quotes are parsed all the same; this is about where a block may be cut, and there is
                    # one.
                    newlines_in_values=False,
                    invalid_row_handler=note,
                ),
                convert,
            )

        if self._direct is not None and (typed := self._direct.read(data, read_csv)) is not None:
            return _Fields(len(next(iter(typed.values()))), typed, is_typed=True), ragged
        texts = read_csv(self._as_texts())
        return _Fields(texts.num_rows, {n: texts[n].combine_chunks() for n in self._wanted}, is_typed=False), ragged

    def _as_texts(self) -> pa.csv.ConvertOptions:
        return pa.csv.ConvertOptions(
            column_types=dict.fromkeys(self._wanted, pa.string()),
            include_columns=self._wanted or self._names[:1],
            null_values=self._null_values,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,  # the block has been screened
        )

    def _typed(self, fields: _Fields) -> tuple[dict[str, pa.Array], list[Misfit]]:
        columns: dict[str, pa.Array] = {}
        misfits: dict[int, dict[str, str]] = {}
        for column in self._columns:
            position = self._layout.positions.get(column.name)
            if position is None:
                columns[column.name] = pa.nulls(fields.rows, arrow_type(column.type))
                continue
            field = fields.columns[f"f{position}"]
            if fields.is_typed:
                columns[column.name] = field
                continue
            typed = cast_texts(field, column.type)
            columns[column.name] = typed.values
            for row in typed.misfits:
                misfits.setdefault(row, {})[column.name] = field[row].as_py()
        return columns, [Misfit(row, misfits[row]) for row in sorted(misfits)]

    def _origin(self, numbers: np.ndarray) -> dict[str, pa.Array]:
        origin = {}
        if SOURCE_FILE in self._provenance:
            origin[SOURCE_FILE] = pa.repeat(pa.scalar(self._file), len(numbers))
        if SOURCE_RECORD in self._provenance:
            origin[SOURCE_RECORD] = pa.array(numbers, pa.int64())
        return origin
