"""What is read, where the next run goes on, and what is said on the way."""

from __future__ import annotations

import logging
import socket
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tap_kit.conformance import GoesOnWithSeveralTables
from tap_kit.errors import TapError, TransientError
from tap_mysql.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Sync = Any


@pytest.fixture
def orders(database: Any) -> Any:
    """1,000 orders, changed a minute apart, in a table with an index on the cursor."""
    database.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, status text, changed datetime(6), KEY (changed))",
        "INSERT INTO orders SELECT seq, 'new', '2024-01-01' + INTERVAL seq MINUTE FROM seq_1_to_1000",
    )
    return database


def table(**more: Any) -> dict[str, Any]:
    return {"name": "orders", "cursor_field": "changed", **more}


def ids(output: Any) -> list[int]:
    return [row["id"] for row in output.rows]


def test_the_first_run_reads_all_and_the_next_what_changed(orders: Any, sync: Sync, lane: str) -> None:
    first = sync(orders.config(table()), lane=lane)
    assert ids(first) == list(range(1, 1001))
    bookmark = dict(first.state["bookmarks"]["orders"])
    assert bookmark.pop("replication_key_rows").startswith("1:")
    assert bookmark.pop("columns") == ["changed", "id", "status"]
    assert bookmark == {"replication_key": "changed", "replication_key_value": "2024-01-01 16:40:00.000000"}
    orders.run("UPDATE orders SET status = 'paid', changed = '2024-02-01 00:00:00.000001' WHERE id IN (3, 5)")
    second = sync(orders.config(table()), state=first.state, lane=lane)
    assert [(r["id"], r["status"]) for r in second.rows] == [(3, "paid"), (5, "paid"), (1000, "new")]
    assert ids(sync(orders.config(table()), state=second.state, lane=lane)) == []


@pytest.mark.parametrize("key", ["KEY (id)", "PRIMARY KEY (id)"])
def test_a_sample_has_a_few_records_of_each_stream(
    orders: Any, sync: Sync, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.run(f"CREATE TABLE regions (id int NOT NULL, {key})", "INSERT INTO regions SELECT seq FROM seq_1_to_300")
    monkeypatch.setenv("DATIVO_SAMPLE_RECORDS", "5")
    sample = sync(orders.config(table(), {"name": "regions"}, chunk_rows=100))
    assert [record["stream"] for record in sample.of("RECORD")] == ["orders"] * 5 + ["regions"] * 5


def test_rows_written_while_a_run_reads_come_with_the_next(
    orders: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Client.batches

    def while_reading(self: Client, sql: str) -> Iterator[Any]:
        orders.run("INSERT INTO orders VALUES (2000, 'late', '2024-03-01')")
        yield from batches(self, sql)

    monkeypatch.setattr(Client, "batches", while_reading)
    first = sync(orders.config(table()))
    assert ids(first) == list(range(1, 1001))
    monkeypatch.setattr(Client, "batches", batches)
    assert ids(sync(orders.config(table()), state=first.state)) == [1000, 2000]


@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL"])
def test_a_load_goes_on_behind_its_last_bookmark(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 2_000)
    chosen = catalog("orders", {"id": "long"}, ("id",), replication_method=method, replication_key="changed")
    config = orders.config(table(), chunk_rows=100)
    whole = sync(config, chosen, lane=lane)
    states = [s["value"]["bookmarks"]["orders"].get("full_load") for s in whole.of("STATE")]
    assert states[-1] is None
    afters = [int(s["after"][0]) for s in states[:-1]]
    assert len(afters) >= 5
    assert all(later - earlier >= 100 for earlier, later in zip([0, *afters], afters, strict=False))
    begun = whole.of("STATE")[4]["value"]
    orders.run("INSERT INTO orders VALUES (1001, 'late', '2025-01-01')")
    rest = sync(config, chosen, begun, lane)
    assert ids(rest)[0] == afters[4] + 1
    assert ids(rest)[-1] == (1001 if method == "FULL_TABLE" else 1000), "the window of an incremental load stays"
    assert rest.state == whole.state


def test_keys_of_any_kind_have_an_order(database: Any, sync: Sync, lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 2_000)
    database.run(
        "CREATE TABLE things (tenant varchar(9), code varbinary(9), day date, n int, PRIMARY KEY (tenant, code, day))",
        "INSERT INTO things SELECT CONCAT('t''\\\\', seq % 3), UNHEX(HEX(seq)), '2024-01-01' + INTERVAL seq DAY, seq FROM seq_1_to_500",
    )
    config = database.config("things", chunk_rows=64)
    whole = sync(config, lane=lane)
    assert sorted(r["n"] for r in whole.rows) == list(range(1, 501))
    rest = sync(config, state=whole.of("STATE")[3]["value"], lane=lane)
    assert 64 <= len(rest.rows) <= 500 - 4 * 64
    in_order = sorted(range(1, 501), key=lambda n: (n % 3, n.to_bytes(1 + n // 256, "big")))
    assert sorted(r["n"] for r in rest.rows) == sorted(in_order[-len(rest.rows) :])


@pytest.mark.parametrize("kind", ["bigint", "varchar(9)", "decimal(20,5)", "date", "timestamp(3)"])
def test_cursors_of_any_type_that_has_an_order(database: Any, sync: Sync, kind: str, lane: str) -> None:
    is_time = kind.startswith(("date", "timestamp"))
    value = (
        "'2024-01-01' + INTERVAL seq DAY" if is_time else "LPAD(seq, 3, '0')" if kind.startswith("varchar") else "seq"
    )
    database.run(
        "SET SESSION time_zone = '-08:00'",
        f"CREATE TABLE orders (id int PRIMARY KEY, changed {kind} NULL)",
        f"INSERT INTO orders SELECT seq, {value} FROM seq_1_to_20",
    )
    state = sync(database.config(table()), lane=lane).state
    database.run(f"INSERT INTO orders SELECT seq, {value} FROM seq_21_to_22")
    assert ids(sync(database.config(table()), state=state, lane=lane)) == [20, 21, 22]


def test_rows_without_a_cursor_are_told_and_come_once(
    database: Any, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    database.run(
        "SET SESSION sql_mode = ''",
        "CREATE TABLE orders (id int PRIMARY KEY, changed datetime)",
        "INSERT INTO orders VALUES (1, NULL), (2, '2024-01-01'), (3, '0000-00-00')",
    )
    with caplog.at_level(logging.WARNING):
        first = sync(database.config(table()))
    assert "2 rows have no usable changed" in caplog.text
    assert ids(first) == [1, 2, 3]
    assert ids(sync(database.config(table()), state=first.state)) == [2]


@pytest.mark.parametrize("resume", ["inclusive", "exclusive"])
@pytest.mark.parametrize("odd", ["2024-05-00", "2024-04-31", "2024-00-10"])
def test_a_cursor_that_is_no_date_is_no_bookmark(
    database: Any, sync: Sync, catalog: Callable[..., Any], caplog: pytest.LogCaptureFixture, resume: str, odd: str
) -> None:
    """It is greater than those that come later, which would not be read."""
    chosen = catalog(
        "orders",
        {"id": "long", "changed": "date"},
        ("id",),
        resume=resume,
        replication_method="INCREMENTAL",
        replication_key="changed",
    )
    database.run(
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        "CREATE TABLE orders (id int PRIMARY KEY, changed date, KEY (changed))",
        f"INSERT INTO orders VALUES (1, '2023-12-01'), (2, '{odd}')",
    )
    reads, state = [], None
    for statement in (
        "INSERT INTO orders VALUES (3, '2023-12-02')",
        "INSERT INTO orders VALUES (4, '2024-06-01')",
        "DO 1",
    ):
        output = sync(database.config(table()), chosen, state)
        assert "1 rows have a changed that is no date and greater than all others" in caplog.text
        reads.append(sorted(ids(output)))
        state = output.state
        database.run(statement)
    assert state["bookmarks"]["orders"]["replication_key_value"] == "2024-06-01"
    assert reads == ([[1, 2], [1, 3], [2, 3, 4]] if resume == "inclusive" else [[1], [3], [2, 4]])


def test_rows_none_of_which_has_a_cursor_come_once(database: Any, sync: Sync) -> None:
    database.run("CREATE TABLE orders (id int PRIMARY KEY, changed date)", "INSERT INTO orders VALUES (1, NULL)")
    first = sync(database.config(table()))
    assert ids(first) == [1]
    second = sync(database.config(table()), state=first.state)
    assert (ids(second), second.state) == ([], first.state)
    database.run("INSERT INTO orders VALUES (2, '2024-01-01')")
    third = sync(database.config(table()), state=first.state)
    assert ids(third) == [2]
    assert "loaded_without_cursor" not in third.state["bookmarks"]["orders"]


def test_a_query_may_end_in_a_comment(orders: Any, sync: Sync) -> None:
    query = {"name": "q", "sql": "SELECT id FROM orders WHERE id < 3 -- the first", "key": "id"}
    assert ids(sync(orders.config(queries=[query]))) == [1, 2]


def test_a_lookback_reads_again(orders: Any, sync: Sync) -> None:
    state = sync(orders.config(table())).state
    assert len(ids(sync(orders.config(table(), lookback_seconds=120), state=state))) == 3


class TestSeveralTables(GoesOnWithSeveralTables):
    """On MariaDB."""


def test_an_exclusive_resume_reads_no_row_twice_and_none_too_few(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str
) -> None:
    chosen = catalog(
        "orders",
        {"id": "long", "changed": "timestamp"},
        ("id",),
        resume="exclusive",
        replication_method="INCREMENTAL",
        replication_key="changed",
    )
    orders.run("UPDATE orders SET changed = '2024-02-01' WHERE id IN (5, 10)")
    first = sync(orders.config(table()), chosen, lane=lane)
    assert first.state["bookmarks"]["orders"]["replication_key_after"] == ["10"]
    assert sync(orders.config(table()), chosen, first.state, lane).rows == []
    orders.run("INSERT INTO orders VALUES (1001, 'tie', '2024-02-01'), (1002, 'later', '2024-02-02')")
    assert ids(sync(orders.config(table()), chosen, first.state, lane)) == [1001, 1002]


def test_a_cursor_without_an_index_is_told_with_the_remedy(
    orders: Any, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    state = sync(orders.config(table())).state
    assert "no index" not in caplog.text
    orders.run("DROP INDEX changed ON orders")
    sync(orders.config(table()), state=state)
    assert "make one: CREATE INDEX `orders_changed` ON" in caplog.text


def test_patterns_mean_tables_and_views(database: Any, sync: Sync) -> None:
    database.run(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE tmp_b (id int)",
        "CREATE TABLE `C.d é` (id int)",
        "CREATE VIEW v AS SELECT * FROM a",
        "INSERT INTO a VALUES (1)",
    )
    output = sync(database.config("*", exclude=["tmp_*"]))
    assert [m["stream"] for m in output.of("SCHEMA")] == ["C.d é", "a", "v"]
    assert [(m["stream"], m["record"]["id"]) for m in output.of("RECORD")] == [("a", 1), ("v", 1)]


def test_queries_are_read_like_tables(orders: Any, sync: Sync, lane: str) -> None:
    query = {
        "name": "paid",
        "sql": "SELECT id, changed, id * 1.5 AS total, count(*) OVER () AS n, x'00ff' AS raw FROM orders WHERE id % 2 = 0;",
        "key": "id",
        "cursor_field": "changed",
    }
    first = sync(orders.config(queries=[query]), lane=lane)
    assert len(first.rows) == 500
    assert first.rows[0]["total"] == 3
    assert first.rows[0]["n"] == 500
    orders.run("UPDATE orders SET changed = '2025-01-01' WHERE id <= 4")
    assert ids(sync(orders.config(queries=[query]), state=first.state, lane=lane)) == [2, 4, 1000]


def test_rows_travel_by_tls_where_that_is_wanted(orders: Any, sync: Sync, lane: str) -> None:
    orders.run(
        "CREATE USER IF NOT EXISTS secure IDENTIFIED BY 'pass-1' REQUIRE SSL",
        f"GRANT SELECT ON {orders.name}.* TO secure",
    )
    who = {"username": "secure", "password": "pass-1", "password_env": None}
    with pytest.raises(TapError, match="does not let in secure"):
        sync({**orders.config("orders"), **who})
    output = sync({**orders.config("orders"), **who, "ssl_mode": "required"}, lane=lane)
    assert ids(output) == list(range(1, 1001))


def test_all_missing_tables_are_listed_at_once(orders: Any, sync: Sync) -> None:
    with pytest.raises(TapError) as e:
        sync(orders.config("Orders", "sales.gone", queries=[{"name": "q", "sql": "SELECT nope FROM orders"}]))
    assert f"(stream Orders); there is {orders.name}.orders" in str(e.value)
    assert "there is no table sales.gone (stream gone)" in str(e.value)
    assert "nope" in str(e.value)
    assert "(query q)" in str(e.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password_env": None, "password": "hunter2-hunter2"}, "does not let in dativo"),
        ({"username": "nobody-here"}, "does not let in nobody-here"),
        ({"database": "gone"}, "Unknown database 'gone'"),
    ],
)
def test_what_does_not_go_away_by_itself_fails_at_once(
    orders: Any, sync: Sync, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TapError, match=message) as e:
        sync({**orders.config("orders", retry_s=3600), **change})
    assert "hunter2" not in str(e.value)
    assert orders.server.password not in str(e.value)


@pytest.mark.parametrize("ssl_mode", ["required", "disabled"])
def test_keys_beyond_the_signed_numbers(database: Any, sync: Sync, lane: str, ssl_mode: str) -> None:
    database.run(
        "CREATE TABLE t (id bigint unsigned PRIMARY KEY, changed datetime)",
        "INSERT INTO t VALUES (5, '2024-01-01'), (18446744073709551615, '2024-01-02')",
    )
    config = database.config({"name": "t", "cursor_field": "changed"}, ssl_mode=ssl_mode)
    first = sync(config, lane=lane)
    assert ids(first) == [Decimal(5), Decimal(2**64 - 1)]
    database.run("UPDATE t SET changed = '2024-01-03' WHERE id > 5")
    assert ids(sync(config, state=first.state, lane=lane)) == [Decimal(2**64 - 1)]


def test_a_certificate_that_is_not_trusted_is_said_at_once(orders: Any, sync: Sync, tmp_path: Path) -> None:
    with pytest.raises(TapError, match=r"ssl_ca: .*gone\.pem: there is no such file"):
        sync(orders.config("orders", ssl_mode="verify_ca", ssl_ca=str(tmp_path / "gone.pem")))
    (tmp_path / "empty.pem").touch()
    with pytest.raises(TapError, match="check ssl_ca"):
        sync(orders.config("orders", ssl_mode="verify_ca", ssl_ca=str(tmp_path / "empty.pem")))


def test_a_missing_permission_is_named(orders: Any, sync: Sync, catalog: Callable[..., Any]) -> None:
    orders.run(
        "CREATE OR REPLACE USER few IDENTIFIED BY 'pass-1'",
        "CREATE TABLE other (id int)",
        f"GRANT SELECT (id) ON {orders.name}.orders TO few",
        f"GRANT INSERT ON {orders.name}.other TO few",
    )
    who = {"username": "few", "password": "pass-1", "password_env": None}
    with pytest.raises(TapError, match=r"GRANT SELECT ON .*other.* TO few"):
        sync({**orders.config("other"), **who})
    allowed = sync({**orders.config("orders"), **who}, catalog("orders", {"id": "long"}, ("id",)))
    assert ids(allowed) == list(range(1, 1001))
    hidden = catalog("orders", {"id": "long", "status": "string"}, ("id",))
    with pytest.raises(TapError, match=r"status cannot be seen: .*GRANT SELECT ON .*orders.* TO few"):
        sync({**orders.config("orders"), **who}, hidden)


def test_a_server_that_says_nothing_is_not_waited_for(database: Any, sync: Sync) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = {
            **database.config("orders"),
            "host": "127.0.0.1",
            "port": mute.getsockname()[1],
            "connect_timeout_s": 1,
        }
        with pytest.raises(TransientError, match="timed out"):
            sync({**config, "retry_s": 1})


def test_a_connection_that_ends_is_made_again_and_no_row_comes_twice(
    orders: Any, sync: Sync, lane: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 2_000)
    batches, broken = Client.batches, threading.Event()

    def cut_once(self: Client, sql: str) -> Iterator[Any]:
        for i, batch in enumerate(batches(self, sql)):
            if i == 3 and not broken.is_set():
                broken.set()
                self.rows("KILL CONNECTION_ID()")
            yield batch

    monkeypatch.setattr(Client, "batches", cut_once)
    output = sync(orders.config(table(), chunk_rows=400), lane=lane)
    assert broken.is_set()
    assert "asking again" in caplog.text
    assert ids(output) == list(range(1, 1001))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("enum('zz', 'b', 'aa', 'm')", "ELT(1 + seq % 4, 'zz', 'b', 'aa', 'm')"),
        ("set('z', 'a', 'm')", "seq % 8"),
        ("float", "seq % 100 / 10"),
        ("double", "seq % 100 / 7"),
        ("bit(7)", "seq % 100"),
        ("varchar(9) COLLATE utf8mb4_unicode_ci", "ELT(1 + seq % 4, 'ß', 'Z', 'ä', 'a')"),
    ],
)
def test_no_row_is_lost_or_doubled_whatever_order_the_key_has(
    database: Any, sync: Sync, kind: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENUM and SET are sorted by their numbers and compared by their texts; the text of a FLOAT is rounded."""
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 4_000)
    database.run(
        f"CREATE TABLE t (k {kind}, n int, PRIMARY KEY (k, n))", f"INSERT INTO t SELECT {value}, seq FROM seq_1_to_5000"
    )
    batches, cuts = Client.batches, []

    def cut(self: Client, sql: str) -> Iterator[Any]:
        for i, batch in enumerate(batches(self, sql)):
            if i == 4 and len(cuts) < 3:
                cuts.append(sql)
                self.rows("KILL CONNECTION_ID()")
            yield batch

    monkeypatch.setattr(Client, "batches", cut)
    whole = sync(database.config("t", chunk_rows=300))
    assert len(cuts) == 3
    assert sorted(r["n"] for r in whole.rows) == list(range(1, 5001))
    monkeypatch.setattr(Client, "batches", batches)
    places = [i for i, m in enumerate(whole.messages) if m["type"] == "STATE"]
    at = places[len(places) // 2]
    before = {m["record"]["n"] for m in whole.messages[:at] if m["type"] == "RECORD"}
    rest = sync(database.config("t", chunk_rows=300), state=whole.messages[at]["value"])
    after = {r["n"] for r in rest.rows}
    assert len(after) == len(rest.rows)
    assert before | after == set(range(1, 5001))


def test_a_statement_that_somebody_ends_is_not_told_as_a_timeout(
    orders: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(self: Client, sql: str) -> Iterator[Any]:
        with self._translated():
            raise pymysql.OperationalError(1317, "Query execution was interrupted")
        yield

    monkeypatch.setattr(Client, "batches", ended)
    with pytest.raises(TapError, match="somebody has ended the statement"):
        sync(orders.config("orders"))


@pytest.mark.parametrize("odd", ["0000-00-00", "2024-00-10", "2023-02-31", "0000-01-01"])
@pytest.mark.parametrize("kind", ["date", "datetime(3)"])
def test_odd_dates_are_told_by_the_statement_that_reads_the_others(
    database: Any, sync: Sync, lane: str, odd: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 2_000)
    database.run(
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        f"CREATE TABLE orders (id int PRIMARY KEY, day {kind}, changed date)",
        "INSERT INTO orders SELECT seq, '2024-01-01', '2024-01-01' + INTERVAL seq DAY FROM seq_1_to_1000",
        f"UPDATE orders SET day = '{odd}' WHERE id IN (666, 900)",
    )
    batches, asked = Client.batches, []

    def noted(self: Client, sql: str) -> Iterator[Any]:
        asked.append(sql)
        yield from batches(self, sql)

    monkeypatch.setattr(Client, "batches", noted)
    first = sync(database.config(table(), chunk_rows=300), lane=lane)
    assert ids(first) == list(range(1, 1001))
    assert len(asked) == 1
    told = {r["id"]: r["day"] for r in first.rows if r["id"] in (666, 900)}
    text = odd if kind == "date" else f"{odd} 00:00:00.000"
    assert told == {666: text, 900: text}


def test_a_server_that_is_killed_in_the_middle_of_a_result_is_waited_for(
    own_mariadb: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, server = own_mariadb
    monkeypatch.setenv("TEST_MYSQL_PASSWORD", server.password)
    admin = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
    )
    with admin, admin.cursor() as cursor:
        cursor.execute("CREATE DATABASE d")
        cursor.execute("USE d")
        cursor.execute("CREATE TABLE d.t (id int PRIMARY KEY, v varchar(500))")
        cursor.execute("INSERT INTO d.t SELECT seq, REPEAT('x', 500) FROM seq_1_to_60000")
        cursor.execute("FLUSH TABLES")
        cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        cursor.execute("INSERT INTO d.t VALUES (60001, 'last')")
    config = {
        "host": server.host, "port": server.port, "database": "d", "username": server.user,
        "password_env": "TEST_MYSQL_PASSWORD", "tables": ["t"], "chunk_rows": 10_000, "retry_s": 60,
    }  # fmt: skip
    monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 1 << 20)
    batches, killed = Client.batches, threading.Event()

    def kill_once(self: Client, sql: str) -> Iterator[Any]:
        for i, batch in enumerate(batches(self, sql)):
            if i == 2 and not killed.is_set():
                killed.set()
                module.kill(server)
                threading.Thread(target=module.restart, args=(server,)).start()
            yield batch

    monkeypatch.setattr(Client, "batches", kill_once)
    assert sorted(ids(sync(config, lane="arrow"))) == list(range(1, 60_002))
