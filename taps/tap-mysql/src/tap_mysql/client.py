"""Connections to MySQL, and what its errors mean for whoever has to mend them."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pymysql
import pymysql.cursors

from tap_kit.errors import OddValueError, TapError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_mysql.relay import Relay, Server
    from tap_mysql.settings import Settings

_BATCH_ROWS = 16_384
_ROWS_OF_PYTHON = 20_000
_SETUP = (
    # What texts of values look like, and how ours are read, does not depend on the server's own settings.
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION net_write_timeout = 3600",  # the target may take its time between two batches
)
_TRANSIENT = {1040, 1041, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1205, 1213, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 3024}  # fmt: skip
"""Numbers of errors: too many connections, shutdown, broken connection, lock wait, deadlock, read only, server gone."""
_FIRST_DAY = pa.scalar(dt.datetime(1, 1, 1), pa.timestamp("us"))  # noqa: DTZ001  as the server has it, without a zone
_NO_VALUE = "Could not retrieve"
"""So begins what the driver says of a value that does not fit its column."""
_NO_ENTRY = {1045, 1698, 1130}
_NOT_ALLOWED = {1142, 1143, 1044, 1370}
_NO_DATABASE = 1049
_UNKNOWN_HOST = ("Name or service not known", "nodename nor servname", "No address associated")
_TOO_LONG = {1969, 3024, 1317}
_BROKEN = ("connection refused", "could not connect", "connection reset", "broken pipe", "timed out", "unexpected eof", "lost connection", "server disconnected", "packet", "os error")  # fmt: skip


class Client:
    """A connection for small queries; each large one gets a connection of its own from connectorx.

    connectorx decodes the binary protocol without Python per value. It does not do TLS; where that is wanted, rows come through
    PyMySQL.
    """

    def __init__(self, settings: Settings, relay: Relay) -> None:
        self._settings, self._relay = settings, relay
        with self._translated():
            self._connection = pymysql.connect(**_arguments(settings))
        with self._translated(), closing(self._connection.cursor()) as cursor:
            for statement in self._setup():
                cursor.execute(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query.

        Raises:
            TransientError: the server does not answer as it should.
            TapError: the server refuses it.
        """
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def described(self, sql: str) -> list[tuple[Any, ...]]:
        """(name, type code, ...) of a query's columns, as DB-API has them; errors as in `rows`."""
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.description)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Rows of a large query, as they come; errors as in `rows`."""
        yield from self._by_pymysql(sql) if self._settings.ssl_mode != "disabled" else self._by_connectorx(sql)

    def schema(self, sql: str) -> pa.Schema:
        """Arrow types of a query without rows; errors as in `rows`."""
        with self._translated():
            return self._reader(sql, self._settings.server).schema

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(pymysql.Error, OSError):
            self._connection.close()

    def _by_connectorx(self, sql: str) -> Iterator[pa.RecordBatch]:
        with self._translated():
            for batch in self._relay.paced(self._reader(sql, self._relay.address())):
                _check_years(batch)
                yield batch

    def _reader(self, sql: str, server: Server) -> pa.RecordBatchReader:
        os.environ.setdefault("RUST_LOG", "off")  # its errors are told by us
        os.environ.setdefault("RUST_BACKTRACE", "0")
        import connectorx

        return connectorx.read_sql(
            self._settings.uri(server),
            sql,
            return_type="arrow_stream",
            batch_size=_BATCH_ROWS,
            pre_execution_query=self._setup(),
        )

    def _by_pymysql(self, sql: str) -> Iterator[pa.RecordBatch]:
        arguments = {**_arguments(self._settings), "cursorclass": pymysql.cursors.SSCursor}
        with (
            self._translated(),
            closing(pymysql.connect(**arguments)) as connection,
            closing(connection.cursor()) as cursor,
        ):
            for statement in self._setup():
                cursor.execute(statement)
            cursor.execute(sql)
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(_ROWS_OF_PYTHON):
                yield pa.record_batch([pa.array(values) for values in zip(*rows, strict=True)], names)

    def _setup(self) -> list[str]:
        seconds = self._settings.statement_timeout_s
        is_mariadb = not seconds or "mariadb" in str(self._connection.get_server_info()).lower()
        limit = (
            f"SET SESSION max_statement_time = {seconds}"
            if is_mariadb
            else f"SET SESSION max_execution_time = {int(seconds * 1000)}"
        )
        return [*_SETUP, *([limit] if seconds else [])]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let only TapError out of a block that talks to the server."""
        try:
            yield
        except (pymysql.Error, OSError, RuntimeError) as e:
            raise translate(e, self._settings) from e
        except BaseException as e:
            if type(e).__name__ == "PanicException":  # connectorx's, of a class that no module exports
                raise _of_panic(str(e), self._settings) from e
            raise


def _check_years(batch: pa.RecordBatch) -> None:
    """The calendar's first year is 1; MySQL has a year 0, too."""
    for column in batch.columns:
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            first = pc.min(column)
            if first.is_valid and pc.less(pc.cast(first, pa.timestamp("us")), _FIRST_DAY).as_py():
                raise OddValueError("a date of the year 0000")


def _arguments(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "user": settings.user,
        "password": settings.password,
        "database": settings.database,
        "charset": "utf8mb4",
        "connect_timeout": settings.connect_timeout_s,
        "autocommit": True,
        "program_name": "dativo",
    }
    if settings.unix_socket:
        found["unix_socket"] = settings.unix_socket
    else:
        found |= {"host": settings.host, "port": settings.port}
    if settings.ssl_mode != "disabled":
        if settings.ssl_ca and not Path(settings.ssl_ca).is_file():
            raise TapError(f"ssl_ca: {settings.ssl_ca}: there is no such file")
        verify = settings.ssl_mode != "required"
        found |= {
            "ssl_ca": settings.ssl_ca,
            "ssl_verify_cert": verify,
            "ssl_verify_identity": settings.ssl_mode == "verify_identity",
        }
        if not settings.ssl_ca:
            found = {**found, "ssl": {"check_hostname": False}}
    return found


def translate(e: BaseException, settings: Settings) -> TapError:
    """What to do about an error of the server."""
    text = _without_secrets(str(e.args[-1] if e.args else e), settings).replace(" (using password: YES)", "")
    number, where, lowered = _number(e), f"MySQL {settings.where}", str(e).lower()
    if (said := _to_be_mended(number, text, settings)) is not None:
        return TapError(f"{where}: {said}")
    if number in _TRANSIENT or isinstance(e, OSError) or (number is None and any(w in lowered for w in _BROKEN)):
        return TransientError(f"{where}: does not answer as it should: {text}")
    return TapError(f"{where}: {text}")


def _to_be_mended(number: int | None, text: str, settings: Settings) -> str | None:
    """What is wrong and what a person has to do about it; None where that is not known."""
    if number in _NO_ENTRY:
        return f"does not let in {settings.user}: {text}; check username, password and the user's host"
    if any(words in text for words in _UNKNOWN_HOST):
        return f"{text}; check host"
    if "CERTIFICATE" in text:
        return f"its certificate is not trusted: {text}; check ssl_ca and ssl_mode"
    if number == _NO_DATABASE:
        return f"{text}; check database"
    if number in _NOT_ALLOWED:
        found = re.search(r"for table (\S+)", text)
        table = found[1].strip("'") if found else "<table>"
        return f"{settings.user} may not read it: {text}; grant it there: GRANT SELECT ON {table} TO {settings.user}"
    return f"{text}; statement_timeout_s says how long a statement may take" if number in _TOO_LONG else None


def _of_panic(said: str, settings: Settings) -> TapError:
    """connectorx ends so when the server goes away in the middle of a result, and at types and values that it does not know."""
    where, text = f"MySQL {settings.where}", _without_secrets(said, settings)
    if "IO error" in said or "DriverError" in said or any(w in said.lower() for w in _BROKEN):
        return TransientError(f"{where}: does not answer as it should: {text}")
    kind = OddValueError if said.startswith(_NO_VALUE) else TapError
    return kind(f"{where}: cannot read it: {text}; give the column another type with CAST in a query")


def _number(e: BaseException) -> int | None:
    if e.args and isinstance(e.args[0], int):
        return e.args[0]
    found = re.search(r"ERROR (\d{4}) ", str(e))
    return int(found[1]) if found else None


def _without_secrets(text: str, settings: Settings) -> str:
    text = " ".join(text.replace(settings.uri(settings.server), settings.where).split())
    if len(settings.password) >= 4:
        for hidden in (settings.password, quote(settings.password, safe="")):
            text = text.replace(hidden, "***")
    found = re.search(r"(?:MySqlError|DriverError|IoError) \{ (?:ERROR \d+ \(\w+\): )?(.*?) \}$", text)
    return (found[1] if found else text)[:600]
