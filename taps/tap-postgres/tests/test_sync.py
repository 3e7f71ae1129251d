"""What is read, where the next run goes on, and what is said on the way."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from adbc_driver_postgresql import dbapi

from tap_kit.conformance import GoesOnWithSeveralTables
from tap_kit.errors import TapError
from tap_postgres.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Sync = Any
FULL = {"replication_method": "FULL_TABLE"}


@pytest.fixture
def orders(database: Any) -> Any:
    """1,000 orders, changed a minute apart, in a table with an index on the cursor."""
    database.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, status text, changed timestamptz)",
        "INSERT INTO orders SELECT i, 'new', timestamptz '2024-01-01 00:00+00' + i * interval '1 minute' FROM generate_series(1, 1000) i",
        "CREATE INDEX ON orders (changed)",
        "ANALYZE orders",
    )
    return database


def table(**more: Any) -> dict[str, Any]:
    return {"name": "public.orders", "cursor_field": "changed", **more}


def ids(output: Any) -> list[int]:
    return [row["id"] for row in output.rows]


def test_the_first_run_reads_all_and_the_next_what_changed(orders: Any, sync: Sync, lane: str) -> None:
    first = sync(orders.config(table()), lane=lane)
    assert ids(first) == list(range(1, 1001))
    bookmark = dict(first.state["bookmarks"]["orders"])
    assert bookmark.pop("replication_key_rows").startswith("1:")
    assert bookmark.pop("columns") == ["changed", "id", "status"]
    assert bookmark == {"replication_key": "changed", "replication_key_value": "2024-01-01 16:40:00+00"}
    orders.run("UPDATE orders SET status = 'paid', changed = '2024-02-01 00:00:00.000001+00' WHERE id IN (3, 5)")
    second = sync(orders.config(table()), state=first.state, lane=lane)
    assert [(r["id"], r["status"]) for r in second.rows] == [(3, "paid"), (5, "paid"), (1000, "new")]
    third = sync(orders.config(table()), state=second.state, lane=lane)
    assert ids(third) == []
    assert third.state == second.state


def test_a_sample_has_a_few_records_of_each_stream(orders: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    orders.run("CREATE TABLE regions (id int PRIMARY KEY)", "INSERT INTO regions VALUES (1), (2)")
    config = orders.config(table(), {"name": "public.regions"}, detect_deletes="keys", parallel=2, chunk_rows=100)
    monkeypatch.setenv("DATIVO_SAMPLE_RECORDS", "5")
    sample = sync(config)
    assert [record["stream"] for record in sample.of("RECORD")] == ["orders"] * 5 + ["regions"] * 2
    assert not sample.of("DATIVO_KEYS"), "nobody would take the files"


def test_rows_written_while_a_run_reads_come_with_the_next(
    orders: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Client.batches

    def while_reading(self: Client, sql: str) -> Iterator[Any]:
        orders.run("INSERT INTO orders VALUES (2000, 'late', '2024-03-01 00:00+00')", "DELETE FROM orders WHERE id = 7")
        yield from batches(self, sql)

    monkeypatch.setattr(Client, "batches", while_reading)
    first = sync(orders.config(table()))
    assert ids(first) == list(range(1, 1001)), "all of the moment at which the run began"
    monkeypatch.setattr(Client, "batches", batches)
    assert ids(sync(orders.config(table()), state=first.state)) == [1000, 2000]


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL"])
def test_a_load_goes_on_behind_its_last_bookmark(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str, method: str, parallel: int
) -> None:
    chosen = catalog("orders", {"id": "long"}, ("id",), replication_method=method, replication_key="changed")
    config = orders.config(table(), chunk_rows=100, parallel=parallel)
    whole = sync(config, chosen, lane=lane)
    states = [s["value"]["bookmarks"]["orders"].get("full_load") for s in whole.of("STATE")]
    assert len(states) == 11
    assert states[-1] is None
    assert sorted(ids(whole)) == list(range(1, 1001))
    begun = whole.of("STATE")[8]["value"]
    orders.run("INSERT INTO orders VALUES (1001, 'late', '2025-01-01 00:00+00')")
    rest = sync(config, chosen, begun, lane)
    assert ids(rest)[0] == int(states[8]["after"][0]) + 1
    assert ids(rest)[-1] == (1001 if method == "FULL_TABLE" else 1000), "the window of an incremental load stays"
    assert rest.state == whole.state


@pytest.mark.parametrize("key", ["code", "tenant, code", "tenant, n"], ids=["text", "two texts", "text and number"])
def test_keys_of_any_kind_cut_a_load_into_parts(database: Any, sync: Sync, lane: str, key: str) -> None:
    database.run(
        f"CREATE TABLE things (tenant text, code text, n integer, PRIMARY KEY ({key}))",
        "INSERT INTO things SELECT 't''' || i % 3, 'é\"' || i, i FROM generate_series(1, 500) i",
        "ANALYZE things",
    )
    config = database.config("things", chunk_rows=64)
    whole = sync(config, lane=lane)
    assert sorted(r["n"] for r in whole.rows) == list(range(1, 501))
    states = whole.of("STATE")
    assert len(states) == 8
    rest = sync(config, state=states[4]["value"], lane=lane)
    assert len(rest.rows) == 500 - 5 * 64
    assert {r["n"] for r in rest.rows} < {r["n"] for r in whole.rows}


def test_sparse_keys_are_cut_where_rows_are(database: Any, sync: Sync) -> None:
    database.run(
        "CREATE TABLE sparse (id bigint PRIMARY KEY)",
        "INSERT INTO sparse SELECT i FROM generate_series(1, 999) i",
        "INSERT INTO sparse VALUES (9223372036854775807), (-9223372036854775808)",
        "ANALYZE sparse",
    )
    output = sync(database.config("sparse", chunk_rows=250))
    assert len(ids(output)) == 1001
    assert len(output.of("STATE")) == 5


def test_a_table_without_a_key_is_read_in_one_piece(database: Any, sync: Sync, lane: str) -> None:
    database.run("CREATE TABLE heap (a int)", "INSERT INTO heap SELECT 1 FROM generate_series(1, 500)", "ANALYZE heap")
    output = sync(database.config("heap", chunk_rows=100), lane=lane)
    assert output.column("a") == [1] * 500
    assert len(output.of("STATE")) == 1
    assert output.of("SCHEMA")[0]["key_properties"] == []


def test_all_tables_of_a_run_are_of_one_moment(database: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    database.run(
        "CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)"
    )
    batches = Client.batches

    def while_reading(self: Client, sql: str) -> Iterator[Any]:
        yield from batches(self, sql)
        database.run("INSERT INTO b SELECT 1 ON CONFLICT DO NOTHING")

    monkeypatch.setattr(Client, "batches", while_reading)
    output = sync(database.config("a", "b"))
    assert [m["stream"] for m in output.of("RECORD")] == ["a"]


# -- cursors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "first", "second"),
    [
        ("load_once", list(range(1, 7)), [2]),
        ("every_run", list(range(1, 7)), list(range(1, 7))),
        (None, list(range(1, 7)), [2]),
    ],
)
def test_rows_without_a_cursor_come_as_the_setting_says(
    database: Any,
    sync: Sync,
    caplog: pytest.LogCaptureFixture,
    setting: str | None,
    first: list[int],
    second: list[int],
) -> None:
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, changed timestamptz)",
        "INSERT INTO orders VALUES (1, NULL), (2, '2024-01-01'), (3, 'infinity'), (4, '-infinity')",
        "INSERT INTO orders VALUES (5, '12000-01-01'), (6, '0044-03-15 BC')",
    )
    config = database.config(table(), null_cursor=setting)
    with caplog.at_level(logging.WARNING):
        one = sync(config)
    assert "public.orders: 5 rows have no usable changed" in caplog.text
    assert ids(one) == first
    assert one.state["bookmarks"]["orders"]["replication_key_value"].startswith("2024-01-01")
    assert ids(sync(config, state=one.state)) == second


@pytest.mark.parametrize("kind", ["numeric", "float8", "real"])
def test_what_is_no_number_is_no_cursor(database: Any, sync: Sync, kind: str) -> None:
    database.run(
        f"CREATE TABLE orders (id int PRIMARY KEY, changed {kind})",
        "INSERT INTO orders VALUES (1, 5), (2, 'NaN'), (3, 'Infinity')",
    )
    first = sync(database.config(table()))
    assert ids(first) == [1, 2, 3]
    database.run("INSERT INTO orders VALUES (4, 6)")
    assert 4 in ids(sync(database.config(table()), state=first.state))


def test_rows_without_a_cursor_can_be_an_error(database: Any, sync: Sync) -> None:
    database.run("CREATE TABLE orders (id int PRIMARY KEY, changed timestamptz)", "INSERT INTO orders VALUES (1, NULL)")
    with pytest.raises(TapError, match="1 rows have no usable changed"):
        sync(database.config(table(), null_cursor="error"))


@pytest.mark.parametrize(
    ("setting", "count"), [({"lookback_seconds": 120}, 3), ({"lookback_hours": 1}, 61), ({"lookback_days": "1"}, 1000)]
)
def test_a_lookback_reads_again(orders: Any, sync: Sync, setting: dict[str, Any], count: int) -> None:
    state = sync(orders.config(table())).state
    assert len(ids(sync(orders.config(table(), **setting), state=state))) == count


def test_a_query_may_end_in_a_comment(orders: Any, sync: Sync) -> None:
    query = {"name": "q", "sql": "SELECT id FROM orders WHERE id < 3 -- the first", "key": "id"}
    assert ids(sync(orders.config(queries=[query]))) == [1, 2]


def test_a_lookback_needs_a_time(orders: Any, sync: Sync) -> None:
    with pytest.raises(TapError, match="lookback needs a date or timestamp as cursor, and id is bigint"):
        sync(orders.config(table(cursor_field="id"), lookback_days=1))


def test_a_start_date_leaves_out_what_is_older(orders: Any, sync: Sync) -> None:
    assert len(ids(sync(orders.config(table(), start_date="2024-01-01T16:00:00Z")))) == 41


def test_a_cursor_without_an_index_is_told_with_the_remedy(
    orders: Any, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    state = sync(orders.config(table())).state
    assert "no index" not in caplog.text
    orders.run("DROP INDEX orders_changed_idx")
    sync(orders.config(table()), state=state)
    assert 'make one: CREATE INDEX CONCURRENTLY ON "public"."orders" ("changed")' in caplog.text


@pytest.mark.parametrize("kind", ["bigint", "text", "numeric(20,5)", "date", "timestamp"])
def test_cursors_of_any_type_that_has_an_order(database: Any, sync: Sync, kind: str, lane: str) -> None:
    value = (
        "(date '2024-01-01' + i)"
        if kind in ("date", "timestamp")
        else "lpad(i::text, 3, '0')"
        if kind == "text"
        else "i"
    )
    database.run(
        f"CREATE TABLE orders (id int PRIMARY KEY, changed {kind})",
        f"INSERT INTO orders SELECT i, {value} FROM generate_series(1, 20) i",
    )
    state = sync(database.config(table()), lane=lane).state
    database.run(f"INSERT INTO orders SELECT i, {value} FROM generate_series(21, 22) i")
    assert ids(sync(database.config(table()), state=state, lane=lane)) == [20, 21, 22]


class TestSeveralTables(GoesOnWithSeveralTables):
    """On PostgreSQL."""


def test_an_exclusive_resume_reads_no_row_twice_and_none_too_few(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str
) -> None:
    chosen = catalog(
        "orders",
        {"id": "long", "changed": "timestamptz"},
        ("id",),
        resume="exclusive",
        replication_method="INCREMENTAL",
        replication_key="changed",
    )
    orders.run("UPDATE orders SET changed = '2024-02-01 00:00+00' WHERE id IN (5, 10)")
    first = sync(orders.config(table()), chosen, lane=lane)
    assert first.state["bookmarks"]["orders"]["replication_key_after"] == ["10"]
    assert sync(orders.config(table()), chosen, first.state, lane).rows == []
    orders.run("INSERT INTO orders VALUES (1001, 'tie', '2024-02-01 00:00+00'), (1002, 'later', '2024-02-02 00:00+00')")
    second = sync(orders.config(table()), chosen, first.state, lane)
    assert ids(second) == [1001, 1002]
    assert sync(orders.config(table()), chosen, second.state, lane).rows == []


# -- what to read -------------------------------------------------------------------------------------------------------------


def test_patterns_mean_tables_views_and_partitioned_tables(database: Any, sync: Sync) -> None:
    database.run(
        'CREATE SCHEMA "Sales é"',
        'CREATE TABLE "Sales é".a (id int PRIMARY KEY)',
        'CREATE TABLE "Sales é".b_tmp (id int)',
        'CREATE TABLE "Sales é"."C.d" (id int)',
        'CREATE VIEW "Sales é".v AS SELECT * FROM "Sales é".a',
        'CREATE MATERIALIZED VIEW "Sales é".m AS SELECT * FROM "Sales é".a',
        'CREATE TABLE "Sales é".p (id int, day date) PARTITION BY RANGE (day)',
        "CREATE TABLE \"Sales é\".p_2024 PARTITION OF \"Sales é\".p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        'INSERT INTO "Sales é".a VALUES (1)',
        "INSERT INTO \"Sales é\".p VALUES (2, '2024-05-01')",
        'REFRESH MATERIALIZED VIEW "Sales é".m',
    )
    output = sync(database.config('"Sales é".*', exclude=['"Sales é".*_tmp']))
    assert [m["stream"] for m in output.of("SCHEMA")] == ["C.d", "a", "m", "p", "v"]
    assert [(m["stream"], m["record"]["id"]) for m in output.of("RECORD")] == [("a", 1), ("m", 1), ("p", 2), ("v", 1)]


def test_rows_of_inheriting_tables_come_with_their_parent(database: Any, sync: Sync) -> None:
    database.run(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (extra text) INHERITS (parent)",
        "INSERT INTO parent VALUES (1), (2)",
        "INSERT INTO child VALUES (2, 'x')",
        "ANALYZE parent",
    )
    output = sync(database.config("parent", chunk_rows=1))
    assert sorted(row["id"] for row in output.rows) == [1, 2, 2]
    assert output.of("SCHEMA")[0]["key_properties"] == [], "each of the tables has its own"


def test_queries_are_read_like_tables(orders: Any, sync: Sync, lane: str) -> None:
    query = {
        "name": "paid",
        "sql": "SELECT id, changed, id * 1.5 AS total, ARRAY[status] AS all_of FROM orders WHERE id % 2 = 0;",
        "key": "id",
        "cursor_field": "changed",
    }
    first = sync(orders.config(queries=[query]), lane=lane)
    assert len(first.rows) == 500
    assert first.of("SCHEMA")[0]["key_properties"] == ["id"]
    assert first.rows[0]["total"] == 3
    orders.run("UPDATE orders SET changed = '2025-01-01 00:00+00' WHERE id <= 4")
    assert ids(sync(orders.config(queries=[query]), state=first.state, lane=lane)) == [2, 4, 1000]


def test_columns_that_are_gone_are_null_and_told(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = catalog("orders", {"id": "long", "gone": "decimal(5,2)"}, ("id",))
    output = sync(orders.config("orders"), chosen, lane=lane)
    assert "public.orders: lacks the columns gone; they are NULL" in caplog.text
    assert set(output.column("gone")) == {None}


def test_columns_that_the_contract_does_not_name_are_told(
    orders: Any, sync: Sync, catalog: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sync(orders.config("orders"), catalog("orders", {"id": "long"}, ("id",)))
    assert "does not name, and that are not read: status, changed" in caplog.text


def test_a_catalog_that_lets_in_what_it_does_not_name_gets_all_columns(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str
) -> None:
    chosen = catalog("orders", {"id": "string"}, ("id",))
    chosen["streams"][0]["schema"]["additionalProperties"] = True
    output = sync(orders.config("orders"), chosen, lane=lane)
    assert output.rows[0].keys() == {"id", "changed", "status"}
    assert output.rows[0]["id"] == "1", "as the catalog has it"
    assert output.of("SCHEMA")[0]["schema"]["properties"]["changed"]["format"] == "date-time"


def test_texts_that_are_read_as_numbers_are_told_and_an_empty_one_is_no_null(
    database: Any, sync: Sync, catalog: Callable[..., Any], lane: str, caplog: pytest.LogCaptureFixture
) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, qty text, n bigint, d int, f float8, g float4)",
        "INSERT INTO t VALUES (1, '007', 1, 1), (2, '', 9007199254740993, 2), (3, NULL, NULL, NULL), (4, '  ', 4, 4)",
    )
    types = {"id": "long", "qty": "long", "n": "double", "d": "double", "f": "float", "g": "float"}
    chosen = catalog("t", types, ("id",))
    rows = {row["id"]: row["qty"] for row in sync(database.config("t"), chosen, lane=lane).rows}
    assert rows == {1: 7, 2: "", 3: None, 4: "  "}
    (told,) = [r for r in caplog.records if getattr(r, "event_type", None) == "columns_converted"]
    assert told.event_fields["columns"] == ["qty", "n", "f"], "a double holds every int, and a float what is one"
    assert "f is double precision there and float in the contract" in caplog.text


def test_a_column_that_is_gone_is_told_where_rows_are_read_again(
    orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str, caplog: pytest.LogCaptureFixture
) -> None:
    types = {"id": "long", "changed": "timestamptz", "status": "string"}
    how: dict[str, Any] = {"replication_method": "INCREMENTAL", "replication_key": "changed"}
    chosen = catalog("orders", types, ("id",), **how)
    first = sync(orders.config(table()), chosen, lane=lane)
    orders.run("ALTER TABLE orders RENAME status TO state", "UPDATE orders SET changed = now() WHERE id = 1")
    with pytest.raises(TapError, match="has lost the columns status"):
        sync(orders.config(table()), chosen, first.state, lane)
    del types["status"]
    relaxed = catalog("orders", types, ("id",), **how)
    relaxed["streams"][0]["schema"]["additionalProperties"] = True
    second = sync(orders.config(table()), relaxed, first.state, lane)
    assert {r["state"] for r in second.rows} == {"new"}
    assert "has lost the columns status; in rows that are read again they are NULL" in caplog.text


def test_types_of_the_catalog_win(orders: Any, sync: Sync, catalog: Callable[..., Any], lane: str) -> None:
    types = {"id": "string", "changed": "date", "status": "long"}
    rows = sync(orders.config("orders"), catalog("orders", types, ("id",)), lane=lane).rows
    assert rows[0]["id"] == "1"
    assert {r["status"] for r in rows} == {"new"}, "what is no number goes to the target as it is"


def test_values_without_room_are_null_where_the_contract_says_so(
    database: Any, sync: Sync, catalog: Callable[..., Any], lane: str
) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, day date, n numeric)",
        "INSERT INTO t VALUES (1, 'infinity', 'NaN'), (2, '2024-01-01', 1)",
    )
    chosen = catalog("t", {"id": "long", "day": "date", "n": "decimal(5,2)"}, ("id",))
    for name in ("day", "n"):
        chosen["streams"][0]["schema"]["properties"][name]["x-dativo-out-of-range"] = "null"
    rows = sync(database.config("t"), chosen, lane=lane).rows
    assert [(r["day"] is None, r["n"] is None) for r in rows] == [(True, True), (False, False)]


# -- errors -------------------------------------------------------------------------------------------------------------------


def test_all_missing_tables_are_listed_at_once(orders: Any, sync: Sync) -> None:
    with pytest.raises(TapError) as e:
        sync(orders.config("public.Orders", "sales.gone"))
    assert "there is no table public.Orders (stream Orders); there is public.orders" in str(e.value)
    assert "there is no table sales.gone (stream gone)" in str(e.value)


def test_a_cursor_that_is_no_column(orders: Any, sync: Sync) -> None:
    with pytest.raises(TapError, match="has no column updated to be the cursor; it has id, status, changed"):
        sync(orders.config(table(cursor_field="updated")))


def test_a_broken_query_is_told_beside_the_others(orders: Any, sync: Sync) -> None:
    queries = [{"name": n, "sql": s} for n, s in {"a": "SELECT nope FROM orders", "b": "SELECT 1 AS x, 2 AS x"}.items()]
    with pytest.raises(TapError) as e:
        sync(orders.config("gone", queries=queries))
    assert 'column "nope" does not exist' in str(e.value)
    assert "(query a)" in str(e.value)
    assert "columns that are there twice: x" in str(e.value)
    assert "there is no table public.gone" in str(e.value)


@pytest.mark.parametrize(
    ("grants", "missing"),
    [
        ([], 'GRANT USAGE ON SCHEMA "private" TO {role}'),
        (["USAGE ON SCHEMA private"], 'GRANT SELECT ON "private"."t" TO {role}'),
        (["USAGE ON SCHEMA private", "SELECT (id) ON private.t"], "GRANT SELECT ON t TO {role}"),
    ],
)
def test_a_missing_permission_is_named(database: Any, sync: Sync, grants: list[str], missing: str) -> None:
    role = f"r{database.name}"
    database.run(
        f"CREATE ROLE {role} LOGIN PASSWORD 'pass-1'",
        "CREATE SCHEMA private",
        "CREATE TABLE private.t (id int, secret text)",
        *(f"GRANT {g} TO {role}" for g in grants),
    )
    try:
        with pytest.raises(TapError, match="may not read") as e:
            sync({**database.config("private.t"), "username": role, "password_env": None, "password": "pass-1"})
    finally:
        database.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert missing.format(role=role) in str(e.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password_env": None, "password": "hunter2-hunter2"}, "does not let in dativo"),
        ({"username": "nobody-here"}, "does not let in nobody-here"),
        ({"database": "gone"}, 'database "gone" does not exist'),
        ({"sslmode": "require"}, "does not support SSL"),
    ],
)
def test_what_does_not_go_away_by_itself_fails_at_once(
    orders: Any, sync: Sync, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TapError, match=message) as e:
        sync({**orders.config("orders", retry_s=3600), **change})
    assert "hunter2" not in str(e.value)
    assert orders.server.password not in str(e.value)


# -- servers that go away -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_connection_that_ends_is_made_again_and_no_row_comes_twice(
    orders: Any, sync: Sync, lane: str, parallel: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a part, after some of its rows were sent."""
    monkeypatch.setattr("tap_postgres.client._BATCH_BYTES", 500)
    batches, broken = Client.batches, threading.Event()

    def cut_once(self: Client, sql: str) -> Iterator[Any]:
        for i, batch in enumerate(batches(self, sql)):
            if i == 2 and not broken.is_set():
                broken.set()
                others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dativo'"
                orders.rows(others)
                self.rows("SELECT 1")
            yield batch

    monkeypatch.setattr(Client, "batches", cut_once)
    output = sync(orders.config(table(), chunk_rows=400, parallel=parallel), lane=lane)
    assert broken.is_set()
    assert "asking again" in caplog.text
    assert sorted(ids(output)) == list(range(1, 1001))


def test_readers_whose_common_moment_is_gone_begin_with_another(
    orders: Any, sync: Sync, lane: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, gone = Client.begin, []

    def without_the_first(self: Client, snapshot: str | None = None) -> None:
        if snapshot is not None and len(gone) == 1:  # some rows were read
            gone.extend(
                orders.rows(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE '%pg_export_snapshot%' "
                    "AND pid <> pg_backend_pid() AND datname = current_database()"
                )
            )
        elif snapshot is not None:
            gone.append(())
        begin(self, snapshot)

    monkeypatch.setattr(Client, "begin", without_the_first)
    with caplog.at_level(logging.WARNING):
        output = sync(orders.config(table(), chunk_rows=200, parallel=2), lane=lane)
    assert gone[:2] == [(), (True,)]
    assert ids(output) == list(range(1, 1001))
    assert len([r for r in caplog.records if getattr(r, "event_type", None) == "reading_again"]) == 1


def test_a_table_without_a_key_cannot_go_on_in_the_middle(
    database: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("CREATE TABLE heap (a int)", "INSERT INTO heap SELECT i FROM generate_series(1, 1000) i")
    monkeypatch.setattr("tap_postgres.client._BATCH_BYTES", 500)
    batches = Client.batches

    def cut(self: Client, sql: str) -> Iterator[Any]:
        for i, batch in enumerate(batches(self, sql)):
            if i == 2:
                database.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dativo'"
                )
                self.rows("SELECT 1")
            yield batch

    monkeypatch.setattr(Client, "batches", cut)
    with pytest.raises(TapError, match="does not answer as it should"):
        sync(database.config("heap"))


def test_a_server_that_is_restarted_is_waited_for(
    own_postgres: Any, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, server = own_postgres
    monkeypatch.setenv("TEST_PGPASSWORD", server.password)
    with dbapi.connect(server.uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY)")
        cursor.execute("INSERT INTO t SELECT i FROM generate_series(1, 5000) i")
        cursor.execute("ANALYZE t")
        cursor.execute("CHECKPOINT")
    config = {
        "host": server.host, "port": server.port, "database": server.database, "username": server.user,
        "password_env": "TEST_PGPASSWORD", "tables": ["t"], "chunk_rows": 1000, "retry_s": 60,
    }  # fmt: skip
    batches, killed = Client.batches, []

    def kill_once(self: Client, sql: str) -> Iterator[Any]:
        if len(killed) == 2:
            module.kill(server)
            threading.Thread(target=module.restart, args=(server,)).start()
        killed.append(sql)
        yield from batches(self, sql)

    monkeypatch.setattr(Client, "batches", kill_once)
    assert ids(sync(config)) == list(range(1, 5001))
