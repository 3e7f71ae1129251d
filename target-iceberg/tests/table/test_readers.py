"""Independent readers see what PyIceberg's own scan sees: DuckDB's Iceberg extension, which shares no code with it."""

from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.types import StringType

from target_iceberg.load_plan import Column


@pytest.fixture
def reader(duckdb_with: Any) -> Any:
    connection = duckdb_with("avro", "iceberg")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def same(bench: Any, reader: Any, plan: Any) -> list[dict[str, Any]]:
    """Rows by both; they have to be equal, types and NULLs included."""
    table = bench.lake.load(plan)
    ours = sorted(table.scan().to_arrow().to_pylist(), key=lambda r: r["id"])
    found = reader.execute(
        f"SELECT * FROM iceberg_scan('{table.metadata_location.removeprefix('file://')}') ORDER BY id"
    )
    theirs = found.to_arrow_table().to_pylist()
    assert theirs == ours
    return ours


COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string"),
    Column(name="_sdc_source_file", type="string"),
)


@pytest.mark.parametrize(
    "partition_by", [(), ("status",), ("bucket(3, id)",), ("truncate(2, _sdc_source_file)", "status")]
)
def test_appends_upserts_and_deletes(bench: Any, reader: Any, partition_by: tuple[str, ...]) -> None:
    plan = bench.plan(partition_by=partition_by)
    bench.load(plan, bench.rows(range(100)))
    bench.load(plan, bench.rows(range(50, 150), status="paid", file="b.csv"))
    assert len(same(bench, reader, plan)) == 150
    bench.load(plan, bench.rows(range(0, 150, 10), status="third", file="c.csv"))  # files that carry deletes already
    rows = same(bench, reader, plan)
    assert [r["status"] for r in rows[:12]] == ["third", *["new"] * 9, "third", "new"]


def test_a_file_that_replaces_its_rows_and_a_whole_replace(bench: Any, reader: Any) -> None:
    plan = bench.plan(key=())
    bench.load(plan, bench.rows(range(10)))
    bench.load(plan, bench.rows(range(3)), files={"a.csv"})
    assert len(same(bench, reader, plan)) == 3
    bench.load(bench.plan(write_mode="replace"), bench.rows(range(7), status="z"))
    assert len(same(bench, reader, plan)) == 7


def test_evolved_tables_and_partitions(bench: Any, reader: Any) -> None:
    bench.load(bench.plan(partition_by=("status",)), bench.rows(range(10)))
    wider = bench.plan(
        evolution="merge", columns=(*COLUMNS, Column(name="note", type="string")), partition_by=("bucket(2, id)",)
    )
    bench.load(wider, bench.rows(range(5, 15), status="paid"))
    with bench.lake.load(wider).update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("note")
    with bench.lake.load(wider).update_schema() as update:
        update.add_column("note", StringType())
    bench.load(wider, bench.rows(range(12, 20), status="third"))
    assert [r["id"] for r in same(bench, reader, wider)] == list(range(20))
