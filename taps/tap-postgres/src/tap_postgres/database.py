"""PostgreSQL as a source of tables."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from tap_kit.errors import TapError, TransientError
from tap_postgres import discovery, types
from tap_postgres.client import Client, connect
from tap_postgres.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_kit.database.settings import Item
    from tap_kit.database.source import Described, Selected, Session, SourceColumn
    from tap_postgres.settings import Settings

_NO_SNAPSHOT = ("snapshot", "does not exist")


class Postgres:
    """A database whose tables are read in one transaction, so that all of them are of the same moment.

    The transaction is given up when the server goes away; the next session sees a later moment.
    """

    reads_in_order = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.where = f"PostgreSQL {settings.where}"
        self._client: Client | None = None
        self.slot = Slot(settings)

    @contextmanager
    def session(self) -> Iterator[Client]:
        """The transaction."""
        if self._client is None:
            self._client = connect(self._settings)
        client = self._client
        try:
            yield client
        finally:
            if client.is_broken:
                self.close()

    def close(self) -> None:
        """End the transaction."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def siblings(self, session: Session, n: int) -> Iterator[Sequence[Client]]:
        """Further transactions that see the same moment."""
        snapshot = session.rows("SELECT pg_catalog.pg_export_snapshot()")[0][0]
        clients: list[Client] = []
        try:
            clients.extend(self._sibling(session, snapshot) for _ in range(n))
            yield clients
        finally:
            for client in clients:
                client.close()

    def _sibling(self, session: Session, snapshot: str) -> Client:
        try:
            return connect(self._settings, snapshot)
        except TapError as e:
            if not all(words in str(e) for words in _NO_SNAPSHOT):
                raise
            cast("Client", session).is_broken = True  # which it has not noticed yet
            raise TransientError(f"{self.where}: the connection that kept the moment of the load has ended") from e

    def describe(self, session: Session, item: Item) -> Described:
        """Look a table or query up."""
        return discovery.describe(cast("Client", session), item, self._settings)

    def tables(self, session: Session, schema: str) -> list[str]:
        """Tables, views and the like that the role may read."""
        return discovery.tables(cast("Client", session), schema)

    def has_index(self, session: Session, described: Described, column: SourceColumn) -> bool:
        """Whether an index begins with a column."""
        return discovery.has_index(cast("Client", session), described, column.name)

    def quote(self, name: str) -> str:
        """In double quotes."""
        return types.identifier(name)

    def literal(self, column: SourceColumn, text: str) -> str:
        """A literal of the column's own type."""
        return types.literal_of(cast("types.PgColumn", column), text)

    def text_of(self, column: SourceColumn) -> str:
        """The text."""
        return f"{types.identifier(column.name)}::text"

    def usable(self, column: SourceColumn) -> str:
        """Not NULL, and a number, or in the years 1 to 9999."""
        name = types.identifier(column.name)
        if column.is_time:
            return f"{name} >= '0001-01-01' AND {name} < '10000-01-01'"
        # NaN is greater than all numbers.
        return f"{name} > '-Infinity' AND {name} < 'Infinity'" if _has_nan(column) else f"{name} IS NOT NULL"

    def unusable(self, column: SourceColumn) -> str | None:
        """NULL, infinite, NaN, or of another year."""
        name = types.identifier(column.name)
        conditions = [] if column.required else [f"{name} IS NULL"]
        if column.is_time:
            conditions += [f"{name} >= '10000-01-01'", f"{name} < '0001-01-01'"]
        elif _has_nan(column):
            conditions += [f"{name} >= 'Infinity'", f"{name} <= '-Infinity'"]
        return " OR ".join(conditions) or None

    def impossible(self, column: SourceColumn) -> None:
        """None: what is no date is no value of a date column."""

    def earlier(self, literal: str, column: SourceColumn, seconds: float) -> str:
        """Of a date, whole days are taken off."""
        found = f"({literal} - interval '{seconds} seconds')"
        return f"{found}::date" if column.shown_type == "date" else found

    def digest(self, columns: Sequence[SourceColumn]) -> str:
        """By the functions that PostgreSQL partitions with; they stay the same within a major version."""
        if len(columns) == 1 and columns[0].is_integer:
            value = f"pg_catalog.hashint8extended({types.identifier(columns[0].name)}::int8, 0)"
        else:
            texts = [self.text_of(c) for c in columns]
            joined = " || ".join(f"coalesce(length({t}) || ':' || {t}, '-')" for t in texts)
            value = f"pg_catalog.hashtextextended({joined}, 0)"
        return f"sum({value})::text"

    def part(self, column: SourceColumn, step: int) -> str:
        """Integers are divided so."""
        return f"{types.identifier(column.name)}::int8 / {step}"

    def index_advice(self, described: Described, column: SourceColumn) -> str:
        """CREATE INDEX, without stopping those who write."""
        return f"CREATE INDEX CONCURRENTLY ON {described.relation} ({types.identifier(column.name)})"

    def select(self, column: SourceColumn, word: str) -> Selected:
        """How a column is read so that it arrives as a type."""
        return types.select(cast("types.PgColumn", column), word)


def _has_nan(column: SourceColumn) -> bool:
    return cast("types.PgColumn", column).type in ("numeric", "float4", "float8")
