"""RECORD lines and Arrow batches into tables of the plan's types; what does not fit becomes a reject, never a NULL.

The fast path hands a whole chunk of lines to Arrow's JSON reader. When that fails, the chunk is cut around what it does not
take, and only that goes through the row path, which has the last word.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from target_iceberg.records.columns import build, coerce
from target_iceberg.records.record_json import record_json, source_of, value_json
from target_iceberg.records.rejects import MAX_LISTED, Budget, RejectRow, classified_names
from target_iceberg.records.rows import RowPath
from target_iceberg.records.wire import Unreadable, WireReader
from target_iceberg.types import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from target_iceberg.load_plan import StreamPlan

_LEAF_ROWS = 4
_CALL_COST_ROWS = 75
"""What a call of Arrow's reader costs besides reading, in rows that it could have read meanwhile [measured: 0.1 ms]."""
_MIN_PIECE_ROWS = 128
_FORGET = 0.8


@dataclass
class Decoded:
    """A chunk of records in the plan's types."""

    table: pa.Table
    """The good rows in the order of the input; columns in the plan's order, all nullable."""
    rejects: list[RejectRow] = field(default_factory=list)
    """One per bad record, in the order of the input; bounded per rule and run, see `n_rejected`."""
    n_rejected: int = 0
    """Bad records, listed or not."""
    counts: Counter[str] = field(default_factory=Counter)
    """Rule -> records that broke it; a record that broke two counts under both."""
    columns: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """Rule -> (column, kind) for each rule in `counts`."""
    fields_dropped: Counter[str] = field(default_factory=Counter)
    """Field that is announced by the tap and not in the plan -> records without it now."""

    def note(self, errors: list[RejectRow], budget: Budget) -> None:
        """Count one bad record by all rules that it broke and list it under the first."""
        self.n_rejected += 1
        for e in errors:
            self.counts[e.rule] += 1
            self.columns[e.rule] = (e.column, e.kind)
        if budget.left(errors[0].rule):
            budget.take(errors[0].rule)
            self.rejects.append(errors[0])


class Decoder:
    """Decodes one stream. Safe to call from several threads at once."""

    def __init__(self, plan: StreamPlan, max_listed: int = MAX_LISTED) -> None:
        self.plan = plan
        self.schema: pa.Schema = arrow_schema(plan.columns)
        self._rows = RowPath(plan.stream, plan.columns)
        self._wire = WireReader(plan.columns)
        self._budget = Budget(max_listed)
        self._classified = classified_names(plan.columns)
        self._outside: tuple[str, ...] = ()
        self._seen_rows, self._failures = 0.0, 0.0

    def announce(self, schema: Mapping[str, Any]) -> tuple[str, ...]:
        """Take note of a SCHEMA message; returns the fields that the plan has no column for."""
        have = {c.name for c in self.plan.columns}
        self._outside = tuple(name for name in schema.get("properties") or {} if name not in have)
        return self._outside

    def decode_records(self, chunk: bytes, n_rows: int) -> Decoded:
        """Decode whole RECORD lines, each newline-terminated, as `framing.Span` gives them; no blank lines among them."""
        decoded = Decoded(self.schema.empty_table())
        decoded.fields_dropped.update(dict.fromkeys(self._outside, n_rows))
        if n_rows:
            decoded.table = _Chunk(chunk, n_rows, self, decoded).read()
        return decoded

    def piece_rows(self, n_rows: int) -> int:
        """Rows to read at once: all of them, fewer where bad lines are frequent and make the reader start again.

        A call costs c rows, a failure half a piece: c / p + p * f / 2 is least at sqrt(2 c / f).
        """
        if not self._failures:
            return n_rows
        best = math.sqrt(2 * _CALL_COST_ROWS * self._seen_rows / self._failures)
        return n_rows if best * 2 > n_rows else max(_MIN_PIECE_ROWS, int(best))

    def _learn(self, n_rows: int, failures: int) -> None:
        self._seen_rows = self._seen_rows * _FORGET + n_rows
        self._failures = self._failures * _FORGET + failures if failures or self._failures > 0.01 else 0.0

    def decode_table(self, table: pa.Table) -> Decoded:
        """Cast a batch column by column; the meaning of values is that of a RECORD."""
        have = set(table.column_names)
        decoded = Decoded(table)
        decoded.fields_dropped.update({n: table.num_rows for n in table.column_names if n not in self.schema.names})
        arrays, bad = [], {}
        for column, wanted in zip(self.plan.columns, self.schema, strict=True):
            if column.name not in have:
                arrays.append(pa.nulls(table.num_rows, wanted.type))
                continue
            got = coerce(table[column.name], column)
            arrays.append(got.array)
            for row, message in got.bad.items():
                bad.setdefault(row, []).append((column.name, message))
        decoded.table = pa.table(arrays, schema=self.schema)
        if bad:
            self._reject_rows(table, bad, decoded)
        return decoded

    def _reject_rows(self, source: pa.Table, bad: dict[int, list[tuple[str, str]]], decoded: Decoded) -> None:
        for row in sorted(bad):
            errors = bad[row]
            listed = self._budget.left(f"{self.plan.stream}.{errors[0][0]}.type")
            values = source.slice(row, 1)
            record = record_json(values, self._classified) if listed else ""
            file, position = source_of(values) if listed else (None, None)
            decoded.note([
                RejectRow(rule=f"{self.plan.stream}.{name}.type", column=name, kind="type", message=message,
                          value=value_json(values, name, name in self._classified) if listed else None, record=record,
                          source_file=file, source_record=position) for name, message in errors], self._budget)
        keep = np.ones(source.num_rows, bool)
        keep[list(bad)] = False
        decoded.table = decoded.table.filter(pa.array(keep))


class _Chunk:
    """One call of `decode_records`."""

    def __init__(self, data: bytes, n_rows: int, decoder: Decoder, decoded: Decoded) -> None:
        self._data, self._n_rows, self._decoder, self._decoded = data, n_rows, decoder, decoded
        self._offsets: npt.NDArray[np.int64] | None = None
        self._tables: list[pa.Table] = []
        self._values: list[tuple[Any, ...]] = []
        self._failures = 0

    def read(self) -> pa.Table:
        piece = self._decoder.piece_rows(self._n_rows)
        for low in range(0, self._n_rows, piece):
            self._range(low, min(low + piece, self._n_rows))
        self._flush()
        self._decoder._learn(self._n_rows, self._failures)
        if not self._tables:
            return self._decoder.schema.empty_table()
        return self._tables[0] if len(self._tables) == 1 else pa.concat_tables(self._tables).combine_chunks()

    def _range(self, low: int, high: int) -> None:
        """Read the rows from low to high in their order, cutting wherever the reader fails."""
        todo = [(low, high)]
        while todo:
            low, high = todo.pop()
            if high - low <= _LEAF_ROWS and self._failures:
                self._by_row(range(low, high))
                continue
            try:
                table, bad = self._decoder._wire.read(self._lines(low, high), high - low)
            except Unreadable as e:
                self._failures += 1
                if e.row is None or not 0 <= e.row < high - low:
                    middle = (low + high) // 2
                    todo += [(middle, high), (low, middle)] if high - low > 1 else []
                    if high - low == 1:
                        self._by_row(range(low, high))
                    continue
                at = low + e.row
                todo += [r for r in ((at + 1, high), (at, at + 1), (low, at)) if r[0] < r[1]]
                continue
            self._take(table, bad, low)

    def _take(self, table: pa.Table, bad: list[int], low: int) -> None:
        self._flush()
        at = 0
        for row in bad:
            rescued = self._decode_row(low + row)
            if rescued is not None:
                if row > at:
                    self._tables.append(table.slice(at, row - at))
                self._tables.append(self._table([rescued]))
                at = row + 1
        rest = table.slice(at)
        drop = [r - at for r in bad if r >= at]
        if drop:
            keep = np.ones(rest.num_rows, bool)
            keep[drop] = False
            rest = rest.filter(pa.array(keep))
        self._tables.append(rest)

    def _by_row(self, rows: Iterable[int]) -> None:
        for row in rows:
            values = self._decode_row(row)
            if values is not None:
                self._values.append(values)

    def _decode_row(self, row: int) -> tuple[Any, ...] | None:
        got = self._decoder._rows.decode(bytes(self._lines(row, row + 1)))
        if isinstance(got, tuple):
            return got
        self._decoded.note(got, self._decoder._budget)
        return None

    def _flush(self) -> None:
        if self._values:
            self._tables.append(self._table(self._values))
            self._values = []

    def _table(self, values: list[tuple[Any, ...]]) -> pa.Table:
        columns = self._decoder.plan.columns
        return pa.table([build([v[i] for v in values], c) for i, c in enumerate(columns)], schema=self._decoder.schema)

    def _lines(self, low: int, high: int) -> memoryview:
        view = memoryview(self._data)
        if low == 0 and high == self._n_rows:
            return view
        if self._offsets is None:
            ends = np.flatnonzero(np.frombuffer(self._data, np.uint8) == 10) + 1
            self._offsets = np.concatenate(([0], ends))
        return view[self._offsets[low] : self._offsets[high]]
