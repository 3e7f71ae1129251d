"""DuckDB reads through Nessie and S3 what PyIceberg reads: rows, types, NULLs, deletes, evolved columns and partitions."""

from __future__ import annotations

from typing import Any

import pytest

from target_iceberg.load_plan import Column


@pytest.fixture
def reader(job: Any, duckdb_with: Any) -> Any:
    connection = duckdb_with("avro", "httpfs", "iceberg")
    s = job.servers
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{s.access_key}', SECRET '{s.secret_key}', REGION 'us-east-1', URL_STYLE 'path', "
        f"USE_SSL false, ENDPOINT '{s.s3.removeprefix('http://')}')"
    )
    return connection


@pytest.mark.parametrize("partition_by", [(), ("status",), ("bucket(3, id)",)])
def test_duckdb_reads_the_same(job: Any, reader: Any, partition_by: tuple[str, ...]) -> None:
    def order(i: int, **more: Any) -> dict[str, Any]:
        return {"id": i, "status": "new" if i % 2 else "paid", "amount": None if i % 3 == 0 else f"{i}.50", **more}

    stream = job.stream("orders", partition_by=partition_by, evolution="merge")
    assert job.run(job.plan(stream), {"orders": [order(i) for i in range(50)]}, 1).code == 0
    wider = job.stream(
        "orders",
        partition_by=partition_by,
        evolution="merge",
        columns=(*stream.columns, Column(name="note", type="string")),
    )
    assert job.run(job.plan(wider), {"orders": [order(i, note="x") for i in range(25, 75)]}, 2).code == 0
    table = job.catalog().load_table((job.namespace, "orders"))
    ours = sorted(table.scan().to_arrow().to_pylist(), key=lambda r: r["id"])
    assert len(ours) == 75
    found = reader.execute(f"SELECT * FROM iceberg_scan('{table.metadata_location}') ORDER BY id")
    assert found.to_arrow_table().to_pylist() == ours
