"""RECORD lines and Arrow batches into tables of the plan's types; what does not fit becomes a reject, never a NULL.

The fast path hands a whole chunk of lines to Arrow's JSON reader. When that fails, the chunk is cut around what it does not
take, and only that goes through the row path, which has the last word.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from target_iceberg.records.chunk import Chunk, Readers
from target_iceberg.records.columns import coerce, empty_table, nulls
from target_iceberg.records.metadata import ENVELOPE_FIELDS, RecordMetadata
from target_iceberg.records.record_json import record_json, source_of, value_json
from target_iceberg.records.rejects import MAX_LISTED, Budget, RejectRow, classified_names
from target_iceberg.records.rows import NO_FIELDS, RowPath
from target_iceberg.records.sieve import Sieve
from target_iceberg.records.wire import WireReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_iceberg.load_plan import StreamPlan


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
        self.empty: pa.Table = empty_table(plan.columns)
        self.schema: pa.Schema = self.empty.schema
        self._budget = Budget(max_listed)
        self._metadata = RecordMetadata(plan)
        around = ENVELOPE_FIELDS if plan.record_metadata else NO_FIELDS
        self._readers = Readers(
            columns=plan.columns,
            empty=self.empty,
            wire=WireReader(plan.columns, envelope_fields=around),
            sieve=Sieve(plan.columns),
            rows=RowPath(plan.stream, plan.columns, self._budget, around),
            budget=self._budget,
        )
        self._classified = classified_names(plan.columns)
        self._outside: tuple[str, ...] = ()

    def announce(self, schema: Mapping[str, Any]) -> tuple[str, ...]:
        """Take note of a SCHEMA message; returns the fields that the plan has no column for."""
        have = {c.name for c in self.plan.columns}
        self._outside = tuple(name for name in schema.get("properties") or {} if name not in have)
        return self._outside

    def decode_records(self, chunk: bytes, n_rows: int) -> Decoded:
        """Decode whole RECORD lines, each newline-terminated, as `framing.Span` gives them; no blank lines among them."""
        decoded = Decoded(self.empty)
        decoded.fields_dropped.update(dict.fromkeys(self._outside, n_rows))
        if n_rows:
            decoded.table = self._metadata.filled(Chunk(chunk, n_rows, self._readers, decoded).read())
        return decoded

    def decode_table(self, table: pa.Table) -> Decoded:
        """Cast a batch column by column; the meaning of values is that of a RECORD."""
        have = set(table.column_names)
        decoded = Decoded(table)
        unknown = have.difference(self.schema.names)
        decoded.fields_dropped.update({n: table.num_rows for n in table.column_names if n in unknown})
        arrays: list[pa.Array] = []
        bad: dict[int, list[tuple[str, str]]] = {}
        for column in self.plan.columns:
            if column.name not in have:
                arrays.append(nulls(table.num_rows, column))
                continue
            got = coerce(table[column.name], column)
            arrays.append(got.array)
            for row, message in got.bad.items():
                bad.setdefault(row, []).append((column.name, message))
        decoded.table = pa.table(arrays, schema=self.schema)
        if bad:
            self._reject_rows(table, bad, decoded)
        decoded.table = self._metadata.filled(decoded.table)
        return decoded

    def _reject_rows(self, source: pa.Table, bad: dict[int, list[tuple[str, str]]], decoded: Decoded) -> None:
        for row in sorted(bad):
            errors = bad[row]
            listed = self._budget.left(f"{self.plan.stream}.{errors[0][0]}.type")
            values = source.slice(row, 1)
            record = record_json(values, self._classified) if listed else ""
            file, position = source_of(values) if listed else (None, None)
            decoded.note(
                [
                    RejectRow(
                        rule=f"{self.plan.stream}.{name}.type",
                        column=name,
                        kind="type",
                        message=message,
                        value=value_json(values, name, name in self._classified) if listed else None,
                        record=record,
                        source_file=file,
                        source_record=position,
                    )
                    for name, message in errors
                ],
                self._budget,
            )
        keep = np.ones(source.num_rows, bool)
        keep[list(bad)] = False
        decoded.table = decoded.table.filter(pa.array(keep))
