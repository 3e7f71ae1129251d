"""Following the log: a load and what came since, deletes, values that were not logged, and slots that stand elsewhere."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_kit.errors import TapError
from tap_postgres.slot import is_visible, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Sync = Any
TYPES = {
    "id": "long", "name": "string", "n": "decimal(10,2)", "tags": "json", "raw": "binary", "at": "timestamptz", "price": "decimal(19,2)",
    "ok": "boolean", "f": "double", "long": "string",
}  # fmt: skip


@pytest.fixture
def log(database: Any) -> Iterator[Any]:
    """A table of every kind of value that the log shows otherwise, and a slot's name."""
    database.run(
        "CREATE TABLE t (id bigint PRIMARY KEY, name text, n numeric(10,2), tags text[], raw bytea, at timestamptz, price money, ok boolean, "
        "f float8, long text)",
        "ALTER TABLE t ALTER long SET STORAGE EXTERNAL",
        "INSERT INTO t SELECT i, 'a', 1.5, ARRAY['x', NULL], '\\x00ff', '2024-01-01 00:00+00', 2.5, true, 0.1, repeat('z', 5000) "
        "FROM generate_series(1, 3) i",
    )
    database.slot = f"s_{database.name}"
    yield database
    database.rows(
        f"SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE slot_name = '{database.slot}'"
    )


@pytest.fixture
def follow(log: Any, sync: Sync, catalog: Callable[..., Any]) -> Callable[..., Any]:
    """`follow(state, lane=…, hard=…, **settings)`: a run of the tap."""

    def run(state: Any = None, lane: str = "record", hard: bool = True, **settings: Any) -> Any:
        chosen = catalog("t", TYPES, ("id",), replication_method="LOG_BASED")
        chosen["streams"][0]["metadata"][0]["metadata"] |= {"forced-replication-method": "LOG_BASED"}
        chosen["streams"][0]["schema"]["properties"]["tags"]["x-dativo-encoding"] = "json"
        if hard:
            chosen["streams"][0]["metadata"][0]["metadata"]["dativo-hard-delete"] = True
        return sync(log.config("t", replication_slot=log.slot, **settings), chosen, state, lane)

    return run


def applied(*outputs: Any) -> dict[int, dict[str, Any]]:
    """What a table is after the runs: rows by key, in the order in which they came."""
    table: dict[int, dict[str, Any]] = {}
    for output in outputs:
        rows = output.batched or [m["record"] for m in output.of("RECORD")]
        for row in rows:
            if row.get("_sdc_deleted_at"):
                table.pop(row["id"], None)
            else:
                table[row["id"]] = row
    return table


def test_a_load_and_then_what_came_since(log: Any, follow: Callable[..., Any], lane: str) -> None:
    first = follow(lane=lane)
    assert sorted(applied(first)) == [1, 2, 3]
    log.run(
        "INSERT INTO t VALUES (4, 'b', 'NaN', '{}', '', '2024-05-01 12:00+02', '-1234.5', false, 'Infinity', 'short')",
        "UPDATE t SET name = 'c' WHERE id = 1",
        "UPDATE t SET id = 9 WHERE id = 2",
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO t VALUES (5, 'gone')",
        "DELETE FROM t WHERE id = 5",
    )
    second = follow(first.state, lane)
    table = applied(first, second)
    assert sorted(table) == [1, 4, 9] if lane == "record" else [1, 9]
    assert table[1]["name"] == "c"
    assert table[1]["long"] == "z" * 5000, "a value that an update left as it was"
    record = next(m["record"] for m in second.of("RECORD") if m["record"]["id"] == 4)
    assert (record["n"], record["tags"], record["raw"], record["price"], record["ok"]) == (
        "NaN",
        [],
        "",
        "-1234.50",
        False,
    )
    assert record["at"].startswith("2024-05-01T10:00:00")
    third = follow(second.state, lane)
    assert applied(third) == {}
    assert number(third.state["bookmarks"]["t"]["lsn"]) >= number(second.state["bookmarks"]["t"]["lsn"])


def test_what_the_load_shows_is_not_sent_again_and_what_it_does_not_show_is_not_lost(
    log: Any, follow: Callable[..., Any]
) -> None:
    """A transaction that runs while the load begins, and one that ends between slot and load."""
    from adbc_driver_postgresql import dbapi

    follow()  # makes the slot
    log.run("INSERT INTO t (id) VALUES (10)")
    with dbapi.connect(log.uri) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO t (id) VALUES (11)")
        first = follow()
        assert sorted(applied(first)) == [1, 2, 3, 10]
        other.commit()
    log.run("INSERT INTO t (id) VALUES (12)")
    second = follow(first.state)
    assert [m["record"]["id"] for m in second.of("RECORD")] == [11, 12]


def test_a_change_of_the_table_in_the_log(log: Any, follow: Callable[..., Any]) -> None:
    first = follow()
    log.run(
        "UPDATE t SET name = 'before' WHERE id = 1",
        "ALTER TABLE t ADD extra int",
        "ALTER TABLE t RENAME COLUMN f TO other",
        "UPDATE t SET name = 'after', extra = 1 WHERE id = 2",
        "ALTER TABLE t RENAME COLUMN other TO f",
    )
    table = applied(first, follow(first.state))
    assert (table[1]["name"], table[2]["name"], table[2]["f"]) == ("before", "after", 0.1)


def test_generated_columns_are_looked_up(log: Any, follow: Callable[..., Any]) -> None:
    """The log does not have them."""
    log.run("ALTER TABLE t DROP COLUMN f", "ALTER TABLE t ADD f float8 GENERATED ALWAYS AS (id * 2.5) STORED")
    first = follow()
    log.run("UPDATE t SET name = 'c' WHERE id = 2", "INSERT INTO t (id) VALUES (4)")
    table = applied(first, follow(first.state))
    assert {i: row["f"] for i, row in table.items()} == {1: 2.5, 2: 5.0, 3: 7.5, 4: 10.0}


def test_changes_of_a_partition_are_those_of_its_table(log: Any, follow: Callable[..., Any]) -> None:
    log.run(
        "DROP TABLE t",
        "CREATE TABLE t (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (1000)",
        "INSERT INTO t VALUES (1, 'a')",
    )
    first = follow()
    log.run("INSERT INTO t VALUES (2, 'b')", "DELETE FROM t WHERE id = 1")
    assert sorted(applied(first, follow(first.state))) == [2]


@pytest.mark.parametrize("how", ["TRUNCATE t_1", "DROP TABLE t_1"])
def test_rows_of_a_partition_that_is_emptied_outside_the_log_are_found_by_their_keys(
    log: Any, follow: Callable[..., Any], lane: str, how: str
) -> None:
    log.run(
        "DROP TABLE t",
        "CREATE TABLE t (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (1024)",
        "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (1024) TO (4096)",
        "INSERT INTO t VALUES (1, 'a'), (1023, 'a'), (1024, 'a')",
    )
    first = follow(lane=lane, detect_deletes="keys")
    log.run("INSERT INTO t VALUES (2, 'b'), (1025, 'b')", how)
    second = follow(first.state, lane, detect_deletes="keys")
    ((ranges, keys),) = second.listed
    assert all(any(low <= gone <= high for low, high in ranges) for gone in (1, 2, 1023))
    assert {k["id"] for k in keys} <= {1024, 1025}
    order = [m["type"] for m in second.messages if m["type"] in ("RECORD", "BATCH", "DATIVO_KEYS")]
    assert order[-1] == "DATIVO_KEYS", "behind the rows that the log still had"


def test_a_publication_that_leaves_changes_out_is_refused(log: Any, follow: Callable[..., Any]) -> None:
    log.run(f"CREATE PUBLICATION {log.slot} FOR TABLE t WITH (publish = 'insert')")
    with pytest.raises(TapError, match="leaves out some kinds of changes; run there: ALTER PUBLICATION"):
        follow()


def test_changes_by_the_names_of_partitions_matter_to_a_table_that_has_some(
    log: Any, follow: Callable[..., Any]
) -> None:
    log.run(f"CREATE PUBLICATION {log.slot} FOR TABLE t")
    state = follow().state
    log.run("UPDATE t SET name = 'b' WHERE id = 1")
    assert [(r["id"], r["name"]) for r in follow(state).rows] == [(1, "b")]
    log.run(
        f"DROP PUBLICATION {log.slot}",
        "DROP TABLE t",
        "CREATE TABLE t (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        f"CREATE PUBLICATION {log.slot} FOR TABLE t",
    )
    with pytest.raises(TapError, match=r"what happens in partitions .*; run there: ALTER PUBLICATION"):
        follow()


def test_a_table_that_joins_later_misses_nothing(
    log: Any, sync: Sync, catalog: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that wrote to it before it was published, and ends after."""
    from adbc_driver_postgresql import dbapi

    log.run("CREATE TABLE u (id bigint PRIMARY KEY)")
    both = catalog("t", {"id": "long"}, ("id",), replication_method="LOG_BASED")
    first = sync(log.config("t", replication_slot=log.slot), both)
    both["streams"] += catalog("u", {"id": "long"}, ("id",), replication_method="LOG_BASED")["streams"]
    config = log.config("t", "u", replication_slot=log.slot, retry_s=0)
    with dbapi.connect(log.uri) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO u VALUES (1)")
        monkeypatch.setattr("tap_postgres.slot.OLDER_TRANSACTIONS_S", 0)
        with pytest.raises(TapError, match="began before a table was added"):
            sync(config, both, first.state)
        other.commit()
    output = sync(config, both, first.state)
    assert [m["record"]["id"] for m in output.of("RECORD") if m["stream"] == "u"] == [1]


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER PUBLICATION {slot} DROP TABLE t", "DELETE FROM t WHERE id = 1"),
        ("ALTER PUBLICATION {slot} DROP TABLE t", "DELETE FROM t WHERE id = 1", "ALTER PUBLICATION {slot} ADD TABLE t"),
        ("DROP PUBLICATION {slot}", "DELETE FROM t WHERE id = 1"),
    ],
)
def test_a_table_that_was_not_published_for_a_while_is_a_gap(
    log: Any, follow: Callable[..., Any], statements: tuple[str, ...]
) -> None:
    state = follow().state
    log.run(*(s.format(slot=log.slot) for s in statements))
    for _ in range(2):
        with pytest.raises(TapError, match=f"gap: the publication {log.slot} .*--full-refresh"):
            follow(state)
    healed = follow()
    assert len(healed.rows) == 2, "a new load heals it"
    log.run("DELETE FROM t WHERE id = 2")
    assert sorted(applied(healed, follow(healed.state))) == [3]


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE t RENAME TO t_old", "CREATE TABLE t (LIKE t_old INCLUDING ALL)"),
        ("DROP TABLE t", "CREATE TABLE t (id bigint PRIMARY KEY, name text)", "INSERT INTO t VALUES (1, 'new')"),
    ],
)
def test_another_table_under_the_name_of_one_is_a_gap_where_all_tables_are_published(
    log: Any, follow: Callable[..., Any], statements: tuple[str, ...]
) -> None:
    log.run(f"CREATE PUBLICATION {log.slot} FOR ALL TABLES WITH (publish_via_partition_root = true)")
    first = follow()
    log.run("UPDATE t SET name = 'b' WHERE id = 1")
    second = follow(first.state)
    assert applied(first, second)[1]["name"] == "b"
    log.run(*statements)
    with pytest.raises(TapError, match="gap: the publication"):
        follow(second.state)


def test_a_schema_that_a_publication_did_not_have_for_a_while_is_a_gap(log: Any, follow: Callable[..., Any]) -> None:
    log.run(f"CREATE PUBLICATION {log.slot} FOR TABLES IN SCHEMA public WITH (publish_via_partition_root = true)")
    first = follow()
    log.run("UPDATE t SET name = 'b' WHERE id = 1")
    second = follow(first.state)
    assert applied(first, second)[1]["name"] == "b"
    log.run(
        f"ALTER PUBLICATION {log.slot} DROP TABLES IN SCHEMA public",
        "UPDATE t SET name = 'c' WHERE id = 1",
        f"ALTER PUBLICATION {log.slot} ADD TABLES IN SCHEMA public",
    )
    with pytest.raises(TapError, match=r'gap: the publication \S+ did not have "public"."t" for a while'):
        follow(second.state)
    third = follow()
    log.run("ALTER TABLE t RENAME TO t_old", "CREATE TABLE t (LIKE t_old INCLUDING ALL)")
    with pytest.raises(TapError, match="gap"):
        follow(third.state)


def test_a_column_that_the_table_has_lost_takes_no_values_with_it(
    log: Any, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = follow()
    log.run("ALTER TABLE t RENAME COLUMN ok TO fine", "UPDATE t SET name = 'b' WHERE id = 1")
    with pytest.raises(
        TapError, match="has lost the columns ok, so that rows which are read again would lose their values"
    ):
        follow(first.state)
    log.run("ALTER TABLE t RENAME COLUMN fine TO ok", "UPDATE t SET name = 'c' WHERE id = 2")
    second = follow(first.state)
    rows = applied(first, second)
    assert [(rows[i]["name"], rows[i]["ok"]) for i in (1, 2)] == [("b", True), ("c", True)]
    log.run("ALTER TABLE t DROP COLUMN ok")
    assert applied(follow())[1]["ok"] is None, "a load of all rows is what the table has"
    assert "lacks the columns ok; they are NULL" in caplog.text
    monkeypatch.delitem(TYPES, "ok")
    log.run("UPDATE t SET name = 'd' WHERE id = 3")
    assert [(r["id"], r["name"]) for r in follow(second.state).rows] == [(3, "d")]


def test_a_column_whose_type_has_changed_is_told_and_nothing_of_it_is_lost(
    log: Any, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log.run("ALTER TABLE t ADD COLUMN qty int", "UPDATE t SET qty = id")
    monkeypatch.setitem(TYPES, "qty", "long")
    first = follow()
    assert "columns_converted" not in {getattr(r, "event_type", None) for r in caplog.records}
    log.run("ALTER TABLE t ALTER COLUMN qty TYPE text", "UPDATE t SET qty = CASE id WHEN 1 THEN '007' ELSE '' END")
    rows = applied(first, follow(first.state))
    assert "public.t: qty is text there and long in the contract: values are converted where they can be" in caplog.text
    assert (rows[1]["qty"], rows[2]["qty"]) == (7, ""), "what is no number is no NULL; the target rejects it"


def test_a_string_of_bits_is_no_number(
    log: Any, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, lane: str
) -> None:
    log.run("ALTER TABLE t ADD COLUMN flags bit(3) DEFAULT B'101'")
    monkeypatch.setitem(TYPES, "flags", "long")
    first = follow(lane=lane)
    log.run("UPDATE t SET flags = B'110' WHERE id = 1")
    second = follow(first.state, lane=lane)
    assert applied(first)[1]["flags"] == "B'101'", "which the target rejects"
    assert applied(second)[1]["flags"] == "B'110'"


def test_a_publication_of_some_rows_is_refused(log: Any, follow: Callable[..., Any]) -> None:
    state = follow().state
    log.run(f"ALTER PUBLICATION {log.slot} SET TABLE t WHERE (id < 2)")
    with pytest.raises(TapError, match=r'leaves rows of "public"."t" out \(WHERE\)'):
        follow()
    log.run(f"ALTER PUBLICATION {log.slot} DROP TABLE t")
    with pytest.raises(TapError, match="gap"):
        follow(state)
    assert len(follow().rows) == 3


def test_a_row_whose_key_changes_is_deleted_as_it_was(log: Any, follow: Callable[..., Any], lane: str) -> None:
    log.run("ALTER TABLE t REPLICA IDENTITY FULL")
    state = follow(lane=lane, hard=False).state
    log.run("UPDATE t SET id = 30 WHERE id = 3")
    old, new = follow(state, lane, hard=False).rows
    assert (old["id"], old["name"], bool(old["_sdc_deleted_at"])) == (3, "a", True)
    assert (new["id"], new["name"], new["_sdc_deleted_at"]) == (30, "a", None)
    log.run("ALTER TABLE t REPLICA IDENTITY DEFAULT", "UPDATE t SET id = 20 WHERE id = 2")
    with pytest.raises(TapError, match="get another key"):
        follow(state, lane, hard=False)


def test_each_partition_must_have_the_log_show_whole_rows(
    log: Any, follow: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    log.run(
        "DROP TABLE t",
        "CREATE TABLE t (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (1000)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'a')",
        "ALTER TABLE t REPLICA IDENTITY FULL",
    )
    state = follow(hard=False).state
    assert "ALTER TABLE public.t_1 REPLICA IDENTITY FULL" in caplog.text
    log.run("DELETE FROM t WHERE id = 1")
    with pytest.raises(TapError, match=r"ALTER TABLE public\.t_1 REPLICA IDENTITY FULL"):
        follow(state, hard=False)
    log.run("ALTER TABLE t_1 REPLICA IDENTITY FULL")
    state = follow(hard=False).state
    log.run("DELETE FROM t WHERE id = 2")
    (gone,) = follow(state, hard=False).rows
    assert (gone["name"], bool(gone["_sdc_deleted_at"])) == ("a", True)


def test_soft_deletes_are_told_of_before_there_are_any(
    log: Any, follow: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    state = follow(hard=False).state
    assert "set target.hard_delete: true, or: ALTER TABLE" in caplog.text
    caplog.clear()
    log.run("ALTER TABLE t REPLICA IDENTITY FULL")
    follow(state, hard=False)
    assert "REPLICA IDENTITY" not in caplog.text


def test_soft_deletes_need_the_whole_row(log: Any, follow: Callable[..., Any]) -> None:
    first = follow(hard=False)
    log.run("DELETE FROM t WHERE id = 1")
    with pytest.raises(TapError, match="REPLICA IDENTITY FULL"):
        follow(first.state, hard=False)


def test_the_whole_row_of_a_delete_comes_where_it_is_logged(log: Any, follow: Callable[..., Any]) -> None:
    log.run("ALTER TABLE t REPLICA IDENTITY FULL")
    first = follow(hard=False)
    log.run("UPDATE t SET name = 'c' WHERE id = 1", "DELETE FROM t WHERE id = 1")
    changed, gone = (m["record"] for m in follow(first.state, hard=False).of("RECORD"))
    assert (changed["long"], changed["_sdc_deleted_at"]) == ("z" * 5000, None)
    assert (gone["name"], gone["long"]) == ("c", "z" * 5000)
    assert gone["_sdc_deleted_at"] is not None


def test_the_slot_moves_only_to_what_the_lake_has(
    log: Any, follow: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "origin"
    monkeypatch.setenv("DATIVO_STATE_ORIGIN", str(origin))
    where = f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{log.slot}'"
    first = follow()
    (begun,) = log.rows(where)[0]
    log.run("INSERT INTO t (id) VALUES (4)")
    second = follow(first.state)
    for said in ("checkpoint", None):
        if said:
            origin.write_text(json.dumps({"origin": said}))
        follow(second.state)
        assert log.rows(where)[0][0] == begun
    origin.write_text(json.dumps({"origin": "lake"}))
    follow(second.state)
    assert number(log.rows(where)[0][0]) > number(begun)
    with pytest.raises(TapError, match=r"gap: .* a new snapshot is needed: dativo run --config <job> --full-refresh"):
        follow(first.state)


def test_a_slot_that_is_gone_is_a_gap(log: Any, follow: Callable[..., Any]) -> None:
    state = follow().state
    log.rows(f"SELECT pg_drop_replication_slot('{log.slot}')::text")
    with pytest.raises(TapError, match="gap"):
        follow(state)


def test_a_slot_that_holds_back_the_log_is_told(
    log: Any, follow: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = follow().state
    monkeypatch.setattr("tap_postgres.slot.WARN_BYTES", 0)
    log.run("INSERT INTO t (id) VALUES (4)")
    with caplog.at_level(logging.WARNING):
        follow(state)
    assert "holds back" in caplog.text


def test_a_table_that_is_truncated_is_emptied_where_that_stands_in_the_log(
    log: Any, follow: Callable[..., Any], lane: str
) -> None:
    state = follow(lane=lane).state
    log.run("INSERT INTO t (id) VALUES (8)", "TRUNCATE t", "INSERT INTO t (id) VALUES (9)")
    second = follow(state, lane)
    assert second.listed == [([[None, None]], [])]
    order = [m["type"] for m in second.messages if m["type"] in ("RECORD", "BATCH", "DATIVO_KEYS")]
    data = "RECORD" if lane == "record" else "BATCH"
    assert order == [data, "DATIVO_KEYS", data], "what came before it goes, what came after it stays"
    assert follow(second.state, lane).listed == []


@pytest.mark.parametrize("is_odd_last", [True, False])
def test_versions_of_a_row_come_in_their_order_also_when_one_has_no_room(
    log: Any, follow: Callable[..., Any], lane: str, is_odd_last: bool
) -> None:
    state = follow(lane=lane).state
    values = ["2024-02-01 00:00+00", "infinity"]
    log.run(*(f"UPDATE t SET at = '{v}' WHERE id = 2" for v in (values if is_odd_last else values[::-1])))
    messages = [m for m in follow(state, lane).messages if m["type"] in ("RECORD", "BATCH")]
    if lane == "record":
        assert [m["record"]["at"][:3] for m in messages] == (["202", "inf"] if is_odd_last else ["inf", "202"])
    else:
        assert [m["type"] for m in messages] == (["BATCH", "RECORD"] if is_odd_last else ["RECORD", "BATCH"])


def test_a_table_without_a_key_cannot_be_followed(log: Any, follow: Callable[..., Any]) -> None:
    log.run("ALTER TABLE t DROP CONSTRAINT t_pkey")
    with pytest.raises(TapError, match="has no key"):
        follow()


def test_a_role_that_may_not_is_told_which_statement(log: Any, sync: Sync, catalog: Callable[..., Any]) -> None:
    role = f"r{log.name}"
    log.run(f"CREATE ROLE {role} LOGIN PASSWORD 'pass-1'", f"GRANT SELECT ON t TO {role}")
    chosen = catalog("t", TYPES, ("id",), replication_method="LOG_BASED")
    config = {
        **log.config("t", replication_slot=log.slot),
        "username": role,
        "password": "pass-1",
        "password_env": None,
    }
    try:
        with pytest.raises(TapError) as e:
            sync(config, chosen)
    finally:
        log.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert "CREATE PUBLICATION" in str(e.value)
    assert f"ALTER ROLE {role} REPLICATION" in str(e.value)


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(-2000, 2000), st.sets(st.integers(0, 999), max_size=5))
def test_visibility_is_that_of_the_snapshot(low: int, width: int, offset: int, running: set[int]) -> None:
    xid = low + offset
    if xid < 0:
        return
    high = low + width
    held = {low + r for r in running if r < width}
    snapshot = f"{low}:{high}:{','.join(map(str, sorted(held)))}"
    expected = xid < low or (xid < high and xid not in held)
    assert is_visible(xid & 0xFFFFFFFF, snapshot) == expected


def test_json_of_an_array_in_the_log_is_json(log: Any, follow: Callable[..., Any]) -> None:
    first = follow()
    log.run("UPDATE t SET tags = ARRAY['a\"b', ''] WHERE id = 1")
    row = applied(first, follow(first.state, "arrow"))[1]
    assert json.loads(row["tags"]) == ['a"b', ""]
