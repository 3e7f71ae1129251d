"""The table <table>__rejects: records that broke the contract, published before the tables whose runs they belong to.

A reject carries its stream and n. n not greater than the stream's bookmark: settled. Greater: its run was withheld; the
stream's next publish deletes it, because the record was read again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And

from target_iceberg.load_plan import Column, StreamPlan
from target_iceberg.table.deletes import matching_rows
from target_iceberg.table.filters import among, equal, greater
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.positions import Positions
from target_iceberg.table.publisher import StreamPublish, publish_table
from target_iceberg.table.stage import Lakehouse, address, open_stage
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from pyiceberg.table import Table

SUFFIX = "__rejects"
_TYPES = {
    "tenant": "string",
    "job": "string",
    "run_id": "string",
    "stream": "string",
    "n": "long",
    "source_file": "string",
    "source_record": "long",
    "rule": "string",
    "column": "string",
    "value": "string",
    "message": "string",
    "record": "string",
    "contract_name": "string",
    "contract_version": "string",
    "rejected_at": "timestamptz",
    "reject_id": "string",
    "status": "string",
    "settled_by": "string",
}
COLUMNS = tuple(Column(name=name, type=word) for name, word in _TYPES.items())


def rejects_plan(plan: StreamPlan) -> StreamPlan:
    """Load plan of the rejects of a stream's table."""
    return StreamPlan(
        stream=plan.stream + SUFFIX,
        namespace=plan.namespace,
        table=plan.table + SUFFIX,
        columns=COLUMNS,
        write_mode="append",
        evolution="merge",
        adopt=True,
        at_least_once=True,
        partition_by=(),
        fingerprint=hashlib.sha256(plan.stream.encode()).hexdigest(),
    )


def publish_rejects(
    lake: Lakehouse, plan: StreamPlan, rejects: pa.Table, table_n: int, commit_id: str, run_id: str
) -> bool:
    """Publish the rejects of one stream, and take away those of its withheld runs, whose records were read again.

    Args:
        lake: where the tables lie.
        plan: of the stream.
        rejects: columns of COLUMNS; may be empty.
        table_n: n of the stream's bookmark in its own table, before this run publishes.
        commit_id: of this publish.
        run_id: of this run.

    Returns:
        Whether there was something to publish.
    """
    target = rejects_plan(plan)
    with lake_errors(address(target)):
        table = lake.load(target)
        stale = Positions() if table is None else _withheld(table, lake, plan.stream, table_n)
        if not rejects.num_rows and not stale.rows:
            return False
        stage = open_stage(lake, target)
        writer = DataFileWriter(
            stage.table, stage.schema, stage.spec, target.target_file_size_bytes, f"{run_id}-rejects"
        )
        writer.write(rejects)
        publish = StreamPublish(
            stage, writer.close(), None, also_delete=lambda t: _withheld(t, lake, plan.stream, table_n)
        )
        publish_table(lake, [publish], commit_id, run_id)
    return True


def mark_rejects(lake: Lakehouse, plan: StreamPlan, ids: list[str | None], status: str, by: str, run_id: str) -> int:
    """Say of rejects what became of them; returns how many there were.

    Args:
        lake: where the tables lie.
        plan: of the stream.
        ids: of the rejects.
        status: what became of them.
        by: run that settled them.
        run_id: of whoever marks them.

    Raises:
        TargetError: the lake cannot be written.
    """
    target = rejects_plan(plan)
    with lake_errors(address(target)):
        stage = open_stage(lake, target)
        mine = among("reject_id", [i for i in ids if i is not None])
        rows = stage.table.scan(row_filter=mine).to_arrow()
        n = int(rows.num_rows)
        for name, value in (("status", status), ("settled_by", by)):
            rows = rows.set_column(rows.column_names.index(name), name, pa.array([value] * n, pa.string()))
        writer = DataFileWriter(stage.table, stage.schema, stage.spec, target.target_file_size_bytes, f"{run_id}-marks")
        writer.write(rows)
        wanted = pa.array(ids, pa.string())

        def matches(batch: pa.RecordBatch) -> pa.Array:
            return pc.is_in(batch.column("reject_id").cast(pa.string()), value_set=wanted)

        publish = StreamPublish(
            stage, writer.close(), None, also_delete=lambda t: matching_rows(t, mine, ("reject_id",), matches)
        )
        publish_table(lake, [publish], f"{run_id}-marks", run_id)
        return n


def _withheld(table: Table, lake: Lakehouse, stream: str, table_n: int) -> Positions:
    row_filter = And(
        equal("tenant", lake.tenant), equal("job", lake.job), equal("stream", stream), greater("n", table_n)
    )

    def matches(batch: pa.RecordBatch) -> pa.Array:
        same = [
            pc.equal(batch.column(name).cast(pa.string()), value)
            for name, value in (("tenant", lake.tenant), ("job", lake.job), ("stream", stream))
        ]
        return pc.and_(pc.and_(pc.and_(*same[:2]), same[2]), pc.greater(batch.column("n"), table_n))

    return matching_rows(table, row_filter, ("tenant", "job", "stream", "n"), matches)
