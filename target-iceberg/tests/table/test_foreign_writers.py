"""Somebody else appends to, changes, rolls back or drops the table while a run is under way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.types import LongType, StringType

from target_iceberg.errors import RetryableError, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable


def table(bench: Any) -> Any:
    return bench.lake.load(bench.plan())


def foreign_rows(*ids: int) -> pa.Table:
    schema = pa.schema(
        [pa.field("id", pa.int64(), nullable=False), ("status", pa.string()), ("_sdc_source_file", pa.string())]
    )
    return pa.table(
        {"id": list(ids), "status": ["foreign"] * len(ids), "_sdc_source_file": [None] * len(ids)}, schema=schema
    )


def content(bench: Any) -> list[tuple[int, str]]:
    rows = table(bench).scan().to_arrow().to_pylist()
    return sorted((r["id"], r["status"]) for r in rows)


def files(bench: Any) -> set[str]:
    return {t.file.file_path for t in table(bench).scan().plan_files()}


def drop_and_add(bench: Any, *columns: str) -> None:
    """Columns of the same names under other field ids."""
    with table(bench).update_schema(allow_incompatible_changes=True) as update:
        update.set_identifier_fields()
        for column in columns:
            update.delete_column(column)
    with table(bench).update_schema(allow_incompatible_changes=True) as update:
        for column in columns:
            update.add_column(column, LongType() if column == "id" else StringType())


@pytest.fixture
def before_commit(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let somebody act between the moment at which a run has looked at the table and the one at which it commits."""
    commit, acts = SqlCatalog.commit_table, []

    def act_first(self: Any, *args: Any) -> Any:
        while acts:
            acts.pop()()
        return commit(self, *args)

    monkeypatch.setattr(SqlCatalog, "commit_table", act_first)
    return acts.append


def test_rows_that_somebody_appends_meanwhile_stay(bench: Any, before_commit: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([2]))
    table(bench).append(foreign_rows(10))
    before_commit(lambda: table(bench).append(foreign_rows(11)))
    bench.publish(staged)
    assert bench.ids() == [1, 2, 10, 11]


def test_rows_of_our_keys_that_somebody_appends_just_before_the_commit_are_replaced(
    bench: Any, before_commit: Any
) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([1, 2], status="ours"))
    before_commit(lambda: table(bench).append(foreign_rows(2)))
    bench.publish(staged)
    assert content(bench) == [(1, "ours"), (2, "ours")]


def test_files_that_somebody_compacts_just_before_the_commit_are_looked_through_again(
    bench: Any, before_commit: Any
) -> None:
    for i in (1, 2, 3):
        bench.load(bench.plan(), bench.rows([i]))
    staged = bench.stage(bench.plan(), bench.rows([2], status="ours"))
    before_commit(lambda: table(bench).overwrite(table(bench).scan().to_arrow()))
    bench.publish(staged)
    assert content(bench) == [(1, "new"), (2, "ours"), (3, "new")]


def test_rows_that_somebody_deletes_stay_deleted(bench: Any, before_commit: Any) -> None:
    bench.load(bench.plan(), bench.rows([1, 2, 3]))
    staged = bench.stage(bench.plan(), bench.rows([4]))
    before_commit(lambda: table(bench).delete("id = 2"))
    bench.publish(staged)
    assert bench.ids() == [1, 3, 4]


@pytest.mark.parametrize(
    ("columns", "partition_by"),
    [
        (("status",), ()),
        (("id",), ()),
        (("status", "_sdc_source_file"), ()),
        (("status",), ("_sdc_source_file",)),
        (("id", "status"), ("_sdc_source_file",)),
    ],
)
def test_files_staged_under_other_field_ids_are_written_anew(
    bench: Any, columns: tuple[str, ...], partition_by: tuple[str, ...]
) -> None:
    plan = bench.plan(partition_by=partition_by, evolution="merge")
    bench.load(plan, bench.rows([1]))
    staged = bench.stage(plan, pa.concat_tables([bench.rows([5, 2], file="b.csv"), bench.rows([5], status="last")]))
    drop_and_add(bench, *columns)
    before = files(bench)
    bench.publish(staged)
    rows = table(bench).scan().to_arrow().to_pylist()
    assert sorted((r["id"], r["status"]) for r in rows if r["id"] in (2, 5)) == [(2, "new"), (5, "last")]
    # An independent reader of the files sees each column under the id that the table has for it now.
    ids = {f.name: f.field_id for f in table(bench).schema().fields}
    for path in files(bench) - before:
        found = duckdb.sql(
            f"SELECT name, field_id FROM parquet_schema('{path.removeprefix('file://')}') WHERE field_id > 0"
        )
        assert dict(found.fetchall()) == ids


def test_what_was_written_anew_goes_when_the_attempt_did_not_land(bench: Any, before_commit: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([2]))
    drop_and_add(bench, "status")
    before_commit(lambda: table(bench).append(foreign_rows(10)))
    bench.publish(staged)
    assert bench.ids() == [1, 2, 10]
    location = table(bench).location().removeprefix("file://")
    there = {str(p) for p in Path(location).rglob("*.parquet")}
    named = {t.file.file_path.removeprefix("file://") for t in table(bench).scan().plan_files()}
    left = there - named
    assert left == {staged.files[0].data_file.file_path.removeprefix("file://")}  # which a checkpoint may name


def test_a_column_that_somebody_renames_is_a_difference_to_the_contract(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([2]))
    with table(bench).update_schema() as update:
        update.rename_column("status", "state")
    with pytest.raises(TargetError, match=r"(?s)differs from its contract.*\+ status string"):
        bench.publish(staged)
    assert bench.snapshots() == 1


def test_a_column_that_somebody_adds_is_null_in_our_rows_where_the_contract_may_differ(bench: Any) -> None:
    plan = bench.plan(evolution="merge")
    bench.load(plan, bench.rows([1]))
    staged = bench.stage(plan, bench.rows([2]))
    with table(bench).update_schema() as update:
        update.add_column("note", StringType())
    bench.publish(staged)
    assert table(bench).scan("id = 2").to_arrow()["note"].to_pylist() == [None]


def test_a_rollback_meanwhile_overtakes_the_run(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    first = table(bench).current_snapshot().snapshot_id
    bench.load(bench.plan(), bench.rows([2]))
    staged = bench.stage(bench.plan(), bench.rows([3]))
    table(bench).manage_snapshots().rollback_to_snapshot(first).commit()
    with pytest.raises(RetryableError, match="overtaken"):
        bench.publish(staged)
    assert bench.ids() == [1]


def test_a_rollback_just_before_the_commit_overtakes_the_run(bench: Any, before_commit: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    first = table(bench).current_snapshot().snapshot_id
    bench.load(bench.plan(), bench.rows([2]))
    staged = bench.stage(bench.plan(), bench.rows([3]))
    before_commit(lambda: table(bench).manage_snapshots().rollback_to_snapshot(first).commit())
    with pytest.raises(RetryableError, match="overtaken"):
        bench.publish(staged)
    assert bench.ids() == [1]


def test_a_table_made_anew_meanwhile_does_not_get_the_rows_of_a_run_for_the_old_one(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([2]))
    schema = table(bench).schema()
    bench.lake.catalog.drop_table(("shop", "orders"))
    bench.lake.catalog.create_table(("shop", "orders"), schema)
    with pytest.raises(RetryableError):
        bench.publish(staged)
    assert bench.ids() == []


def test_partitioning_that_somebody_changes_meanwhile_is_a_conflict(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([2]))
    with table(bench).update_spec() as spec:
        spec.add_field("id", "bucket[2]")
    with pytest.raises(RetryableError, match="partitioning") as e:
        bench.publish(staged)
    assert e.value.failure_class == "conflict"
    bench.load(bench.plan(), bench.rows([2]))  # the next run goes by the new one
    assert bench.ids() == [1, 2]
