"""MySQL and MariaDB as a source of tables."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, cast

from tap_mysql import discovery, types
from tap_mysql.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_kit.database.settings import Item
    from tap_kit.database.source import Described, Selected, Session, SourceColumn
    from tap_mysql.settings import Settings


class MySql:
    """A database each of whose tables is read by one statement, and so as of one moment.

    InnoDB keeps the rows of a table in the order of its key, so that the statement can have that order at no cost, and a run that was
    killed goes on behind its last bookmark.
    """

    reads_in_order = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.where = f"MySQL {settings.where}"

    @contextmanager
    def session(self) -> Iterator[Client]:
        """A connection."""
        client = Client(self._settings)
        try:
            yield client
        finally:
            client.close()

    def close(self) -> None:
        """Nothing: sessions share nothing."""

    def siblings(self, session: Session, n: int) -> NoReturn:
        """Not asked for, since the tap has no setting `parallel`: two sessions of MySQL cannot share a moment."""
        raise NotImplementedError

    def describe(self, session: Session, item: Item) -> Described:
        """Look a table or query up."""
        return discovery.describe(cast("Client", session), item, self._settings)

    def tables(self, session: Session, schema: str) -> list[str]:
        """Tables and views that the user may see."""
        return discovery.tables(cast("Client", session), schema)

    def has_index(self, session: Session, described: Described, column: SourceColumn) -> bool:
        """Whether an index begins with a column."""
        return discovery.has_index(cast("Client", session), described, column.name)

    def quote(self, name: str) -> str:
        """In backticks."""
        return types.identifier(name)

    def literal(self, column: SourceColumn, text: str) -> str:
        """A literal that is compared as the column is."""
        return types.literal_of(cast("types.MyColumn", column), text)

    def text_of(self, column: SourceColumn) -> str:
        """The text, in hexadecimal for bytes."""
        return types.text_of(cast("types.MyColumn", column))

    def usable(self, column: SourceColumn) -> str:
        """Not NULL, and no zero date."""
        name = types.identifier(column.name)
        return f"{name} >= '0001-01-01'" if column.is_time else f"{name} IS NOT NULL"

    def unusable(self, column: SourceColumn) -> str | None:
        """NULL, or a zero date."""
        name = types.identifier(column.name)
        conditions = [] if column.required else [f"{name} IS NULL"]
        if column.is_time:
            conditions.append(f"{name} < '0001-01-01'")
        return " OR ".join(conditions) or None

    def impossible(self, column: SourceColumn) -> str | None:
        """Dates like 2024-05-00 and 2023-02-31, which a server keeps that is told to."""
        if not column.is_time:
            return None
        name = types.identifier(column.name)
        return f"(MONTH({name}) = 0 OR DAY({name}) NOT BETWEEN 1 AND IFNULL(DAY(LAST_DAY({name})), 0))"

    def earlier(self, literal: str, column: SourceColumn, seconds: float) -> str:  # noqa: ARG002  the protocol has it
        """To the microsecond."""
        return f"(CAST({literal} AS DATETIME(6)) - INTERVAL {round(seconds * 1_000_000)} MICROSECOND)"

    def digest(self, columns: Sequence[SourceColumn]) -> str:
        """60 bits of MD5, since CRC32 of whole sets is the same too often."""
        texts = [self.text_of(c) for c in columns]
        joined = ", ".join(f"IFNULL(CONCAT(CHAR_LENGTH({t}), ':', {t}), '-')" for t in texts)
        return f"CAST(SUM(CAST(CONV(SUBSTRING(MD5(CONCAT({joined})), 18), 16, 10) AS UNSIGNED)) AS CHAR)"

    def part(self, column: SourceColumn, step: int) -> str:
        """DIV."""
        return f"{types.identifier(column.name)} DIV {step}"

    def index_advice(self, described: Described, column: SourceColumn) -> str:
        """CREATE INDEX."""
        name = types.identifier(f"{described.item.name}_{column.name}")
        return f"CREATE INDEX {name} ON {described.relation} ({types.identifier(column.name)})"

    def select(self, column: SourceColumn, word: str) -> Selected:
        """How a column is read so that it arrives as a type."""
        return types.select(cast("types.MyColumn", column), word)
