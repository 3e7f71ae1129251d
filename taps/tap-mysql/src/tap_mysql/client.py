"""Connections to MySQL, and what its errors mean for whoever has to mend them."""

from __future__ import annotations

import contextlib
import re
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql

from tap_kit.errors import TapError, TransientError
from tap_mysql.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from tap_mysql.columns import Field
    from tap_mysql.settings import Settings

_SETUP = (
    # What texts of values look like, and how ours are read, does not depend on the server's own settings.
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION net_write_timeout = 3600",  # the target may take its time between two batches
)
_TRANSIENT = {1040, 1041, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1205, 1213, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 3024}  # fmt: skip
"""Numbers of errors: too many connections, shutdown, broken connection, lock wait, deadlock, read only, server gone."""
_NO_ENTRY = {1045, 1698, 1130}
_NOT_ALLOWED = {1142, 1143, 1044, 1370}
_NO_DATABASE = 1049
_UNKNOWN_HOST = ("Name or service not known", "nodename nor servname", "No address associated")
_TOO_LONG = "statement_timeout_s says how long a statement may take"
_ADVICE = {1969: _TOO_LONG, 3024: _TOO_LONG, 1317: "somebody has ended the statement (KILL QUERY); run the job again"}


class Client:
    """A connection for small queries; each large one gets a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = self._connect()

    def _connect(self) -> Connection:
        with self._translated():
            connection = Connection(**_arguments(self._settings))
            with closing(connection.cursor()) as cursor:
                for statement in self._setup(connection):
                    cursor.execute(statement)
            return connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query.

        Raises:
            TransientError: the server does not answer as it should.
            TapError: the server refuses it.
        """
        with self._translated(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def fields(self, sql: str) -> list[Field]:
        """The columns of a query; errors as in `rows`."""
        with self._translated():
            return self._connection.fields(sql)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Rows of a large query, as they come; errors as in `rows`."""
        with closing(self._connect()) as connection, self._translated():
            yield from connection.batches(sql)

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(pymysql.Error, OSError):
            self._connection.close()

    def _setup(self, connection: Connection) -> list[str]:
        seconds = self._settings.statement_timeout_s
        is_mariadb = not seconds or "mariadb" in str(connection.get_server_info()).lower()
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
        except (pymysql.Error, OSError) as e:
            raise translate(e, self._settings) from e


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
    if settings.ssl_mode == "disabled":
        found["ssl_disabled"] = True
    else:
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
    number, where = _number(e), f"MySQL {settings.where}"
    if (said := _to_be_mended(number, text, settings)) is not None:
        return TapError(f"{where}: {said}")
    if number in _TRANSIENT or isinstance(e, OSError | pymysql.InterfaceError):
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
        found = re.search(r"(for table|in table|to database) (\S+)", text)
        table = (found[2].strip("'") + (".*" if found[1] == "to database" else "")) if found else "<table>"
        return f"{settings.user} may not read it: {text}; grant it there: GRANT SELECT ON {table} TO {settings.user}"
    return f"{text}; {_ADVICE[number]}" if number in _ADVICE else None


def _number(e: BaseException) -> int | None:
    return e.args[0] if e.args and isinstance(e.args[0], int) else None


def _without_secrets(text: str, settings: Settings) -> str:
    text = " ".join(text.split())
    return (text.replace(settings.password, "***") if len(settings.password) >= 4 else text)[:600]
