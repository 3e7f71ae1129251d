"""What people do wrong around a database, and what they are told before and while it runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.smoke


def doctor(shop: Any, code: int) -> dict[str, Any]:
    said = shop.dativo("doctor", "--format", "json", code=code)
    return next(p for p in json.loads(said[: said.rindex("]") + 1]) if p["what"] == "acme/shop postgres")


def test_doctor_tries_the_door_and_the_tables(shop: Any) -> None:
    shop.infer()
    assert doctor(shop, 0)["detail"] == "lets in; all 2 tables of the job can be read"
    right = shop.environment["PGPASSWORD"]
    shop.environment["PGPASSWORD"] = "wrong-password-1"
    found = doctor(shop, 1)
    assert "does not let in dativo" in found["detail"]
    assert "wrong-password-1" not in str(found)
    shop.environment["PGPASSWORD"] = right
    shop.sql("DROP TABLE events")
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text().replace('["public.*"]', "[public.orders, public.events]"))
    assert "public.events" in doctor(shop, 1)["detail"]


def test_all_that_is_missing_is_told_by_infer(shop: Any) -> None:
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text().replace('["public.*"]', "[public.nothing, public.nowhere]"))
    said = shop.dativo("contract", "infer", "acme/shop", code=2)
    assert "public.nothing" in said
    assert "public.nowhere" in said
    assert "discovery failed" not in said


def test_infer_leaves_contracts_that_are_there_and_writes_the_others(shop: Any) -> None:
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text().replace('["public.*"]', "[public.orders, public.events]"))
    shop.infer()
    there, gone = (shop.root / f"assets/postgres/v1.0/{name}.yaml" for name in ("orders", "events"))
    text = there.read_text() + "# by hand\n"
    there.write_text(text)
    gone.unlink()
    assert "orders.yaml: there already, and left as they are" in shop.infer()
    assert there.read_text() == text
    assert gone.exists()
    assert "there already" in shop.dativo("contract", "infer", "acme/shop", code=2)


def test_infer_gives_tables_that_differ_in_case_contracts_of_which_each_can_be_loaded(shop: Any) -> None:
    shop.sql(
        'CREATE TABLE "Orders" (id int PRIMARY KEY, changed timestamptz)', 'INSERT INTO "Orders" VALUES (1, now())'
    )
    shop.infer()
    (shop.root / "assets/postgres/v1.0/orders.yaml").unlink()
    shop.infer()  # the one that is there keeps its name, whichever comes first
    names = {file.stem for file in (shop.root / "assets/postgres/v1.0").glob("*.yaml")}
    assert names == {"orders", "Orders_2", "events"}
    shop.run(code=0)


def test_a_cursor_of_a_type_without_order_is_told(shop: Any) -> None:
    shop.sql("DROP TABLE orders", "CREATE TABLE orders (id int PRIMARY KEY, changed uuid)")
    shop.infer()
    assert "a column of this type cannot be the cursor" in shop.run(code=2)["message"]


def test_tables_that_can_have_no_contract_stop_themselves_alone(shop: Any) -> None:
    shop.sql('CREATE TABLE twins (id int PRIMARY KEY, "ID" int, changed timestamptz)', "CREATE TABLE bare ()")
    said = shop.dativo("contract", "infer", "acme/shop", code=1)
    assert "twins: gets no contract: id and ID differ in case only; exclude the table" in said
    assert "bare: gets no contract: it has no columns; exclude the table" in said
    assert "wrote assets/postgres/v1.0/orders.yaml" in said


def test_a_host_that_is_nowhere_is_not_asked_again(shop: Any) -> None:
    shop.infer()
    shop.environment["PGHOST"] = "nowhere.invalid"
    said = shop.run(code=2)["message"]
    assert "nowhere.invalid" in said
    assert "check host" in said


def test_a_directory_of_a_socket_is_not_looked_up_as_a_host(shop: Any) -> None:
    shop.infer()
    shop.environment["PGHOST"] = str(shop.root)
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text().replace("chunk_rows: 500", "retry_s: 0"))
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "json", code=2)
    assert f"{shop.root}/.s.PGSQL." in said
    assert '"event_type":"infrastructure"' not in said.replace(" ", "")


def test_tls_that_the_server_does_not_have_is_told_with_what_to_do(shop: Any) -> None:
    shop.infer()
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text().replace("source:\n", "source:\n  connection: {sslmode: require}\n"))
    said = shop.run(code=2)["message"]
    assert "does not support SSL" in said
    assert "check sslmode" in said


def test_a_cursor_without_index_is_told_by_the_first_run(shop: Any) -> None:
    shop.infer()
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "text")
    assert 'CREATE INDEX CONCURRENTLY ON "public"."orders" ("changed")' in said


@pytest.mark.parametrize("hard", [True, False])
def test_a_run_of_deletions_says_how_many(shop: Any, hard: bool) -> None:
    job = shop.root / "jobs/acme/shop.yaml"
    text = (
        job.read_text()
        .replace('["public.*"]', "[public.orders]")
        .replace("  incremental", "  detect_deletes: keys\n  incremental")
    )
    job.write_text(text + f"target: {{hard_delete: {str(hard).lower()}}}\n")
    shop.sql("CREATE INDEX ON orders (changed)")  # so that nothing is read again
    shop.infer()
    shop.run()
    shop.sql("DELETE FROM orders WHERE id <= 3")
    said = shop.run()["message"]
    assert said.startswith("removed 3 rows from postgres.orders" if hard else "published 3 rows to postgres.orders"), (
        said
    )
    assert shop.run()["message"].startswith("nothing new")
    shop.sql(
        "DELETE FROM orders WHERE id IN (4, 5, 6)",
        "UPDATE orders SET changed = '2024-06-01' WHERE id IN (7, 8)",
        "INSERT INTO orders VALUES (9001, 'x', 1, NULL, '2024-06-02'), (9002, 'x', 1, NULL, '2024-06-02')",
    )
    said = shop.run()["message"]
    assert (", removed 3 in" in said) is hard, said


def test_a_column_that_has_become_text_is_told_and_what_is_no_number_goes_to_quarantine(shop: Any) -> None:
    shop.sql("CREATE TABLE stock (id int PRIMARY KEY, qty int, changed timestamptz DEFAULT now())")
    shop.sql("INSERT INTO stock VALUES (1, 1)")
    shop.infer()
    shop.run()
    shop.sql("ALTER TABLE stock ALTER COLUMN qty TYPE text", "INSERT INTO stock VALUES (2, ''), (3, '007')")
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text() + "schema_validation_mode: warn\n")
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "text", code=1)
    assert "qty is text there and long in the contract: values are converted where they can be" in said
    assert {r["id"]: r["qty"] for r in shop.rows("postgres.stock")} == {1: 1, 3: 7}
    assert [r["value"] for r in shop.rows("postgres.stock__rejects")] == ['""']


@pytest.mark.parametrize("mode", ["strict", "relaxed"])
def test_a_column_that_the_contract_does_not_name(shop: Any, mode: str) -> None:
    shop.sql("CREATE TABLE stock (id int PRIMARY KEY, changed timestamptz DEFAULT now())")
    shop.infer()
    shop.sql("ALTER TABLE stock ADD COLUMN price numeric(5,2)", "INSERT INTO stock VALUES (1, now(), 1.25)")
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(job.read_text() + f"target: {{mode: {mode}}}\n")
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "text")
    (row,) = shop.rows("postgres.stock")
    if mode == "relaxed":
        assert str(row["price"]) == "1.25"
    else:
        assert "public.stock: has columns that the contract does not name, and that are not read: price" in said
        assert "price" not in row


def test_rows_that_share_a_key_are_told(shop: Any) -> None:
    """The server does not keep what the contract calls a key."""
    shop.sql("CREATE TABLE twins (k int, v text)", "INSERT INTO twins VALUES (1, 'a'), (1, 'b'), (2, 'c')")
    job = shop.root / "jobs/acme/shop.yaml"
    job.write_text(
        "source_connector: postgres\ntarget_connector: iceberg\nsource:\n"
        "  queries: [{name: twins, sql: SELECT * FROM twins, key: k}]\n  incremental: {strategy: full_refresh}\n"
    )
    shop.infer()
    said = shop.dativo("run", "--config", "jobs/acme/shop.yaml")
    assert "published 2 rows" in said
    assert "postgres.twins: 1 row gave way to a later one with the same key" in said
    assert shop.run()["superseded"] == 1
