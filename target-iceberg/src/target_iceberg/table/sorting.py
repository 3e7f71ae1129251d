"""Rows in the table's sort order within each data file: staged files are written anew, sorted, before they are published.

Sorting at the end keeps what staging needs: the order in which records came tells which of two rows of a key is the last.
Memory: one row group, the sort columns of one file, and what is being written; sorted row groups wait on the local disk.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import IdentityTransform

from target_iceberg.errors import TargetError
from target_iceberg.table.rewrite import ONE_FILE, beside, placed_as
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from target_iceberg.table.writer import StagedFile

_OUTPUT_ROWS = 65_536


def sort_columns(sort_by: tuple[str, ...]) -> list[tuple[str, bool]]:
    """(column, descending) of each expression: `column`, `column asc` or `column desc`."""
    found = []
    for expression in sort_by:
        column, _, direction = expression.strip().rpartition(" ")
        if column and direction.lower() in {"asc", "desc"}:
            found.append((column.strip(), direction.lower() == "desc"))
        else:
            found.append((expression.strip(), False))
    return found


def sort_order(schema: Schema, sort_by: tuple[str, ...]) -> SortOrder:
    """Sort order of a table; NULLs come last.

    Raises:
        TargetError: a column is missing, or its type has no order.
    """
    if not sort_by:
        return UNSORTED_SORT_ORDER
    fields = []
    for column, descending in sort_columns(sort_by):
        try:
            source = schema.find_field(column)
        except ValueError as e:
            raise TargetError(f"sort_by {column!r}: the table has no such column", "configuration") from e
        if not source.field_type.is_primitive or ("." in column and column not in {f.name for f in schema.fields}):
            raise TargetError(f"sort_by {column!r}: only a column of a simple type can be sorted by", "configuration")
        direction = SortDirection.DESC if descending else SortDirection.ASC
        fields.append(SortField(source.field_id, IdentityTransform(), direction, NullOrder.NULLS_LAST))
    return SortOrder(*fields, order_id=1)


def sorted_file(
    table: Table,
    schema: Schema,
    file: StagedFile,
    sort_by: tuple[str, ...],
    sort_order_id: int,
    unwanted: np.ndarray,
    name: str,
) -> StagedFile | None:
    """The wanted rows of a staged file in order; None when none is left.

    Args:
        table: gives location, properties and FileIO.
        schema: with which the file was written.
        file: as it was staged.
        sort_by: expressions as in a load plan.
        sort_order_id: of the table's sort order that they are.
        unwanted: positions of rows to leave out.
        name: begins the new file's name.
    """
    path = file.data_file.file_path
    writer = DataFileWriter(table, schema, UNPARTITIONED_PARTITION_SPEC, ONE_FILE, beside(table, path, name))
    columns = [(writer.file_columns[c], descending) for c, descending in sort_columns(sort_by)]
    names = {in_file: c for c, in_file in writer.file_columns.items()}
    with tempfile.TemporaryDirectory(prefix="dativo-sort-") as directory:
        with table.io.new_input(path).open() as stream, pq.ParquetFile(stream) as parquet:
            runs = [_mapped(path) for path in _sorted_runs(parquet, columns, unwanted, Path(directory))]
        for rows in _merged(runs, columns):
            writer.write(rows.rename_columns([names[n] for n in rows.column_names]))
        runs.clear()
    made = writer.close()
    if not made:
        return None
    return dataclasses.replace(
        placed_as(made[0], file.data_file, sort_order_id), segments=((0, int(made[0].data_file.record_count)),)
    )


def _sorted_runs(
    parquet: pq.ParquetFile, columns: list[tuple[str, bool]], unwanted: np.ndarray, directory: Path
) -> Iterator[Path]:
    start = 0
    for group in range(parquet.num_row_groups):
        rows = parquet.read_row_group(group)
        gone = unwanted[(unwanted >= start) & (unwanted < start + rows.num_rows)] - start
        start += rows.num_rows
        if len(gone):
            rows = rows.take(pa.array(np.delete(np.arange(rows.num_rows), gone)))
        rows = rows.take(_order(rows.select([c for c, _ in columns]), columns)).combine_chunks()
        path = directory / str(group)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        yield path


def _merged(runs: list[pa.Table], columns: list[tuple[str, bool]]) -> Iterator[pa.Table]:
    """Rows of sorted runs in order; what an output piece takes from a run lies together in it."""
    if not runs or not sum(r.num_rows for r in runs):
        return
    keys = pa.concat_tables([r.select([c for c, _ in columns]) for r in runs])
    order = _order(keys, columns).to_numpy()
    del keys
    first = np.concatenate(([0], np.cumsum([r.num_rows for r in runs])))
    run_of = np.searchsorted(first, order, side="right") - 1
    for start in range(0, len(order), _OUTPUT_ROWS):
        rows, at = order[start : start + _OUTPUT_ROWS], run_of[start : start + _OUTPUT_ROWS]
        parts, positions, base = [], np.empty(len(rows), np.int64), 0
        for run in np.unique(at).tolist():
            mine = rows[at == run] - first[run]
            low, high = int(mine.min()), int(mine.max()) + 1
            parts.append(runs[run].slice(low, high - low))
            positions[at == run] = mine - low + base
            base += high - low
        yield pa.concat_tables(parts).take(pa.array(positions))


def _order(keys: pa.Table, columns: list[tuple[str, bool]]) -> pa.Array:
    """Positions in order; rows that are equal keep theirs."""
    plain = pa.table([_sortable(keys[c]) for c, _ in columns], names=[f"k{i}" for i in range(len(columns))])
    plain = plain.append_column("row", pa.array(np.arange(len(keys))))
    by: list[tuple[str, Any]] = [(f"k{i}", "descending" if d else "ascending") for i, (_, d) in enumerate(columns)]
    return pc.sort_indices(plain, sort_keys=[*by, ("row", "ascending")], null_placement="at_end")


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.BaseExtensionType):  # uuid: its bytes have the same order
        return pa.chunked_array([c.storage for c in column.chunks], column.type.storage_type).cast(pa.binary())
    return column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
