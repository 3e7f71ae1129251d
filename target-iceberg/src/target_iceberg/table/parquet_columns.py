"""Some columns of Parquet files, found by their field ids."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.io import FileIO

_BATCH_ROWS = 131_072


@contextlib.contextmanager
def opened_parquet(io: FileIO, path: str) -> Iterator[pq.ParquetFile]:
    """A file, closed at the end."""
    with io.new_input(path).open() as stream, pq.ParquetFile(stream) as parquet:
        yield parquet


def names_by_id(parquet: pq.ParquetFile) -> dict[int, str]:
    """Field id -> name in the file, of its outermost columns."""
    return {
        int(f.metadata[b"PARQUET:field_id"]): f.name
        for f in parquet.schema_arrow
        if f.metadata and b"PARQUET:field_id" in f.metadata
    }


def comparable(column: Any) -> Any:
    """Storage of extension types (uuid), which DuckDB would turn into another type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def key_schema(parquet: pq.ParquetFile, key_ids: list[int]) -> pa.Schema:
    """Of what `key_batches` gives: k0, k1, ..., ord."""
    names = names_by_id(parquet)
    types = [parquet.schema_arrow.field(names[i]).type for i in key_ids]
    plain = [t.storage_type if isinstance(t, pa.ExtensionType) else t for t in types]
    return pa.schema([(f"k{i}", t) for i, t in enumerate(plain)] + [("ord", pa.int64())])


def key_batches(io: FileIO, path: str, key_ids: list[int], ordinals: np.ndarray | None) -> pa.RecordBatchReader:
    """Key columns of one file with the ordinal (or position) of each row."""
    with opened_parquet(io, path) as parquet:
        names = names_by_id(parquet)
        if not set(key_ids) <= set(names):  # older than the column: its keys are NULL and match nothing
            nothing = pa.schema([*((f"k{i}", pa.null()) for i in range(len(key_ids))), ("ord", pa.int64())])
            return pa.RecordBatchReader.from_batches(nothing, [])
        schema = key_schema(parquet, key_ids)

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        with opened_parquet(io, path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[names[i] for i in key_ids]):
                rows = (
                    np.arange(start, start + batch.num_rows)
                    if ordinals is None
                    else ordinals[start : start + batch.num_rows]
                )
                start += batch.num_rows
                columns = [comparable(batch.column(names[i])) for i in key_ids]
                yield pa.record_batch([*columns, pa.array(rows, pa.int64())], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())
