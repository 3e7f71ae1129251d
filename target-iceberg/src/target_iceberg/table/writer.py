"""Parquet data files in bounded memory, sized by bytes on disk; nobody sees them before the publish."""

from __future__ import annotations

import contextlib
import itertools
import uuid
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import sanitize_column_names
from pyiceberg.table.locations import load_location_provider
from pyiceberg.typedef import Record

from target_iceberg.table.iceberg_schema import column_paths, file_arrow_schema
from target_iceberg.table.parquet_options import writer_options
from target_iceberg.table.partitions import MANY_PARTITIONS, Spill, by_partition
from target_iceberg.table.receipt import HashingStream

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

ROW_GROUP_BYTES = 32 << 20
"""Arrow bytes of one row group; what one open file may hold in memory."""
MAX_BUFFERED_BYTES = 64 << 20
"""Arrow bytes that all open files may hold together, of all partitions and of all streams."""
_TABLE_BYTES = 1_000
"""What a table and each of its columns cost besides their values, which counts where partitions are many and small."""


_WRITERS: weakref.WeakSet[DataFileWriter] = weakref.WeakSet()
"""All that have written and are still in use; one thread at a time writes."""


@dataclass(frozen=True)
class StagedFile:
    """One closed Parquet file that no snapshot refers to yet."""

    data_file: DataFile
    table_uuid: str
    column_ids: dict[str, int]
    """Column path -> field id with which it was written."""
    segments: tuple[tuple[int, int], ...]
    """(ordinal, rows) of each run of its rows among the rows of its writer; ascending."""
    sha256: str
    """Of the file's bytes, hexadecimal."""

    @property
    def end(self) -> int:
        """One more than the greatest ordinal of its rows."""
        return sum(self.segments[-1])

    def ordinals(self) -> np.ndarray:
        """Ordinal of each row, `(record_count,)` int64, ascending: of two rows of a key the greater one came later."""
        return np.concatenate([np.arange(start, start + n, dtype=np.int64) for start, n in self.segments])


@dataclass
class _OpenFile:
    key: Any
    path: str | None = None
    stream: Any = None
    writer: pq.ParquetWriter | None = None
    buffer: list[tuple[int, pa.Table]] = field(default_factory=list)
    """(ordinal of the first row, rows)."""
    buffered_bytes: int = 0
    segments: list[tuple[int, int]] = field(default_factory=list)
    bytes_ratio: float = 0.35
    """Bytes on disk per Arrow byte, learnt from the last row group."""

    @property
    def bytes_written(self) -> int:
        return 0 if self.stream is None else int(self.stream.tell())

    @property
    def expected_bytes(self) -> float:
        return self.bytes_written + self.buffered_bytes * self.bytes_ratio

    def note(self, ordinal: int, rows: int) -> None:
        """Rows go to the file in this order."""
        if self.segments and sum(self.segments[-1]) == ordinal:
            self.segments[-1] = (self.segments[-1][0], self.segments[-1][1] + rows)
        else:
            self.segments.append((ordinal, rows))


class DataFileWriter:
    """Writes Arrow tables to Parquet files below a table's location.

    Args:
        table: loaded, or staged by a transaction that makes it; gives location, properties and FileIO.
        schema: Iceberg schema of the files (the table's, evolved if the run evolves it).
        spec: partition spec of the files.
        target_file_size_bytes: wanted size on disk.
        name: begins the names of its files, e.g. the run id; what follows makes them unique, because several streams and
            several publishes of a run may write into one table.
    """

    def __init__(
        self,
        table: Table,
        schema: Schema,
        spec: PartitionSpec,
        target_file_size_bytes: int,
        name: str,
    ) -> None:
        self.schema, self.spec = schema, spec
        self.files: list[StagedFile] = []
        self.rows = 0
        self._io = table.io
        self._table_uuid = str(table.metadata.table_uuid)
        self._target_bytes = target_file_size_bytes
        self._name = f"{name}-{uuid.uuid4().hex[:12]}"
        # Avro field names are restricted; the Parquet file carries the same sanitised names, ids identify the columns.
        file_schema = sanitize_column_names(schema)
        self._arrow_schema = file_arrow_schema(file_schema)
        self._names = [f.name for f in schema.fields]
        self._column_ids = column_paths(schema)
        self._locations = load_location_provider(table.metadata.location, table.metadata.properties)
        self._statistics = compute_statistics_plan(file_schema, table.metadata.properties)
        self._path_ids = parquet_path_to_id_mapping(file_schema)
        self._options: dict[str, Any] | None = None
        self._open: dict[Any, _OpenFile] = {}
        self._spill: Spill | None = None
        self._count = 0

    @property
    def file_columns(self) -> dict[str, str]:
        """Column -> its name in the files."""
        return file_columns(self.schema)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all files, open ones as far as flushed."""
        closed = sum(int(f.data_file.file_size_in_bytes) for f in self.files)
        return closed + sum(o.bytes_written for o in self._open.values())

    def write(self, table: pa.Table, at: int | None = None) -> None:
        """Take rows; columns by name in any order, absent ones become NULL.

        Args:
            table: the rows.
            at: ordinal of the first of them, greater than those of all rows before; None: they follow each other.

        Raises:
            OSError: the files cannot be written.
        """
        if not table.num_rows:
            return
        table = self._conform(table)
        ordinal = self.rows if at is None else at
        self.rows += table.num_rows
        if self.spec.is_unpartitioned():
            self._append(None, table, ordinal)
        else:
            for key, rows in by_partition(self.spec, self.schema, table.rename_columns(self._names)):
                self._append(key, rows.rename_columns(self._arrow_schema.names), ordinal)
                ordinal += rows.num_rows
        _WRITERS.add(self)
        while sum(w.buffered_bytes for w in _WRITERS) > MAX_BUFFERED_BYTES:
            max(_WRITERS, key=lambda w: w.buffered_bytes).relieve()

    @property
    def buffered_bytes(self) -> int:
        """Arrow bytes that its open files hold."""
        return sum(o.buffered_bytes for o in self._open.values())

    def relieve(self) -> None:
        """Write the largest buffer, or put all aside where there are many."""
        if len(self._open) > MANY_PARTITIONS:
            self._put_aside()
        else:
            self._flush(max(self._open.values(), key=lambda o: o.buffered_bytes))

    def close(self) -> list[StagedFile]:
        """Close all files and return them, in the order in which they were opened."""
        for partition in list(self._open):
            self._close(partition)
        self._end_spill()
        self.files.sort(key=lambda f: f.segments[0])
        return self.files

    def abort(self, keep: Collection[str] = ()) -> None:
        """Delete everything that was written; only for files of which no commit was attempted.

        Args:
            keep: paths that somebody else may know.
        """
        begun = [o for o in self._open.values() if o.path is not None]
        paths = [f.data_file.file_path for f in self.files] + [o.path for o in begun if o.path]
        for o in begun:
            with contextlib.suppress(OSError):
                o.stream.abandon()
        self._open.clear()
        self._end_spill()
        self.files = []
        for path in paths:
            if path not in keep:
                with contextlib.suppress(OSError):
                    self._io.delete(path)

    def _conform(self, table: pa.Table) -> pa.Table:
        there = dict(zip(table.column_names, table.columns, strict=True))  # a table looks for a name among all of them
        columns = []
        for name, f in zip(self._names, self._arrow_schema, strict=True):
            column = there.get(name)
            if column is None:
                columns.append(pa.nulls(table.num_rows, f.type))
            else:
                columns.append(column if column.type == f.type else column.cast(f.type))
        return pa.table(columns, schema=self._arrow_schema)

    def _append(self, key: Any, table: pa.Table, ordinal: int) -> None:
        partition = None if key is None else key.partition
        o = self._open.get(partition)
        if o is None:
            o = self._open[partition] = _OpenFile(key)
        self._take(partition, o, table, ordinal)

    def _take(self, partition: Any, o: _OpenFile, table: pa.Table, ordinal: int) -> None:
        o.buffer.append((ordinal, table))
        o.buffered_bytes += table.nbytes + _TABLE_BYTES * (1 + table.num_columns)
        if o.buffered_bytes >= ROW_GROUP_BYTES or o.expected_bytes >= self._target_bytes:
            if self._spill is not None and o.stream is None and len(self._open) > MANY_PARTITIONS:
                return  # its turn comes when all rows of the partition are known
            self._flush(o)
            if o.bytes_written >= self._target_bytes * 0.9:
                self._finish(o)
                del self._open[partition]

    def _flush(self, o: _OpenFile) -> None:
        """Write what a file has buffered as one row group."""
        if not o.buffer:
            return
        table = pa.concat_tables([rows for _, rows in o.buffer])
        if o.writer is None:
            if self._options is None:
                self._options = writer_options(table)
            o.path = self._locations.new_data_location(f"{self._name}-{self._count:05d}.parquet", o.key)
            self._count += 1
            o.stream = HashingStream(self._io.new_output(o.path).create(overwrite=True))
            o.writer = pq.ParquetWriter(o.stream, self._arrow_schema, store_decimal_as_integer=True, **self._options)
        before = o.stream.tell()
        o.writer.write_table(table, row_group_size=table.num_rows)
        o.bytes_ratio = max(0.01, (o.stream.tell() - before) / max(1, o.buffered_bytes))
        for ordinal, rows in o.buffer:
            o.note(ordinal, rows.num_rows)
        o.buffer, o.buffered_bytes = [], 0

    def _put_aside(self) -> None:
        if self._spill is None:
            self._spill = Spill()
        waiting = {partition: o for partition, o in self._open.items() if o.buffer}
        self._spill.add({partition: o.buffer for partition, o in waiting.items()})
        for o in waiting.values():
            o.buffer, o.buffered_bytes = [], 0

    def _end_spill(self) -> None:
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def _close(self, partition: Any) -> None:
        """Write what was put aside for a partition and what is buffered, and close its file."""
        o = self._open.pop(partition)
        rest, o.buffer, o.buffered_bytes = o.buffer, [], 0
        aside = () if self._spill is None else self._spill.take(partition)
        for ordinal, rows in itertools.chain(aside, rest):
            o.buffer.append((ordinal, rows))
            o.buffered_bytes += rows.nbytes
            if o.buffered_bytes >= ROW_GROUP_BYTES or o.expected_bytes >= self._target_bytes:
                self._flush(o)
                if o.bytes_written >= self._target_bytes * 0.9:
                    self._finish(o)
                    o = _OpenFile(o.key)
        self._flush(o)
        if o.writer is not None:
            self._finish(o)

    def _finish(self, o: _OpenFile) -> None:
        """Close a file, all of whose rows are written."""
        assert o.writer is not None
        assert o.path is not None
        o.writer.close()
        size = o.stream.tell()
        o.stream.close()
        statistics = data_file_statistics_from_parquet_metadata(
            o.writer.writer.metadata, self._statistics, self._path_ids
        )
        self.files.append(
            StagedFile(
                data_file=data_file(
                    o.path,
                    size,
                    Record() if o.key is None else o.key.partition,
                    self.spec.spec_id,
                    DataFileContent.DATA,
                    statistics.to_serialized_dict(),
                ),
                table_uuid=self._table_uuid,
                column_ids=self._column_ids,
                segments=tuple(o.segments),
                sha256=o.stream.sha256,
            )
        )


def statistics_of(writer: pq.ParquetWriter, schema: Schema, properties: Mapping[str, str]) -> dict[str, Any]:
    """Of a closed file, as `data_file` takes them; `properties` of the table say which are kept."""
    found = data_file_statistics_from_parquet_metadata(
        writer.writer.metadata, compute_statistics_plan(schema, dict(properties)), parquet_path_to_id_mapping(schema)
    )
    return dict(found.to_serialized_dict())


def file_columns(schema: Schema) -> dict[str, str]:
    """Column -> its name in the files of a schema, where Avro's restrictions change it."""
    names = (f.name for f in sanitize_column_names(schema).fields)
    return dict(zip((f.name for f in schema.fields), names, strict=True))


def data_file(
    path: str,
    size: int,
    partition: Record,
    spec_id: int,
    content: DataFileContent,
    statistics: dict[str, Any],
    sort_order_id: int | None = None,
) -> DataFile:
    """Manifest entry of a Parquet file."""
    file = DataFile.from_args(
        content=content,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=partition,
        file_size_in_bytes=size,
        sort_order_id=sort_order_id,
        equality_ids=None,
        key_metadata=None,
        **statistics,
    )
    file.spec_id = spec_id
    return file
