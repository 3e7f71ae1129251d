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
from target_iceberg.records.sieve import Sieve
from target_iceberg.records.wire import Unreadable, WireReader
from target_iceberg.types import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from target_iceberg.load_plan import StreamPlan

_LEAF_ROWS = 4
_CALL_COST_ROWS = 100
"""What a call of Arrow's reader costs besides reading, in rows that it could have read meanwhile [measured: 0.1-0.2 ms]."""
_SIEVE_RATE = 1 / 1_000
"""With more bad lines than this, looking at all lines first is cheaper than failing."""
_FORGET, _FORGOTTEN = 0.9, 0.05
"""Weight of the past after another chunk; what is left of one failure when it no longer counts."""
_NEWLINE = 10


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
        self._budget = Budget(max_listed)
        self._rows = RowPath(plan.stream, plan.columns, self._budget)
        self._wire = WireReader(plan.columns)
        self._sieve = Sieve(plan.columns)
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

    def _learn(self, n_rows: int, failures: int) -> None:
        self._seen_rows = self._seen_rows * _FORGET + n_rows
        self._failures = self._failures * _FORGET + failures
        if self._failures < _FORGOTTEN:
            self._failures = 0.0

    @property
    def _failure_rate(self) -> float:
        """Lines that the reader does not take, as a share of the last few chunks."""
        return self._failures / self._seen_rows if self._failures else 0.0

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
        self._view, self._n_rows, self._decoder, self._decoded = memoryview(data), n_rows, decoder, decoded
        self._offsets: npt.NDArray[np.int64] | None = None
        self._tables: list[pa.Table] = []
        self._failures = 0

    def read(self) -> pa.Table:
        rate = self._decoder._failure_rate
        if rate > _SIEVE_RATE:
            self._sift(0, self._n_rows)
        else:
            piece = _piece_rows(self._n_rows, rate)
            for low in range(0, self._n_rows, piece):
                self._range(low, min(low + piece, self._n_rows))
        self._decoder._learn(self._n_rows, self._failures)
        if not self._tables:
            return self._decoder.schema.empty_table()
        return self._tables[0] if len(self._tables) == 1 else pa.concat_tables(self._tables).combine_chunks()

    def _range(self, low: int, high: int) -> None:
        """Read rows at once; what the reader does not take is sieved out."""
        try:
            table, bad = self._decoder._wire.read(self._lines(low, high), high - low)
        except Unreadable:
            self._sift(low, high)
            return
        self._merge(table, np.arange(low, high), bad, [])

    def _sift(self, low: int, high: int) -> None:
        lines = bytes(self._lines(low, high)).split(b"\n")
        suspects = [low + i for i in self._decoder._sieve.suspects(lines[: high - low])]
        self._failures += len(suspects)
        passed = np.delete(np.arange(low, high), np.array(suspects, np.int64) - low)
        if suspects:
            data = b"".join(self._lines(int(run[0]), int(run[-1]) + 1) for run in np.split(passed, np.flatnonzero(np.diff(passed) > 1) + 1) if len(run))
        else:
            data = self._lines(low, high)
        try:
            table, bad = self._decoder._wire.read(memoryview(data), len(passed)) if len(passed) else (self._decoder.schema.empty_table(), [])
        except Unreadable:
            self._cut(low, high)
            return
        self._merge(table, passed, bad, suspects)

    def _cut(self, low: int, high: int) -> None:
        """Halve until the lines are found that the sieve lets pass and the reader does not take."""
        todo = [(low, high)]
        while todo:
            low, high = todo.pop()
            if high - low <= _LEAF_ROWS:
                self._merge(self._decoder.schema.empty_table(), np.arange(0), [], list(range(low, high)))
                continue
            try:
                table, bad = self._decoder._wire.read(self._lines(low, high), high - low)
            except Unreadable as e:
                self._failures += 1
                at = low + e.row if e.row is not None and e.row < high - low else (low + high) // 2
                # A row that is known is cut out alone; else the middle is just a place to halve at.
                bounds = [low, at, at + 1, high] if e.row is not None else [low, at, high]
                todo += [(a, b) for a, b in reversed(list(zip(bounds, bounds[1:], strict=False))) if a < b]
                continue
            self._merge(table, np.arange(low, high), bad, [])

    def _merge(self, table: pa.Table, rows: npt.NDArray[np.int64], bad: list[int], suspects: list[int]) -> None:
        """Take a table whose rows stand at `rows` in the chunk; bad rows of it and suspect lines go through the row path."""
        if not bad and not suspects:
            self._tables.append(table)
            return
        if bad:
            keep = np.ones(len(rows), bool)
            keep[bad] = False
            suspects = sorted([*suspects, *rows[bad].tolist()])
            table, rows = table.filter(pa.array(keep)), rows[keep]
        rescued = [(row, values) for row in suspects if (values := self._decode_row(row)) is not None]
        if rescued:
            order = np.argsort(np.concatenate((rows, [row for row, _ in rescued])), kind="stable")
            table = pa.concat_tables([table, self._table([values for _, values in rescued])]).take(pa.array(order))
        self._tables.append(table)

    def _decode_row(self, row: int) -> tuple[Any, ...] | None:
        got = self._decoder._rows.decode(bytes(self._lines(row, row + 1)))
        if isinstance(got, tuple):
            return got
        self._decoded.note(got, self._decoder._budget)
        return None

    def _table(self, values: list[tuple[Any, ...]]) -> pa.Table:
        columns = self._decoder.plan.columns
        return pa.table([build([v[i] for v in values], c) for i, c in enumerate(columns)], schema=self._decoder.schema)

    def _lines(self, low: int, high: int) -> memoryview:
        if low == 0 and high == self._n_rows:
            return self._view
        if self._offsets is None:
            self._offsets = np.concatenate(([0], np.flatnonzero(np.frombuffer(self._view, np.uint8) == _NEWLINE) + 1))
        return self._view[self._offsets[low] : self._offsets[high]]


def _piece_rows(n_rows: int, failure_rate: float) -> int:
    """Rows to read at once, so that a bad line makes few others be read again.

    A call costs as much as c rows; a piece with a bad line in it is read about twice more: c / p + 2 * p * rate is least
    at p = sqrt(c / (2 * rate)).
    """
    if not failure_rate:
        return n_rows
    best = int(math.sqrt(_CALL_COST_ROWS / (2 * failure_rate)))
    return n_rows if best > n_rows // 2 else best
