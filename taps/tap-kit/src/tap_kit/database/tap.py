"""A tap of a database: its streams are the tables and queries that its settings name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tap_kit import logs
from tap_kit.database.settings import Item
from tap_kit.database.stream import TableStream
from tap_kit.errors import TapError, TransientError
from tap_kit.retry import Patience
from tap_kit.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk import Stream

    from tap_kit.database.settings import Reading
    from tap_kit.database.source import Database, Described, Session


class DatabaseTap(Tap):
    """A tap that reads a database; subclasses say which, and what of it."""

    @classmethod
    def stream_class(cls) -> type[TableStream]:
        """What a stream is."""
        return TableStream

    def opened(self) -> tuple[Database, Reading]:
        """The database and what to read, by the configuration.

        Raises:
            TapError: lists everything that is missing or contradicts itself.
        """
        raise NotImplementedError

    def discover_streams(self) -> Sequence[Stream]:
        """One stream for each table and query of the configuration."""
        database, reading = self.opened()
        patience = Patience(reading.retry_s)
        while True:
            try:
                with database.session() as session:
                    found = self._described(database, session, reading)
                break
            except TransientError as e:
                if not patience.is_left():
                    raise
                logs.event(self.logger, "reading_again", f"{e}; asking again", level=logging.WARNING, rows=0)
            finally:
                database.close()
        made = self.stream_class()
        return [made(self, described, database, reading) for described in found]

    def _described(self, database: Database, session: Session, reading: Reading) -> list[Described]:
        """All that is to be read; everything that is not there is listed at once."""
        found, problems = [], []
        for item in items(database, session, reading):
            try:
                found.append(database.describe(session, item))
            except TransientError:  # noqa: PERF203  a query is no tight loop
                raise
            except TapError as e:
                problems.append(str(e))
        if problems:
            raise TapError("\n".join(problems))
        return found


def items(database: Database, session: Session, reading: Reading) -> Iterator[Item]:
    """What the settings name, patterns resolved; a table that is named twice comes once.

    Raises:
        TapError: a pattern means no table, or two tables would be one stream.
    """
    named = {(item.schema, item.name) for item in reading.items if item.sql is None}
    streams = {item.stream: item.shown for item in reading.items}
    yield from reading.items
    for pattern in reading.patterns:
        matching = [t for t in database.tables(session, pattern.schema) if pattern.matches(t)]
        wanted = [t for t in matching if not reading.is_excluded(pattern.schema, t)]
        if not wanted:
            why = "all of them are excluded" if matching else "no table that this role may read has such a name"
            raise TapError(f"{database.where}: {pattern.shown} means no table: {why}")
        for table in wanted:
            if (pattern.schema, table) in named:
                continue
            item = Item(table, pattern.schema, table, cursor=pattern.cursor)
            if item.stream in streams:
                raise TapError(
                    f"{database.where}: {item.shown} and {streams[item.stream]} would both be the stream {item.stream}; name one of them "
                    "with an object of its own"
                )
            named.add((pattern.schema, table))
            streams[item.stream] = item.shown
            yield item
