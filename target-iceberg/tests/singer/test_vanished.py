"""Keys that the tap lists (DATIVO_KEYS): rows of the table that have others leave it, or are marked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest

from singer_arrow import BatchWriter
from target_iceberg import lake
from target_iceberg.load_plan import Column

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = {
    "properties": {"id": {}, "status": {}, "_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"}}
}
COLUMNS = (Column(name="id", type="long", required=True), Column(name="status", type="string", required=True))
EVERYTHING = [[None, None]]
_NUMBERS = itertools.count()


def plan(target: Any, **changes: Any) -> Any:
    settings = {"columns": COLUMNS, "replace_files": False, "rules": (), **changes}
    target.plan = target.job_plan(target.stream_plan(**settings))
    return target


def row(i: Any, status: str = "new", **more: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": "orders", "record": {"id": i, "status": status, **more}}


def keys(target: Any, *ids: Any, ranges: Any = EVERYTHING, begin: bool = True, **columns: Any) -> dict[str, Any]:
    folder: Path = target.root / f"keys{next(_NUMBERS)}"
    folder.mkdir()
    listed = pa.table({"id": list(ids), **columns})
    files = [BatchWriter(folder, "orders").write(listed)] if listed.num_rows else []
    return {"type": "DATIVO_KEYS", "stream": "orders", "manifest": files, "begin": begin, "ranges": ranges}


def run(target: Any, *messages: Any, state: Any = 1, schema: Any = SCHEMA, **environment: str) -> Any:
    first = {"type": "SCHEMA", "stream": "orders", "schema": schema, "key_properties": list(target.plan.streams[0].key)}
    done = target.run([first, *messages], state, schema=False, **environment)
    if done.report is not None:
        for s in done.report.streams:
            assert s.read == s.published + s.rejected + s.superseded + s.deleted + s.withheld
    return done


def content(target: Any) -> dict[int, tuple[str, bool]]:
    """Id -> status and whether the row is marked as deleted."""
    return {r["id"]: (r["status"], r.get("_sdc_deleted_at") is not None) for r in target.rows()}


def leftovers(target: Any) -> list[str]:
    """Files in the warehouse that no snapshot of the table names."""
    table = lake.open_lake(target.plan.catalog).table("shop.orders")
    folder = target.root / "lake/acme/warehouse/shop/orders/data"
    there = {f.name for f in folder.rglob("*.parquet")}
    return sorted(f for f in there if "-keys" in f or "-deleted" in f) if table is not None else []


@pytest.mark.parametrize("partition_by", [(), ("bucket(4, id)",), ("status",)])
@pytest.mark.parametrize("hard", [True, False])
def test_rows_whose_keys_are_not_listed_go_or_are_marked(
    target: Any, hard: bool, partition_by: tuple[str, ...]
) -> None:
    plan(target, hard_delete=hard, partition_by=partition_by)
    run(target, row(1), row(2, "paid"), row(3))
    done = run(target, row(4), keys(target, 1, 3, 4, 77), state=2)
    assert done.code == 0, done.stderr
    expected = {1: ("new", False), 3: ("new", False), 4: ("new", False)}
    assert content(target) == (expected if hard else {**expected, 2: ("paid", True)})
    (stream,) = done.report.streams
    assert (stream.read, stream.published, stream.deleted) == ((2, 1, 1) if hard else (2, 2, 0))
    assert leftovers(target) == []


def test_a_row_that_is_marked_stays_as_it_was_marked(target: Any) -> None:
    plan(target)
    run(target, row(1), row(2))
    run(target, keys(target, 1), state=2)
    (first,) = [r["_sdc_deleted_at"] for r in target.rows() if r["id"] == 2]
    done = run(target, keys(target, 1), state=3)
    assert [r["_sdc_deleted_at"] for r in target.rows() if r["id"] == 2] == [first]
    assert done.report.streams[0].read == 0


def test_only_keys_within_the_ranges_are_judged(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, *(row(i) for i in range(-5, 40)))
    run(target, keys(target, 12, 30, ranges=[[None, -3], [10, 19], [30, 30], [35, None]]), state=2)
    assert sorted(content(target)) == [*range(-2, 10), 12, *range(20, 35)]


def test_many_ranges_are_as_good_as_few(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, *(row(i) for i in range(600)))
    run(target, keys(target, *range(0, 600, 4), ranges=[[i, i + 1] for i in range(0, 600, 4)]), state=2)
    assert sorted(content(target)) == [i for i in range(600) if i % 4 != 1]


def test_a_list_may_take_several_messages_and_begin_anew(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, *(row(i) for i in range(10)))
    done = run(
        target,
        keys(target, 7, 8, 9, ranges=None),  # a connection that broke: this list is void
        keys(target, 1, 2, ranges=None),
        keys(target, 3, ranges=None, begin=False),
        keys(target, begin=False),
        state=2,
    )
    assert done.code == 0, done.stderr
    assert sorted(content(target)) == [1, 2, 3]


def test_no_keys_at_all_empty_the_table_whatever_its_key(target: Any) -> None:
    plan(target, key=("status",), hard_delete=True)
    run(target, row(1, "a"), row(2, "b"))
    done = run(target, keys(target), state=2)
    assert done.code == 0, done.stderr
    assert content(target) == {}


@pytest.mark.parametrize("hard", [True, False])
def test_rows_of_the_run_itself_are_judged_by_a_list_that_comes_behind_them(target: Any, hard: bool) -> None:
    plan(target, hard_delete=hard)
    run(target, row(1), row(2, "old"))
    done = run(target, row(2, "later"), row(3), keys(target, 1), row(4), state=2)
    assert done.code == 0, done.stderr
    gone = {} if hard else {2: ("later", True), 3: ("new", True)}
    assert content(target) == {1: ("new", False), **gone, 4: ("new", False)}


def test_keys_of_several_columns_of_any_type_are_compared_as_the_table_has_them(target: Any) -> None:
    columns = (
        Column(name="id", type="uuid", required=True),
        Column(name="day", type="date", required=True),
        Column(name="amount", type="decimal(9,2)", required=True),
        Column(name="status", type="string"),
    )
    plan(target, key=("id", "day", "amount"), columns=columns)
    ids = [f"00000000-0000-0000-0000-00000000000{i}" for i in range(3)]
    run(target, *(row(i, day="2026-01-01", amount=a) for i in ids for a in ("1.50", "2.00")))
    listed = keys(target, *ids[:2], day=["2026-01-01", "2026-01-01"], amount=["1.50", "2.00"])
    done = run(target, listed, state=2)
    assert done.code == 0, done.stderr
    alive = {(str(r["id"]), str(r["amount"])) for r in target.rows() if r["_sdc_deleted_at"] is None}
    assert alive == {(ids[0], "1.50"), (ids[1], "2.00")}
    assert len(target.rows()) == 6


def test_keys_are_masked_as_those_of_the_table_are(target: Any) -> None:
    columns = (Column(name="id", type="string", required=True, mask="hash"), COLUMNS[1])
    plan(target, columns=columns, hard_delete=True)
    target.plan = msgspec.structs.replace(target.plan, mask_key_env="KEY")
    run(target, row("a", "of a"), row("b", "of b"), KEY="k")
    done = run(target, keys(target, "b"), state=2, KEY="k")
    assert done.code == 0, done.stderr
    assert [r["status"] for r in target.rows()] == ["of b"]


def test_marked_rows_keep_columns_that_files_got_later(target: Any) -> None:
    plan(target)
    run(target, row(1))
    wider = (*COLUMNS, Column(name="note", type="string"))
    plan(target, columns=wider, evolution="merge")
    run(target, row(2, note="kept"), state=2)
    done = run(target, row(3, note="x"), keys(target, 3), state=3)
    assert done.code == 0, done.stderr
    found = {r["id"]: (r["note"], r["_sdc_deleted_at"] is not None) for r in target.rows()}
    assert found == {1: (None, True), 2: ("kept", True), 3: ("x", False)}


@pytest.mark.parametrize("ranges", [EVERYTHING, [[0, 2**40]]])
def test_keys_that_have_become_wider_are_compared_with_those_of_older_files(target: Any, ranges: Any) -> None:
    plan(target, columns=(Column(name="id", type="int", required=True), COLUMNS[1]), hard_delete=True)
    run(target, row(1), row(2))
    plan(target, evolution="merge", hard_delete=True)
    done = run(target, row(2**33), keys(target, 2, 2**33, ranges=ranges), state=2)
    assert done.code == 0, done.stderr
    assert sorted(content(target)) == [2, 2**33]


def test_a_run_that_was_killed_goes_on_with_what_the_list_has_found(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, row(1), row(2), state={"at": 1})
    first = {"type": "SCHEMA", "stream": "orders", "schema": SCHEMA, "key_properties": ["id"]}
    state = {"type": "STATE", "value": {"bookmarks": {"orders": {"at": 2}}}}
    begun = target.run(
        [first, row(3), row(4), keys(target, 1, 3), state], schema=False, end=False, DATIVO_CHECKPOINT_EVERY_S="0"
    )
    assert begun.code == 2
    assert sorted(content(target)) == [1, 2]
    assert lake.preflight(target.plan).state == {"bookmarks": {"orders": {"at": 2}}}
    done = target.run([first, state], start={"bookmarks": {"orders": {"at": 2}}}, schema=False)
    assert done.code == 0, done.stderr
    assert sorted(content(target)) == [1, 3]
    assert not [f for f in leftovers(target) if "-keys" in f]


def test_a_dry_run_counts_and_deletes_nothing(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, row(1), row(2))
    done = run(target, keys(target, 1), state=2, DATIVO_DRY_RUN="1")
    assert done.report.streams[0].deleted == 1
    assert sorted(content(target)) == [1, 2]


@pytest.mark.parametrize(
    ("changes", "schema", "why"),
    [
        ({"write_mode": "append"}, SCHEMA, "write_mode upsert"),
        ({}, {"properties": {"id": {}, "status": {}}}, "_sdc_deleted_at"),
        ({"key": ("status",)}, SCHEMA, "status is no whole number"),
    ],
)
def test_what_a_list_of_keys_cannot_be_compared_with_is_refused(
    target: Any, changes: Any, schema: Any, why: str
) -> None:
    plan(target, **changes)
    assert run(target, row(1), schema=schema).code == 0
    done = run(target, keys(target, 5, status=["new"], ranges=[[0, 9]]), state=2, schema=schema)
    assert done.code == 2
    assert why in done.stderr
    assert [r["id"] for r in target.rows()] == [1]


def test_a_table_that_has_rows_of_other_streams_is_refused(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, row(1))
    target.plan = msgspec.structs.replace(target.plan, job="others")
    done = run(target, row(2), keys(target, 2))
    assert done.code == 2
    assert "acme.orders.orders" in done.stderr
    assert sorted(content(target)) == [1]
