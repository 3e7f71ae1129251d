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


def test_a_table_tells_of_its_files(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False))
    target.run([target.order(i) for i in range(5)], 1)
    target.run([target.order(2), target.order(7)], 2)
    table = lake.open_lake(target.plan.catalog).table("shop.orders")
    assert table is not None
    health = table.file_health()
    assert (health.files, health.delete_files, health.snapshots) == (2, 1, 2)
    sizes = sorted(size for _, size, _ in table.files())
    assert (health.smallest_bytes, health.average_bytes) == (sizes[0], sum(sizes) // 2)


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


def verified(target: Any, snapshot_id: int | None = None) -> Any:
    table = lake.open_lake(target.plan.catalog).table("shop.orders")
    assert table is not None
    return table.verify(snapshot_id)


def test_a_receipt_tells_what_a_run_did(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False))
    done = target.run([target.order(1), target.order(2)], 1)
    assert done.code == 0, done.stderr
    target.run([target.order(2), target.order(2), target.order(3)], 2)
    table = lake.open_lake(target.plan.catalog).table("shop.orders")
    receipt = table.current_snapshot().summary
    stream = {k.removeprefix("dativo.stream.orders."): v for k, v in receipt.items() if k.startswith("dativo.stream.")}
    assert stream | {"contract": "", "contract-digest": ""} == {
        "read": "3",
        "published": "2",
        "rejected": "0",
        "superseded": "1",
        "deleted": "0",
        "withheld": "0",
        "write-mode": "upsert",
        "bookmark-before": "1",
        "bookmark-after": "2",
        "contract": "",
        "contract-digest": "",
    }
    assert {"dativo.run-id", "dativo.commit-id", "dativo.tenant", "dativo.job", "dativo.files-digest"} <= set(receipt)


def test_a_snapshot_is_what_its_receipt_says_until_a_file_changes(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False))
    target.run([target.order(1)], 1)
    first = lake.open_lake(target.plan.catalog).table("shop.orders").current_snapshot().snapshot_id
    target.run([target.order(2), target.order(3)], 2)
    assert verified(target).problems == []
    assert verified(target).files == 1
    assert verified(target, first).problems == []
    (file,) = list((target.root / "lake").rglob("run-001*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert verified(target).problems == []
    assert "at least one was changed" in verified(target, first).problems[0]
    file.write_bytes(whole[:-1])
    assert "the manifest says" in verified(target, first).problems[0]
    file.unlink()
    assert "cannot be read" in verified(target, first).problems[0]
    assert "there is no snapshot 7" in verified(target, 7).problems[0]


def test_a_column_description_follows_the_contract_in_every_mode(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False))
    target.run([target.order(1)], 1)
    (stream,) = target.plan.streams
    columns = tuple(replace(c, doc=f"The {c.name}.") for c in stream.columns)
    target.plan = target.job_plan(replace(stream, columns=columns))
    assert target.run([target.order(2)], 2).code == 0
    table = lake.open_lake(target.plan.catalog).table("shop.orders")
    assert "The status." in str(table.schema_rows())
