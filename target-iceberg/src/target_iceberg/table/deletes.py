"""Which rows a publish takes away, as positions in data files: earlier rows of a key, earlier rows of a file.

Reads key columns only. Keys live in DuckDB, which spills to disk above its memory limit.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
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
from target_iceberg.table.writer import data_file, statistics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.io import FileIO
    from pyiceberg.table import FileScanTask, Table

    from target_iceberg.table.writer import StagedFile

SOURCE_FILE = "_sdc_source_file"
POSITION_DELETE_SCHEMA = Schema(  # reserved field ids of the specification
    NestedField(2147483546, "file_path", StringType(), required=True),
    NestedField(2147483545, "pos", LongType(), required=True),
)
_MEMORY_LIMIT = "128MB"
_BATCH_ROWS = 131_072
_PRUNABLE = (LongType, IntegerType, StringType, DateType)
_MAX_FILES_IN_FILTER = 200
_PRUNE_BY_KEY_LISTS_UP_TO = 200


@dataclass
class Positions:
    """Rows to delete: positions per data file, `(n,)` int64 ascending."""

    by_file: list[tuple[DataFile, np.ndarray]] = field(default_factory=list)

    def add(self, file: DataFile, positions: np.ndarray) -> None:
        """Add positions of one file; empty ones are ignored."""
        if len(positions):
            self.by_file.append((file, np.sort(positions)))

    def merged(self) -> Positions:
        """Each file once, each of its positions once."""
        by_path: dict[str, tuple[DataFile, list[np.ndarray]]] = {}
        for file, positions in self.by_file:
            by_path.setdefault(file.file_path, (file, []))[1].append(positions)
        return Positions(
            [(file, p[0] if len(p) == 1 else np.unique(np.concatenate(p))) for file, p in by_path.values()]
        )

    @property
    def rows(self) -> int:
        """How many rows."""
        return sum(len(p) for _, p in self.by_file)


class KeyIndex:
    """The keys of what a run has staged; the last row of a key wins."""

    def __init__(self, io: FileIO, files: list[StagedFile], key_ids: list[int], key: tuple[str, ...] = ()) -> None:
        import duckdb

        self.key = key

        pa.default_memory_pool().release_unused()  # what staging has left behind is room for keys
        self._io, self._files, self._key_ids = io, files, key_ids
        self._names = [f"k{i}" for i in range(len(key_ids))]
        self._spill = tempfile.TemporaryDirectory(prefix="dativo-keys-")
        self._db: duckdb.DuckDBPyConnection = duckdb.connect(
            config={
                "memory_limit": _MEMORY_LIMIT,
                "temp_directory": self._spill.name,
                "threads": 2,
                "preserve_insertion_order": False,
            }
        )
        columns = ", ".join(self._names)
        # A key may stand here twice: that costs less than finding out, and a semi join does not mind.
        self._query(f"CREATE TEMP TABLE keys AS SELECT {columns} FROM batch", self._staged())  # noqa: S608  names are ours
        row = self._db.execute("SELECT count(*) FROM keys").fetchone()
        assert row is not None
        self.rows = int(row[0])

    def __enter__(self) -> KeyIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._spill.cleanup()

    def superseded(self) -> Positions:
        """Staged rows of which a later row of the same key was staged too."""
        found = Positions()
        columns = ", ".join(self._names)
        last = (
            f"CREATE TEMP TABLE last AS SELECT {columns}, max(ord) AS ord FROM batch GROUP BY ALL HAVING count(*) > 1"  # noqa: S608
        )
        self._query(last, self._staged())
        on = " AND ".join(f"batch.{n} = last.{n}" for n in self._names)
        sql = f"SELECT batch.ord FROM batch JOIN last ON {on} WHERE batch.ord <> last.ord"  # noqa: S608  names are ours
        losers = self._query(sql, self._staged()).column(0).to_numpy()
        for file in self._files:
            found.add(file.data_file, np.flatnonzero(np.isin(file.ordinals(), losers)))
        return found

    def bounds(self) -> tuple[Any, Any]:
        """Smallest and largest value of the first key column."""
        row = self._db.execute("SELECT min(k0), max(k0) FROM keys").fetchone()
        assert row is not None
        return row[0], row[1]

    def listed(self) -> list[Any] | None:
        """Values of the first key column when they are few."""
        if self.rows > _PRUNE_BY_KEY_LISTS_UP_TO:
            return None
        return [r[0] for r in self._db.execute("SELECT DISTINCT k0 FROM keys").fetchall()]

    def matches(self, file: DataFile) -> np.ndarray:
        """Positions in a data file whose key is among the keys, `(n,)` int64."""
        on = " AND ".join(f"batch.{n} = keys.{n}" for n in self._names)
        sql = f"SELECT batch.ord FROM batch SEMI JOIN keys ON {on}"  # noqa: S608  names are ours
        reader = _key_batches(self._io, file.file_path, self._key_ids, None)
        positions: np.ndarray = self._query(sql, reader).column(0).to_numpy()
        return positions

    def repeated(self, table: Table | None) -> Positions:
        """Staged rows whose key an earlier staged row has, or a live row of a table."""
        columns, found = ", ".join(self._names), Positions()
        first = (
            f"CREATE TEMP TABLE first AS SELECT {columns}, min(ord) AS ord FROM batch GROUP BY ALL HAVING count(*) > 1"  # noqa: S608
        )
        self._query(first, self._staged())
        self._db.execute(f"CREATE TEMP TABLE known AS SELECT {columns} FROM keys LIMIT 0")  # noqa: S608  names are ours
        on = " AND ".join(f"batch.{n} = keys.{n}" for n in self._names)
        tasks = [] if table is None else table.scan().plan_files()
        for task in tasks:
            assert table is not None  # it has tasks
            sql = f"SELECT batch.* FROM batch SEMI JOIN keys ON {on}"  # noqa: S608  names are ours
            hits = self._query(sql, _key_batches(table.io, task.file.file_path, self._key_ids, None))
            live = pa.array(_live(table.io, task, [hits["ord"].to_numpy()]))
            self._query(
                f"INSERT INTO known SELECT {columns} FROM batch",  # noqa: S608  names are ours
                hits.filter(pc.is_in(hits["ord"], value_set=live)).to_reader(),
            )
        same = {t: " AND ".join(f"batch.{n} = {t}.{n}" for n in self._names) for t in ("first", "known")}
        sql = (
            f"SELECT batch.ord FROM batch LEFT JOIN first ON {same['first']} "  # noqa: S608  names are ours
            f"WHERE batch.ord <> first.ord OR EXISTS (SELECT 1 FROM known WHERE {same['known']})"
        )
        losers = self._query(sql, self._staged()).column(0).to_numpy()
        for file in self._files:
            found.add(file.data_file, np.flatnonzero(np.isin(file.ordinals(), losers)))
        return found

    def without(self, rows: pa.Table) -> pa.Table:
        """Rows of a table of which the key, under the table's own column names, is not among the keys."""
        numbered = pa.table(
            [*(_comparable(rows[n]) for n in self.key), pa.array(np.arange(rows.num_rows))], [*self._names, "ord"]
        )
        on = " AND ".join(f"batch.{n} = keys.{n}" for n in self._names)
        sql = f"SELECT batch.ord FROM batch ANTI JOIN keys ON {on} ORDER BY ord"  # noqa: S608  names are ours
        return rows.take(self._query(sql, numbered.to_reader()).column(0).combine_chunks())

    def _staged(self) -> pa.RecordBatchReader:
        first = self._files[0].data_file.file_path
        with _parquet(self._io, first) as parquet:
            schema = _key_schema(parquet, self._key_ids)

        def batches() -> Iterator[pa.RecordBatch]:
            for f in self._files:
                yield from _key_batches(self._io, f.data_file.file_path, self._key_ids, f.ordinals())

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _query(self, sql: str, reader: pa.RecordBatchReader) -> pa.Table:
        self._db.register("batch", reader)
        try:
            return self._db.execute(sql).to_arrow_table()
        finally:
            self._db.unregister("batch")


@contextlib.contextmanager
def _parquet(io: FileIO, path: str) -> Iterator[pq.ParquetFile]:
    with io.new_input(path).open() as stream, pq.ParquetFile(stream) as parquet:
        yield parquet


def _names_by_id(parquet: pq.ParquetFile) -> dict[int, str]:
    return {
        int(f.metadata[b"PARQUET:field_id"]): f.name
        for f in parquet.schema_arrow
        if f.metadata and b"PARQUET:field_id" in f.metadata
    }


def _comparable(column: Any) -> Any:
    """Storage of extension types (uuid), which DuckDB would turn into another type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _key_schema(parquet: pq.ParquetFile, key_ids: list[int]) -> pa.Schema:
    names = _names_by_id(parquet)
    types = [parquet.schema_arrow.field(names[i]).type for i in key_ids]
    plain = [t.storage_type if isinstance(t, pa.ExtensionType) else t for t in types]
    return pa.schema([(f"k{i}", t) for i, t in enumerate(plain)] + [("ord", pa.int64())])


def _key_batches(io: FileIO, path: str, key_ids: list[int], ordinals: np.ndarray | None) -> pa.RecordBatchReader:
    """Key columns of one file with the ordinal (or position) of each row."""
    with _parquet(io, path) as parquet:
        names = _names_by_id(parquet)
        if not set(key_ids) <= set(names):  # older than the column: its keys are NULL and match nothing
            nothing = pa.schema([*((f"k{i}", pa.null()) for i in range(len(key_ids))), ("ord", pa.int64())])
            return pa.RecordBatchReader.from_batches(nothing, [])
        schema = _key_schema(parquet, key_ids)

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        with _parquet(io, path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[names[i] for i in key_ids]):
                rows = (
                    np.arange(start, start + batch.num_rows)
                    if ordinals is None
                    else ordinals[start : start + batch.num_rows]
                )
                start += batch.num_rows
                columns = [_comparable(batch.column(names[i])) for i in key_ids]
                yield pa.record_batch([*columns, pa.array(rows, pa.int64())], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


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
        found.add(task.file, _live(table.io, task, positions))
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
        with _parquet(table.io, task.file.file_path) as parquet:
            names = _names_by_id(parquet)
            there = [i for i in ids if i in names]  # a file may be older than a column
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=[names[i] for i in there]):
                seen = {c: batch.column(names[i]) if i in there else pa.nulls(batch.num_rows) for i, c in ids.items()}
                mask = pc.fill_null(matches(pa.record_batch(seen)), False)
                hits.append(start + np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
                start += batch.num_rows
        found.add(task.file, _live(table.io, task, hits))
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
    with _parquet(io, path) as parquet:
        name = _names_by_id(parquet).get(field_id)
        if name is None:
            return hits[0]
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=[name]):
            mask = pc.is_in(batch.column(0).cast(pa.string()), value_set=wanted)
            hits.append(start + np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
            start += batch.num_rows
    return np.concatenate(hits)


def _live(io: FileIO, task: FileScanTask, positions: list[np.ndarray]) -> np.ndarray:
    """Those of the positions that no delete file has taken away, each once, ascending, `(n,)` int64."""
    wanted = np.zeros(task.file.record_count, dtype=bool)
    for part in positions:
        wanted[part] = True
    wanted[deleted_positions(io, task.file.file_path, task.delete_files)] = False
    return np.flatnonzero(wanted)


def deleted_positions(io: FileIO, path: str, delete_files: set[DataFile]) -> np.ndarray:
    """Positions in a data file that its position delete files take away, `(n,)` int64."""
    gone = [np.empty(0, np.int64)]
    for file in delete_files:
        with _parquet(io, file.file_path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=["file_path", "pos"]):
                mine = batch.filter(pc.equal(batch.column("file_path").cast(pa.string()), path))
                gone.append(mine.column("pos").to_numpy())
    return np.concatenate(gone)


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
