"""Three bad rows in ten thousand: strict publishes no data and names them, warn publishes the rest."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest

pytestmark = pytest.mark.smoke
JOB = """\
tenant_id: demo
source_connector: csv
target_connector: iceberg
asset: orders
schema_validation_mode: {mode}
source:
  files: [{{path: "data/*.csv", object: orders}}]
"""
CONTRACT = """\
apiVersion: v3.0.2
kind: DataContract
id: orders
name: orders
version: "1.0.0"
status: active
domain: shop
schema:
  - {name: order_id, type: bigint, required: true, primaryKey: true}
  - {name: status, type: string, enum: [new, paid]}
  - {name: amount, type: "decimal(12,2)", minimum: 0}
"""
ROWS = 10_000


@pytest.fixture
def shop(project: Any) -> Any:
    """A project with one file of ten thousand orders, three of them bad."""
    lines = [f"{i},{('new', 'paid')[i % 2]},{i / 100:.2f}" for i in range(1, ROWS + 1)]
    lines[99] = "100,lost,1.00"  # not in the enum
    lines[4_999] = "5000,new,cheap"  # not a number
    lines[9_998] = "9999,paid,-5.00"  # below the minimum
    (project.root / "data").mkdir()
    (project.root / "data/orders.csv").write_text("order_id,status,amount\n" + "\n".join(lines) + "\n")
    (project.root / "assets/csv/v1.0/orders.yaml").write_text(CONTRACT)
    return project


def use(shop: Any, mode: str) -> None:
    (shop.root / "jobs/demo/orders.yaml").write_text(JOB.format(mode=mode))


def rejects(shop: Any) -> list[tuple[str, int, str, str, str]]:
    rows = shop.table("shop.orders__rejects")["rows"]
    return sorted((r["source_file"], r["source_record"], r["column"], r["rule"], r["value"]) for r in rows)


EXPECTED = [
    ("data/orders.csv", 101, "status", "orders.status.enum"),
    ("data/orders.csv", 5001, "amount", "orders.amount.type"),
    ("data/orders.csv", 10000, "amount", "orders.amount.minimum"),
]


def test_strict_publishes_no_data_and_names_the_three_records(shop: Any) -> None:
    use(shop, "strict")
    last = shop.run(code=2)
    assert last["outcome"] == "withheld"
    assert not last["retryable"]
    got = rejects(shop)
    assert [r[:4] for r in got] == sorted(EXPECTED)
    assert [r[4] for r in got if r[2] == "status"] == ['"lost"']
    assert "shop.orders" not in shop.dativo("table", "list", "--tenant", "demo").stdout.replace(
        "shop.orders__rejects", ""
    )


def test_warn_publishes_the_good_rows_and_exits_one(shop: Any) -> None:
    use(shop, "warn")
    last = shop.run(code=1)
    assert (last["published"], last["rejected"]) == (ROWS - 3, 3)
    assert len(shop.table("shop.orders")["rows"]) == ROWS - 3
    assert [r[:4] for r in rejects(shop)] == sorted(EXPECTED)


def test_mended_records_replace_what_was_withheld(shop: Any) -> None:
    use(shop, "strict")
    shop.run(code=2)
    file = shop.root / "data/orders.csv"
    file.write_text(file.read_text().replace("lost", "new").replace("cheap", "7").replace("-5.00", "5.00"))
    assert shop.run()["published"] == ROWS
    assert rejects(shop) == []


def test_a_full_disk_publishes_nothing_and_the_next_run_does(shop: Any) -> None:
    lines = [f"{i},new,{i % 977}.{i % 100:02d}" for i in range(200_000)]
    (shop.root / "data/orders.csv").write_text("order_id,status,amount\n" + "\n".join(lines) + "\n")
    use(shop, "strict")
    shop.run("customers")  # what a first run writes is there
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, hard))  # inherited: no file may grow beyond
    try:
        last = shop.run(code=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "too large" in last["message"]
    assert shop.run()["published"] == len(lines)


def test_a_lake_that_may_not_be_written_is_said_plainly(shop: Any) -> None:
    use(shop, "warn")
    (shop.root / "lake").mkdir()
    (shop.root / "lake/demo").write_text("not a directory")
    last = shop.run(code=2)
    assert "lake/demo" in last["message"] + str(last.get("failure", ""))


def test_rejects_are_listed_shown_corrected_and_replayed(shop: Any, tmp_path: Any) -> None:
    job = "jobs/demo/orders.yaml"
    use(shop, "warn")
    shop.run(code=1)
    before = len(shop.table("shop.orders")["rows"])
    listed = json.loads(shop.dativo("rejects", "list", job, "--format", "json").stdout)
    assert listed
    assert {r["status"] for r in listed} == {"open"}
    shown = json.loads(shop.dativo("rejects", "show", job, "--format", "json").stdout)
    assert len(shown) == sum(r["records"] for r in listed)
    assert shop.dativo("rejects", "replay", job, "--dry-run", code=1).stdout.startswith("orders: 0 would be published")
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"id": 1}\n\n{"set": {}}\n')
    assert "line 1, 3" in shop.dativo("rejects", "replay", job, "--corrections", wrong, code=2).stderr
    wrong.write_text('{"id": "nothing", "set": {}}')
    assert (
        "no reject has the id nothing" in shop.dativo("rejects", "replay", job, "--corrections", wrong, code=2).stderr
    )
    one = next(r for r in shown if r["not_replayable"] is None)
    good = next(r for r in shop.table("shop.orders")["rows"])
    mended = {k: v for k, v in good.items() if not k.startswith("_") and k != "order_id"}
    file = tmp_path / "mended.jsonl"
    file.write_text(json.dumps({"id": one["id"], "set": {**mended, "order_id": 987654}}) + "\n")
    done = shop.dativo("rejects", "replay", job, "--corrections", file)
    assert "1 published" in done.stdout
    assert len(shop.table("shop.orders")["rows"]) == before + 1
    assert "replayed" in shop.dativo("rejects", "list", job).stdout
