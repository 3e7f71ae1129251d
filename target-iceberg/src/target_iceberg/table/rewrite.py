"""Staged files written anew, when the table's field ids have changed since they were staged (protocol, rule 9).

Readers find a column by its field id. A file committed under ids that meanwhile mean other columns, or none, would show
NULL or another column's values, and nothing would say so.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFileContent
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import sanitize_column_names

from target_iceberg.table.iceberg_schema import column_paths, file_arrow_schema
from target_iceberg.table.positions import Positions
from target_iceberg.table.writer import DataFileWriter, data_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from target_iceberg.table.writer import StagedFile

_BATCH_ROWS = 65_536
ONE_FILE = 1 << 62
"""A size that no file reaches, for rewriting one file as one."""
_STATISTICS = (
    "record_count",
    "column_sizes",
    "value_counts",
    "null_value_counts",
    "nan_value_counts",
    "lower_bounds",
    "upper_bounds",
    "split_offsets",
)


def moved_columns(file: StagedFile, schema: Schema) -> list[str]:
    """Columns of a staged file that have another field id in a schema now, or none."""
    now = column_paths(schema)
    return [column for column, field_id in file.column_ids.items() if now.get(column) != field_id]


def rewritten(table: Table, schema: Schema, file: StagedFile, name: str) -> StagedFile:
    """The same rows in the same order and partition, under the field ids of a schema that has all of the file's columns.

    Args:
        table: gives location, properties and FileIO.
        schema: of the commit.
        file: as it was staged.
        name: begins the new file's name.
    """
    old = file.data_file
    writer = DataFileWriter(table, schema, UNPARTITIONED_PARTITION_SPEC, ONE_FILE, beside(table, old.file_path, name))
    names = dict(
        zip(file_arrow_schema(sanitize_column_names(schema)).names, (f.name for f in schema.fields), strict=True)
    )
    with table.io.new_input(old.file_path).open() as stream, pq.ParquetFile(stream) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS):
            rows = pa.Table.from_batches([batch])
            known = [n for n in rows.column_names if n in names]
            writer.write(rows.select(known).rename_columns([names[n] for n in known]))
    (new,) = writer.close()
    return dataclasses.replace(placed_as(new, old, old.sort_order_id), segments=file.segments)


def kept_batches(
    parquet: pq.ParquetFile, keep: np.ndarray | None, batch_rows: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Some rows of a file, batch by batch; batches of which none is kept are left out.

    Args:
        parquet: the file.
        keep: for each of its rows whether it is kept, `(n_rows,)` bool; None: all are.
        batch_rows: greatest number of rows that are read at once.
        columns: which; None: all.
    """
    start = 0
    for batch in parquet.iter_batches(batch_rows, columns=columns):
        mask = None if keep is None else keep[start : start + batch.num_rows]
        start += batch.num_rows
        if mask is None or mask.all():
            yield batch
        elif mask.any():
            yield batch.filter(pa.array(mask))


def beside(table: Table, path: str, name: str) -> str:
    """Beginning of the name of a file that is to lie in the folder of another one: a partition has a folder of its own."""
    data = table.location_provider().new_data_location("")
    folder = path.rpartition("/")[0]
    return f"{folder.removeprefix(data)}/{name}" if folder.startswith(data) and folder != data else name


def placed_as(new: StagedFile, place: DataFile, sort_order_id: int | None = None) -> StagedFile:
    """A file that was written without regard to partitions, in the partition of the one whose rows it has."""
    made = new.data_file
    placed = data_file(
        made.file_path,
        made.file_size_in_bytes,
        place.partition,
        place.spec_id,
        DataFileContent.DATA,
        {statistic: getattr(made, statistic) for statistic in _STATISTICS},
        sort_order_id,
    )
    return dataclasses.replace(new, data_file=placed)


def in_place_of(positions: Positions, files: dict[str, DataFile]) -> Positions:
    """Positions in the files that stand for others now.

    Args:
        positions: in files as they were staged.
        files: path as staged -> the file that was written in its place.
    """
    return Positions([(files.get(file.file_path, file), rows) for file, rows in positions.by_file])
