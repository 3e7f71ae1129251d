"""Parquet settings by column, decided from the first rows that are written.

Dictionary encoding pays for columns with few values and costs CPU elsewhere; ids, dates and timestamps are smaller and
cheaper as deltas. zstd level 1 for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_ROWS = 16_384
_LOW_CARDINALITY = 0.2
"""Share of distinct values below which a dictionary pays."""


def writer_options(table: pa.Table) -> dict[str, Any]:
    """Keyword arguments of `pyarrow.parquet.ParquetWriter` for data that looks like `table`."""
    sample = table.slice(0, SAMPLE_ROWS)
    dictionary, delta = [], {}
    for path, column in _leaves(sample):
        if _is_delta_type(column.type):
            delta[path] = "DELTA_BINARY_PACKED"
        elif _has_few_values(column):
            dictionary.append(path)
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": dictionary or False,
        "column_encoding": delta or None,
    }


def _leaves(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray | pa.Array]]:
    for name in table.column_names:
        yield from _leaf(name, table[name].combine_chunks())


def _leaf(path: str, column: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_struct(column.type):
        for i in range(column.type.num_fields):
            yield from _leaf(f"{path}.{column.type.field(i).name}", column.field(i))
    elif not pa.types.is_nested(column.type):
        yield path, column


def _is_delta_type(t: pa.DataType) -> bool:
    return bool(pa.types.is_integer(t) or pa.types.is_timestamp(t) or pa.types.is_date(t) or pa.types.is_time(t))


def _has_few_values(column: pa.Array) -> bool:
    if pa.types.is_boolean(column.type) or not len(column):
        return False
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type) or pa.types.is_decimal(column.type)):
        return False
    return bool(pc.count_distinct(column).as_py() < _LOW_CARDINALITY * len(column))
