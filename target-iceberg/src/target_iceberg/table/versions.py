"""Rows of versions of the source's table that are no longer valid (ACTIVATE_VERSION): taken away, or marked as deleted."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And

from target_iceberg.load_plan import DELETED_AT, TABLE_VERSION
from target_iceberg.table.deletes import matching_rows
from target_iceberg.table.filters import is_null, less
from target_iceberg.table.positions import Positions
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from target_iceberg.table.key_index import KeyIndex
    from target_iceberg.table.writer import StagedFile


def outdated_rows(table: Table, version: int, *, unmarked_only: bool) -> Positions:
    """Live rows of earlier versions; rows without a version stay.

    Args:
        table: as it stands.
        version: the valid one.
        unmarked_only: leave out rows that are marked as deleted already.
    """
    names = {f.name for f in table.schema().fields}
    if TABLE_VERSION not in names:
        return Positions()
    columns = (TABLE_VERSION, DELETED_AT) if unmarked_only and DELETED_AT in names else (TABLE_VERSION,)

    def matches(batch: pa.RecordBatch) -> pa.Array:
        old = pc.less(batch.column(TABLE_VERSION), version)
        return pc.and_(old, pc.is_null(batch.column(DELETED_AT))) if DELETED_AT in columns else old

    return matching_rows(table, less(TABLE_VERSION, version), columns, matches)


def marked_rows(
    table: Table,
    staged: Table,
    schema: Schema,
    spec: PartitionSpec,
    version: int,
    replaced: KeyIndex | None,
    target_file_size_bytes: int,
    name: str,
) -> list[StagedFile]:
    """New files with the rows of `outdated_rows`, marked as deleted now, without those that the run replaces by key.

    Args:
        table: as it stands.
        staged: the table as the commit will make it; gives location and FileIO.
        schema: of the commit.
        spec: of the commit.
        version: the valid one.
        replaced: keys of the rows that the run brings.
        target_file_size_bytes: wanted size on disk.
        name: begins the names of the files.
    """
    names = {f.name for f in table.schema().fields}
    if TABLE_VERSION not in names:
        return []
    old = less(TABLE_VERSION, version)
    found = table.scan(row_filter=And(old, is_null(DELETED_AT)) if DELETED_AT in names else old)
    now = pa.scalar(dt.datetime.now(dt.timezone.utc), pa.timestamp("us", tz="UTC"))
    writer = DataFileWriter(staged, schema, spec, target_file_size_bytes, name)
    for batch in found.to_arrow_batch_reader():
        rows = pa.Table.from_batches([batch])
        if replaced is not None and set(replaced.key) <= names:  # else no row of the table has such a key
            rows = replaced.without(rows)
        mark = pa.repeat(now, rows.num_rows)
        if DELETED_AT in rows.column_names:
            rows = rows.set_column(rows.column_names.index(DELETED_AT), DELETED_AT, mark)
        else:
            rows = rows.append_column(DELETED_AT, mark)
        writer.write(rows)
    return writer.close()
