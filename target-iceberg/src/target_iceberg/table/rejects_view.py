"""Rejects as people and a replay see them: what became of each, and whether it can be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import And

from target_iceberg.records.rejects import MASK, MAX_RECORD_CHARACTERS, classified_names
from target_iceberg.table.filters import equal
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.rejects_table import rejects_plan
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from target_iceberg.load_plan import Column, StreamPlan
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.stage import Lakehouse

OPEN, WITHHELD, REPLAYED, CLOSED = "open", "withheld", "replayed", "closed"


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One rejected record."""

    id: str | None
    table: str
    """Of the rows that the record belongs to."""
    stream: str
    n: int
    run_id: str
    rule: str
    column: str | None
    message: str
    value: str | None
    record: str
    source_file: str | None
    source_record: int | None
    contract_version: str | None
    rejected_at: dt.datetime
    status: str
    """open; withheld: its run published nothing and the record is read again; replayed; closed: a later replace read all
    again."""
    not_replayable: str | None
    """Why it cannot be replayed; None: it can."""


def rejects_of(lake: Lakehouse, plan: StreamPlan) -> Iterator[Reject]:
    """All rejects of a stream of the job, oldest first.

    Raises:
        TargetError: the lake cannot be read.
    """
    where = address(plan)
    with lake_errors(where):
        table, data = lake.load(rejects_plan(plan)), lake.load(plan)
        if table is None:
            return
        mark = None if data is None else lake.bookmark(data.metadata, plan.stream)
        mine = And(equal("tenant", lake.tenant), equal("job", lake.job), equal("stream", plan.stream))
        found = table.scan(row_filter=mine).to_arrow().to_pylist()
    for row in sorted(found, key=lambda r: (r["n"], r["rejected_at"], r.get("reject_id") or "")):
        status = row.get("status") or _status(row["n"], mark, plan)
        yield Reject(
            id=row.get("reject_id"),
            table=where,
            status=status,
            not_replayable=_not_replayable(row, status, plan),
            **{name: row[name] for name in _SAME},
        )


_SAME = (
    "stream", "n", "run_id", "rule", "column", "message", "value", "record", "source_file", "source_record",
    "contract_version", "rejected_at",
)  # fmt: skip


def _status(n: int, mark: Bookmark | None, plan: StreamPlan) -> str:
    published = mark.n if mark is not None else 0
    if n > published:
        return WITHHELD
    return CLOSED if plan.write_mode == "replace" and n < published else OPEN


def _not_replayable(row: dict[str, Any], status: str, plan: StreamPlan) -> str | None:
    if status != OPEN:
        return {WITHHELD: "its run published nothing; the next run reads the record again"}.get(
            status, f"it is {status}"
        )
    if row.get("reject_id") is None:
        return "it was written by a version that did not number rejects"
    if not row["record"].startswith("{"):
        return "the record was no JSON object, or is masked as a whole"
    if len(row["record"]) >= MAX_RECORD_CHARACTERS and row["record"].endswith("…"):
        return "the record was too long to be stored whole"
    classified = classified_names(plan.columns)
    if row["column"] is not None and row["column"].split(".")[0] in classified:
        return f"the violated column '{row['column']}' is masked"
    return None


def without_masks(record: dict[str, Any], columns: tuple[Column, ...]) -> dict[str, Any]:
    """A stored record as it can be loaded: masked text stays masked, masked values of other types are absent."""
    kinds = {c.name: c for c in columns}
    return {
        name: value
        for name, value in record.items()
        if value != MASK or name not in kinds or (kinds[name].type == "string" and kinds[name].encoding is None)
    }
