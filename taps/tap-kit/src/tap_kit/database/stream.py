"""One stream: which rows of its table to read, and where the next run goes on."""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL

from tap_kit.columns import TYPE_KEYWORD, columns_of, type_of
from tap_kit.database import ranges
from tap_kit.database.cursor import Window
from tap_kit.database.drift import differences, losses
from tap_kit.database.keys import KEYS, KeyWatch
from tap_kit.database.merged import merged
from tap_kit.database.ranges import Part
from tap_kit.database.rows import Reader
from tap_kit.database.sent import SentKeys
from tap_kit.errors import TapError, TransientError
from tap_kit.lanes import arrow_root
from tap_kit.origin import state_origin
from tap_kit.retry import Patience
from tap_kit.stream import LaneStream
from tap_kit.tap import selected_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tap_kit.columns import Column
    from tap_kit.database.drift import Difference
    from tap_kit.database.rows import Rows
    from tap_kit.database.settings import Reading
    from tap_kit.database.source import Database, Described, Session, SourceColumn
    from tap_kit.lanes import Lane
    from tap_kit.tap import Tap

DELETED_AT = "_sdc_deleted_at"
_DELETED_AT_SCHEMA = {"type": ["string", "null"], "format": "date-time", TYPE_KEYWORD: "timestamptz"}
FULL_LOAD = "full_load"
"""Key of a bookmark while a load goes on: {"upper": cursor or null, "after": key}."""
COLUMNS = "columns"
"""Key of a bookmark: the stream's columns that the table had."""
DONE = {"done": True}
"""Bookmark of a load that has come to its end while others of the run have not: a run that goes on does not begin it again."""


class TableStream(LaneStream):
    """Rows of one table, view, query or the like.

    FULL_TABLE: all of them. INCREMENTAL: those whose cursor lies between the bookmark and the greatest one that is there when the
    run begins, so that rows written meanwhile come with the next run. A load of all rows leaves a bookmark behind each part of
    it, from which a run goes on that was killed. When the server goes away, it is asked again, and rows that were sent are
    not sent twice.
    """

    def __init__(self, tap: Tap, described: Described, database: Database, reading: Reading) -> None:
        self.described, self._database, self._reading = described, database, reading
        self._sent_keys = SentKeys(has_key=described.is_unique)
        super().__init__(tap, described.item.stream)
        self.primary_keys = list(described.key)
        if described.item.cursor is not None:
            self.replication_key = described.item.cursor

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The catalog's schema as it was given, else what the server says; with the time of deletion where that is told."""
        found = self._table_schema
        if not self.tells_deletions:
            return found
        return {**found, "properties": {**found["properties"], DELETED_AT: _DELETED_AT_SCHEMA}}

    @property
    def tells_deletions(self) -> bool:
        """Rows that are gone are told to the target."""
        return self._reading.detects_deletes

    @property
    def _table_schema(self) -> dict[str, Any]:
        given = self.kit_tap.catalog_schema(self.name)
        if given is not None:
            if not self._brings_all_columns:
                return given
            return {
                **given,
                "properties": {c.name: c.json_schema for c in self.described.columns} | given["properties"],
            }
        columns, item = self.described.columns, self.described.item
        found: dict[str, Any] = {
            "type": "object",
            "properties": {c.name: c.json_schema for c in columns},
            "required": [c.name for c in columns if c.required],
        }
        if item.sql is None:
            found["x-dativo-source"] = ".".join(self._spelled(p) for p in (item.schema, item.name))
        else:
            found["x-dativo-query"] = True  # of which the server does not say what is never NULL
        return found | ({"description": self.described.comment} if self.described.comment else {})

    @property
    def _brings_all_columns(self) -> bool:
        """Also those that the catalog does not name."""
        return (self.kit_tap.catalog_schema(self.name) or {}).get("additionalProperties") is True

    def _spelled(self, name: str) -> str:
        """As jobs write it: in quotes where its characters would mean something else."""
        return name if re.fullmatch(r"[^\s.\"`*?\[\]]+", name) else self._database.quote(name)

    def extract(self) -> None:
        """Read; the last of the tap's streams lets go of what they share."""
        is_last = [s for s in self.kit_tap.streams.values() if s.selected][-1:] == [self]
        goes_on = self.replication_method != REPLICATION_FULL_TABLE
        try:
            if goes_on:
                known = self.stream_state.get(COLUMNS, ())
                self._tell(losses(self.described, self._wanted, known, brings_all=self._brings_all_columns))
            self._ask_until_answered()
        except BaseException:
            self._database.close()
            raise
        if goes_on:
            self.stream_state[COLUMNS] = sorted(c.name for c in self._wanted if self.described.column(c.name))
        if is_last:
            self._database.close()
            for stream in self.kit_tap.streams.values():
                if stream.stream_state.get(FULL_LOAD) == DONE:
                    del stream.stream_state[FULL_LOAD]
        self.announce("table_read", f"{self.described.item.shown}: {self.sent:,} rows", rows=self.sent)

    def _ask_until_answered(self) -> None:
        patience = Patience(self._reading.retry_s)
        with self.lane() as lane:
            while True:
                sent = self.sent
                try:
                    with self._database.session() as session:
                        self._extract(session, lane)
                    break
                except TransientError as e:
                    if self.sent > sent:
                        patience.renew()
                    if not self._sent_keys.can_go_on:
                        raise TransientError(
                            f"{e}; rows that came cannot be told from those that did not: run the job again"
                        ) from e
                    if not patience.is_left():
                        raise
                    self._sent_keys.ask_again()
                    message = f"{e}; asking again, {self.sent:,} rows were read so far"
                    self.announce("reading_again", message, level=logging.WARNING, rows=self.sent)
            lane.flush()

    def _extract(self, session: Session, lane: Lane) -> None:
        """Rows, and which of those that were read before are gone."""
        if not self._reading.detects_deletes or self.ABORT_AT_RECORD_COUNT is not None:
            self._extract_rows(session, lane)
            return
        state = self.stream_state
        if not {KEYS, FULL_LOAD} & state.keys() and self.name in state_origin().new:
            # Before anything is read, so that the next run notices what goes meanwhile.
            self._key_watch.remember(session, state)
            self._is_new = True
        self._extract_rows(session, lane)
        if not self._is_new:
            lane.flush()  # the list is about rows that stand before it
            self._key_watch.list_changed(session, state, self.kit_tap.lines, arrow_root(self.config))

    _is_new = False

    @cached_property
    def _key_watch(self) -> KeyWatch:
        types = {c.name: c.type for c in columns_of(selected_schema(self))}
        keys = [c for c in (self.described.column(name) for name in self.primary_keys) if c is not None]
        if not keys or len(keys) < len(self.primary_keys):
            raise TapError(
                f"{self.described.item.shown}: detect_deletes needs a key; add one to the table or name its columns in the contract"
            )
        return KeyWatch(
            self._database,
            self.described,
            [self._database.select(c, types[c.name]) for c in keys],
            keys,
            self.announce,
            stream=self.name,
            by_ranges=keys[0].is_integer and types[keys[0].name] == "long",
            allows_empty=bool(self.kit_tap.catalog_metadata(self.name).get("dativo-allow-empty")),
        )

    def _extract_rows(self, session: Session, lane: Lane) -> None:
        cursor = self._cursor
        if self.replication_method == REPLICATION_FULL_TABLE or cursor is None:
            if self.stream_state.get(FULL_LOAD) != DONE:
                self._load(session, lane, "", None)
                self.stream_state[FULL_LOAD] = dict(DONE)
            return
        if self.replication_method != REPLICATION_INCREMENTAL:
            raise TapError(
                f"{self.name}: replication method {self.replication_method} is not one of {self.kit_tap.name}"
            )
        window = self._window(session, cursor)
        window.warn_without_index(session, self.announce)
        if window.value is None:
            self._load(session, lane, window.of_first_load(), window)
        elif window.upper is not None and not window.is_idle:
            self._read(session, lane, Part(window.since()))
        window.remember(self.stream_state)

    def _window(self, session: Session, cursor: SourceColumn) -> Window:
        """Where this run reads from and to; taken once, also when the server goes away meanwhile."""
        if self._taken is None:
            metadata = self.kit_tap.catalog_metadata(self.name)
            window = Window(
                self._database,
                self.described,
                cursor,
                self._reading,
                is_exclusive=metadata.get("dativo-resume") == "exclusive",
            )
            window.take(session, self.stream_state, self.announce)
            self._taken = window
        return self._taken

    _taken: Window | None = None

    # -- loads in parts -----------------------------------------------------------------------------------------------------

    def _load(self, session: Session, lane: Lane, what: str | None, window: Window | None) -> None:
        """All rows for which `what` holds, in parts; None: there are none."""
        state = self.stream_state
        begun = (state.get(FULL_LOAD) or {}).get("after")
        if what is not None and self._database.reads_in_order and ranges.ordered_key(self.described):
            self._load_in_order(session, lane, what, begun, window)
        elif what is not None:
            chunk = self._reading.chunk_rows
            for part in ranges.parts_of(self._database, session, self.described, chunk, begun):
                where = " AND ".join(f"({c})" for c in (what, part.where) if c)
                self._read(session, lane, Part(where, part.after, part.bounds))
                if part.after is not None:
                    self._checkpoint(lane, part.after, window)
                if self.is_enough:
                    break
        state.pop(FULL_LOAD, None)

    def _load_in_order(
        self, session: Session, lane: Lane, what: str, begun: Sequence[str] | None, window: Window | None
    ) -> None:
        """One statement in the order of the key; it goes on behind the last row that was sent."""
        keys = ranges.ordered_key(self.described)
        last = self._last if self._last is not None else begun
        conditions = [what, ranges.beyond(self._database, keys, last) if last is not None else ""]
        where = " AND ".join(f"({c})" for c in conditions if c)
        order = ", ".join(self._database.quote(c.name) for c in keys)
        since = 0
        for rows in self._rows(session, where, f" ORDER BY {order}"):
            lane.write(rows.table, rows.misfits)
            self.sent += rows.table.num_rows
            since += rows.table.num_rows
            self._last = tuple(str(k[-1].as_py()) for k in rows.keys)
            if since >= self._reading.chunk_rows:
                self._checkpoint(lane, self._last, window)
                since = 0

    _last: tuple[str, ...] | None = None

    def _checkpoint(self, lane: Lane, after: Sequence[str], window: Window | None) -> None:
        lane.flush()
        self.stream_state[FULL_LOAD] = {"upper": window.kept if window else None, "after": list(after)}
        self.write_state()

    # -- reading ------------------------------------------------------------------------------------------------------------

    def _read(self, session: Session, lane: Lane, part: Part) -> None:
        """The rows of a part that were not sent yet."""
        with self._readers(session, part) as batches:
            for rows in batches:
                table, misfits = self._sent_keys.new(rows.table, rows.misfits, rows.keys)
                if table.num_rows:
                    lane.write(table, misfits)
                    self.sent += table.num_rows
        self._sent_keys.clear()

    @contextmanager
    def _readers(self, session: Session, part: Part) -> Iterator[Iterator[Rows]]:
        """Rows of a part, which the server sends while those before them are worked on."""
        n = self._reading.parallel
        if n == 1 or part.bounds is None or self.ABORT_AT_RECORD_COUNT is not None:
            with merged([self._rows(session, part.where)]) as rows:
                yield rows
            return
        name = self._database.quote(self.described.key[0])
        shares = [f"({part.where}) AND {share}" for share in ranges.split(name, part.bounds, n)]
        with ExitStack() as stack:
            others = stack.enter_context(self._database.siblings(session, len(shares) - 1))
            yield stack.enter_context(
                merged([self._rows(s, share) for s, share in zip((session, *others), shares, strict=True)])
            )

    def _rows(self, session: Session, where: str, order: str = "") -> Iterator[Rows]:
        condition = f" WHERE {where}" if where else ""
        limit = "" if self.ABORT_AT_RECORD_COUNT is None else f" LIMIT {self.ABORT_AT_RECORD_COUNT}"
        return self._reader.read(session, f"FROM {self.described.relation}{condition}{order}{limit}")

    @cached_property
    def _wanted(self) -> tuple[Column, ...]:
        return columns_of(selected_schema(self), self.primary_keys)

    @cached_property
    def _reader(self) -> Reader:
        there = {c.name: c for c in self.described.columns}
        missing = {c.name: c.type for c in self._wanted if c.name not in there}
        self.tell_of_columns()
        chosen = [self._database.select(there[c.name], c.type) for c in self._wanted if c.name in there]
        keys = [
            self._database.quote(c.name)
            if c.is_integer and type_of(c.json_schema) == "long"
            else self._database.text_of(c)
            for c in ranges.key_columns(self.described)
        ]
        return Reader(chosen, missing, keys, {c.name for c in self._wanted if c.nulls_odd})

    def tell_of_columns(self) -> None:
        """In what the table's columns are other than the contract has them; told once."""
        if not self._told_of_columns:
            self._told_of_columns = True
            self._tell(differences(self.described, self._wanted, (DELETED_AT,)))

    def _tell(self, found: Iterable[Difference]) -> None:
        for event_type, level, message, columns in found:
            self.announce(event_type, message, level=level, columns=columns)

    _told_of_columns = False

    @cached_property
    def _cursor(self) -> SourceColumn | None:
        if self.replication_key is None:
            return None
        column = self.described.column(self.replication_key)
        if column is None:
            names = ", ".join(c.name for c in self.described.columns)
            raise TapError(
                f"{self.described.item.shown}: has no column {self.replication_key} to be the cursor; it has {names}"
            )
        return column
