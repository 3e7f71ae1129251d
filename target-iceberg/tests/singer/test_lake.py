"""The lake as commands see it."""

from __future__ import annotations

import os
from typing import Any

from msgspec.structs import replace

from target_iceberg import lake
from target_iceberg.load_plan import LakeCatalog


def test_an_embedded_lake_that_does_not_exist_is_empty_and_is_not_made(target: Any) -> None:
    opened = lake.open_lake(target.plan.catalog)
    assert opened.list_tables() == []
    assert opened.table("shop.orders") is None
    assert lake.bookmarks_of(target.plan) == {"orders": None}
    assert not (target.root / "lake").exists()


def test_a_table_shows_its_schema_rows_and_receipt(target: Any) -> None:
    target.run([target.order(i) for i in range(5)], {"cursor": 1})
    opened = lake.open_lake(target.plan.catalog)
    assert opened.list_tables() == ["shop.orders"]
    table = opened.table("shop.orders")
    assert table is not None
    assert table.count == 5
    assert [r["name"] for r in table.schema_rows()][:2] == ["id", "status"]
    assert table.schema_rows()[0]["key"]
    assert table.rows(2).num_rows == 2
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary["dativo.run-id"] == "run-001"
    assert snapshot.summary["dativo.stream.orders.read"] == "5"
    assert len(table.files()) == 1


def test_preflight_names_the_changes_that_a_run_would_make(target: Any) -> None:
    target.run([target.order(1)])
    stream = target.stream_plan()
    wider = target.stream_plan(
        columns=(*stream.columns, stream.columns[1].__class__(name="note", type="string")), evolution="merge"
    )
    found = lake.preflight(target.job_plan(wider))
    assert found.changes == {"shop.orders": ["+ note string"]}


def test_clean_finds_old_files_that_no_snapshot_names_and_nothing_else(target: Any) -> None:
    target.run([target.order(i) for i in range(5)])
    target.run([target.order(i, file="b.csv") for i in range(3)], {"cursor": 2})
    left = target.root / "lake/acme/warehouse/shop/orders/data/left-over.parquet"
    left.write_bytes(b"x" * 10)
    assert lake.clean(target.plan, older_than_s=3600, delete=True) == []
    hours_ago = left.stat().st_mtime - 7200
    for file in (target.root / "lake").rglob("*"):
        os.utime(file, (hours_ago, hours_ago))
    (found,) = lake.clean(target.plan, older_than_s=3600, delete=True)
    assert found.paths == [str(left)]
    assert not left.exists()
    assert target.ids() == [0, 1, 2, 3, 4]
    opened = lake.open_lake(target.plan.catalog).table("shop.orders")
    assert opened is not None
    assert opened.count == 5


def test_an_embedded_lake_may_keep_its_files_elsewhere(target: Any, tmp_path: Any) -> None:
    elsewhere = tmp_path / "elsewhere"
    catalog = LakeCatalog(kind="embedded", path="lake/acme", properties={"warehouse": f"file://{elsewhere}/acme"})
    target.plan = replace(target.plan, catalog=catalog)
    assert target.run([target.order(1)]).code == 0
    assert target.ids() == [1]
    assert list(elsewhere.rglob("acme/shop/orders/data/*.parquet"))
    assert not (target.root / "lake/acme/warehouse").exists()
