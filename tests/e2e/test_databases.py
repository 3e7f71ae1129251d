"""From a database to tables through `dativo run`: contracts inferred, first load, changes, a kill, bad values."""

from __future__ import annotations

import json
import os
import re
import uuid
from typing import TYPE_CHECKING, Any

import duckdb
import pymysql
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.smoke


def test_from_a_database_to_tables_that_are_kept_up(shop: Any) -> None:
    assert "no contract is for a table that 'public.*' means" in shop.dativo("validate", code=2)
    said = shop.infer()
    assert re.findall(r"wrote \S+/(\w+)\.yaml", said) == ["events", "orders"]
    assert (shop.root / "assets/postgres/v1.0/orders.yaml").read_text().count("required: true") == 2, (
        "id and customer_email"
    )
    contract = (shop.root / "assets/postgres/v1.0/orders.yaml").read_text()
    for line in (
        'description: "Orders of the shop."', 'description: "With tax."', "classification: PII", "primaryKey: true",
        'type: "decimal(10,2)"', "type: array",
    ):  # fmt: skip
        assert line in contract
    shop.run()
    orders = shop.rows("postgres.orders")
    assert len(orders) == 5000
    assert len(shop.rows("postgres.events")) == 10
    shop.sql(
        "UPDATE orders SET total = -1, changed = '2024-05-01' WHERE id IN (7, 4000)",
        "INSERT INTO events VALUES ('late', '2024-05-01')",
    )
    assert shop.run()["published"] == 4, "two that changed, the one at the bookmark, and an event"
    orders = shop.rows("postgres.orders")
    assert len(orders) == 5000
    assert sorted(r["id"] for r in orders if float(r["total"]) == -1) == [7, 4000]
    assert len(shop.rows("postgres.events")) == 11, "what has no key is appended, and nothing twice"


def test_a_table_that_is_new_there_gets_its_contract(shop: Any) -> None:
    shop.infer()
    shop.sql("CREATE TABLE items (id int PRIMARY KEY, changed timestamptz)", "INSERT INTO items VALUES (1, now())")
    said = shop.infer()
    assert "events, orders: there already" in said
    assert re.findall(r"wrote \S+/(\w+)\.yaml", said) == ["items"]
    shop.run()
    assert len(shop.rows("postgres.items")) == 1


def test_tables_of_any_name_get_contracts_that_fit_and_rows(shop: Any) -> None:
    shop.sql("CREATE SCHEMA \"we.ird\"", *(
        f"CREATE TABLE {name} (id int PRIMARY KEY, changed timestamptz DEFAULT now())"
        for name in ('public."dot.ted"', "public.dot_ted", '"we.ird"."Ünï ""q"" tab.le"')
    ))  # fmt: skip
    shop.sql('INSERT INTO public."dot.ted" VALUES (1)', 'INSERT INTO "we.ird"."Ünï ""q"" tab.le" VALUES (2)')
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(shop.job.replace('"public.*"', '"public.*", \'"we.ird".*\''))
    shop.infer()
    assert shop.run()["outcome"] == "published"
    assert [r["id"] for r in shop.rows("postgres.dot_ted_2")] == [1]
    assert [r["id"] for r in shop.rows("postgres.Ünï__q__tab_le")] == [2]


@pytest.mark.parametrize("strategy", ["incremental", "full_refresh"])
def test_a_load_that_is_killed_goes_on_where_it_was(shop: Any, strategy: str) -> None:
    """What was staged is not read again, and the table is as if nothing had happened."""
    shop.infer()
    if strategy == "full_refresh":
        job = shop.root / "jobs/acme/shop.yaml"
        job.write_text(shop.job.replace("{cursor_field: changed}", "{strategy: full_refresh}"))
        shop.run()
        shop.sql("DELETE FROM orders WHERE id = 1")
    shop.environment |= {"DATIVO_CHECKPOINT_EVERY_S": "0", "DATIVO_TEST_CRASH_AT": "checkpoint_written:3"}
    shop.run(code=2)
    del shop.environment["DATIVO_TEST_CRASH_AT"]
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "json")
    events = [json.loads(line) for line in said.splitlines()]
    assert "checkpoint_adopted" in {e["event_type"] for e in events}
    read = next(e["rows"] for e in events if e["event_type"] == "table_read" and e["stream"] == "orders")
    assert 0 < read <= 4000
    first = 2 if strategy == "full_refresh" else 1
    assert sorted(r["id"] for r in shop.rows("postgres.orders")) == list(range(first, 5001))
    assert len(shop.rows("postgres.events")) == 10


def test_values_without_room_are_rejected_with_their_reason(shop: Any) -> None:
    shop.infer()
    shop.sql("INSERT INTO orders VALUES (9999, 'x', 'NaN', NULL, '2024-06-01')")
    assert shop.run(code=2)["outcome"] == "withheld"
    rejects = shop.rows("postgres.orders__rejects")
    assert [(r["rule"]) for r in rejects] == ["orders.total.type"]


SHEET = {
    # column: (PostgreSQL's type, MariaDB's type, canonical text in PostgreSQL, MariaDB, and DuckDB over the table's files)
    "id": ("bigint PRIMARY KEY", "bigint PRIMARY KEY", "{c}", "{c}", "{c}"),
    "note": ("text", "text", "{c}", "{c}", "{c}"),
    "amount": ("numeric(12,2)", "decimal(12,2)", "{c}", "{c}", "{c}"),
    "weight": ("float8", "double", "({c} * 8)::bigint", "CAST({c} * 8 AS SIGNED)", "({c} * 8)::BIGINT"),
    "paid": ("boolean", "tinyint(1)", "{c}::int", "{c}", "{c}::INT"),
    "day": ("date", "date", "{c}", "{c}", "{c}"),
    "at": (
        "timestamp", "datetime(6)", "(extract(epoch FROM {c}) * 1000000)::bigint",
        "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {c})", "epoch_us({c})",
    ),
    "ref": ("uuid", "uuid", "{c}", "{c}", "{c}"),
    "raw": ("bytea", "blob", "encode({c}, 'hex')", "LOWER(HEX({c}))", "lower(hex({c}))"),
}  # fmt: skip
SUMS = (
    "sum(('x' || substr(md5(coalesce({t}::text, '-')), 1, 8))::bit(32)::bigint)::text",
    "CAST(SUM(CONV(SUBSTR(MD5(COALESCE({t}, '-')), 1, 8), 16, 10)) AS DECIMAL(30))",
    "sum(('0x' || substr(md5(coalesce(({t})::VARCHAR, '-')), 1, 8))::BIGINT)",
)


def checksums(database: int, table: str) -> str:
    """A query for one sum per column."""
    quote = ('"', "`", '"')[database]
    each = [SUMS[database].format(t=t[2 + database].format(c=f"{quote}{c}{quote}")) for c, t in SHEET.items()]
    return f"SELECT {', '.join(each)} FROM {table}"


def in_the_lake(shop: Any, kind: str) -> list[int]:
    files = f"read_parquet('{shop.root}/lake/acme/warehouse/{kind}/sheet/data/**/*.parquet')"
    return [int(v) for v in duckdb.execute(checksums(2, files)).fetchall()[0]]


def job_of_sheet(shop: Any, kind: str, table: str) -> None:
    (shop.root / "jobs/acme/shop.yaml").write_text(
        f"source_connector: {kind}\ntarget_connector: iceberg\n"
        f"source: {{tables: [{{name: {table}, object: sheet}}], incremental: {{strategy: full_refresh}}}}\n"
    )
    shop.dativo("contract", "infer", "acme/shop")
    contract = shop.root / f"assets/{kind}/v1.0/sheet.yaml"
    contract.write_text(contract.read_text().replace("status: draft", "status: active"))
    shop.run()


def test_every_column_of_postgresql_has_the_same_checksum_in_the_lake(shop: Any) -> None:
    """Computed by the database, and by DuckDB over the Parquet files."""
    columns = ", ".join(f'"{c}" {t[0]}' for c, t in SHEET.items())
    shop.sql(
        f"CREATE TABLE sheet ({columns})",
        "INSERT INTO sheet SELECT i, E'naïve \n 🚀 \t' || i, CASE WHEN i % 7 > 0 THEN i / 8.0 END, -i * 0.125, i % 3 = 0, "
        "date '2000-01-01' + i % 9000, timestamp '1969-01-01' + i * interval '77.000001 s', md5(i::text)::uuid, decode(md5(i::text), 'hex') "
        "FROM generate_series(1, 20000) i",
    )
    job_of_sheet(shop, "postgres", "public.sheet")
    assert in_the_lake(shop, "postgres") == [int(v) for v in shop.query(checksums(0, "sheet"))[0]]


def test_every_column_of_mysql_has_the_same_checksum_in_the_lake(
    tmp_path: Path, mariadb_server: Any, make_shop: Any
) -> None:
    name, server = f"e{uuid.uuid4().hex[:16]}", mariadb_server
    admin = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
    )
    columns = ", ".join(f"`{c}` {t[1]}" for c, t in SHEET.items())
    with admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"USE {name}")
        cursor.execute(f"CREATE TABLE sheet ({columns}) CHARACTER SET utf8mb4")
        cursor.execute(
            "INSERT INTO sheet SELECT seq, CONCAT('naïve \n 🚀 \t', seq), CASE WHEN seq % 7 > 0 THEN seq / 8 END, -seq * 0.125, seq % 3 = 0, "
            "'2000-01-01' + INTERVAL (seq % 9000) DAY, '1969-01-01' + INTERVAL (seq * 77000001) MICROSECOND, "
            "CONCAT('00000000-0000-4000-8000-', LPAD(HEX(seq), 12, '0')), UNHEX(MD5(seq)) FROM seq_1_to_20000"
        )
        where = {"MYSQL_HOST": server.host, "MYSQL_PORT": str(server.port), "MYSQL_DATABASE": name}
        who = {"MYSQL_USER": server.user, "MYSQL_PASSWORD": server.password}
        shop = make_shop(tmp_path, {**os.environ, **where, **who}, "")
        job_of_sheet(shop, "mysql", f"{name}.sheet")
        cursor.execute(checksums(1, "sheet"))
        assert in_the_lake(shop, "mysql") == [int(v) for v in cursor.fetchall()[0]]
        cursor.execute(f"DROP DATABASE {name}")


def test_a_wrong_password_is_said_and_not_shown(shop: Any) -> None:
    shop.infer()
    shop.environment["PGPASSWORD"] = "wrong-password-1"
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", code=2)
    assert "does not let in dativo" in said
    assert "wrong-password-1" not in said


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("lane", ["arrow", "record"])
def test_rows_that_are_gone_are_found_by_their_keys(shop: Any, hard: bool, lane: str) -> None:
    """Also when the first run that looks is killed, and when the table was loaded before anybody looked."""
    job = shop.root / "jobs/acme/shop.yaml"
    plain = shop.job.replace('["public.*"]', '["public.orders"]') + f"target: {{hard_delete: {str(hard).lower()}}}\n"
    if lane == "record":
        plain = plain.replace("{chunk_rows: 500}", "{chunk_rows: 500, batch_config: null}")
    watching = plain.replace("  exclude:", "  detect_deletes: keys\n  exclude:")
    job.write_text(plain)
    shop.infer()
    shop.run()
    shop.sql("DELETE FROM orders WHERE id IN (3, 4)")
    shop.run()
    assert len(shop.rows("postgres.orders")) == 5000
    job.write_text(watching)
    shop.environment["DATIVO_TEST_CRASH_AT"] = "before_commit"
    shop.run(code=2)
    del shop.environment["DATIVO_TEST_CRASH_AT"]

    def gone() -> list[int]:
        rows = {r["id"]: r for r in shop.rows("postgres.orders")}
        marked = {i for i, r in rows.items() if r.get("_sdc_deleted_at") is not None and i <= 5000}
        assert all(rows[i]["customer_email"] == f"a{i}@b.example" for i in marked)
        return sorted({*range(1, 5001)} - rows.keys() | marked)

    shop.run()
    assert gone() == [3, 4]
    shop.sql("DELETE FROM orders WHERE id = 4999", "INSERT INTO orders VALUES (6000, 'x', 1, NULL, '2024-05-01')")
    assert shop.run()["outcome"] == "published"
    assert gone() == [3, 4, 4999]
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "json")
    assert "keys_listed" not in said, "nothing has come or gone"
    assert gone() == [3, 4, 4999]
    shop.sql("DELETE FROM orders")
    assert "is empty; the lake keeps its rows" in shop.dativo("run", "--config", "jobs/acme/shop.yaml")
    assert gone() == [3, 4, 4999]
    job.write_text(watching.replace("target: {", "target: {allow_empty: true, "))
    shop.run()
    assert gone() == [*range(1, 5001)]


def test_the_log_is_followed_with_its_deletes(shop: Any) -> None:
    """A kill between staging and publishing loses nothing, and the slot waits for the lake."""
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(
        shop.job.replace('["public.*"]', '["public.orders"]').replace(
            "{cursor_field: changed}", "{strategy: log_based}"
        )
        + "target: {hard_delete: true}\n"
    )
    shop.infer()
    slot = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()"
    try:
        shop.run()
        begun = shop.query(slot)
        shop.sql(
            "DELETE FROM orders WHERE id <= 10",
            "UPDATE orders SET total = -1 WHERE id = 11",
            "INSERT INTO orders VALUES (6000, 'x', 1)",
        )
        shop.environment["DATIVO_TEST_CRASH_AT"] = "before_commit"
        shop.run(code=2)
        del shop.environment["DATIVO_TEST_CRASH_AT"]
        shop.run("--dry-run")
        assert shop.query(slot) == begun
        shop.run()
        rows = {r["id"]: r for r in shop.rows("postgres.orders")}
        assert sorted(rows) == [*range(11, 5001), 6000]
        assert float(rows[11]["total"]) == -1
        shop.run()
        assert shop.query(slot) != begun
        assert len(shop.rows("postgres.orders")) == 4991
        shop.sql(
            "INSERT INTO orders VALUES (7000, 'x', 1)", "TRUNCATE orders", "INSERT INTO orders VALUES (1, 'new', 2)"
        )
        shop.run()
        assert [(r["id"], r["customer_email"]) for r in shop.rows("postgres.orders")] == [(1, "new")]
    finally:
        shop.query(
            "SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE database = current_database()"
        )


def test_mysql_is_loaded_and_kept_up(tmp_path: Path, mariadb_server: Any, make_shop: Any) -> None:
    name = f"e{uuid.uuid4().hex[:16]}"
    server = mariadb_server
    admin = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
    )
    with admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"USE {name}")
        cursor.execute(
            "CREATE TABLE orders (id bigint unsigned PRIMARY KEY COMMENT 'Number.', email varchar(99) NOT NULL, paid tinyint(1), "
            "total decimal(10,2), changed datetime(6) NOT NULL, KEY (changed)) COMMENT 'Orders of the shop.'"
        )
        cursor.execute(
            "INSERT INTO orders SELECT seq, CONCAT(seq, '@b.example'), 1, seq, '2024-01-01' + INTERVAL seq SECOND FROM seq_1_to_5000"
        )
        where = {"MYSQL_HOST": server.host, "MYSQL_PORT": str(server.port), "MYSQL_DATABASE": name}
        who = {"MYSQL_USER": server.user, "MYSQL_PASSWORD": server.password}
        shop = make_shop(tmp_path, {**os.environ, **where, **who}, "")
        job = shop.root / "jobs/acme/shop.yaml"
        job.write_text(
            shop.job.replace("postgres", "mysql").replace("public.*", f"{name}.*").replace("public.", f"{name}.")
        )
        shop.dativo("contract", "infer", "acme/shop")
        contract = shop.root / "assets/mysql/v1.0/orders.yaml"
        text = contract.read_text()
        assert 'type: "decimal(20,0)"' in text
        assert "description: Number." in text
        contract.write_text(text.replace("status: draft", "status: active"))
        shop.run()
        cursor.execute("UPDATE orders SET total = -1, changed = '2024-05-01' WHERE id IN (7, 4000)")
        assert shop.run()["published"] == 3
        rows = shop.rows("mysql.orders")
        assert len(rows) == 5000
        assert sorted(int(r["id"]) for r in rows if float(r["total"]) == -1) == [7, 4000]
        cursor.execute(f"DROP DATABASE {name}")


def test_the_least_and_the_greatest_key_come_and_go(shop: Any) -> None:
    job = shop.root / "jobs/acme/shop.yaml"
    text = shop.job.replace('["public.*"]', "[public.orders]").replace(
        "{cursor_field: changed}", "{strategy: full_refresh}"
    )
    text = text.replace("  incremental", "  detect_deletes: keys\n  incremental")
    job.write_text(text + "target: {hard_delete: true, write_mode: upsert}\n")
    shop.sql("DELETE FROM orders WHERE id > 100")
    shop.infer()
    shop.run()
    least, greatest = -(2**63), 2**63 - 1
    shop.sql(f"INSERT INTO orders VALUES ({least}, 'x', 1), ({greatest}, 'x', 1)", "DELETE FROM orders WHERE id = 50")
    shop.run()
    keys = {r["id"] for r in shop.rows("postgres.orders")}
    assert keys == {least, greatest, *range(1, 101)} - {50}
    shop.sql(f"DELETE FROM orders WHERE id IN ({least}, {greatest})")
    shop.run()
    assert {r["id"] for r in shop.rows("postgres.orders")} == set(range(1, 101)) - {50}
