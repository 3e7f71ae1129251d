"""Connections to PostgreSQL, and what its errors mean for whoever has to mend them."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
from adbc_driver_postgresql import dbapi

from tap_kit.errors import TapError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from tap_postgres.settings import Settings

_TRANSIENT = ("08", "40", "53", "57P0", "55006", "58030")
"""Beginnings of SQLSTATEs: connection, serialization, resources, shutdown and start of the server, an object in use."""
_BROKEN = (
    "could not connect", "connection refused", "connection to server", "starting up", "server closed", "timeout expired",
    "timed out", "reset by peer", "no connection", "connection not open", "terminating connection", "ssl syscall",
    "ssl connection has been closed", "eof detected", "network is unreachable", "no route to host",
    "could not translate host name", "recovery",
)  # fmt: skip
_UNKNOWN_HOST = ("name or service not known", "nodename nor servname", "no address associated", "unknown host")
_PERMANENT = (
    "password", "does not exist", "no pg_hba.conf entry", "certificate", "does not support ssl", "root.crt", *_UNKNOWN_HOST,
)  # fmt: skip
"""Words of errors without a SQLSTATE that do not go away by themselves."""
_ABOUT_TLS = ("ssl", "certificate", "root.crt")
_BATCH_BYTES = 8 << 20
_LEAST_SECRET = 4
"""Shorter ones would be found in every message."""
_SESSION = {
    # What texts of values look like does not depend on the server's or the role's own settings.
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "row_security": "on",
    "idle_in_transaction_session_timeout": "0",  # the target may take its time between two batches
}


class Client:
    """One transaction that sees the database as it was at its beginning."""

    def __init__(self, connection: Any, settings: Settings) -> None:
        self._connection, self._settings = connection, settings
        self.is_broken = False

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query.

        Raises:
            TransientError: the server does not answer as it should.
            TapError: the server refuses it.
        """
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def names(self, sql: str) -> list[str]:
        """The names of a query's columns; errors as in `rows`."""
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return [column[0] for column in cursor.description]

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Rows of a large query, as they come; errors as in `rows`."""
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": _BATCH_BYTES})
            cursor.execute(sql)
            yield from cursor.fetch_record_batch()

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """A query that may be refused, after which there is another transaction."""
        try:
            yield
        except TransientError:
            raise
        except TapError:
            self._connection.rollback()
            self.is_broken = False
            self.begin()
            raise

    def begin(self, snapshot: str | None = None) -> None:
        """The first statements of a transaction.

        Its settings are its own and not the session's, which may be shared by a pooler such as PgBouncer.
        """
        self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if snapshot is not None:
            self.run(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        wanted = {**_SESSION, "statement_timeout": str(int(self._settings.statement_timeout_s * 1000))}
        self.rows("SELECT " + ", ".join(f"set_config('{k}', '{v}', true)" for k, v in wanted.items()))

    def run(self, sql: str) -> None:
        """A command without rows; errors as in `rows`."""
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)

    def close(self) -> None:
        """End the transaction and the connection."""
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let only TapError out of a block that talks to the server."""
        try:
            yield
        except (adbc_driver_manager.Error, OSError) as e:  # OSError: Arrow's word for a result that breaks off
            self.is_broken = True
            raise translate(e, self._settings) from e


def connect(settings: Settings, snapshot: str | None = None) -> Client:
    """A connection in a transaction that only reads.

    Args:
        settings: where.
        snapshot: one that another connection has exported.

    Raises:
        TransientError: the server does not answer.
        TapError: it does not let us in.
    """
    client = Client(_connection(settings, autocommit=False), settings)
    try:
        client.begin(snapshot)
    except BaseException:
        client.close()
        raise
    return client


def connect_to_write(settings: Settings) -> Client:
    """A connection without a transaction, for functions that change something on the server; errors as in `connect`."""
    return Client(_connection(settings, autocommit=True), settings)


def _connection(settings: Settings, *, autocommit: bool) -> Any:
    try:
        return dbapi.connect(settings.uri, autocommit=autocommit)
    except adbc_driver_manager.Error as e:
        raise translate(e, settings) from e


def translate(e: adbc_driver_manager.Error | OSError, settings: Settings) -> TapError:
    """What to do about an error of the server."""
    state, text = _sqlstate(e), _without_secrets(str(e), settings)
    where = f"PostgreSQL {settings.where}"
    if (said := _to_be_mended(state, text, settings)) is not None:
        return TapError(f"{where}: {said}")
    if is_transient(e):
        return TransientError(f"{where}: does not answer as it should: {text}")
    if not state and any(words in text.lower() for words in _ABOUT_TLS):
        return TapError(f"{where}: {text}; check sslmode and sslrootcert")
    return TapError(f"{where}: {text}")


def _to_be_mended(state: str, text: str, settings: Settings) -> str | None:
    """What is wrong and what a person has to do about it; None where that is not known."""
    lowered, remedy = text.lower(), None
    if state in ("28P01", "28000") or "authentication failed" in lowered or "no password supplied" in lowered:
        return f"does not let in {settings.user}: {text}; check username and password, and pg_hba.conf"
    if state == "42501":
        what = "do" if "for database" in lowered else "read"
        return f"{settings.user} may not {what} it: {text}; {_grant(text, settings)}"
    if state == "3D000" or ("database" in lowered and "does not exist" in lowered):
        remedy = "check database"
    elif not state and any(words in lowered for words in _UNKNOWN_HOST):
        remedy = "check host"
    elif state == "42883" and "function max(" in lowered:
        remedy = "a column of this type cannot be the cursor"
    elif state == "57014" or "due to statement timeout" in lowered:
        remedy = "statement_timeout_s says how long a statement may take"
    return remedy and f"{text}; {remedy}"


def _grant(text: str, settings: Settings) -> str:
    found = re.search(r"permission denied for (materialized view|foreign table|\w+) ([^\s;]+)", text)
    kind, name = (found[1], found[2]) if found else ("table", "<table>")
    right = {
        "schema": f"USAGE ON SCHEMA {name}",
        "sequence": f"SELECT ON SEQUENCE {name}",
        "database": f"{'CONNECT' if 'connect' in text.lower() else 'CREATE'} ON DATABASE {name}",
    }
    return f"grant it there: GRANT {right.get(kind, f'SELECT ON {name}')} TO {settings.user}"


def _sqlstate(e: adbc_driver_manager.Error | OSError) -> str:
    return str(getattr(e, "sqlstate", None) or "")


def is_transient(e: adbc_driver_manager.Error | OSError) -> bool:
    """Whether the same may go well when it is tried again."""
    state, text = _sqlstate(e), str(e).lower()
    if state:
        return state.startswith(_TRANSIENT)
    return any(words in text for words in _BROKEN) and not any(words in text for words in _PERMANENT)


def _without_secrets(text: str, settings: Settings) -> str:
    text = " ".join(text.replace(settings.uri, settings.where).split())
    for hidden in settings.secrets:
        text = text.replace(hidden, "***") if len(hidden) >= _LEAST_SECRET else text
    said = re.search(r"(?:ERROR|FATAL|PANIC): +(.*?) *(?:Query was:|SQLSTATE:|$)", text)
    return (said[1] if said else re.sub(r"^[A-Z_]+: ", "", text).removeprefix("[libpq] "))[:600]
