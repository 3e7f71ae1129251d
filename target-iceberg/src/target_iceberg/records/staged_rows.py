"""The rows of the Parquet files that a run has staged, and how often values repeat in them, in bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb
    import numpy.typing as npt

BATCH_ROWS = 1 << 17
MAX_HASHES = 8 << 20
"""Hashes sorted at once (64 MB); with more rows the files are read once more for each further share of them."""
_MAX_VERIFIED = 10_000
_INTEGERS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
"""Signed integers by bit width."""


class StagedRows:
    """The rows of Parquet files, read column by column.

    Args:
        files: whatever `open_file` understands; paths by default.
        open_file: gives a path or file-like object for `pyarrow.parquet.ParquetFile`.
        file_columns: name in the files of a column that is called otherwise in the plan.
    """

    def __init__(
        self,
        files: Sequence[Any],
        open_file: Callable[[Any], Any] | None = None,
        file_columns: Mapping[str, str] | None = None,
    ) -> None:
        self._files = list(files)
        self._open = open_file or (lambda file: file)
        self._names = dict(file_columns or {})

    def count(self) -> int:
        """Rows in all files."""
        total = 0
        for file in self._files:
            with pq.ParquetFile(self._open(file)) as parquet:
                total += parquet.metadata.num_rows
        return total

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of some columns, under the plan's names."""
        names = [self._names.get(c, c) for c in columns]
        for file in self._files:
            with pq.ParquetFile(self._open(file)) as parquet:
                there = set(parquet.schema_arrow.names)
                found = [n for n in names if n in there]
                for batch in parquet.iter_batches(BATCH_ROWS, columns=found, use_threads=False):
                    # A column that came later in the run is NULL in the files before.
                    values = [batch.column(n) if n in there else pa.nulls(batch.num_rows) for n in names]
                    yield pa.record_batch(values, names=list(columns))


def count_duplicates(rows: StagedRows, columns: Sequence[str]) -> tuple[int, pa.Table | None]:
    """(rows that repeat an earlier row's values, one of them); rows with a NULL among the values do not count.

    Numbers that only rise are unique. Else 64-bit hashes are sorted, which proves uniqueness if none comes twice; those that do
    are looked up in the files.
    """
    if len(columns) == 1 and _only_rise(rows, columns[0]):
        return 0, None
    total = rows.count()
    shares = max(1, math.ceil(total / MAX_HASHES))
    duplicates, suspects = 0, []
    for share in range(shares):
        hashes = _hashes(rows, columns, total if shares == 1 else MAX_HASHES * 2, share, shares)
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        duplicates += len(again)
        suspects.append(
            again[np.concatenate(([True], again[1:] != again[:-1]))][:_MAX_VERIFIED] if len(again) else again
        )
    if not duplicates:
        return 0, None
    collisions, example = _verify(rows, columns, np.sort(np.concatenate(suspects)[:_MAX_VERIFIED]))
    return duplicates - collisions, example


def _only_rise(rows: StagedRows, column: str) -> bool:
    """Each number is greater than the one before, as keys are that a database has read in their order."""
    last = None
    for batch in rows.batches([column]):
        values = batch.column(0)
        if not _is_number(values.type) or values.null_count:
            return False
        numbers = _whole_numbers(values)
        if len(numbers) and ((last is not None and numbers[0] <= last) or not (numbers[1:] > numbers[:-1]).all()):
            return False
        last = numbers[-1] if len(numbers) else last
    return True


def _whole_numbers(values: pa.Array) -> npt.NDArray[np.int64]:
    """What an array without NULL is stored as."""
    return np.asarray(values.view(_INTEGERS[values.type.bit_width]).to_numpy().astype(np.int64, copy=False))


def _hashes(rows: StagedRows, columns: Sequence[str], at_most: int, share: int, shares: int) -> npt.NDArray[np.uint64]:
    """Hashes of this share of the rows, `(n,)`."""
    found = np.empty(at_most, np.uint64)
    n = 0
    with _Hasher() as hasher:
        for batch in rows.batches(columns):
            hashes = hasher.hashes(_complete(batch))
            if shares > 1:
                hashes = hashes[hashes % np.uint64(shares) == share]
            if n + len(hashes) > len(found):  # a share that came out larger than twice its average
                found = np.concatenate((found, np.empty(len(found), np.uint64)))
            found[n : n + len(hashes)] = hashes
            n += len(hashes)
    return found[:n]


class _Hasher:
    """64-bit hashes of rows without NULL; a connection to DuckDB is made when one is needed."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> _Hasher:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def hashes(self, table: pa.Table) -> npt.NDArray[np.uint64]:
        """One per row; two rows with the same values have the same."""
        if table.num_columns == 1 and _is_number(table.schema.types[0]):
            # The values themselves are as good: they are of 64 bits or fewer.
            return _whole_numbers(table.column(0).combine_chunks()).view(np.uint64)
        import duckdb

        self._connection = self._connection or duckdb.connect()
        self._connection.register("batch", table)
        result = self._connection.execute(f"SELECT hash({_list(table)}) AS h FROM batch").fetchnumpy()  # noqa: S608 - names are quoted
        return np.asarray(result["h"], np.uint64)


def _is_number(t: pa.DataType) -> bool:
    """Stored as an integer, every value in one way only."""
    return bool(pa.types.is_integer(t) or pa.types.is_timestamp(t) or pa.types.is_date(t) or pa.types.is_time(t))


def _complete(batch: pa.RecordBatch) -> pa.Table:
    """Rows without NULL, NULLs being equal to nothing."""
    table = pa.Table.from_batches([batch])
    for name in table.column_names:
        if table[name].null_count:
            table = table.filter(pc.is_valid(table[name]))
    return table


def _list(table: pa.Table) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in table.column_names)


def _verify(rows: StagedRows, columns: Sequence[str], suspects: npt.NDArray[np.uint64]) -> tuple[int, pa.Table | None]:
    """(rows that only share a hash with another, one row whose values do repeat) among the rows with these hashes."""
    import duckdb

    repeated = 0
    kept: list[pa.Table] = []
    with duckdb.connect() as connection, _Hasher() as hasher:
        for batch in rows.batches(columns):
            complete = _complete(batch)
            hashes = hasher.hashes(complete)
            hit = suspects[np.minimum(np.searchsorted(suspects, hashes), len(suspects) - 1)] == hashes
            if hit.any():
                kept.append(complete.filter(pa.array(hit)))
        table = pa.concat_tables(kept)
        connection.register("kept", table)
        names = _list(table)
        query = f"SELECT count(*), CAST(sum(n - 1) AS BIGINT) FROM (SELECT count(*) AS n FROM kept GROUP BY {names})"  # noqa: S608 - names are quoted
        counted = connection.execute(query).fetchone()
        assert counted  # an aggregate has one row
        repeated = table.num_rows - len(suspects) - int(counted[1] or 0)
        example = connection.execute(
            f"SELECT min(r) FROM (SELECT row_number() OVER () - 1 AS r, count(*) OVER (PARTITION BY {names}) AS n FROM kept) "  # noqa: S608
            "WHERE n > 1"
        ).fetchone()
    return repeated, table.slice(example[0], 1) if example and example[0] is not None else None
