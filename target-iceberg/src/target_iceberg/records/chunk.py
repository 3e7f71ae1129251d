"""One chunk of RECORD lines into a table, cut around what Arrow's JSON reader does not take."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from target_iceberg.records.columns import build
from target_iceberg.records.wire import Unreadable, WireReader

if TYPE_CHECKING:
    import numpy.typing as npt

    from target_iceberg.load_plan import Column
    from target_iceberg.records.decode import Decoded
    from target_iceberg.records.rejects import Budget
    from target_iceberg.records.rows import RowPath
    from target_iceberg.records.sieve import Sieve

_LEAF_ROWS = 4
_CALL_COST_ROWS = 100
"""What a call of Arrow's reader costs besides reading, in rows that it could have read meanwhile [measured: 0.1-0.2 ms]."""
_SIEVE_RATE = 1 / 1_000
"""With more bad lines than this, looking at all lines first is cheaper than failing."""
_FORGET, _FORGOTTEN = 0.9, 0.05
"""Weight of the past after another chunk; what is left of one failure when it no longer counts."""
_NEWLINE = 10


class Pace:
    """How many rows to hand to the reader at once, learned from how many lines it refused lately.

    Threads may share it without a lock: it only ever costs time to be wrong.
    """

    def __init__(self) -> None:
        self._rows, self._failures = 0.0, 0.0

    def learn(self, n_rows: int, failures: int) -> None:
        """Take note of a chunk."""
        self._rows = self._rows * _FORGET + n_rows
        self._failures = self._failures * _FORGET + failures
        if self._failures < _FORGOTTEN:
            self._failures = 0.0

    @property
    def failure_rate(self) -> float:
        """Lines that the reader does not take, as a share of the last few chunks."""
        return self._failures / self._rows if self._failures else 0.0


@dataclass(frozen=True)
class Readers:
    """All that reads the lines of one stream."""

    columns: tuple[Column, ...]
    empty: pa.Table
    """No rows, all columns."""
    wire: WireReader
    sieve: Sieve
    rows: RowPath
    budget: Budget
    pace: Pace = field(default_factory=Pace)


class Chunk:
    """One call of `decode_records`."""

    def __init__(self, data: bytes | memoryview, n_rows: int, readers: Readers, decoded: Decoded) -> None:
        self._data, self._view, self._n_rows, self._readers, self._decoded = (
            data,
            memoryview(data),
            n_rows,
            readers,
            decoded,
        )
        self._offsets: npt.NDArray[np.int64] | None = None
        self._tables: list[pa.Table] = []
        self._failures = 0

    def read(self) -> pa.Table:
        rate = self._readers.pace.failure_rate
        if rate > _SIEVE_RATE:
            self._sift(0, self._n_rows)
        else:
            piece = _piece_rows(self._n_rows, rate)
            for low in range(0, self._n_rows, piece):
                self._range(low, min(low + piece, self._n_rows))
        self._readers.pace.learn(self._n_rows, self._failures)
        if not self._tables:
            return self._readers.empty
        return self._tables[0] if len(self._tables) == 1 else pa.concat_tables(self._tables).combine_chunks()

    def _range(self, low: int, high: int) -> None:
        """Read rows at once; what the reader does not take is sieved out."""
        try:
            table, bad = self._readers.wire.read(self._lines(low, high), high - low)
        except Unreadable:
            self._sift(low, high)
            return
        self._merge(table, np.arange(low, high), bad, [])

    def _sift(self, low: int, high: int) -> None:
        lines = bytes(self._lines(low, high)).split(b"\n")
        suspects = [low + i for i in self._readers.sieve.suspects(lines[: high - low])]
        self._failures += len(suspects)
        passed = np.delete(np.arange(low, high), np.array(suspects, np.int64) - low)
        if not len(passed):
            self._merge(self._readers.empty, passed, [], suspects)
            return
        runs = np.split(passed, np.flatnonzero(np.diff(passed) > 1) + 1)
        data = b"".join(self._lines(int(run[0]), int(run[-1]) + 1) for run in runs)
        try:
            table, bad = self._readers.wire.read(data, len(passed))
        except Unreadable:
            self._cut(low, high)
            return
        self._merge(table, passed, bad, suspects)

    def _cut(self, low: int, high: int) -> None:
        """Halve until the lines are found that the sieve lets pass and the reader does not take."""
        todo = [(low, high)]
        while todo:
            low, high = todo.pop()
            if high - low <= _LEAF_ROWS:
                self._merge(self._readers.empty, np.arange(0), [], list(range(low, high)))
                continue
            try:
                table, bad = self._readers.wire.read(self._lines(low, high), high - low)
            except Unreadable as e:
                self._failures += 1
                at = low + e.row if e.row is not None and e.row < high - low else (low + high) // 2
                # A row that is known is cut out alone; else the middle is just a place to halve at.
                bounds = [low, at, at + 1, high] if e.row is not None else [low, at, high]
                todo += [(a, b) for a, b in reversed(list(itertools.pairwise(bounds))) if a < b]
                continue
            self._merge(table, np.arange(low, high), bad, [])

    def _merge(self, table: pa.Table, rows: npt.NDArray[np.int64], bad: list[int], suspects: list[int]) -> None:
        """Take a table whose rows stand at `rows` in the chunk; bad rows of it and suspect lines go through the row path."""
        if not bad and not suspects:
            self._tables.append(table)
            return
        if bad:
            keep = np.ones(len(rows), bool)
            keep[bad] = False
            suspects = sorted([*suspects, *rows[bad].tolist()])
            table, rows = table.filter(pa.array(keep)), rows[keep]
        rescued = [(row, values) for row in suspects if (values := self._decode_row(row)) is not None]
        if rescued:
            order = np.argsort(np.concatenate((rows, [row for row, _ in rescued])), kind="stable")
            table = pa.concat_tables([table, self._table([values for _, values in rescued])]).take(pa.array(order))
        self._tables.append(table)

    def _decode_row(self, row: int) -> tuple[Any, ...] | None:
        got = self._readers.rows.decode(bytes(self._lines(row, row + 1)))
        if isinstance(got, tuple):
            return got
        self._decoded.note(got, self._readers.budget)
        return None

    def _table(self, values: list[tuple[Any, ...]]) -> pa.Table:
        columns = self._readers.columns
        return pa.table(
            [build([v[i] for v in values], c) for i, c in enumerate(columns)], schema=self._readers.empty.schema
        )

    def _lines(self, low: int, high: int) -> bytes | memoryview:
        if low == 0 and high == self._n_rows:
            return self._data
        if self._offsets is None:
            self._offsets = np.concatenate(([0], np.flatnonzero(np.frombuffer(self._view, np.uint8) == _NEWLINE) + 1))
        return self._view[self._offsets[low] : self._offsets[high]]


def _piece_rows(n_rows: int, failure_rate: float) -> int:
    """Rows to read at once, so that a bad line makes few others be read again.

    A call costs as much as c rows; a piece with a bad line in it is read about twice more: c / p + 2 * p * rate is least
    at p = sqrt(c / (2 * rate)).
    """
    if not failure_rate:
        return n_rows
    best = int(math.sqrt(_CALL_COST_ROWS / (2 * failure_rate)))
    return n_rows if best > n_rows // 2 else best
