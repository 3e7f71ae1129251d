"""The keys of rows, in DuckDB, which spills to disk above its memory limit."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.table.parquet_columns import comparable, key_batches, key_schema, opened_parquet
from target_iceberg.table.positions import Positions, live_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from target_iceberg.table.writer import StagedFile

_MEMORY_LIMIT = "128MB"
_PRUNE_BY_KEY_LISTS_UP_TO = 200


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
        self.close()

    def close(self) -> None:
        """Give the memory back."""
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
        reader = key_batches(self._io, file.file_path, self._key_ids, None)
        positions: np.ndarray = self._query(sql, reader).column(0).to_numpy()
        return positions

    def unmatched(self, files: Sequence[DataFile]) -> list[np.ndarray]:
        """For each of some data files the positions whose key is not among the keys, `(n,)` int64 ascending."""
        with opened_parquet(self._io, self._files[0].data_file.file_path) as parquet:
            schema = key_schema(parquet, self._key_ids).append(pa.field("file", pa.int32()))

        def batches() -> Iterator[pa.RecordBatch]:
            for i, file in enumerate(files):
                for batch in key_batches(self._io, file.file_path, self._key_ids, None):
                    columns = [
                        c.cast(f.type) for c, f in zip(batch.columns, schema, strict=False)
                    ]  # of an older, narrower type
                    number = pa.repeat(pa.scalar(i, pa.int32()), batch.num_rows)
                    yield pa.record_batch([*columns, number], schema=schema)

        on = " AND ".join(f"batch.{n} = keys.{n}" for n in self._names)
        sql = f"SELECT batch.file, batch.ord FROM batch ANTI JOIN keys ON {on} ORDER BY ALL"  # noqa: S608  names are ours
        found = self._query(sql, pa.RecordBatchReader.from_batches(schema, batches()))
        numbers, positions = (found.column(i).to_numpy() for i in range(2))
        ends = np.searchsorted(numbers, np.arange(len(files)), side="right")
        return np.split(positions, ends[:-1]) if len(files) else []

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
            hits = self._query(sql, key_batches(table.io, task.file.file_path, self._key_ids, None))
            live = pa.array(live_positions(table.io, task, [hits["ord"].to_numpy()]))
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
            [*(comparable(rows[n]) for n in self.key), pa.array(np.arange(rows.num_rows))], [*self._names, "ord"]
        )
        on = " AND ".join(f"batch.{n} = keys.{n}" for n in self._names)
        sql = f"SELECT batch.ord FROM batch ANTI JOIN keys ON {on} ORDER BY ord"  # noqa: S608  names are ours
        return rows.take(self._query(sql, numbered.to_reader()).column(0).combine_chunks())

    def _staged(self) -> pa.RecordBatchReader:
        first = self._files[0].data_file.file_path
        with opened_parquet(self._io, first) as parquet:
            schema = key_schema(parquet, self._key_ids)

        def batches() -> Iterator[pa.RecordBatch]:
            for f in self._files:
                yield from key_batches(self._io, f.data_file.file_path, self._key_ids, f.ordinals())

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _query(self, sql: str, reader: pa.RecordBatchReader) -> pa.Table:
        self._db.register("batch", reader)
        try:
            return self._db.execute(sql).to_arrow_table()
        finally:
            self._db.unregister("batch")
