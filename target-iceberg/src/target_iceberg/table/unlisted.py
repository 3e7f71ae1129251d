"""Rows of a table whose keys are not among those that a source has listed, for some ranges of its key or all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, And, Or
from pyiceberg.io.pyarrow import _to_requested_schema, pyarrow_to_schema
from pyiceberg.types import IntegerType, LongType

from target_iceberg.errors import TargetError
from target_iceberg.table.filters import at_least, at_most
from target_iceberg.table.parquet_columns import key_batches
from target_iceberg.table.positions import Positions, live_positions
from target_iceberg.table.rewrite import kept_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from target_iceberg.table.key_index import KeyIndex

Range = tuple["int | None", "int | None"]
"""First and last value of the first key column; None: no end."""
_BATCH_ROWS = 65_536
_MAX_RANGES_IN_FILTER = 100


def unlisted_rows(table: Table, key: tuple[str, ...], listed: KeyIndex | None, ranges: Sequence[Range]) -> Positions:
    """Live rows in the ranges whose keys are not listed.

    Args:
        table: as it stands.
        key: its columns.
        listed: the keys that are listed; None: there are none.
        ranges: ascending, without overlap.

    Raises:
        TargetError: the ranges are of whole numbers, and the key is not.
    """
    found, schema = Positions(), table.schema()
    if not set(schema.column_names).issuperset(key):
        return found
    if any(r != (None, None) for r in ranges) and not isinstance(
        schema.find_field(key[0]).field_type, (IntegerType, LongType)
    ):
        raise TargetError(
            f"table {'.'.join(table.name())}: keys were listed by ranges of whole numbers, and {key[0]} is no whole number there",
            "source",
        )
    ids = [schema.find_field(k).field_id for k in key]
    tasks = list(table.scan(row_filter=_filter(key[0], ranges)).plan_files())
    positions = unlisted_positions(table.io, [t.file for t in tasks], ids, listed, ranges)
    for task, unlisted in zip(tasks, positions, strict=True):
        found.add(task.file, live_positions(table.io, task, [unlisted]))
    return found


def unlisted_positions(
    io: FileIO, files: Sequence[DataFile], key_ids: list[int], listed: KeyIndex | None, ranges: Sequence[Range]
) -> list[np.ndarray]:
    """Positions in each of some data files, `(n,)` int64; arguments as in `unlisted_rows`."""
    found = [np.arange(f.record_count) for f in files] if listed is None else listed.unmatched(files)
    if all(r == (None, None) for r in ranges):
        return found
    return [_inside(io, f, p, key_ids[:1], ranges) if len(p) else p for f, p in zip(files, found, strict=True)]


def _inside(
    io: FileIO, file: DataFile, positions: np.ndarray, key_ids: list[int], ranges: Sequence[Range]
) -> np.ndarray:
    inside = np.zeros(file.record_count, dtype=bool)
    for batch in key_batches(io, file.file_path, key_ids, None):
        inside[batch.column(1).to_numpy()] = _in_ranges(batch.column(0), ranges).to_numpy(zero_copy_only=False)
    kept: np.ndarray = positions[inside[positions]]
    return kept


def rows_at(io: FileIO, schema: Schema, path: str, positions: np.ndarray) -> Iterator[pa.Table]:
    """Some rows of a data file in the columns of a schema, which may be newer than the file.

    Args:
        io: reads it.
        schema: columns that are wanted, with their field ids.
        path: of the file.
        positions: `(n,)` int64.
    """
    with io.new_input(path).open() as stream, pq.ParquetFile(stream) as parquet:
        keep = np.zeros(parquet.metadata.num_rows, dtype=bool)
        keep[positions] = True
        theirs = pyarrow_to_schema(parquet.schema_arrow)
        wanted = [f.name for f in theirs.fields if f.field_id in schema.field_ids]
        for batch in kept_batches(parquet, keep, _BATCH_ROWS, wanted):
            yield pa.Table.from_batches([_to_requested_schema(schema, theirs.select(*wanted), batch)])


def _in_ranges(keys: pa.Array, ranges: Sequence[Range]) -> pa.Array:
    """Which keys lie in one of the ranges; a NULL does not."""
    lows = np.array([np.iinfo(np.int64).min if low is None else low for low, _ in ranges], np.int64)
    highs = np.array([np.iinfo(np.int64).max if high is None else high for _, high in ranges], np.int64)
    values = pc.fill_null(pc.cast(keys, pa.int64()), 0).to_numpy()
    at = np.searchsorted(lows, values, side="right") - 1
    inside = (at >= 0) & (values <= highs[np.maximum(at, 0)])
    return pc.and_(pa.array(inside), pc.is_valid(keys))


def _filter(column: str, ranges: Sequence[Range]) -> BooleanExpression:
    """Lets all rows of the ranges through, and perhaps more."""
    if len(ranges) > _MAX_RANGES_IN_FILTER:
        ranges = [(ranges[0][0], ranges[-1][1])]
    parts = [_within(column, r) for r in ranges]
    return parts[0] if len(parts) == 1 else Or(*parts)


def _within(column: str, bounds: Range) -> BooleanExpression:
    low, high = bounds
    ends = [] if low is None else [at_least(column, low)]
    ends += [] if high is None else [at_most(column, high)]
    return And(*ends) if len(ends) == 2 else ends[0] if ends else AlwaysTrue()
