"""Which keys have rows that were written after a given publish of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan

from target_iceberg.table.bookmark import SUMMARY_PREFIX, decode

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.stage import Lakehouse


def keys_written_since(
    lake: Lakehouse, table: Table | None, plan: StreamPlan, n: int, keys: set[tuple[Any, ...]]
) -> set[tuple[Any, ...]]:
    """Those of the keys that live rows have in files which were not there when the n-th publish had landed.

    If that snapshot has expired nobody can tell, and all rows count as newer: the row in the table is the safe one.
    """
    if table is None:
        return set()
    at = _snapshot_of(lake, table, plan.stream, n)
    known = set() if at is None else {task.file.file_path for task in table.scan(snapshot_id=at).plan_files()}
    tasks = [task for task in table.scan().plan_files() if task.file.file_path not in known]
    found: set[tuple[Any, ...]] = set()
    if not tasks:
        return found
    scan = ArrowScan(table.metadata, table.io, table.schema().select(*plan.key), AlwaysTrue())
    for batch in scan.to_record_batches(tasks):
        found |= keys & set(zip(*(batch.column(k).to_pylist() for k in plan.key), strict=True))
    return found


def _snapshot_of(lake: Lakehouse, table: Table, stream: str, n: int) -> int | None:
    name = f"{SUMMARY_PREFIX}{lake.tenant}.{lake.job}.{stream}"
    for snapshot in table.metadata.snapshots:
        text = snapshot.summary.additional_properties.get(name) if snapshot.summary else None
        if text is not None and decode(text).n == n:
            return snapshot.snapshot_id
    return None
