"""Where rows lie: partitions, their evolution, and order within files."""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from target_iceberg.load_plan import Column
from target_iceberg.table import partitions, writer
from target_iceberg.table.lake_catalog import open_catalog
from target_iceberg.table.stage import Lakehouse, open_stage
from target_iceberg.table.writer import DataFileWriter

COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string"),
    Column(name="at", type="timestamptz"),
    Column(name="price", type="decimal(10,2)"),
    Column(name="ref", type="uuid"),
)


def plan(target: Any, **changes: Any) -> Any:
    settings = {"columns": COLUMNS, "replace_files": False, "rules": (), **changes}
    target.plan = target.job_plan(target.stream_plan(**settings))
    return target.plan.streams[0]


def record(i: int, **more: Any) -> dict[str, Any]:
    at = f"2026-01-{1 + i % 28:02d}T{i % 24:02d}:00:00Z"
    ref = f"{(i * 7919) % 65536:08x}-0000-4000-8000-000000000000"
    return {"id": i, "status": "abc"[i % 3], "at": at, "price": f"{(i * 37) % 1000}.50", "ref": ref, **more}


def table(target: Any) -> Any:
    catalog = open_catalog(target.plan.catalog)
    assert catalog is not None
    return catalog.load_table("shop.orders")


def data_files(target: Any) -> list[Any]:
    return [task.file for task in table(target).scan().plan_files()]


def by_duckdb(target: Any) -> list[int]:
    """Ids that an independent reader sees in the files, deletes aside."""
    paths = [f.file_path.removeprefix("file://") for f in data_files(target)]
    return sorted(r[0] for r in duckdb.sql(f"SELECT id FROM read_parquet({paths}, union_by_name=true)").fetchall())


@pytest.mark.parametrize(
    ("partition_by", "parts"),
    [
        (("status",), 3),
        (("day(at)",), 28),
        (("month(at)",), 1),
        (("year(at)",), 1),
        (("hour(at)",), 100),
        (("bucket(4, id)",), 4),
        (("truncate(50, id)",), 3),
        (("bucket(4, ref)", "status"), 12),
        (("truncate(10, price)",), None),
        (("ref",), 100),
        (("price", "status"), None),
    ],
)
def test_every_transform(target: Any, partition_by: tuple[str, ...], parts: int | None) -> None:
    plan(target, partition_by=partition_by)
    first = target.run([record(i) for i in range(1, 101)] + [record(200, status=None)], 1)
    assert first.code == 0, first.stderr
    if parts is not None and "status" not in partition_by:
        assert len({f.partition for f in data_files(target)}) in (parts, parts + 1)
    assert target.run([record(i, price="0.00") for i in range(50, 151)], 2).code == 0
    assert target.ids() == [*range(1, 151), 200]
    assert {r["id"] for r in target.rows() if r["price"] == 0} == set(range(50, 151))


def test_partitions_by_the_day_of_the_run(target: Any) -> None:
    columns = (*COLUMNS, Column(name="ingest_date", type="date"))
    plan(target, columns=columns, ingest_date=True, partition_by=("ingest_date",))
    today = dt.datetime.now(dt.timezone.utc).date()
    assert target.run([record(1), record(2)], 1).code == 0
    assert {r["ingest_date"] for r in target.rows()} <= {today, today + dt.timedelta(days=1)}
    assert "ingest_date" in data_files(target)[0].file_path


def test_partitioning_that_changes_is_a_difference_in_strict_and_one_commit_in_merge(target: Any) -> None:
    plan(target, partition_by=("status",))
    assert target.run([record(i) for i in range(30)], 1).code == 0
    plan(target, partition_by=("bucket(2, id)",))
    refused = target.run([record(30)], 2)
    assert refused.code == 2
    assert "- partitioned by status" in refused.stderr
    assert "+ partitioned by bucket(2, id)" in refused.stderr
    plan(target, partition_by=("bucket(2, id)",), evolution="merge")
    done = target.run([record(i, price="7.00") for i in range(20, 40)], 2)
    assert done.code == 0, done.stderr
    assert target.snapshots() == 2
    assert target.ids() == list(range(40))
    assert {f.spec_id for f in data_files(target)} == {0, 1}
    plan(target, partition_by=("status",), evolution="merge")  # and back again
    done = target.run([record(i, price="8.00") for i in range(10, 50)], 3)
    assert done.code == 0, done.stderr
    assert target.ids() == list(range(50))
    assert {r["id"] for r in target.rows() if r["price"] == 8} == set(range(10, 50))


def test_who_does_not_speak_of_partitioning_agrees_with_any(target: Any) -> None:
    plan(target, partition_by=("status",))
    assert target.run([record(i) for i in range(10)], 1).code == 0
    plan(target)
    assert target.run([record(10)], 2).code == 0
    assert len(table(target).spec().fields) == 1


@pytest.mark.parametrize("sort_by", [("price desc", "id"), ("at",), ("ref",), ("status", "at desc")])
@pytest.mark.parametrize("partition_by", [(), ("bucket(2, id)",)])
def test_rows_are_in_order_within_each_file(
    target: Any, sort_by: tuple[str, ...], partition_by: tuple[str, ...]
) -> None:
    plan(target, sort_by=sort_by, partition_by=partition_by)
    records = [record(i) for i in range(1, 3000)] + [record(5, status=None, at=None, price=None, ref=None), record(7)]
    done = target.run(records, 1)
    assert done.code == 0, done.stderr
    assert target.ids() == list(range(1, 3000))
    assert done.report.streams[0].superseded == 2
    order = table(target).sort_order()
    assert [f.source_id for f in order.fields] == [
        table(target).schema().find_field(s.split()[0]).field_id for s in sort_by
    ]
    assert target.run([record(i, price="3.00") for i in range(100, 200)], 2).code == 0
    assert sum(r["price"] == 3 for r in target.rows()) >= 100
    for file in data_files(target):
        assert file.sort_order_id == order.order_id
        rows = pq.read_table(file.file_path.removeprefix("file://")).to_pylist()
        for expression in reversed(sort_by):  # a stable sort by the last column first changes nothing
            column, _, direction = expression.partition(" ")
            there = [r for r in rows if r[column] is not None]
            there.sort(key=lambda r, c=column: r[c], reverse=direction == "desc")
        checked = [tuple(r[s.split()[0]] for s in sort_by) for r in rows]
        assert checked == _sorted(checked, sort_by)
    left = {f.file_path for f in data_files(target)}
    there = {f"file://{p}" for p in (target.root / "lake").rglob("*.parquet") if "deletes" not in p.name}
    assert there == left  # the files before sorting are gone


def _sorted(rows: list[tuple[Any, ...]], sort_by: tuple[str, ...]) -> list[tuple[Any, ...]]:
    for i in reversed(range(len(sort_by))):
        there = [r for r in rows if r[i] is not None]
        there.sort(key=lambda r, i=i: r[i], reverse=sort_by[i].endswith(" desc"))
        rows = there + [r for r in rows if r[i] is None]
    return rows


def test_a_sort_order_that_changes_is_a_difference_in_strict_and_taken_in_merge(target: Any) -> None:
    plan(target)
    assert target.run([record(1)], 1).code == 0
    plan(target, sort_by=("id desc",))
    assert "+ sorted by id desc" in target.run([record(2)], 2).stderr
    plan(target, sort_by=("id desc",), evolution="merge")
    assert target.run([record(2), record(3)], 2).code == 0
    assert table(target).sort_order().order_id == 1
    assert target.ids() == [1, 2, 3]


def test_a_column_that_cannot_be_sorted_by_is_named(target: Any) -> None:
    plan(target, sort_by=("nothing",))
    assert "sort_by 'nothing'" in target.run([record(1)], 1).stderr


# -- many partitions ------------------------------------------------------------------------------------------------------


def test_many_partitions_get_one_file_each_in_little_memory(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_BUFFERED_BYTES", 1 << 20)
    stream = plan(target, partition_by=("status",), key=())
    catalog = open_catalog(target.plan.catalog)
    assert catalog is not None
    stage = open_stage(Lakehouse(catalog, target.plan.catalog, "acme", "orders"), stream)
    files = DataFileWriter(stage.table, stage.schema, stage.spec, 128 << 20, "run")
    spilled = []
    monkeypatch.setattr(partitions.Spill, "add", _counted(partitions.Spill.add, spilled))
    most = 0
    for i in range(20):
        ids = pa.array(range(i * 2000, i * 2000 + 2000))
        files.write(pa.table({"id": ids, "status": pa.array([f"p{j % 500}" for j in range(2000)])}), at=i * 2000)
        most = max(most, sum(o.buffered_bytes for o in files._open.values()))
    made = files.close()
    assert spilled
    assert most < 4 << 20
    assert len(made) == 500
    assert sum(f.data_file.record_count for f in made) == 40_000
    for f in made[::100]:
        rows = pq.read_table(f.data_file.file_path.removeprefix("file://"))["id"].to_pylist()
        assert rows == sorted(rows)
        assert len(f.ordinals()) == len(rows)
        assert (f.ordinals()[1:] > f.ordinals()[:-1]).all()
    files.abort()


def _counted(add: Any, calls: list[int]) -> Any:
    def counted(self: Any, buffers: Any) -> None:
        calls.append(len(buffers))
        add(self, buffers)

    return counted


def test_abort_leaves_nothing_of_many_partitions(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_BUFFERED_BYTES", 1 << 18)
    stream = plan(target, partition_by=("id",))
    catalog = open_catalog(target.plan.catalog)
    assert catalog is not None
    stage = open_stage(Lakehouse(catalog, target.plan.catalog, "acme", "orders"), stream)
    files = DataFileWriter(stage.table, stage.schema, stage.spec, 128 << 20, "run")
    for i in range(10):
        files.write(pa.table({"id": pa.array(range(i * 100, i * 100 + 100))}), at=i * 100)
    files.abort()
    assert list((target.root / "lake").rglob("*.parquet")) == []
