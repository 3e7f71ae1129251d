"""The content digest in receipts: kept up by every kind of change, and found again from the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table.snapshots import Operation

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import Column
from target_iceberg.table import content
from target_iceberg.table.content import CONTENT_DIGEST, verify_content
from target_iceberg.table.reset import reset_bookmark

if TYPE_CHECKING:
    from pyiceberg.table import Table


def table_of(bench: Any) -> Table:
    table = bench.lake.load(bench.plan())
    assert table is not None
    return table


def require_true(bench: Any) -> str:
    """The receipt of the current snapshot is what its rows give; returns it."""
    table = table_of(bench)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    found = verify_content(table, snapshot.snapshot_id)
    assert found is not None
    have, said = found
    assert have == said
    assert have.rows == table.scan().to_arrow().num_rows
    return str(said)


def digests(bench: Any) -> list[str | None]:
    return [s.summary.additional_properties.get(CONTENT_DIGEST) for s in table_of(bench).snapshots()]


def test_it_follows_appends_upserts_and_replaced_files(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = bench.plan(content_digest=True)
    bench.load(plan, bench.rows(range(100)))
    first = require_true(bench)
    monkeypatch.setattr(
        content, "_live", None
    )  # from here on it goes from receipt to receipt, without reading the table
    bench.load(plan, bench.rows([5, 5, 50, 200], status="paid"))
    bench.load(plan, bench.rows(range(30), file="b.csv"), files={"a.csv"})
    monkeypatch.undo()
    require_true(bench)
    assert bench.ids() == list(range(30))
    bench.load(plan, bench.rows(range(100)), files={"b.csv"})
    assert require_true(bench) == first


def test_it_begins_with_all_rows_where_there_was_none(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows(range(10)))
    bench.load(bench.plan(), bench.rows([3, 4], status="paid"))
    assert digests(bench) == [None, None]
    bench.load(bench.plan(content_digest=True), bench.rows([4, 11]))
    require_true(bench)


def test_it_follows_replace_and_evolution(bench: Any) -> None:
    plan = bench.plan(content_digest=True, evolution="merge")
    bench.load(plan, bench.rows(range(10)))
    before = require_true(bench)
    wider = bench.plan(
        content_digest=True, evolution="merge", columns=(*plan.columns, Column(name="note", type="string"))
    )
    bench.load(wider, bench.rows([]), files=set())
    rows = bench.rows(range(10)).append_column("note", pa.nulls(10, pa.string()))
    bench.load(wider, rows)
    assert require_true(bench) == before
    bench.load(bench.plan(content_digest=True, write_mode="replace", evolution="merge"), bench.rows([1]))
    assert require_true(bench).split(":")[1] == "1"


def test_it_is_kept_when_a_bookmark_is_reset(bench: Any) -> None:
    plan = bench.plan(content_digest=True)
    bench.load(plan, bench.rows(range(10)))
    first = require_true(bench)
    assert reset_bookmark(bench.lake, plan, "c", "r") is not None
    assert require_true(bench) == first


def test_somebody_elses_rows_are_counted_by_the_next_publish(bench: Any) -> None:
    plan = bench.plan(content_digest=True)
    bench.load(plan, bench.rows(range(10)))
    table = table_of(bench)
    table.append(bench.rows([77]).cast(table.schema().as_arrow()))
    assert verify_content(table_of(bench), table_of(bench).current_snapshot().snapshot_id) is None
    bench.load(plan, bench.rows([1]))
    require_true(bench)


def test_it_holds_after_a_compaction_and_shows_a_row_that_it_lost(bench: Any) -> None:
    bench.load(bench.plan(content_digest=True), bench.rows(range(100)))
    bench.load(bench.plan(content_digest=True), bench.rows([3, 4], status="paid"))
    for keep in (100, 99):
        table = table_of(bench)
        table.overwrite(table.scan().to_arrow().sort_by([("id", "descending")]).slice(0, keep))
        current = table.current_snapshot()
        assert current is not None
        for s in table.metadata.snapshots:
            assert s.summary is not None
            if CONTENT_DIGEST not in s.summary.additional_properties:
                s.summary.__dict__["operation"] = (
                    Operation.REPLACE
                )  # as programs that compact say, and PyIceberg cannot
        found = verify_content(table, current.snapshot_id)
        assert found is not None
        assert (found[0] == found[1]) == (keep == 100)


def test_a_delete_that_was_changed_is_shown(bench: Any) -> None:
    bench.load(bench.plan(content_digest=True), bench.rows(range(100)))
    bench.load(bench.plan(content_digest=True), bench.rows([3, 4], status="paid"))
    (task,) = [t for t in table_of(bench).scan().plan_files() if t.delete_files]
    path = next(iter(task.delete_files)).file_path.removeprefix("file://")
    deletes = pq.read_table(path)
    pq.write_table(deletes.set_column(1, deletes.schema.field(1), [pa.array([3, 5])]), path)
    current = table_of(bench).current_snapshot()
    assert current is not None
    found = verify_content(table_of(bench), current.snapshot_id)
    assert found is not None
    assert found[0] != found[1]


def test_a_column_that_is_dropped_counts_no_more(bench: Any) -> None:
    plan = bench.plan(content_digest=True)
    bench.load(plan, bench.rows(range(10)))
    with table_of(bench).update_schema() as update:
        update.delete_column("status")
    narrow = bench.plan(content_digest=True, columns=tuple(c for c in plan.columns if c.name != "status"))
    bench.load(narrow, bench.rows([1]).drop(["status"]))
    require_true(bench)


def test_equality_deletes_are_refused(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.load(bench.plan(), bench.rows(range(3)))
    bench.load(bench.plan(), bench.rows([1]))
    from pyiceberg.manifest import DataFileContent

    monkeypatch.setattr(
        content, "DataFileContent", type("C", (), {"POSITION_DELETES": DataFileContent.EQUALITY_DELETES})
    )
    with pytest.raises(TargetError, match="equality deletes"):
        bench.load(bench.plan(content_digest=True), bench.rows([9]))
