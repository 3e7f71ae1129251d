"""Appended rows that repeat what must be unique, within the run or in the table: the first row is kept (protocol, rule 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from target_iceberg.records.repeats import reject_rows, unique_rules
from target_iceberg.records.staged_rows import count_duplicates
from target_iceberg.singer.unwanted import rows_of
from target_iceberg.table.key_index import KeyIndex
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.positions import Positions
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_iceberg.load_plan import Rule
    from target_iceberg.records.rejects import RejectRow
    from target_iceberg.singer.stream import StreamSink
    from target_iceberg.table.writer import StagedFile

_BATCH_ROWS = 65_536


def reject_repeated(sink: StreamSink, files: list[StagedFile], unwanted: Positions) -> int:
    """Count staged rows that repeat something as rejects, and put them to the unwanted ones; returns how many.

    Args:
        sink: of the stream.
        files: its data files.
        unwanted: rows that are left out for another reason.
    """
    total = 0
    for rule in unique_rules(sink.plan) if files else ():
        with lake_errors(address(sink.plan)):
            found = _repeated(sink, files, rule.columns)
        known = {file.file_path: positions for file, positions in unwanted.by_file}
        new = Positions()
        for file, positions in found.by_file:
            new.add(file, np.setdiff1d(positions, known.get(file.file_path, [])))
        unwanted.by_file = Positions([*unwanted.by_file, *new.by_file]).merged().by_file
        if new.rows:
            with lake_errors(address(sink.plan)):
                sink.reject_staged(rule, new.rows, _rejects(sink, rule, new))
        total += new.rows
    return total


def _repeated(sink: StreamSink, files: list[StagedFile], columns: tuple[str, ...]) -> Positions:
    stage = sink.stage
    is_empty = not stage.table_existed or stage.table.current_snapshot() is None
    if is_empty and not count_duplicates(rows_of(sink, files), columns)[0]:
        return Positions()  # as nearly always, and this proof needs little
    ids = [stage.schema.find_field(c).field_id for c in columns]
    with KeyIndex(stage.table.io, files, ids, columns) as index:
        return index.repeated(stage.table if stage.table_existed else None)


def _rejects(sink: StreamSink, rule: Rule, found: Positions) -> Iterator[RejectRow]:
    names = {in_file: c for c, in_file in sink.file_columns.items()}
    for file, positions in found.by_file:
        start = 0
        with sink.stage.table.io.new_input(file.file_path).open() as stream, pq.ParquetFile(stream) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS):
                mine = positions[(positions >= start) & (positions < start + batch.num_rows)] - start
                start += batch.num_rows
                table = pa.Table.from_batches([batch]).rename_columns([names[n] for n in batch.schema.names])
                yield from reject_rows(sink.plan, rule, table.take(pa.array(mine)))
