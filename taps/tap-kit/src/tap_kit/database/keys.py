"""Which keys a table has, so that rows which are gone are noticed without a log.

The server counts and hashes the keys, part by part; the sums stand in the bookmark. Only of parts whose sums have changed are the
keys read and listed for the target, which deletes what is not among them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singer_arrow import BatchWriter, batch_directory
from tap_kit.database.rows import Reader
from tap_kit.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from tap_kit.database.source import Database, Described, Selected, Session, SourceColumn
    from tap_kit.lines import LineWriter

KEYS = "keys"
"""Of a bookmark: the sums."""
PARTS = 128
"""Into so many a table is cut when it is first looked at."""
MAX_PARTS = 256
"""When there are more, two become one."""
LEAST_STEP = 1024
EVERYTHING: tuple[int | None, int | None] = (None, None)
_HASH = 1 << 64
_FILE_ROWS = 500_000
_LEAST = -(2**63)
"""The least key of a column of whole numbers."""


@dataclass(frozen=True)
class KeySums:
    """Rows and hashes of the keys of a table, by part.

    A part is the keys of one first column k with the same k / step, towards zero; that doubles without another look.
    """

    step: int
    """Whole numbers of a part; 0: the table is one part, since its keys begin with something else."""
    parts: Mapping[int, tuple[int, int]]
    """Part -> (rows, sum of hashes)."""

    @property
    def rows(self) -> int:
        """Of the table."""
        return sum(rows for rows, _ in self.parts.values())

    def doubled(self) -> KeySums:
        """The same with parts of twice the size."""
        parts: dict[int, tuple[int, int]] = {}
        for part, (rows, digest) in self.parts.items():
            at = abs(part) // 2 * (1 if part > 0 else -1)
            before = parts.get(at, (0, 0))
            parts[at] = before[0] + rows, (before[1] + digest) % _HASH
        return KeySums(self.step * 2, parts)

    def as_bookmark(self) -> dict[str, Any]:
        """JSON of it."""
        return {"step": self.step, "sums": {str(p): f"{n}:{h:x}" for p, (n, h) in sorted(self.parts.items())}}

    @classmethod
    def of_bookmark(cls, said: Any) -> KeySums | None:
        """What `as_bookmark` gave; None where there is nothing."""
        if not said:
            return None
        texts = {int(part): text.split(":") for part, text in said["sums"].items()}
        return cls(int(said["step"]), {part: (int(n), int(h, 16)) for part, (n, h) in texts.items()})

    def changed_since(self, known: KeySums | None) -> list[tuple[int | None, int | None]]:
        """Ranges of the first key column in which keys have come or gone: ends included, ascending."""
        if known is None or known.step != self.step:
            return [EVERYTHING]
        changed = sorted(p for p in {*self.parts, *known.parts} if self.parts.get(p) != known.parts.get(p))
        if not self.step:
            return [EVERYTHING] if changed else []
        ranges: list[tuple[int | None, int | None]] = []
        for part in changed:
            low, high = self._bounds(part)
            if ranges and ranges[-1][1] == low - 1:
                ranges[-1] = ranges[-1][0], high
            else:
                ranges.append((low, high))
        return ranges

    def _bounds(self, part: int) -> tuple[int, int]:
        """Ends of a part, which are keys that there may be."""
        first, last = part * self.step, part * self.step
        low, high = first - (self.step - 1 if part <= 0 else 0), last + (self.step - 1 if part >= 0 else 0)
        return max(low, _LEAST), min(high, -_LEAST - 1)


class KeyWatch:
    """Notices which keys of one table are gone.

    Args:
        database: how its SQL spells things.
        described: the table or query.
        selected: how the columns of its key are read.
        keys: these columns.
        announce: takes events.
        stream: its name.
        by_ranges: the first column holds whole numbers, here and in the lake.
        allows_empty: when the table is empty, all rows of the lake are gone, too.
    """

    def __init__(
        self,
        database: Database,
        described: Described,
        selected: Sequence[Selected],
        keys: Sequence[SourceColumn],
        announce: Callable[..., None],
        *,
        stream: str,
        by_ranges: bool,
        allows_empty: bool,
    ) -> None:
        self._database, self._described, self._selected, self._keys = database, described, selected, keys
        self._announce, self._stream, self._by_ranges, self._allows_empty = announce, stream, by_ranges, allows_empty

    def remember(self, session: Session, state: dict[str, Any]) -> None:
        """Note which keys there are.

        Raises:
            TransientError: the server goes away.
        """
        state[KEYS] = self._sums(session, None)[0].as_bookmark()

    def list_changed(self, session: Session, state: dict[str, Any], lines: LineWriter, root: str | None) -> None:
        """Tell the target which keys there are, where they are not those of the bookmark.

        Args:
            session: asks.
            state: of the stream.
            lines: take the messages.
            root: directory for files, as `arrow_root` gives it.

        Raises:
            TransientError: the server goes away; the list is void.
        """
        now, known = self._sums(session, KeySums.of_bookmark(state.get(KEYS)))
        shown = self._described.item.shown
        if not now.rows and not self._allows_empty:
            message = f"{shown}: is empty; the lake keeps its rows (set target.allow_empty: true to have them deleted)"
            if known is None or known.rows:  # else the lake should be as empty
                self._announce("deletions_not_told", message, level=logging.WARNING)
            return
        ranges = now.changed_since(known)
        if ranges or not now.rows:
            # The sums come first: a key that goes between them and the list is missing in the sums of the next run.
            rows = self._list(session, ranges or [EVERYTHING], lines, root) if now.rows else self._list_none(lines)
            message = f"{shown}: {rows:,} of {now.rows:,} keys are listed, since keys have come or gone among them"
            self._announce("keys_listed", message, rows=rows)
        state[KEYS] = now.as_bookmark()

    def _list_none(self, lines: LineWriter) -> int:
        lines.write_keys(self._stream, (), begin=True, ranges=[EVERYTHING])
        return 0

    def _list(
        self, session: Session, ranges: Sequence[tuple[int | None, int | None]], lines: LineWriter, root: str | None
    ) -> int:
        where, begin, listed = within(self._database, self._keys[0], ranges), True, 0
        source = f"FROM {self._described.relation}" + (f" WHERE {where}" if where else "")
        with batch_directory(root) as directory:
            writer = BatchWriter(directory, f"{self._stream}-keys")
            try:
                for batches in self._grouped(session, source):
                    listed += sum(b.num_rows for b in batches)
                    lines.write_keys(self._stream, [writer.write(batches)], begin=begin)
                    begin = False
                lines.write_keys(self._stream, (), begin=begin, ranges=ranges)
                writer.close()
            except TransientError:
                writer.close()  # messages are under way that name the files
                raise
            except BaseException:
                writer.discard()
                raise
        return listed

    def _grouped(self, session: Session, source: str) -> Iterator[list[pa.RecordBatch]]:
        group: list[pa.RecordBatch] = []
        rows = 0
        for part in Reader(self._selected, {}).read(session, source):
            group += part.table.to_batches()
            rows += part.table.num_rows
            if rows >= _FILE_ROWS:
                yield group
                group, rows = [], 0
        if group:
            yield group

    def _sums(self, session: Session, known: KeySums | None) -> tuple[KeySums, KeySums | None]:
        """The sums as they are now, and those that are known by the same parts."""
        if known is not None and bool(known.step) != self._by_ranges:
            known = None
        digest, relation = self._database.digest(self._keys), self._described.relation
        if not self._by_ranges:
            n, hashes = session.rows(f"SELECT count(*), {digest} FROM {relation}")[0]  # noqa: S608
            return KeySums(0, {0: (int(n), int(hashes or 0) % _HASH)} if n else {}), known
        name = self._database.quote(self._keys[0].name)
        step = LEAST_STEP if known is None else known.step
        if known is None:
            low, high = session.rows(f"SELECT min({name}), max({name}) FROM {relation}")[0]  # noqa: S608
            while low is not None and (int(high) - int(low)) // step >= PARTS:
                step *= 2
        part = self._database.part(self._keys[0], step)
        rows = session.rows(f"SELECT {part}, count(*), {digest} FROM {relation} WHERE {name} IS NOT NULL GROUP BY 1")  # noqa: S608
        now = KeySums(step, {int(p): (int(n), int(hashes or 0) % _HASH) for p, n, hashes in rows})
        while len(now.parts) > MAX_PARTS:
            now, known = now.doubled(), known.doubled() if known is not None else None
        return now, known


def within(database: Database, column: SourceColumn, ranges: Sequence[tuple[int | None, int | None]]) -> str:
    """Condition for keys in one of the ranges; empty where all are."""
    if EVERYTHING in ranges:
        return ""
    name = database.quote(column.name)
    return " OR ".join(f"{name} BETWEEN {low} AND {high}" for low, high in ranges)
