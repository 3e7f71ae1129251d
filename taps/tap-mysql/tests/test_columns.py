"""What comes by the binary protocol is what PyMySQL reads by the text protocol, wherever in a buffer it lies."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pymysql
import pytest
from pymysql.constants import FIELD_TYPE

from tap_kit.errors import TapError
from tap_mysql.ahead import AHEAD_BYTES, Ahead
from tap_mysql.columns import PADDING, Decoder, Field, sift
from tap_mysql.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = {
    "tiny": "tinyint", "small": "smallint unsigned", "medium": "mediumint", "n": "int unsigned", "big": "bigint", "huge": "bigint unsigned",
    "f": "float", "d": "double", "y": "year", "t": "text", "raw": "varbinary(400)", "amount": "decimal(20,5)", "day": "date",
    "seen": "datetime(6)", "plain": "datetime", "stamp": "timestamp(3) NULL", "kind": "enum('a','b')", "last": "varchar(300)",
}  # fmt: skip
ROWS = """
INSERT INTO t SELECT seq, {values} FROM seq_1_to_3000
"""
VALUES = {
    "tiny": "seq % 256 - 128", "small": "seq * 21", "medium": "(seq - 1500) * 5000", "n": "seq * 1431655",
    "big": "(seq - 1500) * 6148914691236517", "huge": "seq * 6148914691236517", "f": "seq / 7", "d": "seq / 7e0", "y": "1901 + seq % 255",
    "t": "REPEAT(CHAR(97 + seq % 26), ELT(1 + seq % 6, 0, 1, 249, 250, 251, 300))", "raw": "UNHEX(REPEAT(HEX(seq % 200 + 16), seq % 300))",
    "amount": "(seq - 1500) / 3", "day": "'0001-01-01' + INTERVAL seq * 1217 DAY",
    "seen": "'2024-01-01' + INTERVAL seq * IF(seq % 3, 1, 1000000) MICROSECOND", "plain": "'1000-01-01' + INTERVAL seq HOUR",
    "stamp": "'2024-01-01' + INTERVAL seq MINUTE", "kind": "1 + seq % 2", "last": "CONCAT('é', seq)",
}  # fmt: skip


def connect(database: Any) -> Connection:
    """A connection to the database, in UTC."""
    server = database.server
    where = {"host": server.host, "port": server.port, "database": database.name}
    made = Connection(**where, user=server.user, password=server.password, charset="utf8mb4", ssl_disabled=True)
    with made.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = '', time_zone = '+00:00', max_statement_time = 60")
    return made


@pytest.fixture
def connection(database: Any) -> Iterator[Connection]:
    """To the empty database."""
    with closing(connect(database)) as made:
        yield made


def rows_of(database: Any, sql: str) -> list[tuple[Any, ...]]:
    """All rows by the binary protocol, as Python has them."""
    found: list[tuple[Any, ...]] = []
    with closing(connect(database)) as connection:
        for batch in connection.batches(sql):
            found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return found


def expected(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    """The same by PyMySQL's cursor."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [tuple(str(v) if type(v).__name__ == "Decimal" else v for v in row) for row in cursor.fetchall()]


@pytest.mark.parametrize("size", [600, 5_000, 4 << 20])
def test_every_type_with_and_without_null_wherever_it_lies(
    database: Any, connection: Connection, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", size)
    chance = random.Random(7)
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    values = ", ".join(f"IF(seq % {chance.choice((2, 3, 7, 4000))} = 0, NULL, {VALUES[name]})" for name in COLUMNS)
    database.run(
        "SET SESSION sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
        f"CREATE TABLE t (id int PRIMARY KEY, {columns})",
        ROWS.format(values=values),
    )
    # The text protocol rounds a float.
    sql = "SELECT id, {} FROM t ORDER BY id"
    wanted = expected(connection, sql.format(", ".join("f + 0e0" if c == "f" else c for c in COLUMNS)))
    assert rows_of(database, sql.format(", ".join(COLUMNS))) == wanted
    assert len(wanted) == 3000


@pytest.mark.parametrize("size", [1_000, 100_000, 4 << 20])
@pytest.mark.parametrize(
    "length", [65_535, 65_536, 3 << 20, *((1 << 24) - n for n in range(29, 34)), 1 << 24, (1 << 25) + 5]
)
def test_rows_of_any_length(database: Any, size: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 2^24 - 1 bytes on a row has several packets."""
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", size)
    parts = (
        length // 3,
        length // 3,
        length - 2 * (length // 3),
    )  # the server makes no text that has the length of a packet
    texts = ", ".join(f"IF(seq IN (3, 4, 9), REPEAT('{c}', {n}), 'short')" for c, n in zip("xyz", parts, strict=True))
    found = rows_of(database, f"SELECT seq, {texts}, seq * 2 FROM seq_1_to_10")
    assert [(row[0], row[-1]) for row in found] == [(n, n * 2) for n in range(1, 11)]
    long = tuple(c * n for c, n in zip("xyz", parts, strict=True))
    assert all(row[1:4] == (long if row[0] in (3, 4, 9) else ("short",) * 3) for row in found)


def test_results_without_rows(database: Any, connection: Connection) -> None:
    assert rows_of(database, "SELECT 1 AS a FROM DUAL WHERE 1 = 0") == []
    assert [f.name for f in connection.fields("SELECT 1 AS a, 'x' AS b LIMIT 0")] == ["a", "b"]
    assert [f.name for f in connection.fields("SELECT 1 AS c LIMIT 0")] == ["c"], "nothing is left over"
    assert rows_of(database, "SELECT NULL AS a, 'x' AS b") == [(None, "x")]


def test_an_error_in_the_middle_of_a_result_is_raised_behind_its_rows(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 1_000)
    found = connection.batches("SELECT seq, (SELECT seq UNION SELECT IF(seq > 2000, 0, seq)) AS one FROM seq_1_to_3000")
    batches: list[pa.RecordBatch] = []
    with pytest.raises(pymysql.Error, match="more than 1 row"):
        batches.extend(found)
    assert sum(batch.num_rows for batch in batches) > 1000


def test_dates_that_are_none_stand_beside_the_others(connection: Connection) -> None:
    texts = ("2024-02-29", "2023-02-29", "0000-00-00", "2024-00-10", "0000-01-01", "9999-12-31")
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
        cursor.execute("CREATE TEMPORARY TABLE t (n int, d date, s datetime(2), p datetime)")
        for n, text in enumerate(texts):
            cursor.execute("INSERT INTO t VALUES (%s, %s, %s, %s)", (n, text, f"{text} 01:02:03.45", text))
        cursor.execute("SELECT CAST(d AS CHAR), CAST(s AS CHAR), CAST(p AS CHAR) FROM t ORDER BY n")
        shown = cursor.fetchall()
    (batch,) = connection.batches("SELECT d, s, p FROM t ORDER BY n")
    for i, column in enumerate(batch.columns):
        values, odd = sift(column)
        assert set(odd) == {1, 2, 3, 4}
        assert [values[n].is_valid for n in range(6)] == [n not in odd for n in range(6)]
        assert all(odd[n] == shown[n][i] for n in odd)


def test_parameters_are_refused(database: Any) -> None:
    with pytest.raises(pymysql.Error, match="has parameters"):
        rows_of(database, "SELECT ? AS a")
    assert rows_of(database, "SELECT '?' AS a") == [("?",)]


def test_times_are_only_read_as_texts(database: Any) -> None:
    with pytest.raises(TapError, match="cannot read a TIME; make it a text"):
        rows_of(database, "SELECT CURRENT_TIME() AS a")


def test_a_row_that_is_not_what_its_columns_say_is_no_row() -> None:
    row = b"\0\0" + (5).to_bytes(8, "little")
    decoder = Decoder([Field("a", FIELD_TYPE.LONGLONG, 0, 63, 0)], bytearray(row + bytes(PADDING)))
    start = np.zeros(1, np.int64)
    assert decoder.decode(start, np.array([len(row)])) == pa.record_batch({"a": [5]})
    with pytest.raises(TapError, match="not made as its own description"):
        decoder.decode(start, np.array([len(row) + 1]))


def test_a_packet_that_is_missing_is_noticed(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = connection.next_sequence
    monkeypatch.setattr(connection, "next_sequence", lambda n: (decoded(n) + 1) % 256)
    with pytest.raises(pymysql.OperationalError, match="a packet is missing"):
        list(connection.batches("SELECT seq FROM seq_1_to_10"))


def test_a_result_that_is_given_up_does_not_hold_the_server(database: Any) -> None:
    with closing(connect(database)) as connection:
        (number,) = expected(connection, "SELECT CONNECTION_ID()")[0]
        batches = connection.batches("SELECT REPEAT('x', 1000) FROM seq_1_to_10000000")
        assert next(batches).num_rows
        batches.close()
    with closing(connect(database)) as other:
        sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {number}"
        deadline = time.monotonic() + 30
        while expected(other, sql) != [(0,)]:
            assert time.monotonic() < deadline


def test_no_more_is_read_ahead_than_there_is_room_for() -> None:
    sent, may_go_on = [], threading.Event()

    def read_into(place: memoryview) -> int:
        n = min(len(place), 100_000)
        place[:n] = bytes((len(sent) % 256,)) * n
        sent.append(n)
        return n

    ahead = Ahead(read_into, may_go_on.set)
    found, taken = bytearray(), memoryview(bytearray(300_000))
    while len(found) < 3 * AHEAD_BYTES:
        assert sum(sent) - len(found) <= AHEAD_BYTES + len(taken)
        found += taken[: ahead.take(taken)]
    ahead.stop()
    assert may_go_on.is_set()
    blocks = b"".join(bytes((i % 256,)) * n for i, n in enumerate(sent))
    assert found == blocks[: len(found)]
