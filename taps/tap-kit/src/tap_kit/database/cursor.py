"""The window of an incremental read: from the bookmark to the greatest cursor that is there when the run begins."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from tap_kit.database import ranges
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_kit.database.settings import Reading
    from tap_kit.database.source import Database, Described, Session, SourceColumn

_COUNTED = 1000
_FUTURE = dt.timedelta(days=2)  # clocks and zones differ
VALUE, TIE = "replication_key_value", "replication_key_after"
"""Keys of a bookmark: the greatest cursor that was read; with an exclusive resume, the greatest key among the rows that have it."""
ROWS_AT_VALUE = "replication_key_rows"
"""Key of a bookmark: count and digest of the rows that have this cursor, where an index leads to them."""
LOADED_WITHOUT = "loaded_without_cursor"
"""Key of a bookmark: no row had a cursor yet, and those that have none were read."""


class Window:
    """Which rows of a table an incremental run reads.

    Inclusive: rows at the bookmark are read again, so that one which was written with the same cursor is not missed; the target
    knows them by their key. When nothing is newer and they are what they were, nothing is read. Exclusive: (cursor, key) beyond the bookmark's, for targets that only append.
    """

    def __init__(
        self, database: Database, described: Described, cursor: SourceColumn, reading: Reading, *, is_exclusive: bool
    ) -> None:
        self._database, self._described, self._cursor, self._reading = database, described, cursor, reading
        self._is_exclusive = is_exclusive
        self._name = database.quote(cursor.name)
        self._tie: list[str] | None = None
        self._upper_tie: list[str] | None = None
        self.value: str | None = None
        """Cursor of the bookmark; None: a first load."""
        self.upper: str | None = None
        """Greatest cursor to read; None: there is none."""
        self.is_idle = False
        """All there is to read was read."""
        self._rows_at_upper: str | None = None
        self._beyond: str | None = None
        self._has_unusable = self._was_loaded_without = False

    def take(self, session: Session, state: dict[str, Any], announce: Callable[..., None]) -> None:
        """Look where this run begins and ends.

        Raises:
            TapError: rows without a cursor, and the settings do not allow them; a lookback from something that is no time.
        """
        self._tell_of_null_cursors(session, announce)
        if self._reading.lookback_s and not self._cursor.is_time:
            raise TapError(
                f"{self._described.item.shown}: lookback needs a date or timestamp as cursor, and {self._cursor.name} is "
                f"{self._cursor.shown_type}"
            )
        begun = state.get("full_load") or {}
        if begun.get("upper") is not None:
            self.upper, self._upper_tie, *rows = begun["upper"]
            self._rows_at_upper = rows[0] if rows else None
            return
        value = None if begun else state.get(VALUE)
        self.value, self._tie = None if value is None else str(value), state.get(TIE)
        self._was_loaded_without = bool(state.get(LOADED_WITHOUT))
        self.upper = self._greatest(session, announce)
        if self.upper is None:
            return
        self._tell_of_future(announce)
        # Rows are summed before they are read, so that one which comes meanwhile is noticed by the next run.
        if not self._is_exclusive and not self._reads_more_every_time and self._is_indexed(session):
            self._rows_at_upper = self._summed(session, self.upper)
            self.is_idle = self.value == self.upper and state.get(ROWS_AT_VALUE) == self._rows_at_upper
        elif self._is_exclusive and ranges.ordered_key(self._described):
            self._upper_tie = self._greatest_key(session)
        elif self._is_exclusive:
            self._rows_at_upper = self._summed(session, self.upper)
            self._tell_of_late_rows(session, state, announce)

    def _greatest(self, session: Session, announce: Callable[..., None]) -> str | None:
        """The greatest cursor; asked for a second time, without the help of an index, where the first one is no date."""
        usable, impossible = self._database.usable(self._cursor), self._database.impossible(self._cursor)
        found = self._greatest_of(session, usable)
        if found is None or impossible is None or _is_date(found):
            return found
        upper = self._greatest_of(session, f"{usable} AND NOT {impossible}")
        above = f" AND {self._name} > {self._literal(upper)}" if upper is not None else ""
        beyond = f"{impossible} AND {usable}{above}"
        when = "they come when others have passed them"
        if not self._is_exclusive:  # where those of a first load would come twice
            self._beyond, when = beyond, "they come with the first load, and when others have passed them"
        what = f"rows have a {self._cursor.name} that is no date and greater than all others"
        self._tell_of_unusable(session, beyond, what, when, announce)
        return upper

    def _greatest_of(self, session: Session, condition: str) -> str | None:
        source = f"{self._described.relation} WHERE {condition}"
        greatest = f"SELECT max({self._name}) AS {self._name} FROM {source}"  # noqa: S608
        found: str | None = session.rows(f"SELECT {self._database.text_of(self._cursor)} FROM ({greatest}) AS q")[0][0]  # noqa: S608
        return found

    @property
    def kept(self) -> list[Any]:
        """The upper end, as a bookmark of a load keeps it."""
        return [self.upper, self._upper_tie, self._rows_at_upper]

    def of_first_load(self) -> str | None:
        """Condition for everything up to the upper end, and the rows without a usable cursor; None: there is nothing."""
        parts = []
        if self.upper is not None:
            parts.append(self._up_to())
            if self._reading.start_date:
                parts = [f"{parts[0]} AND {self._name} >= {self._literal(self._reading.start_date)}"]
        null_cursor = self._reading.null_cursor
        if null_cursor != "error" and not (self._was_loaded_without and null_cursor == "load_once"):
            parts += [c for c in (self._database.unusable(self._cursor), self._beyond) if c]
        return " OR ".join(f"({p})" for p in parts) or None

    def since(self) -> str:
        """Condition for what came since the bookmark."""
        assert self.value is not None
        value = self._literal(self.value)
        if self._reading.lookback_s:
            value = self._database.earlier(value, self._cursor, self._reading.lookback_s)
        if not self._is_exclusive:
            lower = f"{self._name} >= {value}"
        elif self._tie:
            keys = ranges.ordered_key(self._described)
            lower = f"({self._name} > {value} OR ({self._name} = {value} AND {ranges.beyond(self._database, keys, self._tie)}))"
            lower = f"{self._name} >= {value} AND {lower}"  # which an index helps with
        else:
            lower = f"{self._name} > {value}"
        where = f"{lower} AND {self._up_to()}"
        if self._reading.null_cursor == "every_run":
            unusable = (self._database.unusable(self._cursor), self._database.impossible(self._cursor))
            where = " OR ".join(f"({c})" for c in (where, *unusable) if c)
        return where

    def remember(self, state: dict[str, Any]) -> None:
        """Where the next run goes on."""
        if self.upper is None:
            if self._has_unusable:
                state[LOADED_WITHOUT] = True
            return
        state.pop(LOADED_WITHOUT, None)
        state["replication_key"], state[VALUE] = self._cursor.name, self.upper
        state.pop(TIE, None)
        state.pop(ROWS_AT_VALUE, None)
        if self._rows_at_upper is not None:
            state[ROWS_AT_VALUE] = self._rows_at_upper
        if self._is_exclusive and self._upper_tie:
            state[TIE] = self._upper_tie

    def warn_without_index(self, session: Session, announce: Callable[..., None]) -> None:
        """Every run reads the whole table when nothing leads to the rows of a cursor."""
        described = self._described
        if described.is_table and not self._is_indexed(session):
            advice = self._database.index_advice(described, self._cursor)
            announce(
                "cursor_without_index",
                f"{described.item.shown}: no index begins with {self._cursor.name}, so every run searches the whole table; make one: {advice}",
                level=logging.WARNING,
            )

    def _is_indexed(self, session: Session) -> bool:
        """Whether the server finds rows by their cursor."""
        if self._has_index is None:
            described = self._described
            self._has_index = described.is_table and self._database.has_index(session, described, self._cursor)
        return self._has_index

    _has_index: bool | None = None

    @property
    def _reads_more_every_time(self) -> bool:
        return bool(self._reading.lookback_s) or self._reading.null_cursor == "every_run"

    def _summed(self, session: Session, value: str) -> str:
        """Count and digest of the rows with a cursor."""
        digest = self._database.digest(self._described.columns)
        where = f"{self._name} = {self._literal(value)}"
        n, hashes = session.rows(f"SELECT count(*), {digest} FROM {self._described.relation} WHERE {where}")[0]  # noqa: S608
        return f"{n}:{hashes}"

    def _literal(self, text: str) -> str:
        return self._database.literal(self._cursor, text)

    def _up_to(self) -> str:
        assert self.upper is not None
        upper = self._literal(self.upper)
        where = f"{self._name} <= {upper}"
        if self._upper_tie:
            keys = ranges.ordered_key(self._described)
            where += f" AND ({self._name} < {upper} OR {ranges.beyond(self._database, keys, self._upper_tie, '<=')})"
        return where

    def _greatest_key(self, session: Session) -> list[str] | None:
        """Of the rows at the upper end."""
        keys = ranges.ordered_key(self._described)
        if not keys:
            return None
        assert self.upper is not None
        texts = ", ".join(f"{self._database.text_of(c)} AS k{i}" for i, c in enumerate(keys))
        order = ", ".join(f"{self._database.quote(c.name)} DESC" for c in keys)
        where = f"{self._name} = {self._literal(self.upper)}"
        found = session.rows(f"SELECT {texts} FROM {self._described.relation} WHERE {where} ORDER BY {order} LIMIT 1")  # noqa: S608
        return [str(v) for v in found[0]] if found else None

    def _tell_of_future(self, announce: Callable[..., None]) -> None:
        """A placeholder like 9999-12-31 would be the bookmark for good."""
        assert self.upper is not None
        if self._cursor.is_time and self.upper[:10] > (dt.datetime.now(dt.timezone.utc) + _FUTURE).date().isoformat():
            message = (
                f"{self._described.item.shown}: the greatest {self._cursor.name} is {self.upper}, which is yet to come"
            )
            remedy = "rows that get a smaller one from now on are not read; correct that row, or read a query that leaves it out"
            announce("cursor_in_future", f"{message}; {remedy}", level=logging.WARNING)

    def _tell_of_late_rows(self, session: Session, state: dict[str, Any], announce: Callable[..., None]) -> None:
        """Without a key, rows at the bookmark that were read cannot be told from those that were not."""
        known = state.get(ROWS_AT_VALUE)
        if self.value is None or known is None:
            return
        now = self._rows_at_upper if self.value == self.upper else self._summed(session, self.value)
        if now != known:
            what = f"rows with {self._cursor.name} = {self.value} have come or changed since they were read"
            remedy = "they cannot be told apart without a key, and are not read; add a key, or use a cursor that grows with each row"
            announce("late_rows", f"{self._described.item.shown}: {what}; {remedy}", level=logging.WARNING)

    def _tell_of_null_cursors(self, session: Session, announce: Callable[..., None]) -> None:
        unusable = self._database.unusable(self._cursor)
        if unusable is not None:
            what, when = f"rows have no usable {self._cursor.name}", "they come with the first load and not again"
            self._tell_of_unusable(session, unusable, what, when, announce)

    def _tell_of_unusable(
        self, session: Session, condition: str, what: str, when: str, announce: Callable[..., None]
    ) -> None:
        """Rows that no window holds: how many there are, and when they come.

        Args:
            condition: is true for them.
            what: the words behind their number.
            when: they come with null_cursor: load_once.
        """
        query = f"SELECT count(*) FROM (SELECT 1 AS x FROM {self._described.relation} WHERE {condition} LIMIT {_COUNTED}) AS q"  # noqa: S608
        n = int(session.rows(query)[0][0])
        if not n:
            return
        self._has_unusable = True
        shown = f"{n:,}" if n < _COUNTED else f"{_COUNTED:,} or more"
        message = f"{self._described.item.shown}: {shown} {what}"
        if self._reading.null_cursor == "error":
            raise TapError(
                f"{message} (null_cursor: error); fill them, take another cursor_field, or set null_cursor: load_once"
            )
        if self._reading.null_cursor == "every_run" and self._is_exclusive:
            raise TapError(
                f"{message}; null_cursor: every_run would append them again and again; use load_once or error"
            )
        how = when if self._reading.null_cursor == "load_once" else "they come with every run"
        announce("null_cursors", f"{message}; {how} (null_cursor)", level=logging.WARNING, rows=n)


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True
