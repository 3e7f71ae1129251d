"""Which rows a publish takes away, as positions in data files: earlier rows of a key, earlier rows of a file.

Reads key columns only.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, And, Or
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.schema import Schema
from pyiceberg.types import DateType, IntegerType, LongType, NestedField, StringType

from target_iceberg.errors import TargetError
from target_iceberg.table.filters import among, between
from target_iceberg.table.parquet_columns import names_by_id, opened_parquet
from target_iceberg.table.positions import Positions, live_positions
from target_iceberg.table.writer import data_file, statistics_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.io import FileIO
    from pyiceberg.table import Table

    from target_iceberg.table.key_index import KeyIndex

SOURCE_FILE = "_sdc_source_file"
POSITION_DELETE_SCHEMA = Schema(  # reserved field ids of the specification
    NestedField(2147483546, "file_path", StringType(), required=True),
    NestedField(2147483545, "pos", LongType(), required=True),
)
_BATCH_ROWS = 131_072
_PRUNABLE = (LongType, IntegerType, StringType, DateType)
_MAX_FILES_IN_FILTER = 200


def existing_rows(table: Table, index: KeyIndex | None, key: tuple[str, ...], source_files: set[str]) -> Positions:
    """Live rows of a table that have one of the keys of `index`, or come from one of `source_files`.

    Raises:
        TargetError: the table has equality deletes, which cannot be combined with position deletes safely.
    """
    snapshot = table.current_snapshot()
    found = Positions()
    names = set(table.schema().column_names)
    if not names.issuperset(key):
        index = None  # a part of the key is new to the table: rows without it have none of the keys
    if SOURCE_FILE not in names:
        source_files = set()
    if snapshot is None or (index is None and not source_files):
        return found
    summary = snapshot.summary.additional_properties if snapshot.summary else {}
    if int(summary.get("total-equality-deletes", "0")):
        raise TargetError(
            f"table {'.'.join(table.name())} carries equality deletes of another engine; compact it there first",
            "refused",
        )
    file_id = table.schema().find_field(SOURCE_FILE).field_id if source_files else None
    for task in table.scan(row_filter=_filter(table, index, key, source_files)).plan_files():
        positions = [index.matches(task.file)] if index is not None else []
        if file_id is not None:
            positions.append(_positions_of_source_files(table.io, task.file.file_path, file_id, source_files))
        found.add(task.file, live_positions(table.io, task, positions))
        pa.default_memory_pool().release_unused()
    return found


def matching_rows(
    table: Table, row_filter: BooleanExpression, columns: tuple[str, ...], matches: Callable[[pa.RecordBatch], Any]
) -> Positions:
    """Live rows of a table for which `matches` gives true.

    Args:
        table: the table, as it stands.
        row_filter: prunes files; may let through more than matches.
        columns: columns that `matches` sees, under these names.
        matches: record batch -> boolean array, `(n_rows,)`.
    """
    found = Positions()
    ids = {table.schema().find_field(c).field_id: c for c in columns}
    for task in table.scan(row_filter=row_filter).plan_files():
        hits, start = [np.empty(0, np.int64)], 0
        with opened_parquet(table.io, task.file.file_path) as parquet:
            names = names_by_id(parquet)
            there = [i for i in ids if i in names]  # a file may be older than a column
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[names[i] for i in there]):
                seen = {c: batch.column(names[i]) if i in there else pa.nulls(batch.num_rows) for i, c in ids.items()}
                mask = pc.fill_null(matches(pa.record_batch(seen)), False)
                hits.append(start + np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
                start += batch.num_rows
        found.add(task.file, live_positions(table.io, task, hits))
    return found


def _filter(table: Table, index: KeyIndex | None, key: tuple[str, ...], source_files: set[str]) -> BooleanExpression:
    parts: list[BooleanExpression] = []
    if index is not None:
        if not isinstance(table.schema().find_field(key[0]).field_type, _PRUNABLE):
            return AlwaysTrue()
        listed = index.listed()
        parts.append(among(key[0], listed) if listed is not None else And(*between(key[0], *index.bounds())))
    if source_files:
        if len(source_files) > _MAX_FILES_IN_FILTER:
            return AlwaysTrue()
        parts.append(among(SOURCE_FILE, source_files))
    return parts[0] if len(parts) == 1 else Or(*parts)


def _positions_of_source_files(io: FileIO, path: str, field_id: int, source_files: set[str]) -> np.ndarray:
    wanted = pa.array(sorted(source_files), pa.string())
    hits, start = [np.empty(0, np.int64)], 0
    with opened_parquet(io, path) as parquet:
        name = names_by_id(parquet).get(field_id)
        if name is None:
            return hits[0]
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=[name]):
            mask = pc.is_in(batch.column(0).cast(pa.string()), value_set=wanted)
            hits.append(start + np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
            start += batch.num_rows
    return np.concatenate(hits)


def write_position_deletes(table: Table, positions: Positions, name: str) -> list[DataFile]:
    """One delete file for each partition spec and partition of the data files that are covered."""
    groups: dict[Any, list[tuple[DataFile, np.ndarray]]] = defaultdict(list)
    for file, rows in positions.by_file:
        groups[file.spec_id, file.partition].append((file, rows))
    return [
        _write_delete_file(table, members, spec_id, partition, name) for (spec_id, partition), members in groups.items()
    ]


def _write_delete_file(
    table: Table, members: list[tuple[DataFile, np.ndarray]], spec_id: int, partition: Any, name: str
) -> DataFile:
    arrow = schema_to_pyarrow(POSITION_DELETE_SCHEMA, include_field_ids=True)
    path = table.location_provider().new_data_location(f"{name}-{uuid.uuid4().hex[:12]}-deletes.parquet")
    with table.io.new_output(path).create(overwrite=True) as stream:
        with pq.ParquetWriter(stream, arrow, compression="zstd", use_dictionary=["file_path"]) as writer:
            for file, rows in sorted(
                members, key=lambda m: m[0].file_path
            ):  # the specification wants file_path, pos order
                for start in range(
                    0, len(rows), _BATCH_ROWS
                ):  # the path stands in every row: a batch of them at a time
                    part = pa.array(rows[start : start + _BATCH_ROWS], pa.int64())
                    paths = pa.repeat(pa.scalar(file.file_path, arrow.field(0).type), len(part))
                    writer.write_table(pa.table([paths, part], schema=arrow))
        size = stream.tell()
    statistics = statistics_of(writer, POSITION_DELETE_SCHEMA, {"write.metadata.metrics.default": "full"})
    return data_file(path, size, partition, spec_id, DataFileContent.POSITION_DELETES, statistics)
