"""An embedded lake per test, and a short way to publish rows into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest

from target_iceberg.load_plan import Column, LakeCatalog, StreamPlan
from target_iceberg.table.key_index import KeyIndex
from target_iceberg.table.lake_catalog import open_catalog
from target_iceberg.table.positions import Positions
from target_iceberg.table.publisher import Published, StreamPublish, publish_table
from target_iceberg.table.stage import Lakehouse, Stage, open_stage
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = StreamPlan(
    stream="orders",
    namespace=("shop",),
    table="orders",
    columns=(
        Column(name="id", type="long", required=True),
        Column(name="status", type="string"),
        Column(name="_sdc_source_file", type="string"),
    ),
    key=("id",),
    write_mode="upsert",
    replace_files=True,
    fingerprint="f1",
)


def plan(**changes: Any) -> StreamPlan:
    """The orders stream, changed."""
    return msgspec.structs.replace(ORDERS, **changes)


def rows(ids: Any, status: str = "new", file: str = "a.csv") -> pa.Table:
    """Orders with these ids."""
    ids = list(ids)
    return pa.table(
        {"id": pa.array(ids, pa.int64()), "status": [status] * len(ids), "_sdc_source_file": [file] * len(ids)},
        schema=pa.schema([("id", pa.int64()), ("status", pa.string()), ("_sdc_source_file", pa.string())]),
    )


class Bench:
    """A lake and one job that loads into it."""

    plan = staticmethod(plan)
    rows = staticmethod(rows)
    other_job: Any

    def __init__(self, root: Path, job: str = "j") -> None:
        self.settings = LakeCatalog(kind="embedded", path=str(root / "lake"))
        catalog = open_catalog(self.settings)
        assert catalog is not None
        self.lake = Lakehouse(catalog, self.settings, "acme", job)
        self._count = 0
        self.other_job = lambda name: Bench(root, name)

    def stage(self, stream: StreamPlan, table: pa.Table) -> StreamPublish:
        """Stage rows as a run would."""
        self._count += 1
        stage: Stage = open_stage(self.lake, stream)
        writer = DataFileWriter(stage.table, stage.schema, stage.spec, 1 << 20, f"run-{self.lake.job}-{self._count}")
        writer.write(table)
        files = writer.close()
        unwanted = Positions()
        if stream.key and files:
            with KeyIndex(stage.table.io, files, [stage.schema.find_field(k).field_id for k in stream.key]) as index:
                unwanted = index.superseded()
        return StreamPublish(stage, files, {"bookmark": {"i": self._count}}, unwanted=unwanted)

    def publish(self, staged: StreamPublish, commit_id: str | None = None) -> Published:
        """Publish what was staged."""
        number = commit_id or f"commit-{self.lake.job}-{self._count}"
        return publish_table(self.lake, [staged], number, f"run-{self._count}")

    def load(self, stream: StreamPlan, table: pa.Table, files: set[str] | None = None) -> Published:
        """Stage and publish."""
        staged = self.stage(stream, table)
        staged.replaced_files = files or set()
        return self.publish(staged)

    def ids(self, stream: StreamPlan = ORDERS) -> list[int]:
        """Ids in the table, sorted."""
        table = self.lake.load(stream)
        assert table is not None
        return sorted(table.scan().to_arrow()["id"].to_pylist())

    def snapshots(self, stream: StreamPlan = ORDERS) -> int:
        """How many snapshots the table has."""
        table = self.lake.load(stream)
        return 0 if table is None else len(table.snapshots())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh lake."""
    return Bench(tmp_path)
