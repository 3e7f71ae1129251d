"""Rows by partition, in one sort whatever the number of partitions, and buffers of many partitions on the local disk."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema


MANY_PARTITIONS = 64
"""With more at once, rows are put aside and written partition by partition: open files cost memory and descriptors, and
files that are closed early to spare them are small."""
_MAP_ANEW = 32


def by_partition(spec: PartitionSpec, schema: Schema, table: pa.Table) -> Iterator[tuple[PartitionKey, pa.Table]]:
    """Cut a table by partition; rows of a partition keep their order.

    Args:
        spec: partitioned.
        schema: of the rows, with the table's own column names.
        table: the rows.
    """
    codes = np.zeros(table.num_rows, np.int64)
    dictionaries: list[list[Any]] = []
    for f in spec.fields:
        source = schema.find_field(f.source_id)
        values = f.transform.pyarrow_transform(source.field_type)(_column(table, schema, f.source_id))
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        is_uuid = isinstance(values, pa.ExtensionArray)
        encoded = pc.dictionary_encode(values.storage if is_uuid else values, null_encoding="encode")
        known = encoded.dictionary.to_pylist()
        dictionaries.append([None if v is None else uuid.UUID(bytes=v) for v in known] if is_uuid else known)
        codes = codes * max(1, len(dictionaries[-1])) + encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(codes[order])) + 1).tolist(), table.num_rows]
    n_parts = len(bounds) - 1
    # Slices of one table cost less than tables of their own, but each keeps the whole table in memory: right where all of
    # them leave it together.
    ordered = table.take(pa.array(order)) if n_parts > MANY_PARTITIONS else None
    for start, end in itertools.pairwise(bounds):
        if ordered is not None:
            rows = ordered.slice(start, end - start)
        else:
            rows = table if n_parts == 1 else table.take(pa.array(order[start:end]))
        yield _key(spec, schema, dictionaries, int(codes[order[start]])), rows


def _key(spec: PartitionSpec, schema: Schema, dictionaries: list[list[Any]], code: int) -> PartitionKey:
    values = []
    for f, dictionary in zip(reversed(spec.fields), reversed(dictionaries), strict=True):
        code, at = divmod(code, max(1, len(dictionary)))
        values.append(PartitionFieldValue(field=f, value=dictionary[at]))
    return PartitionKey(field_values=values[::-1], partition_spec=spec, schema=schema)


def _column(table: pa.Table, schema: Schema, field_id: int) -> pa.ChunkedArray:
    """A column, or a member of a struct."""
    name = schema.find_column_name(field_id)
    assert name is not None  # the spec was made for this schema
    if name in table.column_names:
        return table[name]
    for split in range(len(name) - 1, 0, -1):  # column names may hold dots themselves
        if name[split] == "." and name[:split] in table.column_names:
            return pc.struct_field(table[name[:split]], name[split + 1 :].split("."))
    raise AssertionError(name)


class Spill:
    """Buffers of partitions, put aside in local files until each partition's turn comes."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="dativo-partitions-")
        self._runs: list[pa.Table] = []
        """Mapped from their files."""
        self._taken = 0
        self._parts: dict[Any, list[tuple[int, int, int, int]]] = defaultdict(list)
        """Partition -> (run, first row in it, rows, ordinal of the first)."""

    def add(self, buffers: dict[Any, list[tuple[int, pa.Table]]]) -> None:
        """Write buffers of many partitions as one file.

        Args:
            buffers: partition -> (ordinal of the first row, rows).
        """
        row = 0
        for partition, parts in buffers.items():
            for ordinal, rows in parts:
                self._parts[partition].append((len(self._runs), row, rows.num_rows, ordinal))
                row += rows.num_rows
        table = pa.concat_tables([rows for parts in buffers.values() for _, rows in parts]).combine_chunks()
        path = str(Path(self._directory.name) / str(len(self._runs)))
        # Not compressed, so that reading a few rows of it takes no more than them.
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self._runs.append(_mapped(path))

    def take(self, partition: Any) -> Iterator[tuple[int, pa.Table]]:
        """What was put aside for a partition, in its order."""
        self._taken += 1
        if self._taken % _MAP_ANEW == 0:  # pages that were looked at count as memory of the process until then
            self._runs = [_mapped(str(Path(self._directory.name) / str(i))) for i in range(len(self._runs))]
        for run, row, n_rows, ordinal in self._parts.pop(partition, ()):
            yield ordinal, self._runs[run].slice(row, n_rows)

    def close(self) -> None:
        """Delete the files."""
        self._runs.clear()
        self._directory.cleanup()


def _mapped(path: str) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(path)).read_all()
