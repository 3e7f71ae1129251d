"""A stream of PostgreSQL: a table, or what its log says has become of it."""

from __future__ import annotations

import datetime as dt
import logging
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, cast

import pyarrow as pa
from singer_sdk.singerlib.catalog import REPLICATION_LOG_BASED

from tap_kit.cast import arrow_type, cast_texts
from tap_kit.database import ranges
from tap_kit.database.keys import EVERYTHING
from tap_kit.database.stream import DELETED_AT, FULL_LOAD, TableStream
from tap_kit.errors import TapError
from tap_kit.lanes import Misfit
from tap_kit.origin import state_origin
from tap_postgres.pgoutput import UNCHANGED
from tap_postgres.slot import RELOAD, is_visible, number
from tap_postgres.types import PgColumn, identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_kit.columns import Column
    from tap_kit.database.source import Session
    from tap_kit.lanes import Lane
    from tap_postgres.database import Postgres
    from tap_postgres.pgoutput import Change, Row

_ROWS = 20_000
LSN, SNAPSHOT, MEMBERSHIP = "lsn", "snapshot", "publication"
"""Keys of a bookmark."""


class PostgresStream(TableStream):
    """LOG_BASED: the first run loads the table, later ones read what the log has since: inserts, updates and deletes.

    The bookmark is a position of the log. While the first load's own changes may still come, it has the snapshot of the load beside it:
    transactions that this shows are left out.
    """

    @property
    def tells_deletions(self) -> bool:
        """The log says which rows are gone."""
        return self.follows_log or super().tells_deletions

    @property
    def follows_log(self) -> bool:
        """The catalog says LOG_BASED."""
        return self.kit_tap.catalog_method(self.name) == REPLICATION_LOG_BASED

    @property
    def _postgres(self) -> Postgres:
        return cast("Postgres", self._database)

    def extract(self) -> None:
        """Read the table, or its log."""
        slot = self._postgres.slot
        if self.follows_log and not slot.is_prepared:
            streams = [
                s
                for s in self.kit_tap.streams.values()
                if isinstance(s, PostgresStream) and s.selected and s.follows_log
            ]
            for stream in streams:
                if not ranges.key_columns(stream.described):
                    raise TapError(
                        f"{stream.described.item.shown}: has no key by which its changes could be known; add one, or read it otherwise"
                    )
            followed = {s.described.relation: s.stream_state.get(MEMBERSHIP) for s in streams if LSN in s.stream_state}
            if slot.prepare([s.described.relation for s in streams], followed, self.announce):
                self._database.close()  # so that the snapshot begins after the slot
            for stream in streams:
                stream.tell_of_keys_alone()
            bookmarks = [s.stream_state[LSN] for s in streams if s.stream_state.get(LSN)]
            if bookmarks and state_origin().is_lake:
                for bookmark in bookmarks:
                    slot.require(bookmark)
                slot.confirm(min(bookmarks, key=number))
        super().extract()

    def tell_of_keys_alone(self) -> None:
        """Before a row is deleted, so that the first one is no surprise."""
        if not self._deletes_hard and self._keys_alone:
            message = f"{self.described.item.shown}: of rows that are deleted the log has their keys alone, which is not enough to mark them"
            self.announce("deletes_lack_rows", f"{message}; {self._how_to_delete}", level=logging.WARNING)

    @property
    def _deletes_hard(self) -> bool:
        return bool(self.kit_tap.catalog_metadata(self.name).get("dativo-hard-delete"))

    @property
    def _keys_alone(self) -> list[str]:
        return self._postgres.slot.keys_alone.get(self.described.relation, [])

    @property
    def _how_to_delete(self) -> str:
        tables = self._keys_alone or [self.described.relation]
        return (
            f"set target.hard_delete: true, or: {'; '.join(f'ALTER TABLE {t} REPLICA IDENTITY FULL' for t in tables)}"
        )

    def _extract_rows(self, session: Session, lane: Lane) -> None:
        if not self.follows_log:
            super()._extract_rows(session, lane)
            return
        state = self.stream_state
        if LSN not in state:
            state[LSN] = self._postgres.slot.confirmed
            state[SNAPSHOT] = session.rows("SELECT pg_catalog.pg_current_snapshot()::text")[0][0]
            state[FULL_LOAD] = {"upper": None}
        state[MEMBERSHIP] = self._postgres.slot.memberships[self.described.relation]
        if FULL_LOAD in state:
            self._load(session, lane, "", None)
            return
        self._postgres.slot.require(state[LSN])
        self.tell_of_columns()
        since, snapshot = number(state[LSN]), state.get(SNAPSHOT)
        waiting: list[Change] = []
        for change in self._changes():
            if change.lsn < since or (snapshot and is_visible(change.xid, snapshot)):
                continue
            if change.kind != "truncate":
                waiting.append(change)
            if len(waiting) >= _ROWS or change.kind == "truncate":
                self._send(session, lane, waiting)
                waiting = []
            if change.kind == "truncate":
                lane.flush()
                self.kit_tap.lines.write_keys(self.name, (), begin=True, ranges=[EVERYTHING])
                self.announce("table_truncated", f"{self.described.item.shown}: was truncated; its rows are gone")
        self._send(session, lane, waiting)
        state.pop(SNAPSHOT, None)
        state[LSN] = self._postgres.slot.upper

    def _changes(self) -> Iterator[Change]:
        item = self.described.item
        for change in self._postgres.slot.changes():
            if (change.relation.schema, change.relation.name) == (item.schema, item.name):
                yield change

    def _send(self, session: Session, lane: Lane, changes: Sequence[Change]) -> None:
        """Changes in their order: rows as they are now, and keys of rows that are gone."""
        rows: list[tuple[Row, bool]] = []
        for change in changes:
            old = change.row if change.kind == "delete" else change.old or {}
            if change.kind == "delete" or self._has_other_key(change):
                if not self._deletes_hard and not self._is_whole(change):
                    raise TapError(
                        f"{self.described.item.shown}: rows are deleted or get another key, and the log has no more of them than their keys; "
                        f"{self._how_to_delete}, which is for rows that are deleted from then on, and load it anew: {RELOAD}"
                    )
                rows.append(({k: old.get(k) for k in self.described.key} if self._deletes_hard else old, True))
            if change.kind == "delete":
                continue
            # Generated columns are not logged, and a publication may leave out others.
            unlogged: Row = dict.fromkeys(self._logged - change.row.keys(), UNCHANGED)
            rows.append(({n: old.get(n, v) if v is UNCHANGED else v for n, v in change.row.items()} | unlogged, False))
        rows = self._with_unlogged(session, rows)
        if rows:
            table, misfits = self._typed(session, rows)
            self._write_in_order(lane, table, misfits)
            self.sent += table.num_rows

    def _is_whole(self, change: Change) -> bool:
        """A partition that has the log show keys alone looks as if the rest were NULL."""
        return change.is_whole and not set(self._keys_alone) - {self.described.relation}

    def _has_other_key(self, change: Change) -> bool:
        old = change.old or {}
        return bool(old) and any(old.get(k) not in (change.row.get(k), None, UNCHANGED) for k in self.described.key)

    def _write_in_order(self, lane: Lane, table: pa.Table, misfits: Sequence[Misfit]) -> None:
        """A key may have several versions, and a lane sends rows with values without room apart from the others."""
        if not misfits:
            lane.write(table)
            return
        lane.flush()
        keys = list(zip(*(table.column(name).to_pylist() for name in self.primary_keys), strict=True))
        if len(set(keys)) == len(keys):
            lane.write(table, misfits)
            return
        odd = {m.row: m for m in misfits}
        for is_odd, group in groupby(range(table.num_rows), key=odd.__contains__):
            rows = list(group)
            lane.write(
                table.slice(rows[0], len(rows)), [odd[r]._replace(row=r - rows[0]) for r in rows] if is_odd else ()
            )
            lane.flush()

    def _with_unlogged(self, session: Session, rows: list[tuple[Row, bool]]) -> list[tuple[Row, bool]]:
        """Values that an update left as they were are looked up; a row that is gone meanwhile is left to its own delete."""
        lacking = [row for row, _ in rows if UNCHANGED in row.values()]
        if not lacking:
            return rows
        keys = ranges.key_columns(self.described)
        names = sorted({n for row in lacking for n, v in row.items() if v is UNCHANGED})
        known = {tuple(row[k.name] for k in keys) for row in lacking}
        columns = ", ".join(f"{identifier(c)}::text" for c in (*(k.name for k in keys), *names))
        wanted = ", ".join(
            f"({', '.join(self._database.literal(k, str(v)) for k, v in zip(keys, key, strict=True))})" for key in known
        )
        tuples = ", ".join(identifier(k.name) for k in keys)
        found = session.rows(f"SELECT {columns} FROM {self.described.relation} WHERE ({tuples}) IN ({wanted})")  # noqa: S608
        values = {row[: len(keys)]: dict(zip(names, row[len(keys) :], strict=True)) for row in found}
        made = []
        for row, is_gone in rows:
            if UNCHANGED not in row.values():
                made.append((row, is_gone))
            elif (there := values.get(tuple(str(row[k.name]) for k in keys))) is not None:
                made.append(({n: there[n] if v is UNCHANGED else v for n, v in row.items()}, is_gone))
        return made

    def _typed(self, session: Session, rows: Sequence[tuple[Row, bool]]) -> tuple[pa.Table, list[Misfit]]:
        odd: dict[int, dict[str, str]] = {}
        columns: dict[str, pa.Array] = {}
        there = {c.name: cast("PgColumn", c) for c in self.described.columns}
        now = dt.datetime.now(dt.timezone.utc)
        for column in self._wanted:
            if column.name == DELETED_AT:
                columns[column.name] = pa.array([now if gone else None for _, gone in rows], arrow_type("timestamptz"))
                continue
            texts: list[str | None] = [cast("str | None", row.get(column.name)) for row, _ in rows]
            source = there.get(column.name)
            if source is not None and source.is_converted:
                texts = _converted(session, source, texts)
            elif source is not None and source.is_bits and column.type != "string":
                texts = [None if t is None else f"B'{t}'" for t in texts]
            columns[column.name], unfit = _cast(texts, column, source)
            for row in unfit if not column.nulls_odd else ():
                odd.setdefault(row, {})[column.name] = str(texts[row])
        return pa.table(columns), [Misfit(row, found) for row, found in sorted(odd.items())]

    @cached_property
    def _logged(self) -> frozenset[str]:
        """Columns of the stream that the table has."""
        return frozenset(c.name for c in self._wanted) & {c.name for c in self.described.columns}


def _cast(texts: list[str | None], column: Column, source: PgColumn | None) -> tuple[pa.Array, list[int]]:
    if source is not None and source.type == "bytea" and column.type in ("binary", "string"):
        return pa.array([None if t is None else bytes.fromhex(t.removeprefix("\\x")) for t in texts], pa.binary()), []
    typed = cast_texts(pa.array(texts, pa.string()), column.type, blank_is_null=False)
    return typed.values, typed.misfits


def _converted(session: Session, column: PgColumn, texts: list[str | None]) -> list[str | None]:
    """Texts of the log as the table is read: arrays as JSON, money as a number. The server does it."""
    array = ", ".join("NULL" if t is None else literal(t) for t in texts)
    expression = column.kind.text.format(c=f"(u.t::{column.shown_type})")
    query = f"SELECT {expression} FROM unnest(ARRAY[{array}]::text[]) WITH ORDINALITY AS u(t, n) ORDER BY u.n"  # noqa: S608
    return [row[0] for row in session.rows(query)]
